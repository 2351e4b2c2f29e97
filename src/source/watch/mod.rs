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
//! Pauses between attempts double up to a limit. All this goes on for as long as [`Reconnect`] says;
//! then, and at once where nothing can heal (the first start fails, the camera has no such profile),
//! the run ends with the reason. Downstream sees only a gap in time: the first frame after each
//! start says that it is a restart. Only the camera with the serial number of the first start is
//! taken back, and only with the image size and calibration of that start.
//!
//! The machine knows no librealsense: it drives a [`CameraDriver`], whose `start`, `look` and
//! `hardware_reset` may take seconds. They run on a thread of their own; no wait is longer than
//! 50 ms. A call that has not returned after [`HANGS`] is left behind (`hung_calls`), and another
//! driver goes on; after [`MOST_HUNG_CALLS`] the run ends.

mod driver;
mod machine;

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use driver::{CameraDriver, HANGS, Started};
pub use machine::Watched;

use crate::clock::HostTime;
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
                parsed => parsed.map(Self::For).map_err(|e| format!("{e}; or never, or forever")),
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

/// Changes that are kept: a camera with a loose contact must not grow memory.
const KEPT_CHANGES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Starting,
    Streaming,
    Stalled,
    Resetting,
    Reconnecting,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Streaming => "streaming",
            Self::Stalled => "stalled",
            Self::Resetting => "resetting",
            Self::Reconnecting => "reconnecting",
        }
    }
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    #[serde(skip)]
    pub at: HostTime,
    /// Seconds after the camera was first asked to start, by the host's monotonic clock.
    pub at_s: f64,
    pub from: State,
    pub to: State,
    pub why: String,
}

/// The report's `camera`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Health {
    pub state: State,
    /// Times that frames failed to come.
    pub stalls: u64,
    /// Starts of the stream of a camera that had stalled.
    pub restarts: u64,
    pub resets: u64,
    /// Times that frames came again from a camera that had been away or was reset.
    pub reconnects: u64,
    /// Errors of the driver, whatever became of them.
    pub errors: u64,
    /// Calls of the driver that never returned.
    pub hung_calls: u64,
    /// From the last frame before each stall to the first after it.
    pub without_frames_s: f64,
    /// The newest 64 of them.
    pub changes: VecDeque<Change>,
    /// Older ones.
    pub changes_left_out: u64,
}

impl Health {
    /// Changes beyond the first `seen` ones, as far as they are kept.
    pub fn changes_after(&self, seen: u64) -> impl Iterator<Item = &Change> {
        self.changes.iter().skip(seen.saturating_sub(self.changes_left_out) as usize)
    }

    pub fn change_count(&self) -> u64 {
        self.changes_left_out + self.changes.len() as u64
    }
}

/// Shows a camera's health to other threads: status line, viewer and report.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Mutex<Monitored>>);

#[derive(Debug)]
struct Monitored {
    health: Health,
    opened_at: HostTime,
    /// The last sign of life before the stall that goes on.
    silent_since: Option<HostTime>,
    /// What the log calls the camera.
    name: String,
}

impl Monitor {
    pub(super) fn new(opened_at: HostTime, serial: Option<&str>) -> Self {
        let name = serial.map_or("camera".into(), |serial| format!("camera {serial}"));
        let health = Health::default();
        Self(Arc::new(Mutex::new(Monitored { health, opened_at, silent_since: None, name })))
    }

    fn lock(&self) -> MutexGuard<'_, Monitored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> State {
        self.lock().health.state
    }

    /// All figures; a silence that goes on counts up to `now`.
    pub fn health(&self, now: HostTime) -> Health {
        let watched = self.lock();
        let mut health = watched.health.clone();
        let silence = watched.silent_since.map_or(Duration::ZERO, |since| now.since(since));
        health.without_frames_s += silence.as_secs_f64();
        health
    }

    pub(super) fn count(&self, raise: impl FnOnce(&mut Health)) {
        raise(&mut self.lock().health);
    }

    pub(super) fn is_silent_since(&self, since: HostTime) {
        self.lock().silent_since.get_or_insert(since);
    }

    /// Says something about the camera to the user.
    pub(super) fn warn(&self, text: &str) {
        tracing::warn!("{}: {text}", self.lock().name);
    }

    /// Notes the change, and says so.
    pub(super) fn change(&self, to: State, at: HostTime, why: &str) {
        let mut watched = self.lock();
        let from = std::mem::replace(&mut watched.health.state, to);
        let since = watched.silent_since.take_if(|_| to == State::Streaming);
        let silence = since.map_or(Duration::ZERO, |since| at.since(since));
        watched.health.without_frames_s += silence.as_secs_f64();
        let at_s = at.since(watched.opened_at).as_secs_f64();
        if watched.health.changes.len() == KEPT_CHANGES {
            watched.health.changes.pop_front();
            watched.health.changes_left_out += 1;
        }
        watched.health.changes.push_back(Change { at, at_s, from, to, why: why.into() });
        let text = format!("{}: {} -> {}: {why}", watched.name, from.as_str(), to.as_str());
        match (from, to) {
            (State::Starting, State::Streaming) => tracing::info!("{text}"),
            _ => tracing::warn!("{text}"),
        }
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
