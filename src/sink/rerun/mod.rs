//! Clouds and figures in a Rerun viewer, or in an `.rrd` file.
//!
//! Rerun's `log()` blocks, some of its queues grow without bound, and its shutdown can hang, when
//! the peer is slow or gone. Here none of that can reach the pipeline: viewers pull what they want
//! out of a hub, which never blocks, and each cloud's buffer tells by its `Drop` when Rerun has let
//! go of it. As long as too many clouds are on their way, nothing more is logged, neither clouds
//! nor figures, so no queue inside Rerun can fill up.
//!
//! Entities of one camera: `camera` (axes), `camera/cloud`, `camera/image` (pinhole, and the depth
//! image if shown), `stats/fps`, `stats/lost_frames`, `stats/latency_ms/<stage>` (p50 and p99),
//! `stats/total_ms_histogram`, `session`, `events/camera` (changes of its state), and where they
//! are asked for `images/color`, `images/infrared`, `imu/accel`, `imu/gyro`. Of several:
//! `camera/<serial>` (pose) with `cloud` and `image`, `stats/<serial>`, `events/<serial>`, and so
//! on. Timelines: `frame` (number), `capture` (host's wall clock at arrival), `device` (the
//! camera's clock).

mod arrow;
mod board;
mod client;
mod connection;
mod entities;
mod events;
mod hub;
mod images;
mod layout;
mod motion;
mod native;
mod paint;
mod server;
mod session;
mod thin;
mod web;
mod wire;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::Receiver;
use rerun::RecordingStream;

pub use native::{NoViewer, find_native_viewer};
pub use session::{PointRadius, Session};
pub use web::{WebOptions, WebServer};

use self::board::Place;
use self::connection::Connection;
use self::entities::Entities;
use self::events::CameraEvents;
use self::images::ImageLog;
use self::motion::MotionLog;
use self::paint::Painter;
use self::thin::Thinner;
use super::{CloudSink, Images, Layout, Needs, Offer, Released, Show};
use crate::clock::TimestampDomain;
use crate::cloud::Cloud;
use crate::color::Coloring;
use crate::frame::FrameMeta;
use crate::source::watch::{Monitor, State};
use crate::stats::Snapshot;

/// A sink of clouds through Rerun's SDK.
pub struct RerunSink {
    name: String,
    session: Session,
    rec: RecordingStream,
    tower: arrow::Tower,
    landed: Receiver<Released>,
    thinner: Option<Thinner>,
    painter: Option<Painter>,
    connection: Connection,
    /// Figures that there was no room for yet.
    figures_waiting: Option<Snapshot>,
    camera_events: CameraEvents,
    image_log: ImageLog,
    motion_log: Option<MotionLog>,
    /// Of the newest cloud.
    last: Option<FrameMeta>,
    eye: EyeSearch,
    place: Place,
}

/// The layout is sent twice: when nothing is known of the scene, and when the first cloud shows
/// from where it is seen best.
enum EyeSearch {
    Waits,
    Found(layout::Sample),
    Done,
}

/// Each makes a sink for every camera's session.
impl RerunSink {
    /// Writes an `.rrd` file.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn save(path: &Path, sessions: &[Session]) -> anyhow::Result<Vec<Self>> {
        let (sink, to) = connection::To::file(path)?;
        Self::start("file", sink, to, sessions)
    }

    /// Sends to the browsers that open a served page.
    ///
    /// # Errors
    /// If the stream can't be started.
    pub fn serve_web(server: &WebServer, sessions: &[Session]) -> anyhow::Result<Vec<Self>> {
        let (sink, to) = connection::To::pages(server.hub());
        Self::start("web viewer", sink, to, sessions)
    }

    /// Starts the native viewer and connects to it.
    ///
    /// # Errors
    /// If it can't be started or does not listen in time.
    pub fn spawn_native(viewer: &Path, sessions: &[Session]) -> anyhow::Result<Vec<Self>> {
        let url = native::spawn(viewer)?;
        let (sink, to) = connection::To::peer(&url)?;
        Self::start("native viewer", sink, to, sessions)
    }

    /// Connects to a viewer that runs already, at `rerun+http://host:port/proxy`.
    ///
    /// # Errors
    /// If this is no such address. If nobody answers there, clouds are counted as lost until
    /// somebody does.
    pub fn connect(url: &str, sessions: &[Session]) -> anyhow::Result<Vec<Self>> {
        let (sink, to) = connection::To::peer(url)?;
        Self::start("viewer", sink, to, sessions)
    }

    fn start(
        name: &str,
        sink: Box<dyn rerun::sink::LogSink>,
        to: connection::To,
        sessions: &[Session],
    ) -> anyhow::Result<Vec<Self>> {
        let names: Vec<_> = sessions.iter().map(|session| session.name.as_str()).collect();
        let builder = rerun::RecordingStreamBuilder::new("depthcast")
            .enabled(true)
            .recording_name(names.join(", "))
            // Also for files: with long ticks, clouds are flushed by size and the plots between
            // them starve.
            .batcher_config(rerun::log::ChunkBatcherConfig::LOW_LATENCY);
        // Not by `set_sink`: that waits five seconds for a viewer that is not there.
        let (_, store_info, recording_info, batcher_config, batcher_hooks, _) = builder.into_args();
        let rec =
            RecordingStream::new(store_info, recording_info, batcher_config, batcher_hooks, sink)
                .context("cannot start Rerun's recording stream")?;
        rec.set_log_time_enabled(false);
        rec.set_log_tick_enabled(false);
        let connections = Connection::of_all(to, rec, sessions.len());
        let sinks = sessions.iter().zip(Place::all(sessions)).zip(connections);
        let sinks: Vec<_> = sinks
            .map(|((session, place), connection)| {
                Self::of_one(name, session.clone(), place, connection)
            })
            .collect();
        if let Some(first) = sinks.first() {
            let document = first.place.document();
            first
                .rec
                .log_static("session", &document)
                .context("cannot send the session's facts")?;
            first.place.look(None, |eye| first.send_layout(eye))?;
            first.rec.log_static("camera", &rerun::ViewCoordinates::RDF())?;
        }
        for sink in &sinks {
            sink.session
                .log_static(&sink.rec, sink.place.entities())
                .context("cannot send the session's facts to the viewer")?;
        }
        Ok(sinks)
    }

    fn of_one(name: &str, session: Session, place: Place, connection: Connection) -> Self {
        let pixels =
            session.stream.intrinsics.width as usize * session.stream.intrinsics.height as usize;
        let in_flight = Connection::MAX_IN_FLIGHT;
        let max_points = session.max_points.filter(|&max_points| max_points < pixels);
        let thinner = max_points.map(|max_points| Thinner::new(max_points, in_flight));
        let painter = (session.show != Show::Depth)
            .then(|| Painter::new(session.coloring, max_points.unwrap_or(pixels), in_flight));
        let (tower, landed) = arrow::Tower::new(Arc::clone(&session.clock));
        let motion_log =
            session.motion.clone().map(|motion| MotionLog::new(motion, Arc::clone(&session.clock)));
        Self {
            name: name.into(),
            session,
            rec: connection.rec(),
            tower,
            landed,
            thinner,
            painter: painter.flatten(),
            connection,
            figures_waiting: None,
            camera_events: CameraEvents::default(),
            image_log: ImageLog::default(),
            motion_log,
            last: None,
            eye: EyeSearch::Waits,
            place,
        }
    }

    fn send_layout(&self, eye: &layout::Eye) -> anyhow::Result<()> {
        let Session { layout, show, images, is_watched, duration, .. } = self.session;
        let (is_file, cameras) = (self.connection.is_file(), &self.place.entities);
        let scene = layout::Scene {
            layout,
            show,
            images,
            has_motion: self.motion_log.is_some(),
            is_watched,
            is_file,
            duration,
            eye,
            cameras,
        };
        layout::send(&self.rec, &scene).context("cannot send the viewer's layout")?;
        let frustum = rerun::Pinhole::update_fields().with_image_plane_distance(eye.frustum_m);
        for camera in cameras.iter() {
            self.rec
                .log_static(camera.image.as_str(), &frustum)
                .context("cannot send the camera's frustum")?;
        }
        Ok(())
    }

    /// Shows the scene well, once it is known.
    fn follow_the_scene(&mut self) -> anyhow::Result<()> {
        if let EyeSearch::Found(_) = &self.eye
            && let EyeSearch::Found(sample) = std::mem::replace(&mut self.eye, EyeSearch::Done)
        {
            self.place.look(Some(sample), |eye| self.send_layout(eye))?;
        }
        Ok(())
    }

    /// Says in the text panel how the camera stands.
    fn tell(&self, state: &'static str) -> anyhow::Result<()> {
        let log = |document: &rerun::TextDocument| self.rec.log_static("session", document);
        self.place.tell(state, log).context("cannot send the session's facts")
    }

    fn log_waiting_figures(&mut self) -> anyhow::Result<()> {
        let Some(snapshot) = self.figures_waiting.take() else { return Ok(()) };
        if let Some(motion) = &mut self.motion_log {
            motion.log(&self.rec, &self.place.entities().imu).context("cannot log motion")?;
        }
        // Figures belong to a moment, and not to a frame. On the device's timeline they stand at
        // the newest one.
        self.rec.reset_time();
        if let Some(last) = &self.last {
            self.set_device_time(last);
        }
        self.rec
            .set_timestamp_nanos_since_epoch("capture", self.session.clock.unix_ns(snapshot.at));
        if self.session.layout == Layout::Profiling {
            layout::log_distribution(&self.rec, self.place.entities(), &snapshot)
                .context("cannot log the distribution")?;
        }
        layout::log_figures(&self.rec, self.place.entities(), &snapshot)
            .context("cannot log figures")?;
        let Some(camera) = &snapshot.camera else { return Ok(()) };
        let events = self.place.entities().events.as_str();
        self.camera_events
            .log(&self.rec, events, camera, &*self.session.clock)
            .context("cannot log what happened to the camera")
    }

    fn room(&mut self) -> Offer {
        self.connection.room(self.tower.in_flight())
    }

    fn set_times(&self, meta: &FrameMeta) {
        self.rec.set_time_sequence("frame", i64::try_from(meta.number).unwrap_or(i64::MAX));
        self.rec.set_timestamp_nanos_since_epoch(
            "capture",
            self.session.clock.unix_ns(meta.arrived_at),
        );
        self.set_device_time(meta);
    }

    fn set_device_time(&self, meta: &FrameMeta) {
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
        Needs {
            texture: self.session.show != Show::Depth
                && self.session.coloring == Coloring::ByTexture,
            depth_image: self.session.show != Show::Cloud || self.session.images != Images::NONE,
        }
    }

    fn must_finish(&self) -> bool {
        self.connection.is_file()
    }

    fn max_rate_hz(&self) -> Option<f64> {
        self.session.max_rate_hz
    }

    fn max_in_flight(&self) -> usize {
        Connection::MAX_IN_FLIGHT
    }

    fn status(&self) -> Option<String> {
        self.connection.status()
    }

    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        let room = self.room();
        if room != Offer::Taken {
            return Ok(room);
        }
        self.log_waiting_figures()?;
        self.set_times(&cloud.meta);
        self.last = Some(cloud.meta);
        if matches!(self.eye, EyeSearch::Waits)
            && let Some(sample) = layout::Sample::of(&cloud.points.positions_m)
        {
            self.eye = EyeSearch::Found(sample);
        }
        let thinned = self.thinner.as_mut().and_then(|thinner| thinner.thin(&cloud.points));
        let shown = thinned.as_deref().unwrap_or(&cloud.points);
        let painted = self.painter.as_mut().map(|painter| painter.paint(&shown.positions_m));
        let flight = arrow::Flight::new(Arc::clone(cloud), thinned, painted, &self.tower);
        if self.session.show != Show::Depth {
            self.rec
                .log(self.place.entities().cloud.as_str(), &arrow::points(&flight))
                .context("cannot log a cloud")?;
        }
        if self.session.show != Show::Cloud
            && let Some(image) = arrow::depth_image(&flight)
        {
            self.rec
                .log(self.place.entities().image.as_str(), &image)
                .context("cannot log a depth image")?;
        }
        let at = &self.place.entities().images;
        self.image_log
            .log(&self.rec, at, self.session.images, &flight)
            .context("cannot log an image")?;
        Ok(Offer::Taken)
    }

    fn next_released(&mut self) -> Option<Released> {
        self.landed.try_recv().ok()
    }

    fn figures(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.connection.watch_file(&self.rec);
        self.follow_the_scene()?;
        if snapshot.captured > 0 {
            self.tell(match snapshot.camera.as_ref().map(Monitor::state) {
                Some(State::Streaming) | None if snapshot.fps.captured > 0.0 => "running",
                Some(State::Streaming) | None => "no frames come",
                Some(state) => state.as_str(),
            })?;
        }
        self.figures_waiting = Some(snapshot.clone());
        if self.room() == Offer::Taken { self.log_waiting_figures() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>, patience: Duration) -> anyhow::Result<()> {
        self.follow_the_scene()?;
        self.tell("ended")?;
        if self.connection.is_file() || self.room() == Offer::Taken {
            self.log_waiting_figures()?;
        }
        let Self { rec, connection, .. } = *self;
        // The connection closes the last one.
        drop(rec);
        connection.finish(patience)
    }
}
