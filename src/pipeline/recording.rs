//! The recorder's thread: frames from its queue to its file, until the run ends or the recording
//! does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use crossbeam_channel::RecvTimeoutError;

use super::queue::Receiver;
use super::{Policy, Shared};
use crate::frame::DepthFrame;
use crate::record::{Ending, Recorder};

/// How often a recorder without frames looks whether what it has is to be written out.
const SLICE: Duration = Duration::from_millis(50);

/// Records frames. When the recording ends before the run, it says so at once, and the frames that
/// still come are counted.
///
/// # Errors
/// If the file can't be written and nothing may be lost. Otherwise the run goes on without it:
/// others may be watching.
pub(super) fn record(
    mut recorder: Recorder,
    frames: &Receiver<Arc<DepthFrame>>,
    shared: &Shared,
) -> anyhow::Result<()> {
    let stats = recorder.stats();
    let ended = loop {
        let done = match frames.recv_timeout(SLICE) {
            Ok(frame) => recorder.record(&frame),
            Err(RecvTimeoutError::Timeout) => recorder.tick(),
            Err(RecvTimeoutError::Disconnected) => break None,
        };
        if let Err(ending) = done {
            break Some(ending);
        }
    };
    // That the file could not be finished is more than that a limit was reached.
    let Some(ending) = recorder.finish().err().or(ended) else { return Ok(()) };
    let ending = stats.ending.get_or_init(|| ending);
    match ending {
        Ending::Failed(problem) if shared.settings.policy == Policy::Lossless => {
            return Err(anyhow!("{problem}"));
        }
        Ending::Failed(problem) => tracing::error!("{problem}; the run goes on without recording"),
        Ending::LowDisk(problem) => {
            tracing::error!("{}: {problem}; the recording ends here", stats.file)
        }
        Ending::MaxDuration | Ending::MaxSize => {
            tracing::info!("{}: the recording's limit is reached", stats.file)
        }
    }
    while frames.recv().is_some() {
        stats.after_end.add(1);
    }
    Ok(())
}

/// Says once that the disk is too slow.
pub(super) fn warn_if_slow(shared: &Shared, has_warned: &mut bool) {
    let Some(recording) = &shared.stats.recording else { return };
    if !*has_warned && recording.dropped.get() > 0 {
        *has_warned = true;
        // What a failure cost, it tells of itself.
        if recording.ending.get().is_none() {
            tracing::warn!(
                "{}: the disk is too slow for all frames; those that give way are counted",
                recording.file
            );
        }
    }
}
