//! Where clouds go. [`CloudSink`] is the contract; each kind of sink implements it in a room of its
//! own below this one.
//!
//! To add a sink:
//!
//! 1. Implement [`CloudSink`] in `sink/<name>/`, with `offer` and `name` at least; [`NullSink`] is
//!    the smallest. Dependencies of its own go behind a Cargo feature.
//! 2. Add a flag to `ViewArgs` (`cli/flags.rs`), and make the sink, one for each source, in `open`
//!    of `cli/viewer.rs`, and of `cli/no_viewer.rs` where it does not need Rerun. The report's
//!    `frames.shown` is that of the first sink of a run; with `--view none` that may be yours.
//! 3. If it shows several cameras in one frame, `RunArgs::wants_view` has to know. Points are
//!    textured only with `--color-by texture`, whatever [`Needs`] says.
//!
//! The pipeline does the rest: it gives the sink a thread and a bounded queue, times each cloud,
//! counts the lost ones, and the report lists them below the sink's name. A cloud whose points were
//! textured by a colour camera has colours; otherwise the sink decides, see `rerun/clouds.rs`.

use std::sync::Arc;
use std::time::Duration;

use crate::camera::Extrinsics;
use crate::clock::HostTime;
use crate::frame::Cloud;
use crate::stats::Snapshot;

#[cfg(feature = "viewer")]
pub mod rerun;
pub mod rerun_program;

/// Consumes clouds. One thread of the pipeline drives it; calls never overlap.
///
/// No call may block for long, since the sink's queue fills meanwhile. A cloud counts as shown when
/// `offer` returned [`Offer::Taken`], so a sink must not take what it would have to discard. Every
/// other cloud is counted as lost at this sink: `busy`, `disconnected`, above its rate, or in its
/// queue. In a lossless run a busy sink is offered the same cloud again.
pub trait CloudSink: Send {
    /// A short name for reports, such as `web viewer`.
    fn name(&self) -> String;

    /// Takes a cloud, as far as there is room; an error ends the run. A clone of the `Arc` keeps its
    /// buffers out of the pool, see [`max_in_flight`](Self::max_in_flight).
    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer>;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Whether clouds that could not be handed over at the end are an error, not only a warning.
    fn must_finish(&self) -> bool {
        false
    }

    /// The most clouds a second that it wants; followed where the newest frame wins.
    fn max_rate_hz(&self) -> Option<f64> {
        None
    }

    /// The most clouds that it keeps after it has taken them.
    fn max_in_flight(&self) -> usize {
        0
    }

    /// The state of its connection, in a few words for people.
    fn status(&self) -> Option<String> {
        None
    }

    /// A taken cloud that the sink's library has released meanwhile; `None` if there is none now.
    fn next_released(&mut self) -> Option<FrameTime> {
        None
    }

    /// A taken cloud that somebody has been shown meanwhile, as far as the sink knows; `None` if
    /// there is none now.
    fn next_shown(&mut self) -> Option<Shown> {
        None
    }

    /// Called a few times a second, and once after the last cloud, with fresh figures; an error ends
    /// the run.
    fn figures(&mut self, _snapshot: &Snapshot) -> anyhow::Result<()> {
        Ok(())
    }

    /// Hands over what is still on its way, for at most `patience`; an error if some is left.
    fn finish(self: Box<Self>, _patience: Duration) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What became of a cloud that was offered to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It was handed over.
    Taken,
    /// There is no room now; it may be offered again.
    Busy,
    /// Nobody is there to take it.
    Disconnected,
}

/// When something became of a cloud downstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTime {
    /// Of its frame.
    pub number: u64,
    pub at: HostTime,
}

/// A cloud that somebody has been shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    pub frame: FrameTime,
    /// How far off the time may be, in milliseconds, since another clock measured it.
    pub uncertainty_ms: f64,
}

/// What a sink needs of a cloud beyond its positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The colours that a colour camera saw, if there is one.
    pub texture: bool,
    pub depth_image: bool,
}

/// Takes everything and shows nothing: for measuring the pipeline without a viewer.
#[derive(Debug, Default)]
pub struct NullSink;

impl CloudSink for NullSink {
    fn name(&self) -> String {
        "none".into()
    }

    fn offer(&mut self, _: &Arc<Cloud>) -> anyhow::Result<Offer> {
        Ok(Offer::Taken)
    }
}

/// What the viewer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Show {
    /// The projected points.
    Cloud,
    /// The depth image, which the viewer projects itself.
    Depth,
    Both,
}

/// Images that are shown beside the cloud, as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Images {
    pub color: bool,
    pub infrared: bool,
}

/// What the viewer is arranged for at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// An audience: the cloud large, compact plots.
    Live,
    /// A measurement: plots large, one for each stage.
    Profiling,
    /// A recording: the cloud large, what the recording is, the time of the recording.
    Replay,
}

/// One of several cameras that are shown together.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraView {
    /// Names its entities.
    pub serial: String,
    /// From its frame into the one that all share.
    pub pose: Extrinsics,
    /// Of its lines in plots, and of what is drawn for it.
    pub hue: [u8; 3],
}
