//! Where clouds go: one trait, one room per kind of sink. Each sink has a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::camera::Extrinsics;
use crate::clock::HostTime;
use crate::cloud::Cloud;
use crate::stats::Snapshot;

#[cfg(feature = "viewer")]
pub mod rerun;
pub mod rerun_program;

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

/// A cloud that is no longer held downstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Of its frame.
    pub number: u64,
    pub at: HostTime,
}

/// What a sink needs of a cloud beyond its positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The colours that a colour camera saw, if there is one.
    pub texture: bool,
    pub depth_image: bool,
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

impl Images {
    pub const NONE: Self = Self { color: false, infrared: false };
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
    /// Its entities are named by it.
    pub serial: String,
    /// From its frame into the one that all share.
    pub pose: Extrinsics,
    /// Of its lines in plots, and of what is drawn for it.
    pub hue: [u8; 3],
}

/// The contract of a sink. It is driven by one thread. No call blocks for long: what can't be taken
/// now is [`Offer::Busy`].
pub trait CloudSink: Send {
    /// A short name for reports, such as `web viewer`.
    fn name(&self) -> String;

    fn needs(&self) -> Needs;

    /// Whether it is an error of the run, and not only worth a warning, if it can't hand over all
    /// at the end: a file has to be whole.
    fn must_finish(&self) -> bool {
        false
    }

    /// The most clouds a second that it wants; followed where the newest frame wins. What is passed
    /// over for it is counted.
    fn max_rate_hz(&self) -> Option<f64> {
        None
    }

    /// The most clouds that it holds after having taken them.
    fn max_in_flight(&self) -> usize;

    /// How its connection stands, in a few words for people.
    fn status(&self) -> Option<String> {
        None
    }

    /// # Errors
    /// Any error ends the run.
    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer>;

    /// A cloud that was handed over and that the sink's library has let go of meanwhile; `None` if
    /// there is none now.
    fn next_released(&mut self) -> Option<Released> {
        None
    }

    /// Called a few times a second with fresh figures.
    ///
    /// # Errors
    /// Any error ends the run.
    fn figures(&mut self, snapshot: &Snapshot) -> anyhow::Result<()>;

    /// Hands over what is still on its way, for at most `patience`.
    ///
    /// # Errors
    /// If not all of it could be handed over.
    fn finish(self: Box<Self>, patience: Duration) -> anyhow::Result<()>;
}

/// Takes everything and shows nothing: for measuring the pipeline without a viewer.
#[derive(Debug, Default)]
pub struct NullSink;

impl CloudSink for NullSink {
    fn name(&self) -> String {
        "none".into()
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn max_in_flight(&self) -> usize {
        0
    }

    fn offer(&mut self, _: &Arc<Cloud>) -> anyhow::Result<Offer> {
        Ok(Offer::Taken)
    }

    fn figures(&mut self, _: &Snapshot) -> anyhow::Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>, _: Duration) -> anyhow::Result<()> {
        Ok(())
    }
}
