//! Calls to a driver that may take seconds, made on a thread of their own.
//!
//! The driver goes with the call and comes back with the answer. A call that does not return is
//! left behind with its driver, and another one takes its place.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::driver::Held;
use super::{CameraDriver, Started};
use crate::clock::{Clock, HostTime};
use crate::source::{ErrorKind, SourceError};

/// How long a call may take. Longer than any that ended well: librealsense waits five seconds for a
/// camera that does not answer.
pub const HANGS: Duration = Duration::from_secs(20);
/// How often a call is asked whether it has returned.
const GLANCE: Duration = Duration::from_millis(5);

#[derive(Debug, Clone)]
pub(super) enum Request {
    Start {
        serial: Option<String>,
    },
    /// Stops what runs, so that a camera that was pulled is let go of.
    Look,
    Reset {
        serial: Option<String>,
    },
}

pub(super) enum Answer {
    Started(Box<Result<Started, SourceError>>),
    Seen(Result<Vec<String>, SourceError>),
    Reset(Result<(), SourceError>),
}

impl Request {
    fn ask<C: CameraDriver>(self, driver: &mut C) -> Answer {
        match self {
            Self::Start { serial } => Answer::Started(Box::new(driver.start(serial.as_deref()))),
            Self::Look => {
                driver.stop();
                Answer::Seen(driver.look())
            }
            Self::Reset { serial } => Answer::Reset(driver.hardware_reset(serial.as_deref())),
        }
    }

    fn hangs(self) -> Answer {
        let message = format!("it has not returned for {} s", HANGS.as_secs());
        // As for a camera that stays silent, more than another start is needed.
        let error = |what| SourceError::Sdk { what, message, kind: ErrorKind::Retry };
        match self {
            Self::Start { .. } => Answer::Started(Box::new(Err(error("starting the camera")))),
            Self::Look => Answer::Seen(Err(error("looking for the camera"))),
            Self::Reset { .. } => Answer::Reset(Err(error("resetting the camera"))),
        }
    }
}

/// A call that has begun.
pub(super) enum Call<C: CameraDriver> {
    Answered(Held<C>, Answer),
    Running {
        request: Request,
        thread: JoinHandle<(C, Answer)>,
        /// For going on without the one that hangs.
        substitute: C,
        give_up_at: HostTime,
    },
}

/// What came of waiting for a call.
pub(super) enum Waited<C: CameraDriver> {
    Answered(Held<C>, Answer),
    /// It was left behind; the driver is another one.
    LeftBehind(Held<C>, Answer),
    NotYet(Call<C>),
}

impl<C: CameraDriver> Call<C> {
    pub(super) fn begin(
        mut driver: Held<C>,
        request: Request,
        clock: &dyn Clock,
    ) -> Result<Self, SourceError> {
        if !C::BLOCKS {
            let answer = request.ask(&mut *driver);
            return Ok(Self::Answered(driver, answer));
        }
        let mut driver = driver.into_inner();
        let substitute = driver.substitute();
        let call = {
            let request = request.clone();
            move || {
                let answer = request.ask(&mut driver);
                (driver, answer)
            }
        };
        let thread = thread::Builder::new().name("camera".into()).spawn(call);
        let thread = thread.map_err(|e| lost(&format!("cannot start the camera thread: {e}")))?;
        Ok(Self::Running { request, thread, substitute, give_up_at: clock.now().plus(HANGS) })
    }

    /// Waits for the answer until `until`.
    pub(super) fn wait(
        self,
        clock: &std::sync::Arc<dyn Clock>,
        until: HostTime,
    ) -> Result<Waited<C>, SourceError> {
        match self {
            Self::Answered(driver, answer) => Ok(Waited::Answered(driver, answer)),
            Self::Running { request, thread, substitute, give_up_at } => {
                wait(&thread, &**clock, until);
                if thread.is_finished() {
                    let (driver, answer) =
                        thread.join().map_err(|_| lost("the camera thread panicked"))?;
                    return Ok(Waited::Answered(Held::new(driver, clock), answer));
                }
                Ok(if clock.now() < give_up_at {
                    Waited::NotYet(Self::Running { request, thread, substitute, give_up_at })
                } else {
                    Waited::LeftBehind(Held::new(substitute, clock), request.hangs())
                })
            }
        }
    }
}

/// Waits for the thread's end, or until `until`.
pub(super) fn wait<T>(thread: &JoinHandle<T>, clock: &dyn Clock, until: HostTime) {
    while !thread.is_finished() && clock.now() < until {
        clock.sleep_until(until.min(clock.now().plus(GLANCE)));
    }
}

/// Without its driver there is no camera any more.
pub(super) fn lost(problem: &str) -> SourceError {
    SourceError::NoCamera(format!("the camera was lost: {problem}; start again"))
}
