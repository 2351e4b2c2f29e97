//! `[camera]`: which camera `live` opens, what it streams, and how it is tuned.

use anyhow::Context as _;

use super::Camera;
use crate::source::options::{CameraSettings, OptionValue, Options, Tuning};

impl Camera {
    /// What values fit, the camera knows.
    pub(super) fn validated(self) -> anyhow::Result<CameraSettings> {
        let tuning = Tuning {
            json: self.json,
            visual_preset: self.visual_preset,
            emitter: self.emitter,
            laser_power_mw: self.laser_power_mw,
            exposure_us: self.exposure_us,
            gain: self.gain,
            depth_units_m: self.depth_units_m,
            options: self.options.unwrap_or_default(),
        };
        Ok(CameraSettings {
            serial: self.serial,
            depth: self.depth,
            prefer: self.prefer.context("the preset has no value for this key")?,
            color: self.color,
            infrared: self.infrared.unwrap_or(false),
            imu: self.imu.unwrap_or(false),
            tuning,
        })
    }
}

/// What `over` says, and `below` where it says nothing.
pub(super) fn merged(below: Option<Options>, over: Option<Options>) -> Option<Options> {
    let (Some(mut below), Some(over)) = (below.clone(), over.clone()) else {
        return over.or(below);
    };
    for (name, value) in over {
        match (below.get_mut(&name), value) {
            (Some(OptionValue::OfSensor(below)), OptionValue::OfSensor(over)) => below.extend(over),
            (_, value) => {
                below.insert(name, value);
            }
        }
    }
    Some(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::options::options;

    fn given(text: &str) -> Options {
        options(vec![text.parse().unwrap()]).unwrap()
    }

    #[test]
    fn options_of_the_command_line_change_those_of_the_file() {
        let file = Some(merged(Some(given("Gain=16")), Some(given("RGB Camera/Gain=1"))).unwrap());
        let both = merged(
            file,
            Some(merged(Some(given("RGB Camera/Exposure=5")), Some(given("Gain=32"))).unwrap()),
        )
        .unwrap();
        assert_eq!(both["Gain"], OptionValue::Number(32.0));
        let OptionValue::OfSensor(table) = &both["RGB Camera"] else { panic!() };
        assert_eq!(table.len(), 2);
    }
}
