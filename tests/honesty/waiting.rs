//! Frames that wait count with their waiting: nothing is left out because the run was held up.

use super::*;

/// Frames every 10 ms: one, and when somebody is held with it, four more; 60 ms later it is let go.
/// From the third on, `before_next` comes before each, and before the end.
fn five_behind(
    gate: Arc<Gate>,
    clock: Arc<TestClock>,
    mut before_next: impl FnMut() + Send + 'static,
) -> Box<dyn FrameSource> {
    let mut next = 1;
    script(move |meta| {
        if next == 2 {
            gate.wait_for_somebody();
        }
        if next > 2 {
            before_next();
        }
        if next == 6 {
            clock.time.sleep_until(HostTime::from_ns(100 * MS));
            gate.open();
            return Delivery::End;
        }
        clock.time.sleep_until(HostTime::from_ns((next - 1) * 10 * MS));
        (meta.number, meta.arrived_at) = (next, clock.now());
        next += 1;
        Delivery::Frame
    })
}

#[test]
fn frames_that_wait_in_the_capture_queue_count_with_their_waiting() {
    let gate = Arc::new(Gate::default());
    let clock = TestClock::new(Some(&gate));
    let source = five_behind(gate, Arc::clone(&clock), || ()); // frame 1 is with the projection, and stays there
    let clock = SlowProjection::new(clock, ms(1));
    let outcome = Probe::new(|_| Offer::Taken).run(source, settings(Policy::Lossless, 4, 8), clock);
    let got: Vec<_> =
        roads(&outcome).iter().map(|road| (road.capture_queue / MS, road.project / MS)).collect();
    assert_eq!(got, [(0, 100), (90, 1), (81, 1), (72, 1), (63, 1)]);
}

#[test]
fn clouds_that_wait_for_the_sink_count_with_their_waiting() {
    let gate = Arc::new(Gate::default());
    let clock = TestClock::new(None);
    let (made_tx, made) = channel();
    // Cloud 1 is with the sink, and stays there; the one before each frame that follows waits for
    // the sink.
    let source = five_behind(Arc::clone(&gate), Arc::clone(&clock), move || made.recv().unwrap());
    let probe = Probe::new({
        let clock = Arc::clone(&clock);
        move |cloud| {
            if cloud.meta.number == 1 {
                gate.pass();
            } else {
                clock.time.advance(ms(1));
            }
            Offer::Taken
        }
    });
    // A second sink, which is not held, tells when clouds are made: it is served after the first.
    let second = Probe::new(move |cloud| {
        if cloud.meta.number > 1 {
            made_tx.send(()).unwrap();
        }
        Offer::Taken
    });
    let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(probe), Box::new(second)];
    let outcome = pipeline::run(
        source,
        sinks,
        settings(Policy::Lossless, 2, 4),
        clock,
        Stop::default(),
        &mut |_| {},
    )
    .unwrap();
    assert_frames_add_up(&outcome);
    let got: Vec<_> = roads(&outcome)
        .iter()
        .map(|road| (road.cloud_queue / MS, road.log / MS, road.total / MS))
        .collect();
    assert_eq!(got, [(0, 100, 100), (90, 1, 91), (81, 1, 82), (72, 1, 73), (63, 1, 64)]);
}

#[test]
fn a_stall_is_in_the_tail_of_all_frames_that_came_meanwhile() {
    const STALL: Duration = ms(400);
    const FPS: f64 = 100.0;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let options = SyntheticOptions { width: 64, height: 48, fps: FPS, seed: 1, color: false };
    let camera = SyntheticCamera::new(options, Arc::clone(&clock)).unwrap();
    let stall = Arc::new(Mutex::new(None));
    let probe = Probe::new({
        let (stall, clock) = (Arc::clone(&stall), Arc::clone(&clock));
        move |cloud| {
            if cloud.meta.number >= 30 && stall.lock().unwrap().is_none() {
                let begin = clock.now();
                std::thread::sleep(STALL);
                *stall.lock().unwrap() = Some((begin, clock.now()));
            }
            Offer::Taken
        }
    });
    // Room for all that comes during the stall.
    let settings = PipelineSettings { frames: Some(120), ..settings(Policy::Newest, 64, 64) };
    let outcome = probe.run(Box::new(camera), settings, Arc::clone(&clock));
    let (begin, end) = stall.lock().unwrap().unwrap();
    let (mut waited, mut long_ones) = (0, 0);
    for entry in outcome.journals.sinks[0].entries() {
        let arrived_at = entry.frame.arrived_at;
        if begin < arrived_at && arrived_at < end {
            waited += 1;
            let total = entry.to.ns_since(arrived_at);
            assert!(
                total >= end.ns_since(arrived_at),
                "frame {} forgets its waiting",
                entry.frame.number
            );
            long_ones += u64::from(total >= STALL.as_nanos() as u64 / 2);
        }
    }
    // One call was long; half of the frames of the stall, and not one, have to be so in the total.
    assert!(waited >= 20 && long_ones >= waited / 3, "{waited} frames, {long_ones} of them long");
    let sink = &outcome.stats.sinks[0];
    assert!(sink.total.latency().p90 >= 100e3, "{:?}", sink.total.latency());
    // What the machine was too busy for, the source announced: no frame is missing without being
    // counted.
    let first_to_last =
        outcome.journals.capture.entries().iter().map(|entry| entry.frame.number).max().unwrap();
    assert_eq!(
        first_to_last,
        outcome.stats.captured.count() + outcome.stats.continuity.get().frames_missing
    );
}

#[test]
fn a_camera_that_cannot_deliver_counts_what_it_waited_and_what_it_lost() {
    // 200 ms in which nobody fetches: of the 20 frames that were due, four wait, and have waited
    // since they were due.
    let clock = TestClock::new(None);
    let options = SyntheticOptions { width: 16, height: 12, fps: 100.0, seed: 1, color: false };
    let mut camera = SyntheticCamera::new(options, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let (done_tx, done): (_, Receiver<()>) = channel();
    let info = camera.info().clone();
    let mut fetched = 0;
    struct Slow<F>(SourceInfo, F);
    impl<F: FnMut(&mut DepthFrame) -> Delivery + Send> FrameSource for Slow<F> {
        fn info(&self) -> &SourceInfo {
            &self.0
        }
        fn next_frame(
            &mut self,
            frame: &mut DepthFrame,
            _: HostTime,
        ) -> Result<Delivery, SourceError> {
            Ok((self.1)(frame))
        }
    }
    let source = Slow(info, {
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
    let mut probe = Probe::new(|_| Offer::Taken);
    probe.done = Some(done_tx);
    let outcome = probe.run(Box::new(source), settings(Policy::Lossless, 2, 2), clock);
    let got: Vec<_> = roads(&outcome).iter().map(|road| (road.number, road.total / MS)).collect();
    assert_eq!(got, [(1, 0), (18, 30), (19, 20), (20, 10), (21, 0), (22, 0)]);
    assert_eq!(outcome.stats.continuity.get().frames_missing, 16);
}
