//! A delay of known size is in its stage, in the total, and nowhere else.

use super::*;

/// What is put into the stages of each frame.
#[derive(Debug, Clone, Copy, Default)]
struct Delays {
    source: Duration,
    project: Duration,
    sink: Duration,
}

/// Frames every 100 ms, each of which goes all the way before the next one comes.
fn in_step(
    clock: Arc<dyn Clock>,
    sleep: impl Fn(Duration) + Clone + Send + 'static,
    delays: Delays,
    seen_at: Option<Box<dyn FnMut() -> HostTime + Send>>,
    count: u64,
) -> Outcome {
    let (time, pause) = (Arc::clone(&clock), sleep.clone());
    let arrive = move |_| {
        pause(ms(100).saturating_sub(delays.source + delays.project + delays.sink));
        let arrived_at = time.now();
        // A frame that has arrived, and whose delivery takes its time.
        pause(delays.source);
        arrived_at
    };
    let mut probe = Probe::new(move |_| {
        sleep(delays.sink);
        Offer::Taken
    });
    probe.seen_at = seen_at;
    let clock = SlowProjection::new(clock, delays.project);
    one_by_one(count, arrive, probe, settings(Policy::Lossless, 2, 2), clock)
}

#[test]
fn a_delay_is_in_its_stage_and_in_the_total_and_nowhere_else_to_the_nanosecond() {
    let us = Duration::from_micros;
    for (source, project, sink, viewer) in [
        (0, 0, 0, 0),
        (700, 0, 0, 0),
        (0, 1300, 0, 0),
        (0, 0, 2100, 0),
        (0, 0, 0, 50_000),
        (5, 60, 9, 200_000),
        (40_000, 3, 11_000, 17),
    ] {
        let delays = Delays { source: us(source), project: us(project), sink: us(sink) };
        let clock = TestClock::new(None);
        let (time, seen) = (Arc::clone(&clock), Arc::clone(&clock));
        let seen_at = Box::new(move || seen.time.now().plus(us(viewer)));
        let sleep = move |duration| time.time.advance(duration);
        let outcome = in_step(clock, sleep, delays, Some(seen_at), 30);
        let [capture_queue, project, log, viewer] =
            [source, project, sink, viewer].map(|us| us * 1000);
        let total = capture_queue + project + log;
        let want: Vec<_> = (1..=30)
            .map(|number| Stages { number, capture_queue, project, cloud_queue: 0, log, total })
            .collect();
        assert_eq!(shown(&outcome), want);
        // And the figures that a user sees, quantiles within the three digits of the histogram.
        let (stats, sink) = (&outcome.stats, &outcome.stats.sinks[0]);
        for (latency, want_ns) in [
            (stats.capture_queue.latency(), capture_queue),
            (stats.project.latency(), project),
            (sink.cloud_queue.latency(), 0),
            (sink.log.latency(), log),
            (stats.arrival_to_cloud.latency(), capture_queue + project),
            (sink.total.latency(), total),
            (sink.viewer.latency(), viewer),
            (sink.arrival_to_eye.latency(), total + viewer),
            (stats.captured.interval(), 100 * MS),
            (sink.shown.interval(), 100 * MS),
            (stats.captured.jitter(), 0),
        ] {
            let want_us = want_ns as f64 / 1e3;
            assert_eq!((latency.mean, latency.max), (want_us, want_us), "{delays:?}");
            for quantile in [latency.p50, latency.p90, latency.p99, latency.p999] {
                assert!((quantile - want_us).abs() <= want_us * 1e-3, "{delays:?}: {latency:?}");
            }
        }
    }
}

#[test]
fn in_real_time_too_a_delay_is_in_its_stage_and_nowhere_else() {
    const DELAY: Duration = ms(30);
    const FRAMES: u64 = 15;
    type Part = fn(&Stages) -> u64;
    let parts: [Part; 4] = [|f| f.capture_queue, |f| f.project, |f| f.cloud_queue, |f| f.log];
    let median = |mut ns: Vec<u64>| {
        ns.sort_unstable();
        ns[ns.len() / 2]
    };
    let none = Delays::default();
    let delay_ns = DELAY.as_nanos() as u64;
    for (delayed, delays) in [
        (0, Delays { source: DELAY, ..none }),
        (1, Delays { project: DELAY, ..none }),
        (3, Delays { sink: DELAY, ..none }),
    ] {
        // How long the sleeps really were; a busy machine makes them longer.
        let slept = Arc::new(Mutex::new(Vec::new()));
        let all_slept = Arc::clone(&slept);
        let sleep = move |duration| {
            let started = std::time::Instant::now();
            std::thread::sleep(duration);
            if duration == DELAY {
                all_slept.lock().unwrap().push(started.elapsed().as_nanos() as u64);
            }
        };
        let outcome = in_step(Arc::new(MonotonicClock::new()), sleep, delays, None, FRAMES);
        let frames = shown(&outcome);
        assert_eq!(frames.len() as u64, FRAMES);
        for (index, part) in parts.into_iter().enumerate() {
            if index == delayed {
                let has_it = |f: &Stages| part(f) >= delay_ns && f.total >= part(f);
                assert!(frames.iter().all(has_it), "{frames:?}");
            } else {
                // This includes what waking a thread takes on a busy machine; a delay that leaked
                // would be in all frames.
                let leaked = median(frames.iter().map(part).collect());
                assert!(leaked < delay_ns / 2, "{delayed} leaks into {index}: {frames:?}");
            }
        }
        if delayed == 3 {
            // Nothing but the sleep is in `log`: the median of the differences is what reading a
            // clock takes.
            let slept = slept.lock().unwrap();
            let beyond = frames.iter().zip(&*slept).map(|(f, slept)| f.log - slept).collect();
            assert!(median(beyond) < 50_000.max(delay_ns / 20), "{frames:?} {slept:?}");
        }
    }
}
