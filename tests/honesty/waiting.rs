//! Frames that wait count with their waiting: nothing is omitted because the run was held up.

use super::*;

#[test]
fn frames_that_wait_in_the_capture_queue_count_with_their_waiting() {
    let gate = Arc::new(Gate::default());
    let clock = TestClock::new(Some(&gate));
    // The projection is blocked with frame 1.
    let source = held_up(5, gate, Arc::clone(&clock), || ());
    let clock = SlowProjection::new(clock, ms(1));
    let outcome = run(source, [Probe::taking()], settings(Policy::Lossless, 4, 8), clock);
    let got: Vec<_> =
        shown(&outcome).iter().map(|f| (f.capture_queue / MS, f.project / MS)).collect();
    assert_eq!(got, [(0, 100), (90, 1), (81, 1), (72, 1), (63, 1)]);
}

#[test]
fn clouds_that_wait_for_the_sink_count_with_their_waiting() {
    let gate = Arc::new(Gate::default());
    let clock = TestClock::new(None);
    // The sink is blocked with cloud 1. A second sink, which is not blocked, signals when clouds
    // are made.
    let time = Arc::clone(&clock);
    let first = Probe::blocked(&gate, move || time.time.advance(ms(1)));
    let (second, made) = Probe::signalling();
    let source = held_up(5, gate, Arc::clone(&clock), move || made.recv().unwrap());
    let outcome = run(source, [first, second], settings(Policy::Lossless, 2, 4), clock);
    let got: Vec<_> =
        shown(&outcome).iter().map(|f| (f.cloud_queue / MS, f.log / MS, f.total / MS)).collect();
    assert_eq!(got, [(0, 100, 100), (90, 1, 91), (81, 1, 82), (72, 1, 73), (63, 1, 64)]);
}

#[test]
fn a_stall_is_in_the_tail_of_all_frames_that_came_meanwhile() {
    const STALL: Duration = ms(400);
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let source = Box::new(camera(&clock, 64, 48));
    let stall = Arc::new(Mutex::new(None));
    let probe = Probe::new({
        let (stall, clock) = (Arc::clone(&stall), Arc::clone(&clock));
        move |cloud| {
            if cloud.meta.number >= 30 && stall.lock().unwrap().is_none() {
                let start = clock.now();
                std::thread::sleep(STALL);
                *stall.lock().unwrap() = Some((start, clock.now()));
            }
            Offer::Taken
        }
    });
    // Room for all that comes during the stall.
    let settings = PipelineSettings { frames: Some(120), ..settings(Policy::Newest, 64, 64) };
    let outcome = run(source, [probe], settings, clock);
    let (start, end) = stall.lock().unwrap().unwrap();
    let (mut waited, mut long_ones) = (0, 0);
    for entry in outcome.journals.sinks[0].entries() {
        let (number, arrived_at) = (entry.frame.number, entry.frame.arrived_at);
        if start < arrived_at && arrived_at < end {
            waited += 1;
            let total = entry.to.ns_since(arrived_at);
            assert!(total >= end.ns_since(arrived_at), "frame {number} forgets its waiting");
            long_ones += u64::from(total >= STALL.as_nanos() as u64 / 2);
        }
    }
    // One call was long; half of the frames of the stall, and not one, have to be so in the total.
    assert!(waited >= 20 && long_ones >= waited / 3, "{waited} frames, {long_ones} of them long");
    let total = outcome.stats.sinks[0].total.latency();
    assert!(total.p90 >= 100e3, "{total:?}");
    // What the machine was too busy for, the source announced: no frame is missing without being
    // counted.
    let captured = outcome.journals.capture.entries().iter().map(|entry| entry.frame.number);
    let missing = outcome.stats.continuity.get().frames_missing;
    assert_eq!(captured.max().unwrap(), outcome.stats.captured.count() + missing);
}

#[test]
fn a_camera_that_cannot_deliver_counts_what_it_waited_and_what_it_lost() {
    // 200 ms in which nobody fetches: of the 20 frames that were due, four wait, and have waited
    // since they were due.
    let clock = TestClock::new(None);
    let mut camera = camera(&(Arc::clone(&clock) as Arc<dyn Clock>), 16, 12);
    let (done_tx, done): (_, Receiver<()>) = channel();
    let mut fetched = 0;
    let source = Script(camera.info().clone(), {
        let clock = Arc::clone(&clock);
        move |frame: &mut DepthFrame| {
            if fetched > 0 {
                done.recv().unwrap();
            }
            match fetched {
                1 => clock.time.sleep_until(HostTime::from_ns(200 * MS)),
                6 => return Delivery::End,
                _ => {}
            }
            fetched += 1;
            camera.next_frame(frame, HostTime::from_ns(u64::MAX)).unwrap()
        }
    });
    let probe = Probe { done: Some(done_tx), ..Probe::taking() };
    let outcome = run(Box::new(source), [probe], settings(Policy::Lossless, 2, 2), clock);
    let got: Vec<_> = shown(&outcome).iter().map(|f| (f.number, f.total / MS)).collect();
    assert_eq!(got, [(1, 0), (18, 30), (19, 20), (20, 10), (21, 0), (22, 0)]);
    assert_eq!(outcome.stats.continuity.get().frames_missing, 16);
}
