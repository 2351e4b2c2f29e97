//! Calls to a driver that may take seconds, made on a thread of their own.
//!
//! The driver goes with the call and comes back with the answer. A call that never returns is left behind with its driver.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{CameraDriver, Started};
use crate::clock::{Clock, HostTime};
use crate::source::SourceError;

/// How often a call is asked whether it has returned.
const GLANCE: Duration = Duration::from_millis(5);
/// How long the end of a run waits for a camera to stop.
const STOPPING: Duration = Duration::from_millis(1500);

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
}

pub(super) enum Call<C> {
    Answered(C, Answer),
    Running(JoinHandle<(C, Answer)>),
}

impl<C: CameraDriver> Call<C> {
    pub(super) fn begin(mut driver: C, request: Request) -> Result<Self, SourceError> {
        if !C::BLOCKS {
            let answer = request.ask(&mut driver);
            return Ok(Self::Answered(driver, answer));
        }
        let call = move || {
            let answer = request.ask(&mut driver);
            (driver, answer)
        };
        thread::Builder::new()
            .name("camera".into())
            .spawn(call)
            .map(Self::Running)
            .map_err(|e| lost(&format!("cannot start the camera thread: {e}")))
    }

    /// Waits for the answer until `until`; gives back the call if there is none yet.
    pub(super) fn wait(self, clock: &dyn Clock, until: HostTime) -> Result<Result<(C, Answer), Self>, SourceError> {
        match self {
            Self::Answered(driver, answer) => Ok(Ok((driver, answer))),
            Self::Running(thread) => {
                wait(&thread, clock, until);
                if !thread.is_finished() {
                    return Ok(Err(Self::Running(thread)));
                }
                thread.join().map(Ok).map_err(|_| lost("the camera thread panicked"))
            }
        }
    }
}

fn wait<T>(thread: &JoinHandle<T>, clock: &dyn Clock, until: HostTime) {
    while !thread.is_finished() && clock.now() < until {
        clock.sleep_until(until.min(clock.now().plus(GLANCE)));
    }
}

/// Stops the camera. One that takes too long is left behind.
pub(super) fn release<C: CameraDriver>(mut driver: C, clock: &dyn Clock) {
    if !C::BLOCKS {
        return driver.stop();
    }
    let thread = thread::Builder::new().name("camera".into()).spawn(move || {
        driver.stop();
        drop(driver);
    });
    if let Ok(thread) = thread {
        wait(&thread, clock, clock.now().plus(STOPPING));
        if !thread.is_finished() {
            tracing::warn!("the camera did not stop in time and was left behind");
        }
    }
}

/// Without its driver there is no camera any more.
pub(super) fn lost(problem: &str) -> SourceError {
    SourceError::NoCamera(format!("the camera was lost: {problem}; start again"))
}
