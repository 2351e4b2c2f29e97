//! Frames that are lost are counted where they were lost.

use super::*;

#[test]
fn losses_are_found_where_they_were_made_to_the_frame() {
    for lost in [0, 1, 7] {
        // By the source: it skips numbers.
        let mut next = 1;
        let source = script(move |meta| {
            if next == 5 {
                next += lost;
            }
            meta.number = next;
            next += 1;
            if meta.number > 20 + lost { Delivery::End } else { Delivery::Frame }
        });
        let lossless = settings(Policy::Lossless, 2, 2);
        let outcome = run(source, [Probe::taking()], lossless, TestClock::new(None));
        assert_eq!(drops(&outcome), [lost, 0, 0, 0, 0, 0]);

        // In the capture queue: the projection is blocked with the first frame until more have come
        // than fit.
        let gate = Arc::new(Gate::default());
        let clock = TestClock::new(Some(&gate));
        let source = held_up(4 + lost, gate, Arc::clone(&clock), || ());
        let clock = SlowProjection::new(clock, ms(1));
        let outcome = run(source, [Probe::taking()], settings(Policy::Newest, 3, 64), clock);
        assert_eq!(drops(&outcome), [0, lost, 0, 0, 0, 0]);
        assert_eq!(numbers(&outcome), [1, 2 + lost, 3 + lost, 4 + lost], "the newest ones stay");

        // In the cloud queue: the sink is blocked with the first cloud. A second sink signals when
        // the others are made.
        let gate = Arc::new(Gate::default());
        let first = Probe::blocked(&gate, || ());
        let (second, made) = Probe::signalling();
        let clock = TestClock::new(None);
        let source = held_up(4 + lost, gate, Arc::clone(&clock), move || made.recv().unwrap());
        let outcome = run(source, [first, second], settings(Policy::Newest, 64, 3), clock);
        assert_eq!(drops(&outcome), [0, 0, lost, 0, 0, 0]);
        assert_eq!(outcome.stats.sinks[1].shown.count(), 4 + lost, "the other sink loses nothing");

        // At the viewer: it is busy, or disconnected.
        for (offer, index) in [(Offer::Busy, 4), (Offer::Disconnected, 5)] {
            let is_lost = move |cloud: &Cloud| cloud.meta.number <= lost;
            let probe = Probe::new(move |cloud| if is_lost(cloud) { offer } else { Offer::Taken });
            let mut want = [0; 6];
            want[index] = lost;
            assert_eq!(drops(&every_10_ms(20, probe)), want);
        }
    }
    // At the viewer: of 20 frames 10 ms apart, those at 10, 40, 80, 120, 160 and 200 ms are shown
    // at 25 Hz.
    let probe = Probe { max_rate_hz: Some(25.0), ..Probe::taking() };
    let outcome = every_10_ms(20, probe);
    assert_eq!(drops(&outcome), [0, 0, 0, 14, 0, 0]);
    assert_eq!(numbers(&outcome), [1, 4, 8, 12, 16, 20]);
}

/// Losses by source, capture queue, cloud queue; at the viewer above its rate, busy, disconnected.
fn drops(outcome: &Outcome) -> [u64; 6] {
    let (stats, sink) = (&outcome.stats, &outcome.stats.sinks[0]);
    [
        stats.drops().source,
        stats.dropped_capture_queue.get(),
        sink.dropped_cloud_queue.get(),
        sink.above_show_rate.get(),
        sink.busy.get(),
        sink.disconnected.get(),
    ]
}

/// Frames where the newest wins, each of which goes all the way before the next one comes.
fn every_10_ms(count: u64, probe: Probe) -> Outcome {
    let clock = TestClock::new(None);
    let arrive = {
        let clock = Arc::clone(&clock);
        move |number| {
            clock.time.sleep_until(HostTime::from_ns(number * 10 * MS));
            clock.now()
        }
    };
    one_by_one(count, arrive, probe, settings(Policy::Newest, 2, 2), clock)
}
