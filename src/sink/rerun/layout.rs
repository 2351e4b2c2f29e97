//! What a viewer shows at first, by what it is for: the cloud large on a dark ground with plots
//! beside it, or the plots large. In Rerun's terms: the blueprint, a stream of views and containers.

use anyhow::Context as _;
use rerun::datatypes::{TimeInt, TimeRange, TimeRangeBoundary, VisibleTimeRange};
use rerun::external::re_log_types::BlueprintActivationCommand;
use rerun::external::re_sdk_types::blueprint::archetypes as bp;
use rerun::external::re_sdk_types::blueprint::components::{self as bpc, ContainerKind};
use rerun::external::uuid::Uuid;
use rerun::sink::MemorySinkStorage;
use rerun::{AsComponents, RecordingStream};

use super::eye::Eye;
use super::figures::{SENSORS, STAGES};
use super::session::{Entities, Session};
use crate::sink::{Layout, Show};

/// What a plot spans before the cursor, at least and at most.
const PLOT_S: [f64; 2] = [2.0, 30.0];
/// By that, the empty space after the cursor, where the legend covers no line.
const AFTER_CURSOR: f64 = 0.55;
/// The timelines that figures are logged on.
const FIGURES_ON: [&str; 2] = ["capture", "device"];
/// Nearly black: what has no depth, and what lies beyond, recedes.
const GROUND: [u8; 3] = [12, 14, 20];

/// What decides a layout.
pub struct Scene<'a> {
    /// Of one of the cameras.
    pub session: &'a Session,
    /// A file plays from its start, a live view follows the newest data.
    pub is_file: bool,
    pub eye: &'a Eye,
    pub cameras: &'a [Entities],
}

/// Sends the layout. The last one that is sent holds.
pub fn send(rec: &RecordingStream, scene: &Scene) -> anyhow::Result<()> {
    let page = Page::new(scene)?;
    let (parts, timeline) = match scene.session.layout {
        Layout::Live => (page.live()?, "capture"),
        Layout::Profiling => (page.profiling()?, "capture"),
        Layout::Replay => (page.replay()?, "device"),
    };
    page.send(rec, parts, timeline)
}

/// A layout that is being put together.
struct Page<'a> {
    scene: &'a Scene<'a>,
    stream: RecordingStream,
    storage: MemorySinkStorage,
    plot_s: f64,
}

/// A view, or a container of parts.
struct Part {
    path: String,
    /// Of the container's width or height, compared with the other parts.
    share: f32,
}

impl Part {
    fn share(self, share: f32) -> Self {
        Self { share, ..self }
    }
}

/// The layouts.
impl Page<'_> {
    /// For an audience: the cloud, below it what else the camera sees, beside it how well it goes.
    fn live(&self) -> anyhow::Result<Vec<Part>> {
        let mut side = vec![
            self.rates()?.share(0.95),
            self.latency()?.share(1.3),
            self.losses()?.share(1.3),
            self.facts()?.share(1.9),
        ];
        side.extend(self.events()?.map(|events| events.share(0.8)));
        let mut below = self.images()?;
        below.extend(self.motion()?);
        let mut stage = self.cloud()?;
        if !below.is_empty() {
            stage = self.column(vec![stage.share(2.4), self.row(below)?])?;
        }
        Ok(vec![stage.share(2.6), self.column(side)?])
    }

    /// For measuring: a plot for each stage, and how the total is distributed.
    fn profiling(&self) -> anyhow::Result<Vec<Part>> {
        let [capture_queue, project, cloud_queue, log, total] =
            STAGES.map(|(stage, _)| self.stage(stage));
        let first = self.column(vec![capture_queue?, project?, cloud_queue?])?;
        let second = self.column(vec![log?, total?, self.distribution()?])?;
        let mut third = vec![self.cloud()?.share(1.5)];
        third.extend(self.images()?);
        third.extend(self.motion()?);
        let plots = [self.rates()?.share(0.9), self.losses()?.share(1.3), self.facts()?.share(1.5)];
        third.extend(plots);
        third.extend(self.events()?);
        Ok(vec![first, second, self.column(third)?.share(0.9)])
    }

    /// For a recording: what it shows and what it is; whether it played as it should.
    fn replay(&self) -> anyhow::Result<Vec<Part>> {
        let mut side: Vec<_> = self.images()?.into_iter().map(|image| image.share(1.5)).collect();
        side.extend([self.facts()?.share(2.0), self.rates()?, self.losses()?.share(1.2)]);
        Ok(vec![self.cloud()?.share(2.6), self.column(side)?])
    }
}

/// Their parts.
impl Page<'_> {
    /// The same of all cameras.
    fn of_all(&self, path: impl Fn(&Entities) -> String) -> Vec<String> {
        self.scene.cameras.iter().map(|camera| format!("/{}", path(camera))).collect()
    }

    /// All cameras in one view.
    fn cloud(&self) -> anyhow::Result<Part> {
        let part = self.view("3D", "Point cloud", "/camera", &["$origin/**"])?;
        let eye = bp::EyeControls3D::new()
            .with_kind(bpc::Eye3DKind::Orbital)
            .with_position(self.scene.eye.position_m)
            .with_look_target(self.scene.eye.target_m)
            .with_eye_up([0.0, -1.0, 0.0]);
        self.set(&part, "EyeControls3D", &eye)?;
        let ground = bp::Background::new(bpc::BackgroundKind::SolidColor).with_color(GROUND);
        self.set(&part, "Background", &ground)?;
        self.set(&part, "LineGrid3D", &bp::LineGrid3D::new().with_visible(false))?;
        Ok(part)
    }

    /// The images that are shown beside the cloud. A depth image that is sent alone is projected by
    /// the cloud's view.
    fn images(&self) -> anyhow::Result<Vec<Part>> {
        let Session { show, images, .. } = self.scene.session;
        type Entity = fn(&Entities) -> &String;
        let kinds: [(_, _, Entity, _); 3] = [
            (*show == Show::Both, "Depth image", |camera| &camera.image, "$origin/**"),
            (images.color, "Colour", |camera| &camera.color, "$origin"),
            (images.infrared, "Infrared", |camera| &camera.infrared, "$origin"),
        ];
        let mut views = Vec::new();
        for (_, title, entity, contents) in kinds.into_iter().filter(|kind| kind.0) {
            for camera in self.scene.cameras {
                let of = camera.of.as_ref().map_or(String::new(), |of| format!(" of {}", of.0));
                let origin = format!("/{}", entity(camera));
                views.push(self.view("2D", &format!("{title}{of}"), &origin, &[contents])?);
            }
        }
        Ok(views)
    }

    /// What motion sensors measure.
    fn motion(&self) -> anyhow::Result<Vec<Part>> {
        let sensors = SENSORS.into_iter().filter(|_| self.scene.session.motion.is_some());
        let plot = |(_, name, title)| {
            self.plot(title, "/imu", &self.of_all(|camera| format!("{}/{name}", camera.imu)))
        };
        sensors.map(plot).collect()
    }

    fn rates(&self) -> anyhow::Result<Part> {
        self.stats("Frame rate, fps", &["fps"])
    }

    fn losses(&self) -> anyhow::Result<Part> {
        self.stats("Frames lost since the start", &["lost_frames"])
    }

    fn latency(&self) -> anyhow::Result<Part> {
        // Of several cameras the total alone: the plot is small.
        let first = usize::from(self.scene.cameras.len() > 1);
        let stages = ["latency_ms/project", "latency_ms/total"];
        self.stats("Latency of the last second, ms", &stages[first..])
    }

    fn stage(&self, stage: &str) -> anyhow::Result<Part> {
        let words = stage.replace('_', " ");
        let title = format!("{}{}, ms", words[..1].to_uppercase(), &words[1..]);
        self.stats(&title, &[&format!("latency_ms/{stage}")])
    }

    /// A plot of what all cameras log at these places below `stats`.
    fn stats(&self, title: &str, places: &[&str]) -> anyhow::Result<Part> {
        let of_all = |place: &&str| self.of_all(|camera| format!("{}/{place}", camera.stats));
        self.plot(title, "/stats", &places.iter().flat_map(of_all).collect::<Vec<_>>())
    }

    fn distribution(&self) -> anyhow::Result<Part> {
        let title = "Total latency since the start, frames by ms";
        let contents = self.of_all(|camera| format!("{}/total_ms_histogram", camera.stats));
        let part = self.view("BarChart", title, "/stats", &contents)?;
        self.set(&part, "PlotLegend", &bp::PlotLegend::new().with_visible(false))?;
        Ok(part)
    }

    fn facts(&self) -> anyhow::Result<Part> {
        self.view("TextDocument", "Session", "/session", &["$origin"])
    }

    /// What happened to a camera that is watched.
    fn events(&self) -> anyhow::Result<Option<Part>> {
        let is_watched = self.scene.session.is_watched;
        is_watched.then(|| self.view("TextLog", "Camera", "/events", &["$origin/**"])).transpose()
    }
}

/// The blueprint.
impl<'a> Page<'a> {
    fn new(scene: &'a Scene<'a>) -> anyhow::Result<Self> {
        let session_s = scene.session.duration.map_or(PLOT_S[1], |d| d.as_secs_f64());
        let plot_s = session_s.clamp(PLOT_S[0], PLOT_S[1]);
        let (stream, storage) =
            rerun::RecordingStreamBuilder::new("depthcast").blueprint().enabled(true).memory()?;
        // The viewer knows blueprint data by this timeline.
        stream.set_time_sequence("blueprint", 0);
        Ok(Self { scene, stream, storage, plot_s })
    }

    /// A view of a class as Rerun names it.
    fn view(
        &self,
        class: &str,
        title: &str,
        origin: &str,
        contents: &[impl AsRef<str>],
    ) -> anyhow::Result<Part> {
        let part = Part { path: format!("view/{}", Uuid::new_v4()), share: 1.0 };
        let view = bp::ViewBlueprint::new(class).with_display_name(title).with_space_origin(origin);
        self.stream.log(part.path.as_str(), &view)?;
        let contents = bp::ViewContents::new(contents.iter().map(AsRef::as_ref));
        self.set(&part, "ViewContents", &contents)?;
        Ok(part)
    }

    fn set(&self, part: &Part, property: &str, value: &impl AsComponents) -> anyhow::Result<()> {
        Ok(self.stream.log(format!("{}/{property}", part.path), value)?)
    }

    /// Lines over time that end at the cursor, and their legend in the empty space after it.
    fn plot(&self, title: &str, origin: &str, contents: &[String]) -> anyhow::Result<Part> {
        let part = self.view("TimeSeries", title, origin, contents)?;
        let seconds = |s: f64| TimeRangeBoundary::CursorRelative(TimeInt((s * 1e9) as i64));
        let legend = bp::PlotLegend::new().with_corner(bpc::Corner2D::RightTop);
        self.set(&part, "PlotLegend", &legend)?;
        let (start, end) = (seconds(-self.plot_s), seconds(AFTER_CURSOR * self.plot_s));
        let axis = bp::TimeAxis::new().with_view_range(TimeRange { start, end });
        self.set(&part, "TimeAxis", &axis)?;
        // In a file, who moves the axis finds all that was before.
        let start = if self.scene.is_file { TimeRangeBoundary::Infinite } else { start };
        let range = TimeRange { start, end: seconds(0.0) };
        let visible =
            FIGURES_ON.map(|timeline| VisibleTimeRange { timeline: timeline.into(), range });
        self.set(&part, "VisibleTimeRanges", &bp::VisibleTimeRanges::new(visible))?;
        Ok(part)
    }

    fn column(&self, parts: Vec<Part>) -> anyhow::Result<Part> {
        self.container(Uuid::new_v4(), ContainerKind::Vertical, parts)
    }

    fn row(&self, parts: Vec<Part>) -> anyhow::Result<Part> {
        self.container(Uuid::new_v4(), ContainerKind::Horizontal, parts)
    }

    fn container(&self, id: Uuid, kind: ContainerKind, parts: Vec<Part>) -> anyhow::Result<Part> {
        let path = format!("container/{id}");
        let contents = parts.iter().map(|part| part.path.as_str());
        let container = bp::ContainerBlueprint::new(kind).with_contents(contents);
        let shares = parts.iter().map(|part| part.share);
        let container = match kind {
            ContainerKind::Horizontal => container.with_col_shares(shares),
            _ => container.with_row_shares(shares),
        };
        self.stream.log(path.as_str(), &container)?;
        Ok(Part { path, share: 1.0 })
    }

    /// Sends the layout, with the parts beside each other.
    fn send(self, rec: &RecordingStream, parts: Vec<Part>, timeline: &str) -> anyhow::Result<()> {
        let root = Uuid::new_v4();
        self.container(root, ContainerKind::Horizontal, parts)?;
        let viewport = bp::ViewportBlueprint::new()
            .with_root_container(root)
            .with_auto_layout(false)
            .with_auto_views(false);
        self.stream.log("viewport", &viewport)?;
        let hidden = bp::PanelBlueprint::new().with_state(bpc::PanelState::Hidden);
        self.stream.log("blueprint_panel", &hidden)?;
        self.stream.log("selection_panel", &hidden)?;
        let panel = bp::TimePanelBlueprint::new().with_state(bpc::PanelState::Collapsed);
        let panel = panel.with_timeline(timeline);
        let panel = if self.scene.is_file {
            panel.with_play_state(bpc::PlayState::Playing).with_loop_mode(bpc::LoopMode::All)
        } else {
            panel.with_play_state(bpc::PlayState::Following)
        };
        self.stream.log("time_panel", &panel)?;
        let blueprint_id = self.stream.store_info().context("no blueprint store")?.store_id;
        let activation =
            BlueprintActivationCommand { blueprint_id, make_active: true, make_default: true };
        rec.send_blueprint(self.storage.take(), activation);
        Ok(())
    }
}
