//! The terminal in the mode that single keys need, and back as it was found; and what signals do to
//! a run.
//!
//! Only two things change: keys come one by one, and are not echoed. Output stays as it is, and so
//! do Ctrl-C and Ctrl-\.

use std::io::{IsTerminal as _, stderr, stdin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, SpecialCodes, Termios, tcgetattr, tcgetpgrp,
    tcsetattr,
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::pipeline::Stop;

/// The terminal that a run was started from.
pub(super) struct Terminal {
    mode: Mutex<Mode>,
}

enum Mode {
    /// No keys are wanted yet, or any more.
    Off,
    /// Keys are wanted, and the terminal is somebody else's for now.
    Left,
    /// Keys come. How it was found is inside.
    Ours(Termios),
}

impl Terminal {
    /// The terminal, if there is somebody in front of it: keys can be read, what they do can be
    /// seen, and it is not another job's.
    pub(super) fn find() -> Option<Arc<Self>> {
        let is_there = stdin().is_terminal() && stderr().is_terminal() && is_foreground();
        is_there.then(|| Arc::new(Self { mode: Mutex::new(Mode::Off) }))
    }

    /// Makes keys come one by one, from now until [`Terminal::end`].
    pub(super) fn start(&self) {
        *self.lock() = Mode::Left;
        self.enter();
    }

    /// After this process was stopped and goes on: whatever the shell has made of the terminal
    /// meanwhile, keys shall come again.
    pub(super) fn enter(&self) {
        let mut mode = self.lock();
        let found = match &*mode {
            Mode::Ours(found) => Some(found.clone()),
            Mode::Left => tcgetattr(stdin()).ok(),
            Mode::Off => None,
        };
        let Some(found) = found.filter(|_| is_foreground()) else { return };
        let mut keys = found.clone();
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        // A read never waits.
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Ctrl-Z comes as a key, so that the terminal can be put back before this process stops.
        keys.special_codes[SpecialCodeIndex::VSUSP] = 0;
        if tcsetattr(stdin(), OptionalActions::Now, &keys).is_ok() {
            *mode = Mode::Ours(found);
        }
    }

    /// Puts the terminal back as it was found, until [`Terminal::enter`].
    pub(super) fn leave(&self) {
        let mut mode = self.lock();
        if let Mode::Ours(found) = &*mode {
            put_back(found);
            *mode = Mode::Left;
        }
    }

    /// Puts the terminal back as it was found, for good.
    pub(super) fn end(&self) {
        let mut mode = self.lock();
        if let Mode::Ours(found) = &*mode {
            put_back(found);
        }
        *mode = Mode::Off;
    }

    /// Keys come, and to this process.
    pub(super) fn has_keys(&self) -> bool {
        matches!(*self.lock(), Mode::Ours(_)) && is_foreground()
    }

    /// Whether this key, Ctrl-Z for most, is to stop the process for now.
    pub(super) fn is_suspend_key(&self, key: u8) -> bool {
        let suspend_key = |codes: &SpecialCodes| codes[SpecialCodeIndex::VSUSP];
        key != 0
            && matches!(&*self.lock(), Mode::Ours(found) if suspend_key(&found.special_codes) == key)
    }

    fn lock(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In the background the terminal is another job's; the system would stop this process for touching
/// it.
fn is_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

fn put_back(found: &Termios) {
    if is_foreground() {
        let _ = tcsetattr(stdin(), OptionalActions::Now, found);
    }
}

/// The first signal asks the run to stop and lets it drain; the second ends the process at once.
/// However that comes, `terminal` is put back before.
pub(super) fn stop_on_signals(terminal: Option<Arc<Terminal>>) -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let asked = stop.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    if terminal.is_some() {
        signals.add_signal(SIGQUIT)?;
        signals.add_signal(SIGCONT)?;
    }
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let terminal = terminal.as_deref();
            match signal {
                SIGCONT => terminal.into_iter().for_each(Terminal::enter),
                SIGQUIT => {
                    terminal.into_iter().for_each(Terminal::end);
                    let _ = emulate_default_handler(signal);
                }
                _ if asked.is_asked() => {
                    terminal.into_iter().for_each(Terminal::end);
                    std::process::exit(130);
                }
                _ => asked.ask(),
            }
        }
    })?;
    Ok(stop)
}
