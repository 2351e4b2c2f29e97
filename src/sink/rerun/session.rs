//! What a viewer is shown of one camera, where that is among the viewer's entities, and what of it
//! never changes.

use std::sync::Arc;
use std::time::Duration;

use rerun::components::{Colormap as RerunColormap, ViewCoordinates};
use rerun::{RecordingStream, RecordingStreamResult};

use crate::clock::Clock;
use crate::color::{ColorRange, Coloring, Colormap};
use crate::sink::{CameraView, Images, Layout, Show};
use crate::source::DepthStream;
use crate::source::motion::Motion;

/// What all sinks of a session show; of several cameras, each has a session, and all are in one
/// recording.
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
    pub fn log_static(
        &self,
        rec: &RecordingStream,
        entities: &Entities,
    ) -> RecordingStreamResult<()> {
        let Self { stream, depth_colors, camera, .. } = self;
        let i = &stream.intrinsics;
        if let Some(CameraView { pose, .. }) = camera {
            let transform =
                rerun::Transform3D::from_translation_mat3x3(pose.translation_m, pose.rotation);
            rec.log_static(entities.camera.as_str(), &transform)?;
        }
        let pinhole =
            rerun::Pinhole::new([[i.fx, 0.0, 0.0], [0.0, i.fy, 0.0], [i.ppx, i.ppy, 1.0]])
                .with_resolution([i.width as f32, i.height as f32])
                .with_camera_xyz(ViewCoordinates::RDF)
                .with_color(camera.as_ref().map_or([90, 100, 120], |camera| camera.hue));
        rec.log_static(entities.image.as_str(), &pinhole)?;
        let radius = match self.point_radius {
            PointRadius::Ui(points) => rerun::Radius::new_ui_points(points),
            PointRadius::Meters(m) => rerun::Radius::new_scene_units(m),
        };
        let mut style = rerun::Points3D::update_fields().with_radii([radius]);
        if let Coloring::Uniform(rgba) = self.coloring {
            style = style.with_colors([rerun::Color::from_u32(rgba)]);
        }
        rec.log_static(entities.cloud.as_str(), &style)?;
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
            rec.log_static(entities.image.as_str(), &style)?;
        }
        Ok(())
    }
}
