//! What the watch asks of a camera, and calls to its driver that may take seconds: on a thread of
//! their own. The driver goes with the call and comes back with the answer, or is left behind.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::{Clock, HostTime};
use crate::frame::DepthFrame;
use crate::source::motion::Motion;
use crate::source::{Delivery, ErrorKind, Result, SourceError, SourceInfo};

/// How long a call may take: librealsense waits 5 s for a camera that does not answer.
pub const HANGS: Duration = Duration::from_secs(20);
/// How long the end of a run waits for a camera to stop.
const STOPPING: Duration = Duration::from_millis(1500);
/// How often a call is asked whether it has returned.
const POLL: Duration = Duration::from_millis(5);

/// What a driver has started.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    pub info: SourceInfo,
    /// The camera's serial number, where it has one.
    pub serial: Option<String>,
}

/// A camera as the machine needs it.
pub trait CameraDriver: Send + 'static {
    /// Whether calls other than `next_frame` may take longer than 50 ms: on another thread then.
    const BLOCKS: bool;

    /// Starts the stream of the camera with this serial number, or of any; later starts with the
    /// profile that the first one got. A stream that runs already is stopped first.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] if the camera was started and stays silent;
    /// [`SourceError::Unsupported`] if it will never do what it is asked for.
    fn start(&mut self, serial: Option<&str>) -> Result<Started>;

    /// Stops the stream, if it runs. Dropping the driver does so too.
    fn stop(&mut self);

    /// As [`FrameSource::next_frame`](crate::source::FrameSource::next_frame), for at most 50 ms.
    /// A fatal error means that the stream has to be started again.
    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery>;

    /// Serial numbers of all cameras that are there.
    fn look(&mut self) -> Result<Vec<String>>;

    /// Lets the camera with this serial number, or any, start anew; it goes away for some seconds.
    fn hardware_reset(&mut self, serial: Option<&str>) -> Result<()>;

    /// What the motion sensors measure, if asked for: the same at all starts and of a substitute.
    fn motion(&self) -> Option<Motion> {
        None
    }

    /// One that shares nothing with this one, for going on when a call does not return.
    fn substitute(&self) -> Self;
}

/// A driver that keeps nobody waiting when it goes: stopping a pulled camera can take for ever.
pub(super) struct DriverGuard<C: CameraDriver> {
    driver: Option<C>,
    clock: Arc<dyn Clock>,
}

impl<C: CameraDriver> DriverGuard<C> {
    pub(super) fn new(driver: C, clock: &Arc<dyn Clock>) -> Self {
        Self { driver: Some(driver), clock: Arc::clone(clock) }
    }

    pub(super) fn get_mut(&mut self) -> &mut C {
        self.driver.as_mut().expect("it is there until it goes")
    }

    fn into_inner(mut self) -> C {
        self.driver.take().expect("it is there until it goes")
    }
}

impl<C: CameraDriver> Drop for DriverGuard<C> {
    fn drop(&mut self) {
        let Some(driver) = self.driver.take().filter(|_| C::BLOCKS) else { return };
        let Ok(thread) = on_camera_thread(move || drop(driver)) else { return };
        wait(&thread, &*self.clock, self.clock.now().plus(STOPPING));
        if !thread.is_finished() {
            tracing::warn!("the camera did not stop in time and was left behind");
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Request {
    Start(Option<String>),
    /// Stops what runs, so that a camera that was pulled is let go of.
    Look,
    Reset(Option<String>),
}

pub(super) enum Answer {
    Started(Result<Box<Started>>),
    Seen(Result<Vec<String>>),
    Reset(Result<()>),
}

impl Request {
    fn ask<C: CameraDriver>(self, driver: &mut C) -> Answer {
        match self {
            Self::Start(serial) => Answer::Started(driver.start(serial.as_deref()).map(Box::new)),
            Self::Look => {
                driver.stop();
                Answer::Seen(driver.look())
            }
            Self::Reset(serial) => Answer::Reset(driver.hardware_reset(serial.as_deref())),
        }
    }

    /// The answer for a call that does not return.
    fn hangs(self) -> Answer {
        let message = format!("it has not returned for {} s", HANGS.as_secs());
        // As for a camera that stays silent, more than another start is needed.
        let error = |what| SourceError::Sdk { what, message, kind: ErrorKind::Retry };
        match self {
            Self::Start(_) => Answer::Started(Err(error("starting the camera"))),
            Self::Look => Answer::Seen(Err(error("looking for the camera"))),
            Self::Reset(_) => Answer::Reset(Err(error("resetting the camera"))),
        }
    }
}

/// A call that was started.
pub(super) enum Call<C: CameraDriver> {
    Answered(DriverGuard<C>, Answer),
    Running {
        request: Request,
        thread: JoinHandle<(C, Answer)>,
        /// For going on without the one that hangs.
        substitute: C,
        give_up_at: HostTime,
    },
}

impl<C: CameraDriver> Call<C> {
    pub(super) fn start(
        mut driver: DriverGuard<C>,
        request: Request,
        clock: &dyn Clock,
    ) -> Result<Self> {
        if !C::BLOCKS {
            let answer = request.ask(driver.get_mut());
            return Ok(Self::Answered(driver, answer));
        }
        let mut driver = driver.into_inner();
        let (substitute, asked) = (driver.substitute(), request.clone());
        let thread = on_camera_thread(move || {
            let answer = asked.ask(&mut driver);
            (driver, answer)
        })
        .map_err(|error| SourceError::Lost(format!("cannot start the camera thread: {error}")))?;
        Ok(Self::Running { request, thread, substitute, give_up_at: clock.now().plus(HANGS) })
    }

    /// Waits until `until`: whether there is no answer yet.
    pub(super) fn is_pending(&self, clock: &dyn Clock, until: HostTime) -> bool {
        let Self::Running { thread, give_up_at, .. } = self else { return false };
        wait(thread, clock, until);
        !thread.is_finished() && clock.now() < *give_up_at
    }

    /// The driver, the answer, and whether the call hangs: then it is left behind, and the driver
    /// is another one.
    pub(super) fn finish(self, clock: &Arc<dyn Clock>) -> Result<(DriverGuard<C>, Answer, bool)> {
        let (driver, answer, is_hung) = match self {
            Self::Answered(driver, answer) => return Ok((driver, answer, false)),
            Self::Running { thread, .. } if thread.is_finished() => {
                let lost = |_| SourceError::Lost("the camera thread panicked".into());
                let (driver, answer) = thread.join().map_err(lost)?;
                (driver, answer, false)
            }
            Self::Running { request, substitute, .. } => (substitute, request.hangs(), true),
        };
        Ok((DriverGuard::new(driver, clock), answer, is_hung))
    }
}

fn on_camera_thread<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    thread::Builder::new().name("camera".into()).spawn(f)
}

/// Waits for the thread's end, or until `until`.
fn wait<T>(thread: &JoinHandle<T>, clock: &dyn Clock, until: HostTime) {
    while !thread.is_finished() && clock.now() < until {
        clock.sleep_until(until.min(clock.now().plus(POLL)));
    }
}
