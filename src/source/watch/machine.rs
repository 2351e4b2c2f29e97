//! The states of a watched camera and what leads from one to the next; see the table in `watch`.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use super::driver::{Answer, Call, DriverGuard, Request};
use super::{
    CameraDriver, FIRST_FRAME, Health, MOST_HUNG_CALLS, Monitor, Reconnect, SILENCE, Started, State,
};
use crate::camera::Intrinsics;
use crate::clock::{Clock, HostTime};
use crate::frame::DepthFrame;
use crate::source::motion::Motion;
use crate::source::{Delivery, ErrorKind, FrameSource, Result, SourceError, SourceInfo};

/// The longest wait.
const SLICE: Duration = Duration::from_millis(50);
/// A camera that streams for so long has recovered: the next stall starts with short pauses again.
const STEADY: Duration = Duration::from_secs(10);
/// After a reset a camera is still listed for a moment, and would be started in vain.
const SETTLE: Duration = Duration::from_secs(2);
/// Failed starts after which a camera that is there is reset; udev may not have run at the first.
const STARTS: u32 = 3;

/// What is being done.
enum Work<C: CameraDriver> {
    /// Frames are awaited.
    Frames(DriverGuard<C>),
    /// Then the camera is looked for.
    Pause(DriverGuard<C>, HostTime),
    Call(Call<C>),
    /// An error has ended it all.
    Ended,
}

/// A driver's camera as a source that comes back.
pub struct Watched<C: CameraDriver> {
    motion: Option<Motion>,
    clock: Arc<dyn Clock>,
    monitor: Monitor,
    reconnect: Reconnect,
    /// The camera asked for, or the one that the first start has found.
    serial: Option<String>,
    /// Of the first start.
    info: Option<SourceInfo>,
    state: State,
    work: Work<C>,
    /// The last frame, or the start, and how long there may be none after it.
    awaited_since: HostTime,
    patience: Duration,
    /// The first frame after a start is still to come.
    is_first: bool,
    /// A frame has been asked for.
    is_asked: bool,
    /// When it last came back.
    back_since: Option<HostTime>,
    stalled_at: HostTime,
    failed_starts: u32,
    last_error: Option<String>,
    /// What is there instead of the camera, when that was last said.
    others: Vec<String>,
    looks: Backoff,
    tries: Backoff,
}

impl<C: CameraDriver> FrameSource for Watched<C> {
    fn info(&self) -> &SourceInfo {
        self.info.as_ref().expect("`open` waits for it")
    }

    /// Goes on with what is being done, for at most 50 ms.
    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery> {
        self.check_patience()?;
        let until = until.min(self.clock.now().plus(SLICE));
        match std::mem::replace(&mut self.work, Work::Ended) {
            Work::Frames(driver) => return self.await_frame(driver, frame, until),
            Work::Pause(driver, end) => {
                self.clock.sleep_until(end.min(until));
                if self.clock.now() < end {
                    self.work = Work::Pause(driver, end);
                } else {
                    self.call(driver, Request::Look)?;
                }
            }
            Work::Call(call) if call.is_pending(&*self.clock, until) => {
                self.work = Work::Call(call);
            }
            Work::Call(call) => {
                let (driver, answer, is_hung) = call.finish(&self.clock)?;
                self.monitor.count(|health| health.hung_calls += u64::from(is_hung));
                if self.monitor.health(self.clock.now()).hung_calls >= MOST_HUNG_CALLS {
                    let why = format!("{MOST_HUNG_CALLS} calls of its driver have not returned");
                    return Err(SourceError::Lost(why));
                }
                self.answered(driver, answer)?;
            }
            Work::Ended => return Err(SourceError::Lost("it has ended before".into())),
        }
        Ok(Delivery::Idle)
    }

    fn motion(&self) -> Option<Motion> {
        self.motion.clone()
    }

    fn monitor(&self) -> Option<Monitor> {
        Some(self.monitor.clone())
    }
}

impl<C: CameraDriver> Watched<C> {
    /// Starts the camera with this serial number, or the first, and waits until its stream is known.
    ///
    /// # Errors
    /// If it can't be started, or stays silent for as long as `reconnect` says.
    pub fn open(
        driver: C,
        serial: Option<String>,
        reconnect: Reconnect,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (now, motion) = (clock.now(), driver.motion());
        let driver = DriverGuard::new(driver, &clock);
        let call = Call::start(driver, Request::Start(serial.clone()), &*clock)?;
        let mut this = Self {
            motion,
            monitor: Monitor::new(now, serial.as_deref()),
            reconnect,
            work: Work::Call(call),
            serial,
            info: None,
            state: State::Starting,
            awaited_since: now,
            patience: FIRST_FRAME,
            is_first: true,
            is_asked: false,
            back_since: None,
            stalled_at: now,
            failed_starts: 0,
            last_error: None,
            others: Vec::new(),
            looks: Backoff::new(Duration::from_millis(250), Duration::from_secs(2)),
            tries: Backoff::new(Duration::from_millis(500), Duration::from_secs(8)),
            clock,
        };
        let mut none_yet = DepthFrame::default();
        while this.info.is_none() {
            this.next_frame(&mut none_yet, this.clock.now().plus(SLICE))?;
        }
        Ok(this)
    }

    fn await_frame(
        &mut self,
        mut driver: DriverGuard<C>,
        frame: &mut DepthFrame,
        until: HostTime,
    ) -> Result<Delivery> {
        if !std::mem::replace(&mut self.is_asked, true) {
            // The viewer was opened meanwhile.
            self.awaited_since = self.clock.now();
        }
        match driver.get_mut().next_frame(frame, until) {
            Ok(Delivery::Idle) => {}
            Ok(delivery) => {
                if delivery == Delivery::Frame {
                    self.arrived(frame);
                }
                self.work = Work::Frames(driver);
                return Ok(delivery);
            }
            Err(error) => {
                self.note(&error);
                if error.kind() == ErrorKind::Fatal {
                    return self.failed(driver, error.to_string()).map(|()| Delivery::Idle);
                }
                // A driver that fails at once must not make this a busy loop.
                self.clock.sleep_until(until);
            }
        }
        let silence = self.clock.now().since(self.awaited_since);
        if silence < self.patience {
            self.work = Work::Frames(driver);
            return Ok(Delivery::Idle);
        }
        let error = self.last_error.take().map(|error| format!(" ({error})")).unwrap_or_default();
        let why = format!("no frame for {:.1} s{error}", silence.as_secs_f64());
        self.failed(driver, why).map(|()| Delivery::Idle)
    }

    fn arrived(&mut self, frame: &mut DepthFrame) {
        let now = self.clock.now();
        (self.awaited_since, self.last_error) = (now, None);
        if !std::mem::take(&mut self.is_first) {
            if self.back_since.is_some_and(|since| since.plus(STEADY) <= now) {
                self.back_since = None;
                self.tries.reset();
            }
            return;
        }
        // The camera's counter and clock start with its stream.
        frame.meta.is_restart |= self.state != State::Starting;
        let fps = self.info.as_ref().map_or(30.0, |info| info.stream.nominal_fps);
        self.patience = SILENCE.max(Duration::try_from_secs_f64(10.0 / fps).unwrap_or(SILENCE));
        self.back_since = (self.state != State::Starting).then_some(now);
        if self.state == State::Reconnecting {
            self.monitor.count(|health| health.reconnects += 1);
        }
        self.change(State::Streaming, &format!("frame {}", frame.meta.number));
    }

    fn answered(&mut self, driver: DriverGuard<C>, answer: Answer) -> Result<()> {
        match answer {
            Answer::Started(Ok(started)) => self.started(driver, *started),
            Answer::Started(Err(error)) => {
                self.note(&error);
                let is_fatal = error.kind() == ErrorKind::Fatal;
                let cannot_heal = matches!(error, SourceError::Unsupported(_));
                if cannot_heal || (self.state == State::Starting && is_fatal) {
                    return Err(error);
                }
                // One that was started and stays silent needs more than patience.
                self.failed_starts = if is_fatal { self.failed_starts + 1 } else { 0 };
                self.failed(driver, error.to_string())
            }
            Answer::Seen(seen) => self.looked(driver, seen),
            Answer::Reset(reset) => {
                let why = reset.err().map_or("the camera was reset".into(), |error| {
                    self.note(&error);
                    format!("it could not be reset ({error})")
                });
                let pause = SETTLE.max(self.tries.pause());
                self.wait_for_it(driver, &why, pause);
                Ok(())
            }
        }
    }

    fn started(&mut self, driver: DriverGuard<C>, Started { info, serial }: Started) -> Result<()> {
        let serials = self.serial.as_ref().zip(serial.as_ref());
        if let Some((want, got)) = serials.filter(|(want, got)| want != got) {
            return self.failed(driver, format!("camera {got} was started instead of {want}"));
        }
        self.serial = self.serial.take().or(serial);
        match &self.info {
            Some(first) => check_same(first, &info)?,
            None => self.info = Some(info),
        }
        (self.awaited_since, self.patience, self.is_first) = (self.clock.now(), FIRST_FRAME, true);
        self.failed_starts = 0;
        self.work = Work::Frames(driver);
        Ok(())
    }

    fn looked(&mut self, driver: DriverGuard<C>, seen: Result<Vec<String>>) -> Result<()> {
        let is_there = match (&seen, &self.serial) {
            (Ok(serials), Some(serial)) => serials.contains(serial),
            (Ok(serials), None) => !serials.is_empty(),
            (Err(error), _) => {
                self.note(error);
                // Perhaps it can be started all the same.
                self.state == State::Stalled
            }
        };
        if is_there {
            self.looks.reset();
            if self.state == State::Stalled {
                self.monitor.count(|health| health.restarts += 1);
            }
            return self.call(driver, Request::Start(self.serial.clone()));
        }
        self.warn_of_others(seen.unwrap_or_default());
        let pause = self.looks.pause();
        self.wait_for_it(driver, "the camera is gone", pause);
        Ok(())
    }

    /// Says once what is there instead of the camera.
    fn warn_of_others(&mut self, others: Vec<String>) {
        if !others.is_empty() && others != self.others {
            let there = others.join(", ");
            let serial = self.serial.as_deref().unwrap_or("of any number");
            self.monitor.warn(&format!("there is {there}, and not {serial}, which is waited for"));
        }
        self.others = others;
    }

    /// What was done in this state did not bring frames; goes on to what helps more.
    fn failed(&mut self, driver: DriverGuard<C>, why: String) -> Result<()> {
        match self.state {
            State::Starting | State::Streaming => {
                let now = self.clock.now();
                self.stalled_at = now;
                self.failed_starts = 0;
                self.looks.reset();
                self.monitor.count(|health| health.stalls += 1);
                self.monitor.is_silent_since(self.awaited_since);
                // A camera that stalls again soon after it came back is left in peace for a while.
                let pause = self.back_since.map_or(Duration::ZERO, |_| self.tries.pause());
                self.change(State::Stalled, &why);
                if self.reconnect == Reconnect::Never {
                    return Err(self.give_up(&why, "--reconnect 60s tries to bring it back"));
                }
                self.work = Work::Pause(driver, now.plus(pause));
                Ok(())
            }
            State::Reconnecting if (1..STARTS).contains(&self.failed_starts) => {
                let pause = self.tries.pause();
                self.work = Work::Pause(driver, self.clock.now().plus(pause));
                Ok(())
            }
            State::Stalled | State::Resetting | State::Reconnecting => {
                self.monitor.count(|health| health.resets += 1);
                self.change(State::Resetting, &why);
                self.call(driver, Request::Reset(self.serial.clone()))
            }
        }
    }

    /// Looks for the camera after the pause.
    fn wait_for_it(&mut self, driver: DriverGuard<C>, why: &str, pause: Duration) {
        if self.state != State::Reconnecting {
            self.failed_starts = 0;
            self.change(State::Reconnecting, why);
        }
        self.work = Work::Pause(driver, self.clock.now().plus(pause));
    }

    fn call(&mut self, driver: DriverGuard<C>, request: Request) -> Result<()> {
        self.work = Work::Call(Call::start(driver, request, &*self.clock)?);
        Ok(())
    }

    fn change(&mut self, to: State, why: &str) {
        self.state = to;
        self.monitor.change(to, self.clock.now(), why);
    }

    fn note(&mut self, error: &SourceError) {
        self.monitor.count(|health| health.errors += 1);
        tracing::debug!("camera: {error}");
        self.last_error = Some(error.to_string());
    }

    /// Ends what has been tried for too long, even if a call has not returned yet.
    fn check_patience(&mut self) -> Result<()> {
        let Reconnect::For(limit) = self.reconnect else { return Ok(()) };
        let stalled_for = self.clock.now().since(self.stalled_at);
        if matches!(self.state, State::Starting | State::Streaming) || stalled_for < limit {
            return Ok(());
        }
        let Health { restarts, resets, .. } = self.monitor.health(self.clock.now());
        let error = self.last_error.take().map(|error| format!("; the last error was: {error}"));
        let tried = format!(
            "no frame for {:.0} s, with {restarts} restarts and {resets} resets of the camera \
             in this run{}",
            stalled_for.as_secs_f64(),
            error.unwrap_or_default()
        );
        Err(self.give_up(&tried, "--reconnect forever goes on trying"))
    }

    fn give_up(&mut self, why: impl Display, what_to_ask_for: &str) -> SourceError {
        self.work = Work::Ended;
        let name = self.info.as_ref().map_or("the camera", |info| &info.name);
        SourceError::GivenUp(format!(
            "{name}: {why}: unplug it and plug it in again, \
             and check that its port and cable are USB 3; {what_to_ask_for}"
        ))
    }
}

/// Pauses that double up to a limit.
struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.limit);
        pause
    }

    fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Buffers, rays and the viewer's camera were made for one size and calibration.
fn check_same(first: &SourceInfo, now: &SourceInfo) -> Result<()> {
    let mode = |SourceInfo { stream, .. }: &SourceInfo| {
        let Intrinsics { width, height, .. } = stream.intrinsics;
        format!("{width}x{height} at {:.0} fps", stream.nominal_fps)
    };
    let (was, is) = (mode(first), mode(now));
    let lenses = |info: &SourceInfo| (info.stream.intrinsics, info.color_camera());
    let odd = if was != is {
        format!("{is} instead of {was}: plug it into the port that it had (USB 3), and start again")
    } else if lenses(first) != lenses(now) {
        "another calibration; start again".into()
    } else {
        return Ok(());
    };
    Err(SourceError::Unsupported(format!("{}: it came back with {odd}", first.name)))
}

#[cfg(test)]
#[test]
fn pauses_double_up_to_the_limit_and_start_anew() {
    let mut backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(1));
    assert_eq!([300, 600, 1000, 1000].map(|_| backoff.pause().as_millis()), [300, 600, 1000, 1000]);
    backoff.reset();
    assert_eq!(backoff.pause(), Duration::from_millis(300));
}
