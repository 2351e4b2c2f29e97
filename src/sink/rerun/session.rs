//! What a viewer is shown of one camera, and what of it never changes.

use std::sync::Arc;
use std::time::Duration;

use rerun::RecordingStream;

use super::entities::Entities;
use super::layout;
use super::motion::MotionLog;
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

impl Session {
    /// What does not change while it lasts: the lens, how points look, the lines of plots.
    pub(super) fn log_static(
        &self,
        rec: &RecordingStream,
        entities: &Entities,
    ) -> rerun::RecordingStreamResult<()> {
        let Self { stream, depth_colors, point_radius, camera, .. } = self;
        let i = &stream.intrinsics;
        if let Some(CameraView { pose, .. }) = camera {
            let transform =
                rerun::Transform3D::from_translation_mat3x3(pose.translation_m, pose.rotation);
            rec.log_static(entities.camera.as_str(), &transform)?;
        }
        rec.log_static(
            entities.image.as_str(),
            &rerun::Pinhole::new([[i.fx, 0.0, 0.0], [0.0, i.fy, 0.0], [i.ppx, i.ppy, 1.0]])
                .with_resolution([i.width as f32, i.height as f32])
                .with_camera_xyz(rerun::components::ViewCoordinates::RDF)
                .with_color(camera.as_ref().map_or([90, 100, 120], |camera| camera.hue)),
        )?;
        let radius = match *point_radius {
            PointRadius::Ui(points) => rerun::Radius::new_ui_points(points),
            PointRadius::Meters(m) => rerun::Radius::new_scene_units(m),
        };
        let mut looks = rerun::Points3D::update_fields().with_radii([radius]);
        if let Coloring::Uniform(rgba) = self.coloring {
            looks = looks.with_colors([rerun::Color::from_u32(rgba)]);
        }
        rec.log_static(entities.cloud.as_str(), &looks)?;
        if self.show != Show::Cloud {
            let range = [depth_colors.first_m, depth_colors.last_m]
                .map(|m| f64::from(m / stream.depth_units_m));
            rec.log_static(
                entities.image.as_str(),
                &rerun::DepthImage::update_fields()
                    .with_meter(1.0 / stream.depth_units_m)
                    .with_depth_range(range)
                    .with_colormap(match depth_colors.colormap {
                        Colormap::Viridis => rerun::components::Colormap::Viridis,
                        Colormap::Plasma => rerun::components::Colormap::Plasma,
                        Colormap::Turbo => rerun::components::Colormap::Turbo,
                        // Rerun has no hues; an image that it projects is told from others by its
                        // place.
                        Colormap::Hue(_) => rerun::components::Colormap::Grayscale,
                    }),
            )?;
        }
        if self.motion.is_some() {
            MotionLog::log_static(rec, &entities.imu)?;
        }
        layout::log_series(rec, entities)
    }
}
