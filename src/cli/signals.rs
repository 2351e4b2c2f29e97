//! What signals do to a run.

use std::sync::Arc;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::terminal::Terminal;
use crate::pipeline::Stop;

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
