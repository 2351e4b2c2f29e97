//! Clouds and figures in a Rerun viewer, or in an `.rrd` file.
//!
//! Rerun's `log()` blocks, some of its queues grow without bound, and its shutdown can hang, when the peer is slow or gone. Here none of
//! that can reach the pipeline: each cloud's buffer tells by its `Drop` when Rerun has let go of it, and while `MAX_IN_FLIGHT` clouds
//! are on their way nothing more is logged (neither clouds nor figures), so no queue inside Rerun can fill up. The last flush runs in a
//! thread of its own, which is left behind if it does not return in time.
//!
//! Entities: `camera` (axes), `camera/cloud`, `camera/image` (pinhole, and the depth image if shown), `stats/fps`, `stats/lost`,
//! `stats/latency_ms/p50/<stage>` and `p99`, `session`, `events/camera` (changes of its state). Timelines: `frame` (number), `capture` (host's wall clock at arrival), `device` (the camera's clock).

mod arrow;
mod connection;
mod events;
mod layout;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rerun::RecordingStream;

pub use connection::{Ports, find_native_viewer};

use self::events::CameraEvents;
use super::{CloudSink, Needs, Offer, Show};
use crate::clock::{Clock, TimestampDomain};
use crate::cloud::Cloud;
use crate::frame::FrameMeta;
use crate::project::{ColorRange, Colormap};
use crate::source::DepthStream;
use crate::stats::Snapshot;

/// Clouds that may be on their way inside Rerun: one being encoded, one waiting, one being batched.
const MAX_IN_FLIGHT: usize = 3;
/// A file gets all that it was given, however slow the disk; this is for a disk that does not answer.
const FILE_PATIENCE: Duration = Duration::from_secs(60);

/// What all sinks of a session show.
#[derive(Clone)]
pub struct Session {
    pub show: Show,
    /// Of depth images; clouds bring their own colours.
    pub depth_colors: ColorRange,
    pub point_size_ui: f32,
    /// See [`CloudSink::max_rate_hz`].
    pub max_rate_hz: Option<f64>,
    pub stream: DepthStream,
    /// The source is a camera that may stall and come back.
    pub is_watched: bool,
    /// Markdown for the text panel.
    pub text: String,
    /// Name of the recording.
    pub name: String,
    pub clock: Arc<dyn Clock>,
}

/// A sink of clouds through Rerun's SDK.
pub struct RerunSink {
    name: String,
    session: Session,
    rec: RecordingStream,
    in_flight: Arc<AtomicUsize>,
    connection: connection::Kept,
    /// Figures that there was no room for yet.
    figures_waiting: Option<Snapshot>,
    camera_events: CameraEvents,
}

impl RerunSink {
    /// Writes an `.rrd` file.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn save(path: &Path, session: Session) -> anyhow::Result<Self> {
        let cannot = || format!("--save {}: cannot be written", path.display());
        if path.is_dir() {
            bail!("{}: it is a directory", cannot());
        }
        let sink = rerun::sink::FileSink::new(path).map_err(|e| match e {
            rerun::sink::FileSinkError::CreateFile { source: error, .. } => anyhow!("{}: {error}", cannot()),
            other => anyhow!("{}: {other}", cannot()),
        })?;
        let kept = connection::Kept::File { path: path.to_owned(), failed: Arc::default() };
        Self::start("file", Box::new(sink), kept, session)
    }

    /// Serves the web viewer and the data for it from this process. The address is in [`Self::address`].
    ///
    /// # Errors
    /// If a port is in use.
    pub fn serve_web(ports: Ports, session: Session) -> anyhow::Result<Self> {
        let (sink, kept) = connection::serve_web(ports)?;
        Self::start("web viewer", sink, kept, session)
    }

    /// Starts the native viewer and connects to it.
    ///
    /// # Errors
    /// If it can't be started or does not listen in time.
    pub fn spawn_native(viewer: &Path, session: Session) -> anyhow::Result<Self> {
        let url = connection::spawn_native(viewer)?;
        let (sink, kept) = connection::connect(&url)?;
        Self::start("native viewer", sink, kept, session)
    }

    /// Connects to a viewer that runs already, at `rerun+http://host:port/proxy`.
    ///
    /// # Errors
    /// If this is no such address. If nobody answers there, clouds are counted as lost until somebody does.
    pub fn connect(url: &str, session: Session) -> anyhow::Result<Self> {
        let (sink, kept) = connection::connect(url)?;
        Self::start("viewer", sink, kept, session)
    }

    fn start(
        name: &str,
        sink: Box<dyn rerun::sink::LogSink>,
        connection: connection::Kept,
        session: Session,
    ) -> anyhow::Result<Self> {
        let is_file = matches!(connection, connection::Kept::File { .. });
        let builder = rerun::RecordingStreamBuilder::new("depthcast")
            .enabled(true)
            .recording_name(session.name.clone())
            // Also for files: with long ticks, clouds are flushed by size and the plots between them starve.
            .batcher_config(rerun::log::ChunkBatcherConfig::LOW_LATENCY);
        // Not by `set_sink`: that waits five seconds for a viewer that is not there.
        let (_, store_info, recording_info, batcher_config, batcher_hooks, _) = builder.into_args();
        let rec = RecordingStream::new(store_info, recording_info, batcher_config, batcher_hooks, sink)
            .context("cannot start Rerun's recording stream")?;
        rec.set_log_time_enabled(false);
        rec.set_log_tick_enabled(false);
        layout::send(&rec, is_file, session.is_watched).context("cannot send the viewer's layout")?;
        let sink = Self {
            name: name.into(),
            session,
            rec,
            in_flight: Arc::default(),
            connection,
            figures_waiting: None,
            camera_events: CameraEvents::default(),
        };
        sink.log_static().context("cannot send the session's facts to the viewer")?;
        Ok(sink)
    }

    /// Where a browser finds the web viewer.
    pub fn address(&self) -> Option<&str> {
        self.connection.address()
    }

    fn log_static(&self) -> rerun::RecordingStreamResult<()> {
        let Session { stream, depth_colors, text, point_size_ui, .. } = &self.session;
        let i = &stream.intrinsics;
        self.rec.log_static("camera", &rerun::ViewCoordinates::RDF())?;
        self.rec.log_static(
            "camera/image",
            &rerun::Pinhole::new([[i.fx, 0.0, 0.0], [0.0, i.fy, 0.0], [i.ppx, i.ppy, 1.0]])
                .with_resolution([i.width as f32, i.height as f32])
                .with_camera_xyz(rerun::components::ViewCoordinates::RDF)
                .with_image_plane_distance(0.25)
                .with_color([90, 100, 120]),
        )?;
        let point_size = rerun::Radius::new_ui_points(*point_size_ui);
        self.rec.log_static("camera/cloud", &rerun::Points3D::update_fields().with_radii([point_size]))?;
        if self.session.show != Show::Cloud {
            let range = [depth_colors.first_m, depth_colors.last_m].map(|m| f64::from(m / stream.depth_units_m));
            self.rec.log_static(
                "camera/image",
                &rerun::DepthImage::update_fields().with_meter(1.0 / stream.depth_units_m).with_depth_range(range).with_colormap(
                    match depth_colors.colormap {
                        Colormap::Viridis => rerun::components::Colormap::Viridis,
                        Colormap::Plasma => rerun::components::Colormap::Plasma,
                        Colormap::Turbo => rerun::components::Colormap::Turbo,
                    },
                ),
            )?;
        }
        self.rec.log_static("session", &rerun::TextDocument::from_markdown(text.clone()))?;
        layout::log_series(&self.rec)
    }

    /// A file's writer dies silently when the disk is full. Its own thread is asked to flush, which tells.
    fn watch_file(&self) {
        if let connection::Kept::File { path, failed } = &self.connection
            && !failed.load(Ordering::Relaxed)
        {
            let (path, failed) = (path.clone(), Arc::clone(failed));
            self.rec.inspect_sink(move |sink| {
                if sink.flush_blocking(FILE_PATIENCE).is_err() && !failed.swap(true, Ordering::Relaxed) {
                    tracing::error!("--save {}: cannot be written any more; is the disk full?", path.display());
                }
            });
        }
    }

    fn log_waiting_figures(&mut self) -> anyhow::Result<()> {
        let Some(snapshot) = self.figures_waiting.take() else { return Ok(()) };
        // Figures belong to a moment, not to a frame.
        self.rec.reset_time();
        self.rec.set_timestamp_nanos_since_epoch("capture", self.session.clock.unix_ns(snapshot.at));
        layout::log_figures(&self.rec, &snapshot).context("cannot log figures")?;
        let Some(camera) = &snapshot.camera else { return Ok(()) };
        self.camera_events.log(&self.rec, camera, &*self.session.clock).context("cannot log what happened to the camera")
    }

    fn set_times(&self, meta: &FrameMeta) {
        self.rec.set_time_sequence("frame", i64::try_from(meta.number).unwrap_or(i64::MAX));
        self.rec.set_timestamp_nanos_since_epoch("capture", self.session.clock.unix_ns(meta.arrived_at));
        if let Some(device) = meta.device_time {
            match device.domain {
                TimestampDomain::SystemTime | TimestampDomain::GlobalTime => {
                    self.rec.set_timestamp_secs_since_epoch("device", device.ms / 1e3);
                }
                TimestampDomain::HardwareClock | TimestampDomain::Unknown => {
                    self.rec.set_duration_secs("device", device.ms / 1e3);
                }
            }
        }
    }
}

impl CloudSink for RerunSink {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn needs(&self) -> Needs {
        Needs { colors: self.session.show != Show::Depth, depth_image: self.session.show != Show::Cloud }
    }

    fn must_finish(&self) -> bool {
        matches!(self.connection, connection::Kept::File { .. })
    }

    fn max_rate_hz(&self) -> Option<f64> {
        self.session.max_rate_hz
    }

    fn max_in_flight(&self) -> usize {
        MAX_IN_FLIGHT
    }

    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        if self.connection.is_lost() {
            return Ok(Offer::Disconnected);
        }
        if self.in_flight.load(Ordering::Acquire) >= MAX_IN_FLIGHT {
            return Ok(Offer::Busy);
        }
        self.log_waiting_figures()?;
        self.set_times(&cloud.meta);
        let flight = arrow::Flight::new(Arc::clone(cloud), &self.in_flight);
        if self.session.show != Show::Depth {
            self.rec.log("camera/cloud", &arrow::points(&flight)).context("cannot log a cloud")?;
        }
        if self.session.show != Show::Cloud
            && let Some(image) = arrow::depth_image(&flight)
        {
            self.rec.log("camera/image", &image).context("cannot log a depth image")?;
        }
        Ok(Offer::Taken)
    }

    fn figures(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.watch_file();
        self.figures_waiting = Some(snapshot.clone());
        if self.connection.is_lost() || self.in_flight.load(Ordering::Acquire) >= MAX_IN_FLIGHT {
            return Ok(());
        }
        self.log_waiting_figures()
    }

    fn finish(mut self: Box<Self>, patience: Duration) -> anyhow::Result<()> {
        let file = if let connection::Kept::File { path, .. } = &self.connection { Some(path.clone()) } else { None };
        let is_file = file.is_some();
        if !self.connection.is_lost() && (is_file || self.in_flight.load(Ordering::Acquire) < MAX_IN_FLIGHT) {
            self.log_waiting_figures()?;
        }
        let Self { rec, connection, .. } = *self;
        if let (Some(path), true) = (&file, connection.is_lost()) {
            std::mem::forget(rec);
            bail!("--save {}: the file is not whole, it could not be written to the end; is the disk full?", path.display());
        }
        if connection.is_lost() {
            // There is nobody to flush to, and trying would only take time.
            std::mem::forget((rec, connection));
            return Ok(());
        }
        let patience = if is_file { FILE_PATIENCE } else { patience };
        let (done_tx, done_rx) = crossbeam_channel::bounded(1);
        std::thread::Builder::new().name("flush".into()).spawn(move || {
            let flushed = rec.flush_with_timeout(patience);
            if is_file || flushed.is_ok() {
                // Dropping the last handle closes the file with its index, or the connection. It can hang, hence this thread.
                drop((rec, connection));
            } else {
                std::mem::forget((rec, connection));
            }
            let _ = done_tx.send(flushed);
        })?;
        let what = file.map_or("the last clouds".into(), |path| format!("--save {}: the last clouds", path.display()));
        match done_rx.recv_timeout(patience + Duration::from_millis(500)) {
            Ok(flushed) => flushed.map_err(|e| anyhow!("{what} did not all arrive: {e}")),
            Err(_) => bail!("{what} were not taken within {} s", patience.as_secs()),
        }
    }
}
