//! Opening several sources at once: each on a thread of its own, so that one which hangs keeps none
//! of the others waiting for long.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{self as channel, RecvTimeoutError};

use super::{FrameSource, SourceError};

/// A source that is open, or why it is not.
pub type Opened = Result<Box<dyn FrameSource>, SourceError>;
/// Opens one source.
pub type Opener = Box<dyn FnOnce() -> Opened + Send>;

/// Opens all, and waits for them for at most `patience`. What opens later is closed again.
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
                RecvTimeoutError::Timeout => {
                    format!("it could not be opened within {:.0} s", patience.as_secs_f64())
                }
                RecvTimeoutError::Disconnected => "opening it panicked".into(),
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
        let errors: Vec<_> =
            opened.into_iter().map(|opened| opened.err().unwrap().to_string()).collect();
        for (error, start) in
            errors.iter().zip(["it could not be opened within", "no", "opening it panicked"])
        {
            assert!(error.starts_with(start), "{errors:?}");
        }
    }
}
