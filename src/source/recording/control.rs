//! What a person may ask of a recording while it is played, and what is shown of it.
//!
//! A [`Remote`] is held by whoever reads keys or draws a progress bar, [`Controls`] by the source.
//! Commands go one way, the state of play the other; neither ever waits for the other.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{self as channel, Receiver, Sender};

/// Speeds that make sense. One that is changed on the way stays within.
pub const SPEEDS: RangeInclusive<f64> = 0.01..=1000.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command {
    PauseOrGo,
    /// Delivers one frame and pauses.
    Step,
    /// Goes so far from the last frame delivered, forward or, below 0, back.
    SeekBy {
        ns: i64,
    },
    /// Multiplies the speed. Nothing happens at [`super::Pace::Max`], nor if it would leave
    /// [`SPEEDS`].
    SpeedBy(f64),
}

/// Where a recording is at, for showing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlayState {
    pub is_paused: bool,
    /// Recorded seconds in a second; none if frames are delivered at once.
    pub speed: Option<f64>,
    /// Recorded time of the last frame delivered, since the recording's first.
    pub position: Duration,
    /// Its number.
    pub number: Option<u64>,
    /// Where the section that is played starts.
    pub start: Duration,
    /// Where it ends, if that is known.
    pub end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub at: Duration,
    /// It follows from the number of frames and the rate that was promised.
    pub is_estimate: bool,
}

/// The person's side. Clones speak to the same recording.
#[derive(Debug, Clone)]
pub struct Remote {
    commands: Sender<Command>,
    state: Arc<Mutex<PlayState>>,
}

impl Remote {
    /// Asks for `command`; the recording follows within a few hundredths of a second, or never if
    /// it has ended.
    pub fn ask(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    pub fn state(&self) -> PlayState {
        *lock(&self.state)
    }
}

/// The recording's side.
#[derive(Debug)]
pub struct Controls {
    commands: Receiver<Command>,
    remote: Remote,
}

impl Controls {
    pub fn new(state: PlayState) -> Self {
        let (tx, commands) = channel::unbounded();
        Self { commands, remote: Remote { commands: tx, state: Arc::new(Mutex::new(state)) } }
    }

    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    pub fn next_command(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// Lets `change` change what is shown.
    pub fn show(&self, change: impl FnOnce(&mut PlayState)) {
        change(&mut lock(&self.remote.state));
    }
}

/// A thread that panicked leaves a valid state behind.
fn lock(state: &Mutex<PlayState>) -> MutexGuard<'_, PlayState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
