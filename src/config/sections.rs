//! What the sections of a configuration mean: `[color]` and `[reduce]`, `[camera]`, `[realtime]`,
//! `[profile]`.

use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use super::{Camera, Color, ColorBy, Profile, Realtime, Reduce, UsageError, check};
use crate::color::{ColorRange, Coloring};
use crate::profile::matrix::Matrix;
use crate::project::{Decimate, DecimateBy, DepthRange, Reduction};
use crate::realtime::{self, MOST_CORES, Priority, Scheduling};
use crate::source::options::{CameraSettings, OptionValue, Options, Tuning};
use crate::words::parse_duration;

/// A number, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged, expecting = "it is a number, or \"auto\"")]
pub enum Auto<T> {
    Number(T),
    Auto(AutoWord),
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoWord {
    Auto,
}

impl<T> Auto<T> {
    /// `None` for `auto`.
    pub fn number(self) -> Option<T> {
        match self {
            Self::Number(number) => Some(number),
            Self::Auto(_) => None,
        }
    }
}

impl Color {
    /// The colours of depths, and what decides the colours of points.
    pub(super) fn validated(self) -> anyhow::Result<(ColorRange, Coloring)> {
        let missing = || "the preset has no value for this key";
        let colormap = self.colormap.context(missing())?;
        let range = |names: [&str; 2],
                     first_m: Option<f32>,
                     last_m: Option<f32>|
         -> anyhow::Result<ColorRange> {
            let (first_m, last_m) = (first_m.context(missing())?, last_m.context(missing())?);
            let [first, last] = names;
            check(
                first_m.is_finite() && last_m.is_finite() && first_m < last_m,
                format!(
                    "color.{first} is {first_m} and color.{last} {last_m}; {first} has to be \
                     less, both in metres"
                ),
            )?;
            Ok(ColorRange { colormap, first_m, last_m })
        };
        let ColorRange { first_m: near_m, last_m: far_m, .. } =
            range(["near_m", "far_m"], self.near_m, self.far_m)?;
        check(near_m >= 0.0, format!("color.near_m is {near_m}; depths start at 0"))?;
        // On a dark ground what is near is bright, and what is far recedes.
        let by_depth = ColorRange { colormap, first_m: far_m, last_m: near_m };
        let by_height = range(["low_m", "high_m"], self.low_m, self.high_m)?;
        let Rgb(uniform) = self.uniform.context(missing())?;
        let coloring = match self.by.unwrap_or(ColorBy::Depth) {
            ColorBy::Depth => Coloring::ByDepth(by_depth),
            ColorBy::Height => Coloring::ByHeight(by_height),
            ColorBy::Texture => Coloring::ByTexture,
            ColorBy::Uniform => Coloring::Uniform(uniform << 8 | 0xff),
        };
        Ok((by_depth, coloring))
    }
}

impl Reduce {
    /// What is not said is not done.
    pub(super) fn validated(self) -> Result<Reduction, UsageError> {
        let (min_m, max_m) = (self.min_m.unwrap_or(0.0), self.max_m.unwrap_or(f32::INFINITY));
        // Only what was given is reported. No comparison holds for what is no number.
        check(
            min_m >= 0.0 && min_m.is_finite(),
            format!("--min-m (reduce.min_m) is {min_m}; it is in metres, 0 or more"),
        )?;
        check(max_m > 0.0, format!("--max-m (reduce.max_m) is {max_m}; it is in metres, above 0"))?;
        check(
            min_m < max_m,
            format!(
                "--min-m (reduce.min_m) is {min_m} and --max-m (reduce.max_m) {max_m}; min has \
                 to be less than max, both in metres"
            ),
        )?;
        let factor = self.decimate.unwrap_or(1);
        check(
            (1..=4).contains(&factor),
            format!(
                "--decimate (reduce.decimate) is {factor}; it is 2, 3 or 4, or 1 to leave all \
                 pixels"
            ),
        )?;
        if let Some(voxel_m) = self.voxel_m {
            check(
                (0.001..=10.0).contains(&voxel_m),
                format!("--voxel-m (reduce.voxel_m) is {voxel_m}; it goes from 0.001 to 10 metres"),
            )?;
        }
        Ok(Reduction {
            roi: self.roi,
            range: DepthRange { min_m, max_m },
            decimate: (factor > 1)
                .then_some(Decimate { factor, by: self.decimate_by.unwrap_or(DecimateBy::Median) }),
            voxel_m: self.voxel_m,
        })
    }
}

/// A colour: `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rgb(u32);

impl TryFrom<String> for Rgb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let rgb = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        rgb.map(Self).ok_or_else(|| format!("`{text}` is no colour; one looks like #9fb4ff"))
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

/// Before all that is not real-time; after the kernel's own threads for interrupts, which have 50.
const CAPTURE_FIFO: i64 = 20;
/// After capture, which must not wait for a projection.
const PROJECT_FIFO: i64 = 10;

impl Realtime {
    /// Nothing is asked for that is not said; with `on`, what is usual where nothing is said.
    pub(super) fn validated(self) -> Result<realtime::Realtime, UsageError> {
        let on = self.on.unwrap_or(false);
        let usual = |nice: Option<i64>, fifo| (on && nice.is_none()).then_some(fifo);
        let capture_fifo = self.capture_fifo.or(usual(self.capture_nice, CAPTURE_FIFO));
        let project_fifo = self.project_fifo.or(usual(self.project_nice, PROJECT_FIFO));
        Ok(realtime::Realtime {
            capture: scheduling("capture", capture_fifo, self.capture_nice, self.capture_cores)?,
            project: scheduling("project", project_fifo, self.project_nice, self.project_cores)?,
            lock_memory: self.lock_memory.unwrap_or(on),
        })
    }
}

fn scheduling(
    thread: &str,
    fifo: Option<i64>,
    nice: Option<i64>,
    cores: Option<Vec<usize>>,
) -> Result<Scheduling, UsageError> {
    let priority = match (fifo, nice) {
        (Some(_), Some(_)) => {
            let text = format!(
                "realtime.{thread}_fifo and realtime.{thread}_nice: a thread has the one or the \
                 other"
            );
            return Err(UsageError(text));
        }
        (Some(fifo), None) => {
            check(
                (1..=99).contains(&fifo),
                format!("realtime.{thread}_fifo is {fifo}; it goes from 1 to 99"),
            )?;
            Priority::Fifo(fifo as i32)
        }
        (None, Some(nice)) => {
            check(
                (-20..=19).contains(&nice),
                format!("realtime.{thread}_nice is {nice}; it goes from -20 (first) to 19"),
            )?;
            Priority::Nice(nice as i32)
        }
        (None, None) => Priority::Usual,
    };
    let cores = cores.unwrap_or_default();
    let highest = MOST_CORES - 1;
    check(
        cores.iter().all(|&core| core <= highest),
        format!("realtime.{thread}_cores has a core above {highest}; they count from 0"),
    )?;
    Ok(Scheduling { priority, cores })
}

/// A length of time: `"2s"`, `"500ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Length(pub Duration);

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text).map(Self).map_err(|error| error.to_string())
    }
}

impl Profile {
    /// # Errors
    /// If a value does not fit. What viewers there are, the command line knows.
    pub(super) fn checked(self) -> Result<Self, UsageError> {
        if let Some(n) = self.repetitions {
            check(
                (1..=1000).contains(&n),
                format!("profile.repetitions is {n}; it goes from 1 to 1000"),
            )?;
        }
        for hz in self.rates_hz.iter().flatten() {
            check(
                (0.1..=1000.0).contains(hz),
                format!("profile.rates_hz has {hz}; a rate goes from 0.1 to 1000"),
            )?;
        }
        for n in self.threads.iter().flatten() {
            check(
                *n <= 256,
                format!("profile.threads has {n}; it goes from 0 (automatic) to 256"),
            )?;
        }
        Ok(self)
    }

    pub fn matrix(&self) -> Matrix {
        Matrix {
            sizes: self.sizes.clone().unwrap_or_default(),
            rates_hz: self.rates_hz.clone().unwrap_or_default(),
            threads: self.threads.clone().unwrap_or_default(),
            policies: self.policies.clone().unwrap_or_default(),
            viewers: self.viewers.clone().unwrap_or_default(),
        }
    }
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
