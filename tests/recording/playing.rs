//! What a person may ask of a recording while it is played: pause, step, seek, speed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::bag_writer::{Color, Spec, write_bag};
use common::recording::{FOREVER, File};
use depthcast::clock::{Clock, HostTime, ManualClock};
use depthcast::frame::DepthFrame;
use depthcast::source::recording::control::{Command, PlayState, Remote};
use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
use depthcast::source::{Delivery, FrameSource};

const SECOND: i64 = 1_000_000_000;

/// A recording that is played by a clock which only waiting moves. The frame with the number 100 +
/// n stands at n tenths of a second.
pub struct Playing {
    pub source: RecordingSource,
    remote: Remote,
    pub clock: Arc<ManualClock>,
    frame: DepthFrame,
    _file: File,
}

fn spec(frames: u64) -> Spec {
    let stamps_ns = (0..frames).map(|n| 50_000_000_000 + n * 100_000_000).collect();
    Spec { stamps_ns, fps: 10, ..Spec::default() }
}

pub fn play_with(spec: &Spec, options: ReplayOptions) -> Playing {
    let (file, clock) = (File::new(), Arc::new(ManualClock::new()));
    let path = file.put(&write_bag(spec).bytes);
    let source = RecordingSource::open(&path, options, clock.clone()).unwrap();
    let frame = DepthFrame::new(spec.width, spec.height);
    Playing { remote: source.remote(), source, clock, frame, _file: file }
}

fn play(frames: u64, options: ReplayOptions) -> Playing {
    play_with(&spec(frames), options)
}

impl Playing {
    fn seek(&self, seconds: f64) {
        self.remote.ask(Command::SeekBy { ns: (seconds * SECOND as f64) as i64 });
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().as_ns() / 1_000_000
    }

    /// As the pipeline asks, in slices, for so long. Numbers and times of arrival; a 0 for the end.
    pub fn for_ms(&mut self, ms: u64) -> Vec<(u64, u64)> {
        let end = self.clock.now().plus(Duration::from_millis(ms));
        let mut got = vec![];
        loop {
            let until = end.min(self.clock.now().plus(Duration::from_millis(50)));
            match self.source.next_frame(&mut self.frame, until).unwrap() {
                Delivery::Frame => {
                    assert_eq!(self.frame.meta.arrived_at, self.clock.now());
                    got.push((self.frame.meta.number, self.now_ms()));
                }
                Delivery::Idle => {
                    assert!(self.clock.now() >= until, "idle only when the time is up")
                }
                Delivery::End => {
                    got.push((0, self.now_ms()));
                    return got;
                }
            }
            if self.clock.now() >= end {
                return got;
            }
        }
    }

    fn numbers_for_ms(&mut self, ms: u64) -> Vec<u64> {
        self.for_ms(ms).iter().map(|got| got.0).collect()
    }
}

#[test]
fn a_pause_lasts_until_it_is_ended_and_is_not_caught_up() {
    let mut playing = play(100, ReplayOptions::default());
    assert_eq!(playing.for_ms(250), [(100, 0), (101, 100), (102, 200)]);
    playing.remote.ask(Command::PauseOrGo);
    assert_eq!(playing.for_ms(60_000), []);
    assert!(playing.remote.state().is_paused);
    playing.remote.ask(Command::PauseOrGo);
    assert_eq!(playing.for_ms(250), [(103, 60_250), (104, 60_350), (105, 60_450)]);
    assert!(!playing.remote.state().is_paused);
    assert_eq!(playing.source.info().expected_frames, Some(100), "a pause loses nothing");
}

/// Asks for something in the middle of a wait.
#[derive(Default)]
struct AskingClock {
    time: ManualClock,
    remote: Mutex<Option<Remote>>,
    /// In ms.
    commands: Mutex<Vec<(u64, Command)>>,
}

impl Clock for AskingClock {
    fn now(&self) -> HostTime {
        self.time.now()
    }
    fn sleep_until(&self, t: HostTime) {
        self.time.sleep_until(t);
        if let Some(remote) = &*self.remote.lock().unwrap() {
            let is_past = |command: &mut (u64, Command)| command.0 * 1_000_000 <= t.as_ns();
            let mut commands = self.commands.lock().unwrap();
            commands.extract_if(.., is_past).for_each(|(_, command)| remote.ask(command));
        }
    }
    fn unix_ns(&self, t: HostTime) -> i64 {
        self.time.unix_ns(t)
    }
}

#[test]
fn a_command_is_answered_within_30_ms() {
    let clock = Arc::new(AskingClock::default());
    let file = File::new();
    let path = file.put(&write_bag(&spec(300)).bytes);
    // A second between frames.
    let options = ReplayOptions { speed: 0.1, ..ReplayOptions::default() };
    let mut source = RecordingSource::open(&path, options, clock.clone()).unwrap();
    *clock.remote.lock().unwrap() = Some(source.remote());
    let seek = Command::SeekBy { ns: 5 * SECOND };
    let steps = [(1500, Command::Step), (1777, Command::Step)];
    let others = [(5555, seek), (9999, Command::PauseOrGo), (10_100, seek)];
    *clock.commands.lock().unwrap() = [&steps[..], &others].concat();
    let mut frame = DepthFrame::default();
    let want =
        [(100, 0), (101, 1000), (102, 1500), (103, 1777), (153, 5555), (154, 9999), (204, 10_100)];
    for (number, asked_ms) in want {
        assert_eq!(source.next_frame(&mut frame, FOREVER).unwrap(), Delivery::Frame);
        let at_ms = clock.now().as_ns() / 1_000_000;
        assert_eq!(frame.meta.number, number);
        let is_soon = (asked_ms..=asked_ms + 30).contains(&at_ms);
        assert!(is_soon, "{number}: asked for at {asked_ms}, came at {at_ms}");
    }
}

#[test]
fn a_step_delivers_one_frame_in_order_and_stays_paused() {
    let mut playing = play(100, ReplayOptions::default());
    assert_eq!(playing.numbers_for_ms(150), [100, 101]);
    playing.remote.ask(Command::Step);
    assert_eq!(playing.for_ms(1000), [(102, 150)], "at once, also where it was not due yet");
    assert!(playing.remote.state().is_paused);
    for number in [103, 104] {
        playing.remote.ask(Command::Step);
        assert_eq!(playing.numbers_for_ms(1000), [number]);
    }
    (0..3).for_each(|_| playing.remote.ask(Command::Step));
    // Of three steps at once none is lost.
    assert_eq!(playing.numbers_for_ms(1000), [105, 106, 107]);
    assert_eq!(playing.remote.state().number, Some(107));
    playing.remote.ask(Command::PauseOrGo);
    let from_ms = playing.now_ms();
    assert_eq!(playing.for_ms(150), [(108, from_ms), (109, from_ms + 100)]);

    let mut short = play(2, ReplayOptions::default());
    (0..3).for_each(|_| short.remote.ask(Command::Step));
    assert_eq!(short.numbers_for_ms(1000), [100, 101, 0], "a step from the last frame is the end");
}

#[test]
fn a_seek_leads_to_the_first_frame_at_that_time() {
    let mut playing = play(200, ReplayOptions::default());
    assert_eq!(playing.numbers_for_ms(250), [100, 101, 102]);
    playing.seek(5.0);
    let from_ms = playing.now_ms();
    assert_eq!(playing.for_ms(150), [(152, from_ms), (153, from_ms + 100)]);
    assert_eq!(playing.remote.state().position, Duration::from_millis(5300));
    assert_eq!(playing.source.info().expected_frames, None);
    playing.seek(-2.05);
    assert_eq!(playing.numbers_for_ms(50), [133], "between two frames, the later one");
    (0..2).for_each(|_| playing.seek(5.0));
    assert_eq!(playing.numbers_for_ms(50), [233], "two at once lead twice as far");
    playing.seek(-5.0);
    playing.seek(-60.0);
    assert_eq!(playing.numbers_for_ms(150), [100, 101], "the start is as far as it goes");
    playing.seek(1000.0);
    assert_eq!(playing.numbers_for_ms(150), [0], "and past the end is the end");
}

#[test]
fn a_seek_while_paused_shows_the_frame_there() {
    let mut playing = play(200, ReplayOptions::default());
    assert_eq!(playing.numbers_for_ms(50), [100]);
    playing.remote.ask(Command::PauseOrGo);
    playing.seek(5.0);
    assert_eq!(playing.numbers_for_ms(1000), [150]);
    assert!(playing.remote.state().is_paused);
    playing.seek(5.0);
    playing.remote.ask(Command::Step);
    assert_eq!(playing.numbers_for_ms(1000), [200, 201]);
    playing.seek(-5.0);
    playing.seek(-5.0);
    assert_eq!(playing.numbers_for_ms(1000), [101]);
    playing.remote.ask(Command::PauseOrGo);
    assert_eq!(playing.numbers_for_ms(150), [102, 103]);
}

#[test]
fn the_speed_changes_from_the_next_frame_on() {
    let mut playing = play(1000, ReplayOptions::default());
    assert_eq!(playing.for_ms(250), [(100, 0), (101, 100), (102, 200)]);
    playing.remote.ask(Command::SpeedBy(2.0));
    assert_eq!(playing.for_ms(120), [(103, 250), (104, 300), (105, 350)]);
    assert_eq!(playing.remote.state().speed, Some(2.0));
    (0..3).for_each(|_| playing.remote.ask(Command::SpeedBy(0.5)));
    assert_eq!(playing.for_ms(800), [(106, 370), (107, 770), (108, 1170)]);
    (0..20).for_each(|_| playing.remote.ask(Command::SpeedBy(2.0)));
    // 0.195 ms from frame to frame.
    assert_eq!(playing.for_ms(3).len(), 16);
    assert_eq!(playing.remote.state().speed, Some(512.0), "what would leave the range is not done");

    let mut at_once = play(3, ReplayOptions { pace: Pace::Max, ..ReplayOptions::default() });
    at_once.remote.ask(Command::SpeedBy(0.5));
    assert_eq!(at_once.for_ms(10), [(100, 0), (101, 0), (102, 0), (0, 0)]);
    assert_eq!(at_once.remote.state().speed, None);
}

#[test]
fn frames_that_are_delivered_at_once_can_be_paused_too() {
    let mut playing = play(100, ReplayOptions { pace: Pace::Max, ..ReplayOptions::default() });
    playing.remote.ask(Command::Step);
    assert_eq!(playing.numbers_for_ms(100), [100]);
    playing.seek(9.8);
    assert_eq!(playing.numbers_for_ms(100), [198]);
    playing.remote.ask(Command::PauseOrGo);
    assert_eq!(playing.numbers_for_ms(100), [199, 0]);
}

#[test]
fn a_section_is_not_left() {
    let [from, to] = [2, 4].map(|s| Some(Duration::from_secs(s)));
    let section = ReplayOptions { from, to, ..ReplayOptions::default() };
    let mut playing = play(100, section.clone());
    let PlayState { start, end, position, .. } = playing.remote.state();
    assert_eq!((start.as_secs(), position.as_secs()), (2, 2));
    assert!(end.is_some_and(|end| end.at.as_secs() == 4 && !end.is_estimate));
    assert_eq!(playing.numbers_for_ms(150), [120, 121]);
    playing.seek(1.0);
    assert_eq!(playing.numbers_for_ms(50), [131]);
    playing.seek(-60.0);
    assert_eq!(playing.numbers_for_ms(50), [120]);
    playing.seek(1.9);
    assert_eq!(playing.numbers_for_ms(150), [139, 0]);
    let mut playing = play(100, section);
    playing.seek(2.0);
    assert_eq!(playing.numbers_for_ms(50), [0]);
}

#[test]
fn in_a_loop_time_goes_on_whatever_was_sought() {
    let looped = ReplayOptions { looped: true, ..ReplayOptions::default() };
    let mut playing = play(60, looped.clone());
    let mut stamp_ms = |seconds: f64, number: u64| {
        playing.seek(seconds);
        assert_eq!(playing.numbers_for_ms(50), [number]);
        assert!(playing.frame.meta.is_restart);
        playing.frame.meta.device_time.unwrap().ms
    };
    assert_eq!(stamp_ms(5.0, 150), 55_000.0);
    assert_eq!(stamp_ms(-1.0, 140), 54_000.0, "back in the recording is back in time");
    // The frame behind it had been looked up already.
    assert_eq!(stamp_ms(5.0, 100), 54_200.0, "behind the end it begins again, a period later");
    assert_eq!(stamp_ms(5.0, 150), 59_200.0);
    assert_eq!(stamp_ms(-9.0, 100), 54_200.0, "not back into the pass before");
    assert_eq!(stamp_ms(50.0, 100), 54_400.0);

    let from = Some(Duration::from_secs(3));
    let mut sought_at_once = play(60, ReplayOptions { from, ..looped });
    sought_at_once.seek(60.0);
    let got = sought_at_once.for_ms(3150);
    assert_eq!(got.len(), 32);
    assert_eq!((got[0].0, got[29].0, got[30].0), (130, 159, 130));
}

#[test]
fn the_first_frame_behind_a_jump_says_so() {
    let mut playing = play(60, ReplayOptions { looped: true, ..ReplayOptions::default() });
    let restarts = |playing: &mut Playing, count: usize| {
        let mut got = vec![];
        while got.len() < count {
            let until = playing.clock.now().plus(Duration::from_millis(50));
            if playing.source.next_frame(&mut playing.frame, until).unwrap() == Delivery::Frame {
                got.push((playing.frame.meta.number, playing.frame.meta.is_restart));
            }
        }
        got
    };
    assert_eq!(restarts(&mut playing, 2), [(100, false), (101, false)]);
    playing.seek(5.7);
    assert_eq!(restarts(&mut playing, 4), [(158, true), (159, false), (100, true), (101, false)]);
}

#[test]
fn how_long_it_is_becomes_certain_at_the_end() {
    // Promised 10 a second, and recorded at 20.
    let stamps_ns = (0..21).map(|n| n * 50_000_000).collect();
    let options = ReplayOptions { looped: true, ..ReplayOptions::default() };
    let mut playing = play_with(&Spec { stamps_ns, ..spec(0) }, options);
    let end = |playing: &Playing| {
        playing.remote.state().end.map(|end| (end.at.as_millis(), end.is_estimate))
    };
    assert_eq!(end(&playing), Some((2000, true)));
    assert_eq!(playing.for_ms(1140).len(), 22);
    assert_eq!(end(&playing), Some((1000, false)));
}

#[test]
fn colours_stay_with_their_frames() {
    let base = spec(100);
    let stamps_ns = base.stamps_ns.iter().map(|ns| ns + 3_000_000).collect();
    let color = Color { stamps_ns, ..Color::default() };
    let spec = Spec { has_color: true, color, ..base };
    let options = ReplayOptions { color: true, looped: true, ..ReplayOptions::default() };
    let mut playing = play_with(&spec, options);
    let mut check = |seconds: f64, ms: u64| {
        playing.seek(seconds);
        let end = playing.clock.now().plus(Duration::from_millis(ms));
        let mut numbers = vec![];
        while playing.clock.now() < end {
            if playing.source.next_frame(&mut playing.frame, end).unwrap() == Delivery::Frame {
                let (meta, color) = (playing.frame.meta, playing.frame.color.take().unwrap());
                assert_eq!(color.number, meta.number - 100);
                let apart_ms = color.device_time.unwrap().ms - meta.device_time.unwrap().ms;
                assert!((apart_ms - 3.0).abs() < 1e-3, "{}: {apart_ms}", meta.number);
                numbers.push(meta.number);
            }
        }
        numbers
    };
    assert_eq!(check(5.0, 150), [150, 151]);
    assert_eq!(check(-2.0, 150), [131, 132]);
    assert_eq!(check(6.6, 250), [198, 199, 100]);
    assert_eq!(check(0.5, 50), [105]);
}

#[test]
fn damage_that_was_seen_is_told_whatever_is_sought_later() {
    let damaged = Spec { short_frames: vec![3], ..spec(100) };
    let mut playing = play_with(&damaged, ReplayOptions::default());
    assert_eq!(playing.numbers_for_ms(450), [100, 101, 102, 104]);
    assert_eq!(playing.source.damage().frames_lost, 1);
    for seconds in [5.0, -60.0, 5.0] {
        playing.seek(seconds);
        playing.for_ms(350);
        assert_eq!(playing.source.damage().frames_lost, 1);
    }
}
