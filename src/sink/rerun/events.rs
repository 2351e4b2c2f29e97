//! What happens to a watched camera, as lines of a log in the viewer.

use rerun::{RecordingStream, RecordingStreamResult, TextLog, TextLogLevel};

use crate::clock::Clock;
use crate::source::watch::{Change, Monitor, State};

/// Where the lines of a single camera are.
pub(super) const ENTITY: &str = "events/camera";

/// Logs each change once.
#[derive(Default)]
pub(super) struct CameraEvents {
    logged: u64,
}

impl CameraEvents {
    /// Logs what has changed since the last call, each at its own time.
    pub(super) fn log(
        &mut self,
        rec: &RecordingStream,
        entity: &str,
        camera: &Monitor,
        clock: &dyn Clock,
    ) -> RecordingStreamResult<()> {
        let health = camera.health(clock.now());
        for change in health.changes_after(self.logged) {
            rec.reset_time();
            rec.set_timestamp_nanos_since_epoch("capture", clock.unix_ns(change.at));
            rec.log(entity, &TextLog::new(text(change)).with_level(level(change)))?;
        }
        self.logged = health.change_count();
        Ok(())
    }
}

fn text(change: &Change) -> String {
    format!("{} -> {}: {}", change.from.as_str(), change.to.as_str(), change.why)
}

fn level(change: &Change) -> TextLogLevel {
    let level = match change.to {
        State::Starting | State::Streaming => TextLogLevel::INFO,
        State::Stalled | State::Reconnecting => TextLogLevel::WARN,
        State::Resetting => TextLogLevel::ERROR,
    };
    level.into()
}
