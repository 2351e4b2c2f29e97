//! What a source can be asked for: modes, streams, options of the camera, librealsense's filters.
//! Known without librealsense too: configuration and flags mean the same in every build.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// A depth mode: `848x480@90`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode {
    pub width: u32,
    pub height: u32,
    pub fps: f64,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}@{}", self.width, self.height, self.fps)
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (size, fps) = text.split_once('@')?;
            let (width, height) = size.split_once('x')?;
            Some((width.parse().ok()?, height.parse().ok()?, fps.parse().ok()?))
        };
        let (width, height, fps) =
            parsed().ok_or_else(|| format!("`{text}` is not a mode; one looks like 848x480@90"))?;
        if ![width, height].iter().all(|side| (1..=4096).contains(side)) {
            return Err(format!("`{text}`: width and height go from 1 to 4096 pixels"));
        }
        if !(0.1..=1000.0).contains(&fps) {
            return Err(format!("`{text}`: the rate goes from 0.1 to 1000 frames a second"));
        }
        Ok(Self { width, height, fps })
    }
}

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
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let wrong = |_| format!("`{text}` is no number of microseconds; or auto");
        text.parse().map(Self::Us).map_err(wrong)
    }
}

/// The value of an option of librealsense's; or, under a sensor's name, options of that sensor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "an option is a number, true, false, or a name in quotes; or a table of options \
        under a sensor's name"
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
        let (name, value) = text.split_once('=').unwrap_or_default();
        let (sensor, name) = match name.split_once('/') {
            Some((sensor, name)) => (Some(sensor.trim().to_owned()), name.trim().to_owned()),
            None => (None, name.trim().to_owned()),
        };
        if name.is_empty() || value.trim().is_empty() || sensor.as_deref() == Some("") {
            return Err(format!(
                "`{text}` sets no option; write \"Laser Power=150\", or \"RGB Camera/Exposure=156\""
            ));
        }
        let Ok(value) = value.trim().parse();
        Ok(Self { sensor, name, value })
    }
}

/// The options of the command line, as they would stand in the configuration.
pub fn options(given: Vec<GivenOption>) -> Option<Options> {
    let mut options = Options::new();
    for GivenOption { sensor, name, value } in given {
        let Some(sensor) = sensor else {
            options.insert(name, value);
            continue;
        };
        let table = options.entry(sensor).or_insert_with(|| OptionValue::OfSensor(<_>::default()));
        if let OptionValue::OfSensor(table) = table {
            table.insert(name, value);
        }
    }
    (!options.is_empty()).then_some(options)
}

/// librealsense's filters, in the order in which they run. With `disparity`, `spatial` and
/// `temporal` work on disparity instead of depth.
///
/// A filter is on if its table is there; an option that is not given has librealsense's default.
/// Which values it can have, librealsense says when the source is opened.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    pub decimation: Option<Decimation>,
    pub threshold: Option<Threshold>,
    pub disparity: Option<bool>,
    pub spatial: Option<Spatial>,
    pub temporal: Option<Temporal>,
    pub hole_filling: Option<HoleFilling>,
}

impl Filters {
    /// Whether none is on.
    pub fn are_off(&self) -> bool {
        let Self { decimation, threshold, disparity, spatial, temporal, hole_filling } = self;
        let images = decimation.is_none() && threshold.is_none() && hole_filling.is_none();
        images && spatial.is_none() && temporal.is_none() && *disparity != Some(true)
    }
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $(pub $key: Option<$type>),* }
    )*};
}

options! {
    /// Makes of `magnitude` times `magnitude` pixels one, their median.
    Decimation { magnitude: i32 }
    /// Takes away what is nearer or farther.
    Threshold { min_m: f32, max_m: f32 }
    /// Smooths within an image, and keeps edges.
    Spatial { magnitude: i32, smooth_alpha: f32, smooth_delta: i32, holes_fill: i32 }
    /// Smooths from image to image; `persistence`: how long a pixel without depth keeps its last.
    Temporal { smooth_alpha: f32, smooth_delta: i32, persistence: i32 }
    /// Gives pixels without depth that of a neighbour: 0 left, 1 farthest, 2 nearest around.
    HoleFilling { mode: i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!("848x480@90".parse(), Ok(Mode { width: 848, height: 480, fps: 90.0 }));
        let bad = "848x480 848@90 0x480@90 848x480@0 848x480@nan 1e3x2@3 99999x1@1";
        for bad in bad.split(' ').chain([""]) {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn options_are_given_as_numbers_switches_names_and_by_sensor() {
        let of_sensor = Options::from([("Exposure".into(), OptionValue::Number(156.0))]);
        for (text, name, value) in [
            ("Laser Power=150", "Laser Power", OptionValue::Number(150.0)),
            ("Auto Exposure = false", "Auto Exposure", OptionValue::Switch(false)),
            ("Preset=High Accuracy", "Preset", OptionValue::Name("High Accuracy".into())),
            ("RGB Camera/Exposure=156", "RGB Camera", OptionValue::OfSensor(of_sensor)),
        ] {
            let options = options(vec![text.parse().unwrap()]);
            assert_eq!(options, Some(Options::from([(name.into(), value)])));
        }
        for wrong in ["Laser Power", "=1", "Gain=", "/Gain=1"] {
            let error = wrong.parse::<GivenOption>().unwrap_err();
            assert!(error.contains("Laser Power=150"), "{wrong}");
        }
    }

    #[test]
    fn colour_is_a_mode_any_or_off() {
        assert_eq!(("off".parse(), "any".parse()), (Ok(ColorWish::Off), Ok(ColorWish::Any)));
        let mode = "640x480@30".parse().unwrap();
        assert_eq!("640x480@30".parse(), Ok(ColorWish::Mode(mode)));
        assert!("on".parse::<ColorWish>().unwrap_err().ends_with("or off, or any"));
    }
}
