//! How a watched camera fares: written by the thread that drives it, read by the status line, the
//! viewer and the report.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::clock::HostTime;

/// Changes that are kept, the newest. A camera with a loose contact must not grow memory.
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
        let skipped = seen.saturating_sub(self.changes_left_out);
        self.changes.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX))
    }

    pub fn change_count(&self) -> u64 {
        self.changes_left_out + self.changes.len() as u64
    }
}

/// Shows a camera's health to other threads.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Mutex<Watched>>);

#[derive(Debug)]
struct Watched {
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
        Self(Arc::new(Mutex::new(Watched { health, opened_at, silent_since: None, name })))
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> State {
        self.lock().health.state
    }

    /// All figures; a silence that goes on counts up to `now`.
    pub fn health(&self, now: HostTime) -> Health {
        let watched = self.lock();
        let mut health = watched.health.clone();
        let silence = watched.silent_since.map(|since| now.since(since));
        health.without_frames_s += silence.unwrap_or_default().as_secs_f64();
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
        if to == State::Streaming
            && let Some(since) = watched.silent_since.take()
        {
            watched.health.without_frames_s += at.since(since).as_secs_f64();
        }
        let at_s = at.since(watched.opened_at).as_secs_f64();
        if watched.health.changes.len() == KEPT_CHANGES {
            watched.health.changes.pop_front();
            watched.health.changes_left_out += 1;
        }
        watched.health.changes.push_back(Change { at, at_s, from, to, why: why.into() });
        let text = format!("{}: {} -> {}: {why}", watched.name, from.as_str(), to.as_str());
        drop(watched);
        if from == State::Starting && to == State::Streaming {
            tracing::info!("{text}");
        } else {
            tracing::warn!("{text}");
        }
    }
}
