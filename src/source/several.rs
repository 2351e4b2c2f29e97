//! Opening several sources at once: each on a thread of its own, so that one which hangs keeps none
//! of the others waiting for long.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel as channel;

use super::{FrameSource, SourceError};

/// A source that is open, or why it is not.
pub type Opened = Result<Box<dyn FrameSource>, SourceError>;
/// Opens one source.
pub type Opener = Box<dyn FnOnce() -> Opened + Send>;

/// Opens all, and waits for them for at most `patience`. What opens later is closed again.
pub fn open_all(openers: Vec<Opener>, patience: Duration) -> Vec<Opened> {
    let deadline = Instant::now() + patience;
    let begin = |opener: Opener| {
        let (tx, rx) = channel::bounded(1);
        let opening = move || {
            // Nobody waits any more, and so it goes again.
            let _ = tx.send(opener());
        };
        thread::Builder::new().name("open".into()).spawn(opening).map(|_| rx)
    };
    let begun: Vec<_> = openers.into_iter().map(begin).collect();
    let opened = begun.into_iter().map(|opening| {
        let opening = opening.map_err(|error| {
            SourceError::NoCamera(format!("cannot start a thread to open it: {error}"))
        })?;
        opening.recv_deadline(deadline).unwrap_or_else(|error| {
            let problem = match error {
                channel::RecvTimeoutError::Timeout => {
                    format!("it could not be opened within {:.0} s", patience.as_secs_f64())
                }
                channel::RecvTimeoutError::Disconnected => "opening it panicked".into(),
            };
            Err(SourceError::NoCamera(format!(
                "{problem}; unplug it and plug it in again, and start again"
            )))
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
        let errors = open_all(openers, Duration::from_millis(500))
            .into_iter()
            .map(|opened| opened.err().unwrap().to_string());
        let errors: Vec<_> = errors.collect();
        assert!(
            errors[0].starts_with("it could not be opened within") && errors[1] == "no",
            "{errors:?}"
        );
        assert!(errors[2].starts_with("opening it panicked"), "{errors:?}");
    }
}
