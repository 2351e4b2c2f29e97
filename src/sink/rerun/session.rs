//! What a viewer is shown of one camera, its entities, and what never changes; and what all cameras
//! share: the text panel, and the layout with the eye that sees every cloud.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rerun::components::{Colormap as RerunColormap, ViewCoordinates};
use rerun::{RecordingStream, RecordingStreamResult, TextDocument};

use super::connection::Connection;
use super::layout::{self, Eye, Sample, Scene};
use crate::camera::Extrinsics;
use crate::clock::Clock;
use crate::color::{ColorRange, Coloring, Colormap};
use crate::sink::{CameraView, Images, Layout, Show};
use crate::source::DepthStream;
use crate::source::motion::Motion;

/// What a sink shows; of several cameras, each has a session, and all are in one recording.
#[derive(Clone)]
pub struct Session {
    /// Which one of several cameras it is.
    pub camera: Option<CameraView>,
    pub layout: Layout,
    pub show: Show,
    /// Beside the cloud.
    pub images: Images,
    /// Plotted, where there is one.
    pub motion: Option<Motion>,
    /// Of clouds.
    pub coloring: Coloring,
    /// Of depth images.
    pub depth_colors: ColorRange,
    pub point_radius: PointRadius,
    /// The most points of a cloud that are shown; `None` for all.
    pub max_points: Option<usize>,
    /// See [`max_rate_hz`](crate::sink::CloudSink::max_rate_hz).
    pub max_rate_hz: Option<f64>,
    pub stream: DepthStream,
    /// The source is a camera that may stall and come back.
    pub is_watched: bool,
    /// How long the session will be, as far as it is known.
    pub duration: Option<Duration>,
    /// What the text panel says: names and values.
    pub facts: Vec<(&'static str, String)>,
    /// Name of the recording.
    pub name: String,
    pub clock: Arc<dyn Clock>,
}

/// How large points are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PointRadius {
    /// In points of the screen, whatever the distance.
    Ui(f32),
    Meters(f32),
}

/// Where what belongs to one camera is logged.
pub struct Entities {
    pub camera: String,
    pub cloud: String,
    /// The pinhole, and the depth image.
    pub image: String,
    pub color: String,
    pub infrared: String,
    /// What motion sensors measure is below it.
    pub imu: String,
    pub stats: String,
    pub events: String,
    /// Whose name and hue its lines have, where there are several.
    pub of: Option<(String, [u8; 3])>,
}

impl Entities {
    pub fn new(camera: Option<&CameraView>) -> Self {
        let part = camera.map(|c| rerun::EntityPathPart::new(c.serial.as_str()).escaped_string());
        let below = |root: &str| part.as_ref().map_or(root.into(), |part| format!("{root}/{part}"));
        let [camera_path, images] = ["camera", "images"].map(below);
        Self {
            cloud: format!("{camera_path}/cloud"),
            image: format!("{camera_path}/image"),
            camera: camera_path,
            color: format!("{images}/color"),
            infrared: format!("{images}/infrared"),
            imu: below("imu"),
            stats: below("stats"),
            events: if part.is_some() { below("events") } else { "events/camera".into() },
            of: camera.map(|camera| (camera.serial.clone(), camera.hue)),
        }
    }
}

impl Session {
    /// Logs what does not change while it lasts: the lens, and how points and depth images look.
    pub fn log_static(&self, rec: &RecordingStream, to: &Entities) -> RecordingStreamResult<()> {
        let Self { stream, depth_colors, camera, .. } = self;
        let i = &stream.intrinsics;
        if let Some(CameraView { pose, .. }) = camera {
            let (translation_m, rotation) = (pose.translation_m, pose.rotation);
            let pose = rerun::Transform3D::from_translation_mat3x3(translation_m, rotation);
            rec.log_static(to.camera.as_str(), &pose)?;
        }
        let matrix = [[i.fx, 0.0, 0.0], [0.0, i.fy, 0.0], [i.ppx, i.ppy, 1.0]];
        let pinhole = rerun::Pinhole::new(matrix)
            .with_resolution([i.width as f32, i.height as f32])
            .with_camera_xyz(ViewCoordinates::RDF)
            .with_color(camera.as_ref().map_or([90, 100, 120], |camera| camera.hue));
        rec.log_static(to.image.as_str(), &pinhole)?;
        let radius = match self.point_radius {
            PointRadius::Ui(points) => rerun::Radius::new_ui_points(points),
            PointRadius::Meters(m) => rerun::Radius::new_scene_units(m),
        };
        let mut style = rerun::Points3D::update_fields().with_radii([radius]);
        if let Coloring::Uniform(rgba) = self.coloring {
            style = style.with_colors([rerun::Color::from_u32(rgba)]);
        }
        rec.log_static(to.cloud.as_str(), &style)?;
        if self.show != Show::Cloud {
            let range = [depth_colors.first_m, depth_colors.last_m]
                .map(|m| f64::from(m / stream.depth_units_m));
            let colormap = match depth_colors.colormap {
                Colormap::Viridis => RerunColormap::Viridis,
                Colormap::Plasma => RerunColormap::Plasma,
                Colormap::Turbo => RerunColormap::Turbo,
                // Rerun has no hues; an image that it projects is recognized by its place.
                Colormap::Hue(_) => RerunColormap::Grayscale,
            };
            let style = rerun::DepthImage::update_fields()
                .with_meter(1.0 / stream.depth_units_m)
                .with_depth_range(range)
                .with_colormap(colormap);
            rec.log_static(to.image.as_str(), &style)?;
        }
        Ok(())
    }
}

/// What all cameras of a session share of the viewer.
pub struct Dashboard {
    /// By camera.
    pub entities: Vec<Entities>,
    columns: Mutex<Vec<Column>>,
}

/// Facts about one camera, and its state.
struct Column {
    name: String,
    facts: Vec<(&'static str, String)>,
    state: &'static str,
    /// Of the camera, and of its points: what the lens lets expect, then some of a cloud.
    pose: Extrinsics,
    points: Sample,
}

impl Dashboard {
    pub fn new(sessions: &[Session]) -> Self {
        let column = |session: &Session| Column {
            name: session.camera.as_ref().map_or(String::new(), |camera| camera.serial.clone()),
            facts: session.facts.clone(),
            state: "starting",
            pose: session.camera.as_ref().map_or(Extrinsics::IDENTITY, |camera| camera.pose),
            points: Sample::of_lens(&session.stream.intrinsics),
        };
        let columns = Mutex::new(sessions.iter().map(column).collect());
        let entities = sessions.iter().map(|session| Entities::new(session.camera.as_ref()));
        Self { entities: entities.collect(), columns }
    }

    // It stays locked while something is logged, so that what is logged last is the newest.
    fn columns(&self) -> MutexGuard<'_, Vec<Column>> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs the text panel.
    pub fn log(&self, rec: &RecordingStream) -> anyhow::Result<()> {
        let columns = self.columns();
        let document = TextDocument::from_markdown(document(&columns));
        rec.log_static("session", &document).context("cannot send the session's facts")
    }

    /// Logs the text panel with a camera's state, if that has changed.
    pub fn set_state(
        &self,
        rec: &RecordingStream,
        camera: usize,
        state: &'static str,
    ) -> anyhow::Result<()> {
        let was = std::mem::replace(&mut self.columns()[camera].state, state);
        if was == state { Ok(()) } else { self.log(rec) }
    }

    /// Notes what a camera's scene looks like.
    pub fn set_points(&self, camera: usize, points: Sample) {
        self.columns()[camera].points = points;
    }

    /// Sends the layout for what is known of all scenes.
    pub fn send_layout(
        &self,
        rec: &RecordingStream,
        session: &Session,
        connection: &Connection,
    ) -> anyhow::Result<()> {
        let columns = self.columns();
        let clouds: Vec<_> = columns.iter().map(|column| (&column.pose, &column.points)).collect();
        let (eye, cameras) = (&Eye::for_clouds(&clouds), &self.entities[..]);
        let (is_file, is_page) = (connection.is_file(), connection.is_page());
        let sent = layout::send(rec, &Scene { session, is_file, is_page, eye, cameras });
        sent.context("cannot send the viewer's layout")?;
        let frustum = rerun::Pinhole::update_fields().with_image_plane_distance(eye.frustum_m);
        let mut cameras = cameras.iter();
        let sent = cameras.try_for_each(|to| rec.log_static(to.image.as_str(), &frustum));
        sent.context("cannot send the camera's frustum")
    }
}

/// Names and values, and the state of the session.
fn document(columns: &[Column]) -> String {
    let rows = |facts: &mut dyn Iterator<Item = &(&str, String)>| {
        facts.map(|(name, value)| format!("| {name} | {value} |\n")).collect::<String>()
    };
    // The state as the table's head: an empty one would take the room of a fact.
    if let [Column { facts, state, .. }] = columns {
        return format!("| state | {state} |\n| --- | --- |\n{}", rows(&mut facts.iter()));
    }
    // A line for each camera, then what they have in common: more than two columns would not fit.
    let fact = |column: &Column, name| {
        column.facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1.clone())
    };
    let mut text = String::from("| camera | state | profile |\n| --- | --- | --- |\n");
    for column in columns {
        let profile = fact(column, "profile").unwrap_or_default();
        let _ = writeln!(text, "| {} | {} | {profile} |", column.name, column.state);
    }
    let is_common = |(name, value): &&(&'static str, String)| {
        *name != "profile"
            && columns.iter().all(|column| fact(column, name).as_ref() == Some(value))
    };
    let facts = columns.iter().take(1).flat_map(|column| &column.facts);
    text + "\n| all | |\n| --- | --- |\n" + &rows(&mut facts.filter(is_common))
}
