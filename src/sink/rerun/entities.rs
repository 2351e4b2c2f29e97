//! Where in the viewer what belongs to a camera is.

use super::events;
use crate::sink::CameraView;

/// Where what belongs to one camera is logged.
pub(super) struct Entities {
    pub camera: String,
    pub cloud: String,
    pub image: String,
    /// Images beside the cloud are below it.
    pub images: String,
    /// What motion sensors measure is below it.
    pub imu: String,
    pub stats: String,
    pub events: String,
    /// Whose name and hue its lines have, where there are several.
    pub of: Option<(String, [u8; 3])>,
}

impl Entities {
    pub(super) fn of(camera: Option<&CameraView>) -> Self {
        let part = camera
            .map(|camera| rerun::EntityPathPart::new(camera.serial.as_str()).escaped_string());
        let below = |root: &str| part.as_ref().map_or(root.into(), |part| format!("{root}/{part}"));
        let at = below("camera");
        Self {
            cloud: format!("{at}/cloud"),
            image: format!("{at}/image"),
            camera: at,
            images: below("images"),
            imu: below("imu"),
            stats: below("stats"),
            events: part.as_ref().map_or(events::ENTITY.into(), |part| format!("events/{part}")),
            of: camera.map(|camera| (camera.serial.clone(), camera.hue)),
        }
    }
}
