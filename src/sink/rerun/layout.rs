//! What a viewer shows at first, by what it is for: the cloud large on a dark ground with plots
//! beside it, or the plots large. In Rerun's terms: the blueprint, a stream of views and containers.
//! Clouds are seen from behind the camera, to its side and above, as near as all allow.

use anyhow::Context as _;
use rerun::datatypes::{TimeInt, TimeRange, TimeRangeBoundary, VisibleTimeRange};
use rerun::external::re_log_types::BlueprintActivationCommand;
use rerun::external::re_sdk_types::blueprint::archetypes as bp;
use rerun::external::re_sdk_types::blueprint::components::{self as bpc, ContainerKind};
use rerun::external::uuid::Uuid;
use rerun::sink::MemorySinkStorage;
use rerun::{AsComponents, RecordingStream};

use super::figures::{EYE, SENSORS};
use super::session::{Entities, Session};
use crate::camera::{Extrinsics, Intrinsics};
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
    /// A page acknowledges what it draws.
    pub is_page: bool,
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
        let eye = self.eye()?;
        let facts = if eye.is_some() { 1.1 } else { 1.9 };
        let mut side = vec![self.rates()?.share(0.95), self.latency()?.share(1.4)];
        side.extend(eye.map(|eye| eye.share(0.9)));
        side.extend([self.losses()?.share(1.4), self.facts()?.share(facts)]);
        side.extend(self.events()?.map(|events| events.share(0.8)));
        let mut below = self.images()?;
        below.extend(self.motion()?);
        let mut stage = self.cloud()?;
        if !below.is_empty() {
            let share = if self.scene.session.images.color { 1.3 } else { 2.4 };
            stage = self.column(vec![stage.share(share), self.row(below)?])?;
        }
        Ok(vec![stage.share(2.6), self.column(side)?])
    }

    /// For measuring: a plot for each stage, and how the total is distributed.
    fn profiling(&self) -> anyhow::Result<Vec<Part>> {
        let of_frames = ["capture_queue", "project", "cloud_queue"].map(|stage| self.stage(stage));
        let first = self.column(of_frames.into_iter().collect::<Result<_, _>>()?)?;
        let mut second = vec![self.stage("log")?, self.stage("total")?];
        second.extend(self.eye()?);
        second.push(self.distribution()?);
        let second = self.column(second)?;
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

    /// The images beside the cloud. A depth image alone is projected by the cloud's view.
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

    /// How old the clouds are that a page draws.
    fn eye(&self) -> anyhow::Result<Option<Part>> {
        self.scene.is_page.then(|| self.stage(EYE)).transpose()
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

/// Points that decide.
const POINTS: usize = 4096;
/// Fewer are no scene yet: a camera that was just started, or is covered.
const ENOUGH: usize = 500;
/// The share of points that has to be in sight, of each side.
const IN_SIGHT: f32 = 0.995;
/// To the right of the camera and above it, turned by these angles towards the scene.
const TURN_RAD: f32 = 0.2;
const TILT_RAD: f32 = 0.3;
/// Tangent of half of the angle that Rerun's view has vertically, 55 degrees, and a margin.
const HALF_HEIGHT: f32 = 0.52 * 0.96;
/// Of the view in our layouts on a screen of 16:9.
const ASPECT: f32 = 1.35;
/// Size of the camera's frustum, by the distance of the scene.
const FRUSTUM: f32 = 0.08;
/// Between these distances in metres lies what a camera is thought to see before its first cloud.
const EXPECTED_M: [f32; 2] = [0.8, 3.5];

type Vector = [f32; 3];

/// Some points of a cloud.
pub struct Sample(Vec<Vector>);

impl Sample {
    /// `None` if the cloud is too small to tell what the scene is like.
    pub fn of(positions_m: &[Vector]) -> Option<Self> {
        let step = positions_m.len().div_ceil(POINTS).max(1);
        let some = || Self(positions_m.iter().step_by(step).copied().collect());
        (positions_m.len() >= ENOUGH).then(some)
    }

    /// What a camera that has delivered nothing yet is thought to see.
    pub fn of_lens(lens: &Intrinsics) -> Self {
        let (w, h) = (lens.width as f32, lens.height as f32);
        let corners = |z: f32| {
            [[0.0, 0.0], [w, 0.0], [0.0, h], [w, h]]
                .map(|[u, v]| [(u - lens.ppx) / lens.fx * z, (v - lens.ppy) / lens.fy * z, z])
        };
        Self(EXPECTED_M.into_iter().flat_map(corners).collect())
    }
}

/// In the camera's frame, or the one that several share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eye {
    pub position_m: Vector,
    /// What the eye turns about.
    pub target_m: Vector,
    /// Distance from the camera to the image plane that is drawn for it.
    pub frustum_m: f32,
}

impl Eye {
    /// Clouds and cameras are in sight and fill it; each cloud in its camera's frame, with its pose.
    pub fn for_clouds(clouds: &[(&Extrinsics, &Sample)]) -> Self {
        let all = clouds.iter().flat_map(|(pose, cloud)| cloud.0.iter().map(|&p| pose.apply(p)));
        let points: Vec<Vector> = all.collect();
        let depths_m = clouds.iter().flat_map(|(_, Sample(points))| points.iter().map(|p| p[2]));
        let forward =
            [-TURN_RAD.sin() * TILT_RAD.cos(), TILT_RAD.sin(), TURN_RAD.cos() * TILT_RAD.cos()];
        // The cross products of `forward` and "up", which is -y.
        let right = normalized([forward[2], 0.0, -forward[0]]);
        let up = cross(right, forward);
        let depth_m = quantile(depths_m.collect(), 0.5);
        let frustum_m = FRUSTUM * depth_m;
        let corners = [[-1.0, -0.6, 1.0], [1.0, -0.6, 1.0], [-1.0, 0.6, 1.0], [1.0, 0.6, 1.0]]
            .map(|p| p.map(|x: f32| x * frustum_m));
        let frustum = || [[0.0; 3]].into_iter().chain(corners);
        let cameras: Vec<Vector> =
            clouds.iter().flat_map(|(pose, _)| frustum().map(|p| pose.apply(p))).collect();

        // A point is in sight from e if |p·side - e·side| <= half (p·forward - e·forward). So
        // e·side lies between the largest of p·side - half p·forward and the least of p·side + half
        // p·forward, each moved by half e·forward.
        let bound = |side: Vector, sign: f32, half: f32| {
            let reach = |p: &Vector| sign * dot(*p, side) - half * dot(*p, forward);
            let of_points = quantile(points.iter().map(reach).collect(), IN_SIGHT);
            cameras.iter().map(reach).fold(of_points, f32::max)
        };
        let half_width = HALF_HEIGHT * ASPECT;
        let [(right_m, behind_for_width), (up_m, behind_for_height)] =
            [(right, half_width), (up, HALF_HEIGHT)].map(|(side, half)| {
                let (high, low) = (bound(side, 1.0, half), bound(side, -1.0, half));
                ((high - low) / 2.0, -(high + low) / (2.0 * half))
            });
        let forward_m = behind_for_width.min(behind_for_height);
        let position_m =
            std::array::from_fn(|i| right_m * right[i] + up_m * up[i] + forward_m * forward[i]);
        let ahead_m = quantile(points.iter().map(|p| dot(*p, forward)).collect(), 0.5) - forward_m;
        let target_m = std::array::from_fn(|i| position_m[i] + ahead_m * forward[i]);
        Self { position_m, target_m, frustum_m }
    }
}

fn dot(a: Vector, b: Vector) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn normalized(a: Vector) -> Vector {
    let length = dot(a, a).sqrt();
    a.map(|x| x / length)
}

/// The value that this share of all does not exceed.
fn quantile(mut values: Vec<f32>, share: f32) -> f32 {
    let at = ((values.len() - 1) as f32 * share) as usize;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Distortion;

    /// A box of points.
    fn scene(low: Vector, high: Vector) -> Vec<Vector> {
        let at = |i: usize, n: usize| low[i] + (high[i] - low[i]) * n as f32 / 19.0;
        (0..8000).map(|n| [at(0, n % 20), at(1, n / 20 % 20), at(2, n / 400)]).collect()
    }

    /// Where a point is seen: from -1 to 1 across and up the view.
    fn seen(eye: &Eye, p: Vector) -> [f32; 2] {
        let forward = normalized(std::array::from_fn(|i| eye.target_m[i] - eye.position_m[i]));
        let right = normalized([forward[2], 0.0, -forward[0]]);
        let to = std::array::from_fn(|i| p[i] - eye.position_m[i]);
        let ahead = dot(to, forward) * 0.52;
        [dot(to, right) / ahead / ASPECT, dot(to, cross(right, forward)) / ahead]
    }

    #[test]
    fn clouds_and_cameras_fill_the_view_at_every_size_and_pose() {
        let right = Extrinsics { translation_m: [3.0, 0.0, 0.0], ..Extrinsics::IDENTITY };
        // It looks to the left from there.
        let turned =
            Extrinsics { rotation: [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0], ..right };
        let first = Extrinsics::IDENTITY;
        let (one, beside, facing) = (&[first][..], &[first, right][..], &[first, turned][..]);
        for (scale, poses) in [(0.1, one), (1.0, one), (3.0, one), (1.0, beside), (1.0, facing)] {
            let [low, high] = [[-1.0, -0.7, 1.0], [1.0, 0.7, 2.0]].map(|p| p.map(|x| x * scale));
            let points = scene(low, high);
            let sample = Sample::of(&points).unwrap();
            let clouds: Vec<_> = poses.iter().map(|pose| (pose, &sample)).collect();
            let eye = Eye::for_clouds(&clouds);
            let mut reach = 0.0_f32;
            for pose in poses {
                let all = points.iter().map(|&p| seen(&eye, pose.apply(p)).map(f32::abs));
                let all: Vec<_> = all.map(|[across, up]| across.max(up)).collect();
                let inside = all.iter().filter(|s| **s <= 1.0).count();
                assert!(inside as f32 >= 0.97 * all.len() as f32, "{scale} {poses:?}: {inside}");
                reach = all.into_iter().fold(reach, f32::max);
                let camera = seen(&eye, pose.apply([0.0; 3]));
                assert!(camera.iter().all(|s| s.abs() <= 1.0), "{scale} {poses:?}: {camera:?}");
            }
            assert!(poses.len() > 1 || reach > 0.9, "{scale}: {reach}");
            // Seen from above (y is down) and from the right.
            assert!(eye.position_m[1] < 0.0 && eye.position_m[0] > 0.0, "{eye:?}");
        }
    }

    #[test]
    fn before_the_first_cloud_the_lens_decides() {
        let z = |f: f32| {
            let (width, height, ppx, ppy) = (848, 480, 424.0, 240.0);
            let (distortion, coeffs) = (Distortion::None, [0.0; 5]);
            let lens = Intrinsics { width, height, fx: f, fy: f, ppx, ppy, distortion, coeffs };
            Eye::for_clouds(&[(&Extrinsics::IDENTITY, &Sample::of_lens(&lens))]).position_m[2]
        };
        assert!(z(844.0) > z(422.0), "a longer lens sees less, so the eye is nearer");
    }

    #[test]
    fn a_few_points_are_no_scene_and_of_many_some_decide() {
        assert!(Sample::of(&[[0.0, 0.0, 1.0]; ENOUGH - 1]).is_none());
        let sample = Sample::of(&vec![[0.0, 0.0, 1.0]; 400_000]).unwrap();
        assert_eq!(sample.0.len(), 400_000_usize.div_ceil(98));
    }
}
