//! Where depth frames come from: one trait, one room per kind of source.
//!
//! | source | clock of `device_time` | when `arrived_at` is read |
//! | --- | --- | --- |
//! | [`synthetic`] | its own schedule (`hardware_clock`) | when the frame is due |
//! | `realsense` | the camera's, in librealsense's domain | librealsense gives the frame, unfiltered |
//! | [`recording`] | that of the recorded camera | the reader delivers it, at its pace or at once |

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{self as channel, RecvTimeoutError};
use serde::Serialize;

use crate::camera::ColorCamera;
use crate::clock::HostTime;
use crate::frame::DepthFrame;
pub use crate::frame::{ColorStream, DepthStream};
use crate::recording::{Damage, RecordingError};

pub mod motion;
pub mod options;
#[cfg(feature = "realsense")]
pub mod realsense;
pub mod recording;
pub mod synthetic;
pub mod watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    Synthetic,
    Realsense,
    Recording,
}

impl SourceKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Synthetic => "synthetic",
            Self::Realsense => "realsense",
            Self::Recording => "recording",
        }
    }
}

/// What a source tells about itself once it is open.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceInfo {
    pub kind: SourceKind,
    /// The camera's name or the path of the recording.
    pub name: String,
    /// Further facts for people (device, serial, firmware ...), in the order to show them.
    pub facts: Vec<(&'static str, String)>,
    pub stream: DepthStream,
    /// Where colour was asked for and is delivered with each depth frame.
    pub color: Option<ColorStream>,
    /// Frames that the source will deliver, where it knows.
    pub expected_frames: Option<u64>,
}

impl SourceInfo {
    /// The colour camera as the projection needs it.
    pub fn color_camera(&self) -> Option<ColorCamera> {
        let &ColorStream { intrinsics, from_depth, .. } = self.color.as_ref()?;
        Some(ColorCamera { intrinsics, from_depth })
    }
}

/// What a call for a frame brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The frame given was filled.
    Frame,
    /// Nothing yet; ask again.
    Idle,
    /// There will be no more frames.
    End,
}

/// The contract of a source. The capture thread alone drives it.
pub trait FrameSource: Send {
    fn info(&self) -> &SourceInfo;

    /// Waits for the next frame, at most until `until`, and writes it into `frame`, which is of the
    /// stream's size: all its fields are the source's to set.
    ///
    /// # Errors
    /// Any error ends the run, except one whose [`SourceError::kind`] is [`ErrorKind::Retry`].
    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery>;

    /// What was found damaged so far.
    fn damage(&self) -> Damage {
        Damage::default()
    }

    /// What the camera's motion sensors measure, where that was asked for.
    fn motion(&self) -> Option<motion::Motion> {
        None
    }

    /// Shows how a camera fares that comes back by itself.
    fn monitor(&self) -> Option<watch::Monitor> {
        None
    }
}

/// What the pipeline is to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Passing; ask for the next frame again.
    Retry,
    /// Final.
    Fatal,
}

pub type Result<T, E = SourceError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The file is not what its name or the command says.
    #[error("{}: {problem}", path.display())]
    Format { path: PathBuf, problem: String },
    /// There is no camera, or not the one asked for. The text says what to check.
    #[error("{0}")]
    NoCamera(String),
    /// A camera that cannot be started, though it may be there.
    #[error("{0}")]
    NotStarted(String),
    /// A camera that did not open in time.
    #[error("{0}; unplug it and plug it in again, and start again")]
    NotOpened(String),
    /// No frame came for as long as it was waited for.
    #[error("{0}")]
    GivenUp(String),
    /// The thread or driver that served the camera is gone.
    #[error("the camera was lost: {0}; start again")]
    Lost(String),
    /// The camera was started and sends nothing.
    #[error("{0}")]
    Silent(String),
    /// librealsense reported an error.
    #[error("librealsense: {what}: {message}")]
    Sdk { what: &'static str, message: String, kind: ErrorKind },
    /// A setting that this source cannot follow.
    #[error("{0}")]
    Unsupported(String),
}

impl SourceError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Sdk { kind, .. } => *kind,
            Self::Silent(_) => ErrorKind::Retry,
            _ => ErrorKind::Fatal,
        }
    }
}

/// A source that is open, or why it is not.
pub type Opened = Result<Box<dyn FrameSource>>;
/// Opens one source.
pub type Opener = Box<dyn FnOnce() -> Opened + Send>;

/// Opens all at once, each on a thread of its own, and waits for them for at most `patience`, however
/// many hang. What opens later is closed again.
pub fn open_all(openers: Vec<Opener>, patience: Duration) -> Vec<Opened> {
    let deadline = Instant::now() + patience;
    let start = |opener: Opener| {
        let (tx, rx) = channel::bounded(1);
        // If nobody waits any more, what was opened goes again.
        let opening = move || drop(tx.send(opener()));
        thread::Builder::new().name("open".into()).spawn(opening).map(|_| rx)
    };
    let started: Vec<_> = openers.into_iter().map(start).collect();
    let opened = started.into_iter().map(|opening| {
        let opening = opening.map_err(|error| {
            SourceError::NotStarted(format!("cannot start a thread to open it: {error}"))
        })?;
        opening.recv_deadline(deadline).unwrap_or_else(|error| {
            Err(SourceError::NotOpened(match error {
                RecvTimeoutError::Disconnected => "opening it panicked".into(),
                _ => format!("it could not be opened within {:.0} s", patience.as_secs_f64()),
            }))
        })
    });
    opened.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hangs_or_panics_leaves_the_others_alone() {
        let unsupported = || Err(SourceError::Unsupported("no".into()));
        let openers: Vec<Opener> = vec![
            Box::new(move || {
                thread::sleep(Duration::from_secs(60));
                unsupported()
            }),
            Box::new(unsupported),
            Box::new(|| panic!("on purpose")),
        ];
        let opened = open_all(openers, Duration::from_millis(500));
        let starts = ["it could not be opened within", "no", "opening it panicked"];
        for (opened, start) in opened.into_iter().zip(starts) {
            let error = opened.err().unwrap().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
