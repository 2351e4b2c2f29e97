//! What the projection makes of a depth image.

use std::sync::Arc;

use crate::clock::HostTime;
use crate::frame::{DepthFrame, FrameMeta};

/// The points of one depth image: of the pixels with depth, in row-major order; or of all pixels in
/// organised clouds.
///
/// Camera frame: x right, y down, z forward, in metres.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    pub positions_m: Vec<[f32; 3]>,
    /// sRGB colours as `0xRRGGBBAA`, as a colour camera saw them: one for each point, or none if
    /// they were not asked for.
    pub colors_rgba: Vec<u32>,
}

/// A cloud on its way to the sinks, with its path timestamps.
#[derive(Debug, Default)]
pub struct Cloud {
    pub meta: FrameMeta,
    /// When the projection took the frame from the capture queue.
    pub taken_at: HostTime,
    /// When the projection had finished the cloud.
    pub projected_at: HostTime,
    pub points: Points,
    /// The depth image it was made of, if a sink asked for it.
    pub depth: Option<Arc<DepthFrame>>,
}
