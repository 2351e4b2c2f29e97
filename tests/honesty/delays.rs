//! A delay of known size is in its stage, in the total, and nowhere else.

use super::*;

#[test]
fn a_delay_is_in_its_stage_and_in_the_total_and_nowhere_else_to_the_nanosecond() {
    let us = Duration::from_micros;
    for (source, project, sink) in
        [(0, 0, 0), (700, 0, 0), (0, 1300, 0), (0, 0, 2100), (5, 60, 9), (40_000, 3, 11_000)]
    {
        let delays = Delays { source: us(source), project: us(project), sink: us(sink) };
        let clock = TestClock::new(None);
        let sleep = {
            let clock = Arc::clone(&clock);
            move |duration| clock.time.advance(duration)
        };
        let outcome = in_step(clock, sleep, delays, 30);
        let [capture_queue, project, log] =
            [delays.source, delays.project, delays.sink].map(|d| d.as_nanos() as u64);
        let total = capture_queue + project + log;
        let want: Vec<_> = (1..=30)
            .map(|number| Road { number, capture_queue, project, cloud_queue: 0, log, total })
            .collect();
        assert_eq!(roads(&outcome), want);
        // And the figures that a user sees, quantiles within the three digits of the histogram.
        let stats = &outcome.stats;
        for (latency, want_ns) in [
            (stats.capture_queue.latency(), capture_queue),
            (stats.project.latency(), project),
            (stats.sinks[0].cloud_queue.latency(), 0),
            (stats.sinks[0].log.latency(), log),
            (stats.arrival_to_cloud.latency(), capture_queue + project),
            (stats.sinks[0].total.latency(), total),
            (stats.captured.interval(), 100 * MS),
            (stats.sinks[0].shown.interval(), 100 * MS),
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
    type Part = fn(&Road) -> u64;
    let parts: [Part; 4] = [|r| r.capture_queue, |r| r.project, |r| r.cloud_queue, |r| r.log];
    let median = |roads: &[Road], part: Part| {
        let mut ns: Vec<_> = roads.iter().map(part).collect();
        ns.sort_unstable();
        ns[ns.len() / 2]
    };
    let delays = |part| match part {
        0 => Delays { source: DELAY, ..Delays::default() },
        1 => Delays { project: DELAY, ..Delays::default() },
        _ => Delays { sink: DELAY, ..Delays::default() },
    };
    let delay_ns = DELAY.as_nanos() as u64;
    for delayed in [0, 1, 3] {
        // How long the sleeps really were; a busy machine makes them longer.
        let slept = Arc::new(Mutex::new(Vec::new()));
        let sleep = {
            let slept = Arc::clone(&slept);
            move |duration| {
                let started = std::time::Instant::now();
                std::thread::sleep(duration);
                if duration == DELAY {
                    slept.lock().unwrap().push(started.elapsed().as_nanos() as u64);
                }
            }
        };
        let outcome = in_step(Arc::new(MonotonicClock::new()), sleep, delays(delayed), FRAMES);
        let roads = roads(&outcome);
        assert_eq!(roads.len() as u64, FRAMES);
        for (index, part) in parts.into_iter().enumerate() {
            if index == delayed {
                assert!(
                    roads.iter().all(|road| part(road) >= delay_ns && road.total >= part(road)),
                    "{roads:?}"
                );
            } else {
                // What waking a thread takes on a busy machine is in here; a delay that leaked
                // would be in all frames.
                assert!(
                    median(&roads, part) < delay_ns / 2,
                    "{delayed} leaks into {index}: {roads:?}"
                );
            }
        }
        let slept = slept.lock().unwrap();
        if delayed == 3 {
            // Nothing but the sleep is in `log`: the median of the differences is what reading a
            // clock takes.
            let mut beyond: Vec<_> =
                roads.iter().zip(&*slept).map(|(road, slept)| road.log - slept).collect();
            beyond.sort_unstable();
            assert!(beyond[beyond.len() / 2] < 50_000.max(delay_ns / 20), "{beyond:?}");
        }
    }
}
