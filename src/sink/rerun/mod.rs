//! Clouds and figures in a Rerun viewer, or in an `.rrd` file.
//!
//! Rerun's `log()` blocks, some of its queues grow without bound, and its shutdown can hang, when
//! the peer is slow or gone. None of that reaches the pipeline: viewers pull what they want out of a
//! broadcast buffer, which never blocks, and each cloud's buffers report by their `Drop` that Rerun
//! has released them. While too many clouds are in flight, nothing more is logged.
//!
//! | file | duty |
//! | --- | --- |
//! | `session` | what is shown of a camera, its entities, what never changes; the text panel |
//! | `clouds` | which points are shown, as Arrow arrays without a copy; which of them Rerun holds |
//! | `figures` | plots, motion, events |
//! | `layout` | what the viewer shows at first, and from where |
//! | `connection` | where all goes: file, pages, a viewer that listens; is there room? |
//! | `broadcast`, `encoding` | what viewers are to get, kept once for all of them |
//! | `window` | what is on its way to a page, and how many points the page draws quickly |
//! | `web`, `page` | what is served to whom; the page that acknowledges what it draws |
//!
//! Entities of one camera: `camera` (axes), `camera/cloud`, `camera/image` (pinhole, and the depth
//! image if shown), `stats/fps`, `stats/lost_frames`, `stats/latency_ms/<stage>` (p50 and p99),
//! `stats/total_ms_histogram`, `session`, `events/camera` (changes of its state), and where they
//! are asked for `images/color`, `images/infrared`, `imu/accel`, `imu/gyro`. Of several:
//! `camera/<serial>` (pose) with `cloud` and `image`, `stats/<serial>`, `events/<serial>`, and so
//! on. Timelines: `frame` (number), `capture` (host's wall clock at arrival), `device` (the
//! camera's clock).

mod broadcast;
mod clouds;
mod connection;
mod encoding;
mod figures;
mod layout;
mod page;
mod session;
mod web;
mod window;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossbeam_channel::Receiver;
use rerun::sink::LogSink;
use rerun::{RecordingStream, RecordingStreamResult};

pub use super::rerun_program::find_native_viewer;
pub use session::{PointRadius, Session};
pub use web::{WebOptions, WebServer};
pub use window::Feeding;

use self::clouds::{InFlightCloud, InFlightTracker, Selection};
use self::connection::{Connection, MAX_IN_FLIGHT};
use self::figures::MotionLog;
use self::layout::Sample;
use self::session::Dashboard;
use self::window::{CloudNumber, Seen};
use super::{CloudSink, FrameTime, Images, Layout, Needs, Offer, Show, Shown, rerun_program};
use crate::clock::{HostTime, TimestampDomain};
use crate::color::Coloring;
use crate::frame::Cloud;
use crate::frame::FrameMeta;
use crate::source::watch::{Monitor, State};
use crate::stats::Snapshot;

/// A viewer that takes nothing for so long is reported.
const STUCK: Duration = Duration::from_secs(5);
/// Figures are those of the last second.
const FIGURES_EVERY: Duration = Duration::from_millis(950);
/// Clouds that a page may still show, at most.
const SENT: usize = 64;

/// One camera's sink of clouds through Rerun's SDK.
pub struct RerunSink {
    name: String,
    session: Session,
    /// Which of the session's cameras it is.
    camera: usize,
    shared: Arc<Shared>,
    tracker: InFlightTracker,
    released: Receiver<FrameTime>,
    selection: Option<Selection>,
    /// Since when there has been no room.
    busy_since: Option<Instant>,
    /// Figures that there was no room for yet.
    figures_waiting: Option<Snapshot>,
    /// Of the figures that were logged last.
    figures_at: Option<HostTime>,
    motion_log: Option<MotionLog>,
    /// Changes of the camera's state that were logged.
    events_logged: u64,
    /// Number of the last colour image logged: several depth frames may have the same.
    last_color: Option<u64>,
    /// Of the newest cloud.
    last: Option<FrameMeta>,
    /// The newest clouds that pages were sent, with the numbers of their frames.
    sent: VecDeque<(CloudNumber, u64)>,
    has_seen_scene: bool,
    /// What the first cloud shows, until the layout is sent anew for it.
    new_scene: Option<Sample>,
}

/// What all cameras of a session share.
struct Shared {
    rec: RecordingStream,
    connection: Connection,
    dashboard: Dashboard,
    /// Clouds that viewers were handed, of all cameras.
    clouds: AtomicU64,
}

/// Each makes a sink for every camera's session.
impl RerunSink {
    /// Writes an `.rrd` file; an error if it cannot be written.
    pub fn save(path: &Path, sessions: &[Session]) -> anyhow::Result<Vec<Self>> {
        Self::start("file", Connection::file(path)?, sessions)
    }

    /// Sends to the browsers that open a served page.
    pub fn serve_web(server: &WebServer, sessions: &[Session]) -> anyhow::Result<Vec<Self>> {
        Self::start("web viewer", Connection::pages(server.buffer()), sessions)
    }

    /// Starts the native viewer and connects to it; an error if it does not listen in time.
    pub fn spawn_native(viewer: &Path, sessions: &[Session]) -> anyhow::Result<Vec<Self>> {
        let url = rerun_program::spawn(viewer)?;
        Self::start("native viewer", Connection::viewer(&url)?, sessions)
    }

    /// Connects to a viewer at `rerun+http://host:port/proxy`; an error if this is no such address.
    /// While nobody answers there, clouds are counted as lost.
    pub fn connect(url: &str, sessions: &[Session]) -> anyhow::Result<Vec<Self>> {
        Self::start("viewer", Connection::viewer(url)?, sessions)
    }

    fn start(
        name: &str,
        (sink, connection): (Box<dyn LogSink>, Connection),
        sessions: &[Session],
    ) -> anyhow::Result<Vec<Self>> {
        let names: Vec<_> = sessions.iter().map(|session| session.name.as_str()).collect();
        let builder = rerun::RecordingStreamBuilder::new("depthcast")
            .enabled(true)
            .recording_name(names.join(", "))
            // Also for files: else clouds are flushed by size and the plots between them starve.
            .batcher_config(rerun::log::ChunkBatcherConfig::LOW_LATENCY);
        // Not by `set_sink`: that waits five seconds for a viewer that is not there.
        let (_, store_info, recording_info, batcher_config, batcher_hooks, _) = builder.into_args();
        let rec =
            RecordingStream::new(store_info, recording_info, batcher_config, batcher_hooks, sink)
                .context("cannot start Rerun's recording stream")?;
        rec.set_log_time_enabled(false);
        rec.set_log_tick_enabled(false);
        let shared = Arc::new(Shared {
            rec,
            connection,
            dashboard: Dashboard::new(sessions),
            clouds: AtomicU64::new(0),
        });
        let Shared { rec, dashboard, connection, .. } = &*shared;
        if let Some(first) = sessions.first() {
            dashboard.log(rec)?;
            dashboard.send_layout(rec, first, connection)?;
            rec.log_static("camera", &rerun::ViewCoordinates::RDF())?;
        }
        for (session, entities) in sessions.iter().zip(&dashboard.entities) {
            session
                .log_static(rec, entities)
                .and_then(|()| figures::log_series(rec, entities, session.motion.is_some()))
                .context("cannot send the session's facts to the viewer")?;
        }
        let sink = |(camera, session): (_, &Session)| Self::new(name, session, camera, &shared);
        Ok(sessions.iter().enumerate().map(sink).collect())
    }

    fn new(name: &str, session: &Session, camera: usize, shared: &Arc<Shared>) -> Self {
        let Session { stream, clock, coloring, show, motion, max_points, .. } = session;
        let pixels = stream.intrinsics.width as usize * stream.intrinsics.height as usize;
        let (tracker, released) = InFlightTracker::new(Arc::clone(clock));
        let max_points = max_points.unwrap_or(pixels);
        let selection = || Selection::new(max_points, *coloring, pixels, MAX_IN_FLIGHT);
        Self {
            name: name.into(),
            camera,
            shared: Arc::clone(shared),
            tracker,
            released,
            selection: (*show != Show::Depth).then(selection),
            busy_since: None,
            figures_waiting: None,
            figures_at: None,
            motion_log: motion.clone().map(|motion| MotionLog::new(motion, Arc::clone(clock))),
            events_logged: 0,
            last_color: None,
            last: None,
            sent: VecDeque::new(),
            has_seen_scene: false,
            new_scene: None,
            session: session.clone(),
        }
    }

    fn room(&mut self) -> Offer {
        let room = self.shared.connection.room(self.camera, self.tracker.in_flight());
        match room {
            Offer::Taken => self.busy_since = None,
            Offer::Busy => self.busy_since = self.busy_since.or_else(|| Some(Instant::now())),
            Offer::Disconnected => {}
        }
        room
    }

    /// Sends the layout again when the first cloud has shown from where it is seen best, and the
    /// camera's `state`.
    fn update_dashboard(&mut self, state: Option<&'static str>) -> anyhow::Result<()> {
        let Shared { rec, connection, dashboard, .. } = &*self.shared;
        if let Some(sample) = self.new_scene.take() {
            dashboard.set_points(self.camera, sample);
            dashboard.send_layout(rec, &self.session, connection)?;
        }
        state.map_or(Ok(()), |state| dashboard.set_state(rec, self.camera, state))
    }

    /// More often they would only take the time of pages that draw slowly.
    fn log_due_figures(&mut self) -> anyhow::Result<()> {
        let is_due = |snapshot: &Snapshot| {
            self.figures_at.is_none_or(|at| snapshot.at.since(at) >= FIGURES_EVERY)
        };
        let is_due = self.figures_waiting.as_ref().is_some_and(is_due);
        if is_due { self.log_waiting_figures() } else { Ok(()) }
    }

    fn log_waiting_figures(&mut self) -> anyhow::Result<()> {
        let Some(snapshot) = self.figures_waiting.take() else { return Ok(()) };
        self.figures_at = Some(snapshot.at);
        let Shared { rec, dashboard, .. } = &*self.shared;
        let entities = &dashboard.entities[self.camera];
        if let Some(motion) = &mut self.motion_log {
            motion.log(rec, &entities.imu).context("cannot log motion")?;
        }
        // Figures belong to a moment, not to a frame; on the device's timeline to the newest.
        rec.reset_time();
        if let Some(last) = &self.last {
            self.set_device_time(last);
        }
        let clock = &*self.session.clock;
        rec.set_timestamp_nanos_since_epoch("capture", clock.unix_ns(snapshot.at));
        if self.session.layout == Layout::Profiling {
            figures::log_distribution(rec, entities, &snapshot)
                .context("cannot log the distribution")?;
        }
        figures::log_figures(rec, entities, &snapshot).context("cannot log figures")?;
        let Some(monitor) = &snapshot.camera else { return Ok(()) };
        figures::log_events(rec, &entities.events, monitor, clock, &mut self.events_logged)
            .context("cannot log what happened to the camera")
    }

    fn set_times(&self, meta: &FrameMeta) {
        let Shared { rec, .. } = &*self.shared;
        rec.set_time_sequence("frame", i64::try_from(meta.number).unwrap_or(i64::MAX));
        let at_ns = self.session.clock.unix_ns(meta.arrived_at);
        rec.set_timestamp_nanos_since_epoch("capture", at_ns);
        self.set_device_time(meta);
    }

    /// Numbers a cloud for the pages that acknowledge it.
    fn number_cloud(&mut self, frame: u64) {
        let Shared { rec, connection: Connection::Pages(_), clouds, .. } = &*self.shared else {
            return;
        };
        let cloud = CloudNumber::new(clouds.fetch_add(1, Ordering::Relaxed) + 1, self.camera);
        cloud.set_time(rec);
        self.sent.push_back((cloud, frame));
        if self.sent.len() > SENT {
            self.sent.pop_front();
        }
    }

    fn set_device_time(&self, meta: &FrameMeta) {
        let Some(device) = meta.device_time else { return };
        let Shared { rec, .. } = &*self.shared;
        match device.domain {
            TimestampDomain::SystemTime | TimestampDomain::GlobalTime => {
                rec.set_timestamp_secs_since_epoch("device", device.ms / 1e3);
            }
            TimestampDomain::HardwareClock | TimestampDomain::Unknown => {
                rec.set_duration_secs("device", device.ms / 1e3);
            }
        }
    }

    fn log_cloud(&mut self, cloud: &Arc<InFlightCloud>) -> RecordingStreamResult<()> {
        let Session { show, images, .. } = self.session;
        let Shared { rec, dashboard, .. } = &*self.shared;
        let entities = &dashboard.entities[self.camera];
        if show != Show::Depth {
            rec.log(entities.cloud.as_str(), &cloud.points())?;
        }
        if show != Show::Cloud
            && let Some(image) = cloud.depth_image()
        {
            rec.log(entities.image.as_str(), &image)?;
        }
        if images.infrared
            && let Some(image) = cloud.image(|frame| frame.infrared.as_deref())
        {
            rec.log(entities.infrared.as_str(), &image)?;
        }
        let color = cloud.frame().and_then(|frame| frame.color.as_ref()).map(|color| color.number);
        if images.color
            && color != self.last_color
            && let Some(image) = cloud.image(|frame| frame.color.as_deref())
        {
            rec.log(entities.color.as_str(), &image)?;
            self.last_color = color;
        }
        Ok(())
    }
}

impl CloudSink for RerunSink {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn needs(&self) -> Needs {
        let Session { show, coloring, images, .. } = self.session;
        Needs {
            texture: show != Show::Depth && coloring == Coloring::ByTexture,
            depth_image: show != Show::Cloud || images != Images::default(),
        }
    }

    fn must_finish(&self) -> bool {
        self.shared.connection.is_file()
    }

    fn max_rate_hz(&self) -> Option<f64> {
        self.session.max_rate_hz
    }

    fn max_in_flight(&self) -> usize {
        MAX_IN_FLIGHT
    }

    fn status(&self) -> Option<String> {
        let is_stuck = self.busy_since.is_some_and(|since| since.elapsed() > STUCK);
        let status = self.shared.connection.status(is_stuck)?;
        let max_points = self.shared.connection.max_points();
        Some(if max_points < usize::MAX {
            format!("{status}, {max_points} points a cloud")
        } else {
            status
        })
    }

    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        let room = self.room();
        if room != Offer::Taken {
            return Ok(room);
        }
        self.log_due_figures()?;
        self.set_times(&cloud.meta);
        self.last = Some(cloud.meta);
        self.number_cloud(cloud.meta.number);
        if !self.has_seen_scene {
            self.new_scene = Sample::of(&cloud.points.positions_m);
            self.has_seen_scene = self.new_scene.is_some();
        }
        let adapted = self.shared.connection.max_points();
        let selection = self.selection.as_mut();
        let shown = selection.and_then(|selection| selection.of(&cloud.points, adapted));
        let cloud = self.tracker.add(Arc::clone(cloud), shown);
        self.log_cloud(&cloud).context("cannot log a cloud")?;
        Ok(Offer::Taken)
    }

    fn next_released(&mut self) -> Option<FrameTime> {
        self.released.try_recv().ok()
    }

    fn next_shown(&mut self) -> Option<Shown> {
        let Connection::Pages(buffer) = &self.shared.connection else { return None };
        loop {
            let Seen { cloud, at, uncertainty_ms } = buffer.next_seen(self.camera)?;
            // Another page may have shown it, or a newer one, before.
            if let Ok(index) = self.sent.binary_search_by_key(&cloud, |sent| sent.0) {
                let (_, number) = self.sent.drain(..=index).next_back()?;
                return Some(Shown { frame: FrameTime { number, at }, uncertainty_ms });
            }
        }
    }

    fn figures(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.shared.connection.check_file(&self.shared.rec);
        let state = match snapshot.camera.as_ref().map(Monitor::state) {
            Some(State::Streaming) | None if snapshot.fps.captured > 0.0 => "running",
            Some(State::Streaming) | None => "no frames come",
            Some(state) => state.as_str(),
        };
        self.update_dashboard((snapshot.captured > 0).then_some(state))?;
        self.figures_waiting = Some(snapshot.clone());
        let in_flight = self.tracker.in_flight();
        let has_room = self.shared.connection.has_room_for_figures(self.camera, in_flight);
        if has_room { self.log_due_figures() } else { Ok(()) }
    }

    /// Of several cameras the last one waits for all.
    fn finish(mut self: Box<Self>, patience: Duration) -> anyhow::Result<()> {
        self.update_dashboard(Some("ended"))?;
        if self.shared.connection.is_file() || self.room() == Offer::Taken {
            self.log_waiting_figures()?;
        }
        match Arc::into_inner(self.shared) {
            Some(Shared { rec, connection, .. }) => connection.finish(rec, patience),
            None => Ok(()),
        }
    }
}
