//! Frames that are lost are counted where they were lost.

use super::*;

#[test]
fn drops_are_found_where_they_were_made_to_the_frame() {
    for lost in [0, 1, 7] {
        // By the source: it leaves out numbers.
        let clock = TestClock::new(None);
        let mut next = 1;
        let source = script(move |meta| {
            if next == 5 {
                next += lost;
            }
            meta.number = next;
            next += 1;
            if meta.number > 20 + lost { Delivery::End } else { Delivery::Frame }
        });
        let outcome =
            Probe::new(|_| Offer::Taken).run(source, settings(Policy::Lossless, 2, 2), clock);
        assert_eq!(drops(&outcome), [lost, 0, 0, 0, 0, 0]);

        // In the capture queue: the projection holds the first frame until more have come than fit.
        let gate = Arc::new(Gate::default());
        let clock = TestClock::new(Some(&gate));
        let source = more_than_fit(lost, gate, || ());
        let clock = SlowProjection::new(clock, ms(1));
        let outcome =
            Probe::new(|_| Offer::Taken).run(source, settings(Policy::Newest, 3, 64), clock);
        assert_eq!(drops(&outcome), [0, lost, 0, 0, 0, 0]);
        let numbers: Vec<_> = roads(&outcome).iter().map(|road| road.number).collect();
        assert_eq!(numbers, [1, 2 + lost, 3 + lost, 4 + lost], "the newest ones stay");

        // In the cloud queue: the sink holds the first cloud. A second sink tells when the others
        // are made.
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let (made_tx, made) = channel();
        let source = more_than_fit(lost, gate, move || made.recv().unwrap());
        let probe = Probe::new(move |cloud| {
            if cloud.meta.number == 1 {
                held.pass();
            }
            Offer::Taken
        });
        let second = Probe::new(move |_| {
            made_tx.send(()).unwrap();
            Offer::Taken
        });
        let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(probe), Box::new(second)];
        let clock = TestClock::new(None);
        let outcome = pipeline::run(
            source,
            sinks,
            settings(Policy::Newest, 64, 3),
            clock,
            Stop::default(),
            &mut |_| {},
        )
        .unwrap();
        assert_frames_add_up(&outcome);
        assert_eq!(drops(&outcome), [0, 0, lost, 0, 0, 0]);
        assert_eq!(outcome.stats.sinks[1].shown.count(), 4 + lost, "the other sink loses nothing");

        // At the viewer: it is busy, or gone.
        for (offer, index) in [(Offer::Busy, 4), (Offer::Disconnected, 5)] {
            let outcome = one_by_one(
                20,
                None,
                move |number| if number <= lost { offer } else { Offer::Taken },
            );
            let mut want = [0; 6];
            want[index] = lost;
            assert_eq!(drops(&outcome), want);
        }
    }
    // At the viewer: of 20 frames 10 ms apart, those at 10, 40, 80, 120, 160 and 200 ms are shown
    // at 25 Hz.
    let outcome = one_by_one(20, Some(25.0), |_| Offer::Taken);
    assert_eq!(drops(&outcome), [0, 0, 0, 14, 0, 0]);
    let numbers: Vec<_> = roads(&outcome).iter().map(|road| road.number).collect();
    assert_eq!(numbers, [1, 4, 8, 12, 16, 20]);
}

/// A frame, and when somebody is held with it, so many more than the three that a queue takes;
/// `before_next` comes before each of them.
fn more_than_fit(
    lost: u64,
    gate: Arc<Gate>,
    mut before_next: impl FnMut() + Send + 'static,
) -> Box<dyn FrameSource> {
    let mut next = 1;
    script(move |meta| {
        if next > 1 {
            before_next();
        }
        if next == 2 {
            gate.wait_for_somebody();
        }
        if next > 1 + 3 + lost {
            gate.open();
            return Delivery::End;
        }
        meta.number = next;
        next += 1;
        Delivery::Frame
    })
}

/// Drops by source, capture queue, cloud queue; at the viewer above its rate, busy, disconnected.
fn drops(outcome: &Outcome) -> [u64; 6] {
    let (stats, sink) = (&outcome.stats, &outcome.stats.sinks[0]);
    [
        stats.continuity.get().frames_missing,
        stats.dropped_capture_queue.get(),
        sink.dropped_cloud_queue.get(),
        sink.above_show_rate.get(),
        sink.busy.get(),
        sink.disconnected.get(),
    ]
}

/// Frames 10 ms apart where the newest wins, each of which goes all the way before the next one
/// comes.
fn one_by_one(
    count: u64,
    max_rate_hz: Option<f64>,
    mut offer: impl FnMut(u64) -> Offer + Send + 'static,
) -> Outcome {
    let clock = TestClock::new(None);
    let (done_tx, done): (_, Receiver<()>) = channel();
    let mut next = 1;
    let source = script({
        let clock = Arc::clone(&clock);
        move |meta| {
            if next > 1 {
                done.recv().unwrap();
            }
            if next > count {
                return Delivery::End;
            }
            clock.time.sleep_until(HostTime::from_ns(next * 10 * MS));
            (meta.number, meta.arrived_at) = (next, clock.now());
            next += 1;
            Delivery::Frame
        }
    });
    let mut probe = Probe::new(move |cloud| offer(cloud.meta.number));
    (probe.max_rate_hz, probe.done) = (max_rate_hz, Some(done_tx));
    probe.run(source, settings(Policy::Newest, 2, 2), clock)
}
