//! A camera that is watched, and restarted when it falls silent or its cable was pulled.
//!
//! ```text
//! starting ──> streaming ──> stalled ──> resetting ──> reconnecting ──> streaming
//! ```
//!
//! - `starting`: the stream was started, and its first frame is awaited for [`FIRST_FRAME`]. Leads
//!   to `streaming` or `stalled`.
//! - `streaming`: frames are delivered. Leads to `stalled` after [`SILENCE`] or ten periods without
//!   a frame, or after an error that does not pass.
//! - `stalled`: the camera is looked for; if it is there, its stream is started again (`restarts`).
//!   Leads to `streaming`, to `resetting` if that does not help, to `reconnecting` if it is gone.
//! - `resetting`: the camera is reset (`resets`). Leads to `reconnecting`.
//! - `reconnecting`: the camera is looked for until it is there, then its stream is started. Leads
//!   to `streaming` (`reconnects`), or to `resetting` if it sends nothing, or cannot be started
//!   three times.
//!
//! Between attempts there are pauses that double up to a limit. All this goes on for as long as
//! [`Reconnect`] says; then, and at once where nothing can heal (the first start fails, the camera
//! has no such profile), the run ends with the reason. Downstream nothing is seen of it but a gap
//! in time: the first frame after each start says that it is a restart. Only the camera with the
//! serial number of the first start is taken back, and only with the image size and calibration
//! that the run started with.
//!
//! The machine knows no librealsense: it drives a [`CameraDriver`]. What a driver does in `start`,
//! `look` and `hardware_reset` may take seconds, so it happens on a thread of its own while the
//! capture thread goes on answering; no wait is longer than 50 ms. A call that has not returned
//! after [`HANGS`] is left behind (`hung_calls`), and another driver goes on where it was; after
//! [`MOST_HUNG_CALLS`] the run ends. Before the camera has been opened there is no run yet to be
//! stopped: a signal ends the program itself.

mod driver;
mod health;
mod machine;

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

pub use driver::{CameraDriver, HANGS, Started};
pub use health::{Change, Health, Monitor, State};
pub use machine::Watched;

use crate::words::parse_duration;

/// How long a stream may take to send its first frame.
pub const FIRST_FRAME: Duration = Duration::from_secs(5);
/// Calls that may be left behind: each keeps a thread and what the library holds for it.
pub const MOST_HUNG_CALLS: u64 = 8;
/// How long a streaming camera may be silent, if ten of its periods are not longer.
pub const SILENCE: Duration = Duration::from_secs(1);

/// How long a camera is tried to be brought back: `--reconnect 60s|forever|never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Reconnect {
    /// The first stall is the end.
    Never,
    /// For so long after each stall.
    For(Duration),
    Forever,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::For(Duration::from_secs(60))
    }
}

impl FromStr for Reconnect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            "forever" => Ok(Self::Forever),
            _ => match parse_duration(text) {
                Ok(Duration::ZERO) => Ok(Self::Never),
                Ok(duration) => Ok(Self::For(duration)),
                Err(error) => Err(format!("{error}; or never, or forever")),
            },
        }
    }
}

impl TryFrom<String> for Reconnect {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_never_or_forever() {
        for (text, want) in [
            ("60s", Reconnect::default()),
            ("2m", Reconnect::For(Duration::from_secs(120))),
            ("0s", Reconnect::Never),
            ("never", Reconnect::Never),
            ("forever", Reconnect::Forever),
        ] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for bad in ["", "always", "-1s", "60 bananas"] {
            let error = bad.parse::<Reconnect>().unwrap_err();
            assert!(error.ends_with("or never, or forever"), "{bad}: {error}");
        }
    }
}
