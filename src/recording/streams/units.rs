//! Metres per depth step. The first of these decides:
//!
//! 1. what the frame says itself: librealsense's addition to its image, or its text metadata;
//! 2. the note `depth_units_m` of its channel, by depthcast's recorder;
//! 3. the stream: of librealsense's the sensor's option `Depth Units`, of drivers' a millimetre
//!    (REP 118);
//! 4. [`DEFAULT_M`].
//!
//! `--depth-units-m` wins over all of them. Depth that was recorded as floats is in metres (REP 118)
//! and stays floats; its steps are millimetres, to which it is rounded where floats cannot be used.

use std::collections::BTreeMap;

use crate::recording::ros::{DepthFormat, METRES_ROUNDED_TO_M};

/// Where a recording says nothing; what every D400 is set to.
pub const DEFAULT_M: f32 = 0.001;
/// What 16-bit depth of a driver is in (REP 118).
const MILLIMETRE_M: f32 = 0.001;

/// These units, if depth can be in them.
pub fn valid(units_m: f32) -> Option<f32> {
    Some(units_m).filter(|&u| u.is_finite() && u > 0.0)
}

/// What depthcast's recorder notes of a channel with depth.
fn noted(notes: &BTreeMap<String, String>) -> Option<f32> {
    notes.get("depth_units_m")?.parse().ok().and_then(valid)
}

/// Of an image, by its format, what it says itself, and the notes of its channel.
pub fn of_image(
    format: DepthFormat,
    own_m: Option<f32>,
    notes: &BTreeMap<String, String>,
) -> Option<f32> {
    match format {
        DepthFormat::Steps => own_m.and_then(valid).or_else(|| noted(notes)),
        DepthFormat::Metres | DepthFormat::Doubles => Some(METRES_ROUNDED_TO_M),
    }
}

/// Of a driver's stream, and where they are from.
pub fn of_driver(
    format: Option<DepthFormat>,
    notes: &BTreeMap<String, String>,
) -> (f32, &'static str) {
    match (format, noted(notes)) {
        (Some(DepthFormat::Metres | DepthFormat::Doubles), _) => {
            (METRES_ROUNDED_TO_M, "metres as floats (REP 118), which are kept")
        }
        (_, Some(units_m)) => (units_m, "noted by the recorder"),
        (_, None) => (MILLIMETRE_M, "0.001 m, as drivers write 16-bit depth (REP 118)"),
    }
}
