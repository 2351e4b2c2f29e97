//! `[camera]`: which camera `live` opens, what it streams, and how it is tuned.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use serde::Deserialize;

use super::{Camera, Mode};

/// The camera of `live`.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraSettings {
    /// The first one where nothing is said.
    pub serial: Option<String>,
    /// What is asked for, exactly.
    pub depth: Option<Mode>,
    /// What comes near will do where nothing is asked for.
    pub prefer: Mode,
    /// Which colour stream, if one is needed; any where nothing is said.
    pub color: Option<ColorWish>,
    /// The left infrared image comes with each depth image.
    pub infrared: bool,
    /// The motion sensors are read.
    pub imu: bool,
    pub tuning: Tuning,
}

/// What the camera is set to before it streams; what is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tuning {
    /// A file of settings that the realsense-viewer has saved.
    pub json: Option<PathBuf>,
    pub visual_preset: Option<OptionValue>,
    pub emitter: Option<OptionValue>,
    pub laser_power_mw: Option<f64>,
    pub exposure_us: Option<Exposure>,
    pub gain: Option<f64>,
    pub depth_units_m: Option<f64>,
    /// By librealsense's names.
    pub options: Options,
}

impl Tuning {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

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

/// Which colour stream is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum ColorWish {
    Off,
    Any,
    Mode(Mode),
}

impl FromStr for ColorWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "any" => Ok(Self::Any),
            _ => text.parse().map(Self::Mode).map_err(|error| format!("{error}; or off, or any")),
        }
    }
}

impl TryFrom<String> for ColorWish {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// How long the depth sensor's shutter is open.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "OptionValue")]
pub enum Exposure {
    Auto,
    Us(f64),
}

impl TryFrom<OptionValue> for Exposure {
    type Error = String;

    fn try_from(value: OptionValue) -> Result<Self, String> {
        match value {
            OptionValue::Number(us) => Ok(Self::Us(us)),
            OptionValue::Name(text) => text.parse(),
            _ => Err("it is a number of microseconds, or \"auto\"".into()),
        }
    }
}

impl FromStr for Exposure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text
                .parse()
                .map(Self::Us)
                .map_err(|_| format!("`{text}` is no number of microseconds; or auto")),
        }
    }
}

/// The value of an option of librealsense's; or, under the name of a sensor, options of that
/// sensor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "an option is a number, true, false, or a name in quotes; or a table of options under a sensor's name"
)]
pub enum OptionValue {
    Switch(bool),
    Number(f64),
    /// One of those that the camera gives to values, such as `High Accuracy`.
    Name(String),
    OfSensor(BTreeMap<String, OptionValue>),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(on) => on.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::OfSensor(_) => f.write_str("a table"),
        }
    }
}

impl FromStr for OptionValue {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.parse()) {
            ("true", _) => Self::Switch(true),
            ("false", _) => Self::Switch(false),
            (_, Ok(number)) => Self::Number(number),
            _ => Self::Name(text.into()),
        })
    }
}

/// Options by the names that librealsense gives them (`depthcast devices` lists them).
pub type Options = BTreeMap<String, OptionValue>;

/// `NAME=VALUE`, or `SENSOR/NAME=VALUE`, on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenOption {
    pub sensor: Option<String>,
    pub name: String,
    pub value: OptionValue,
}

impl FromStr for GivenOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` sets no option; write \"Laser Power=150\", or \"RGB Camera/Exposure=156\""
            )
        };
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let (sensor, name) = name
            .split_once('/')
            .map_or((None, name), |(sensor, name)| (Some(sensor.trim().to_owned()), name));
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() || sensor.as_deref() == Some("") {
            return Err(wrong());
        }
        Ok(Self {
            sensor,
            name: name.into(),
            value: value.parse().unwrap_or_else(|never| match never {}),
        })
    }
}

/// The options of the command line, as they would stand in the configuration.
pub fn options(given: Vec<GivenOption>) -> Option<Options> {
    let mut options = Options::new();
    for GivenOption { sensor, name, value } in given {
        match sensor {
            None => {
                options.insert(name, value);
            }
            Some(sensor) => {
                let entry =
                    options.entry(sensor).or_insert_with(|| OptionValue::OfSensor(BTreeMap::new()));
                if let OptionValue::OfSensor(table) = entry {
                    table.insert(name, value);
                }
            }
        }
    }
    (!options.is_empty()).then_some(options)
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

    fn given(text: &str) -> Options {
        options(vec![text.parse().unwrap()]).unwrap()
    }

    #[test]
    fn options_are_given_as_numbers_switches_names_and_by_sensor() {
        assert_eq!(given("Laser Power=150")["Laser Power"], OptionValue::Number(150.0));
        assert_eq!(
            given("Enable Auto Exposure = false")["Enable Auto Exposure"],
            OptionValue::Switch(false)
        );
        assert_eq!(
            given("Visual Preset=High Accuracy")["Visual Preset"],
            OptionValue::Name("High Accuracy".into())
        );
        let OptionValue::OfSensor(table) = &given("RGB Camera/Exposure=156")["RGB Camera"] else {
            panic!()
        };
        assert_eq!(table["Exposure"], OptionValue::Number(156.0));
        for wrong in ["Laser Power", "=1", "Gain=", "/Gain=1"] {
            assert!(
                wrong.parse::<GivenOption>().unwrap_err().contains("Laser Power=150"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn colour_is_a_mode_any_or_off() {
        assert_eq!(("off".parse(), "any".parse()), (Ok(ColorWish::Off), Ok(ColorWish::Any)));
        let mode = "640x480@30".parse().unwrap();
        assert_eq!("640x480@30".parse(), Ok(ColorWish::Mode(mode)));
        assert!("on".parse::<ColorWish>().unwrap_err().ends_with("or off, or any"));
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
