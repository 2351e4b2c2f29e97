//! Sets a camera's options before it streams, checked against what the camera says about each. They
//! persist until it is unplugged or reset. The farther-reaching is set first: files of the
//! realsense-viewer, the visual preset, automatic modes, all others.

use std::collections::HashSet;
use std::path::Path;

use realsense_rust::kind::{Rs2Option, Rs2OptionRange};

use super::sdk::{Device, Sensor};
use super::sdk::{crate_error, sdk_error};
use crate::source::options::{Exposure, OptionValue, Options, Tuning};
use crate::source::{Result, SourceError};

/// The most values of which names are asked for.
const MAX_NAMED: f32 = 64.0;

/// One of a sensor's options.
#[derive(Clone, Copy)]
struct Known<'a> {
    sensor: &'a Sensor,
    option: Rs2Option,
}

impl Known<'_> {
    fn name(&self) -> &'static str {
        self.option.to_str()
    }
}

type Setting<'a> = (Known<'a>, f32);

/// Sets the options, and returns what was set, as it was read back: `Laser Power 150, Gain 16`. For
/// what the camera does not have or take an error with the names or the range; nothing is set then.
pub(super) fn apply(device: &Device, tuning: &Tuning) -> Result<Option<String>> {
    if tuning.is_empty() {
        return Ok(None);
    }
    let sensors = device.sensors()?;
    let all = known(&sensors)?;
    let mut settings = named_keys(&all, tuning)?;
    settings.extend(options(&sensors, &all, &tuning.options)?);
    let mut tuned = Vec::new();
    if let Some(path) = &tuning.json {
        load_json(device, path)?;
        tuned.push(path.display().to_string());
    }
    settings.sort_by_key(|(known, _)| match known.option {
        Rs2Option::VisualPreset => 0,
        Rs2Option::EnableAutoExposure | Rs2Option::EnableAutoWhiteBalance => 1,
        _ => 2,
    });
    for (known, value) in &settings {
        let set = known.sensor.view().set_option(known.option, *value);
        set.map_err(|error| crate_error("option", error))?;
        tracing::debug!("{} set to {value}", known.name());
    }
    // Read when all are set: one may change another.
    for (known, value) in &settings {
        let name = known.name();
        let unread = || sdk_error("option", format!("{name} cannot be read back"));
        let got = known.sensor.view().get_option(known.option).ok_or_else(unread)?;
        if (got - value).abs() > 1e-3 * got.abs().max(value.abs()).max(1e-6) {
            tracing::warn!("{name} was set to {value}, and the camera has made it {got}");
        }
        tuned.push(format!("{name} {got}"));
    }
    Ok(Some(tuned.join(", ")))
}

/// The options of all sensors, those of the depth sensor first.
fn known(sensors: &[Sensor]) -> Result<Vec<Known<'_>>> {
    let is_depth = |sensor: &&Sensor| sensor.view().get_option(Rs2Option::DepthUnits).is_some();
    let (depth, others): (Vec<_>, Vec<_>) = sensors.iter().partition(is_depth);
    let mut all = Vec::new();
    for sensor in depth.into_iter().chain(others) {
        all.extend(sensor.options()?.into_iter().map(|option| Known { sensor, option }));
    }
    Ok(all)
}

/// The keys of `[camera]` that mean options of the depth sensor.
fn named_keys<'a>(all: &[Known<'a>], tuning: &Tuning) -> Result<Vec<Setting<'a>>> {
    let has = |option| all.iter().find(|known| known.option == option);
    let number = |value: Option<f64>| value.map(OptionValue::Number);
    let is_automatic = tuning.exposure_us == Some(Exposure::Auto);
    if is_automatic && tuning.gain.is_some() {
        return Err(unsupported(
            "camera.gain: automatic exposure (camera.exposure_us = \"auto\") chooses the gain too",
        ));
    }
    let exposure_us = match tuning.exposure_us {
        Some(Exposure::Us(us)) => number(Some(us)),
        _ => None,
    };
    let by_hand = tuning.gain.is_some() || exposure_us.is_some();
    let auto = is_automatic || (by_hand && has(Rs2Option::EnableAutoExposure).is_some());
    let auto = auto.then_some(OptionValue::Switch(is_automatic));
    let mut settings = Vec::new();
    for (key, option, value) in [
        ("visual_preset", Rs2Option::VisualPreset, tuning.visual_preset.clone()),
        ("emitter", Rs2Option::EmitterEnabled, tuning.emitter.clone()),
        ("laser_power_mw", Rs2Option::LaserPower, number(tuning.laser_power_mw)),
        ("depth_units_m", Rs2Option::DepthUnits, number(tuning.depth_units_m)),
        ("exposure_us", Rs2Option::EnableAutoExposure, auto),
        ("exposure_us", Rs2Option::Exposure, exposure_us),
        ("gain", Rs2Option::Gain, number(tuning.gain)),
    ] {
        let Some(value) = value else { continue };
        let key = format!("camera.{key}");
        let known = has(option).ok_or_else(|| no_such_option(&key, "", all))?;
        settings.push(setting(&key, known, &value)?);
    }
    Ok(settings)
}

/// `[camera.options]`.
fn options<'a>(
    sensors: &'a [Sensor],
    all: &[Known<'a>],
    wanted: &Options,
) -> Result<Vec<Setting<'a>>> {
    let mut settings = Vec::new();
    for (name, value) in wanted {
        let key = format!("camera.options.\"{name}\"");
        let OptionValue::OfSensor(table) = value else {
            settings.push(option(all, &key, name, value)?);
            continue;
        };
        let is_it = |sensor: &&Sensor| sensor.name().is_some_and(|has| same(&has, name));
        let Some(sensor) = sensors.iter().find(is_it) else {
            let names = sensors.iter().filter_map(Sensor::name).collect::<Vec<_>>().join(", ");
            return Err(unsupported(format!(
                "{key}: the camera has no such sensor; it has {names}"
            )));
        };
        let of_sensor: Vec<_> =
            all.iter().filter(|known| std::ptr::eq(known.sensor, sensor)).copied().collect();
        for (name, value) in table {
            settings.push(option(&of_sensor, &format!("{key}.\"{name}\""), name, value)?);
        }
    }
    Ok(settings)
}

/// The first option of this name, with its value.
fn option<'a>(
    all: &[Known<'a>],
    key: &str,
    name: &str,
    value: &OptionValue,
) -> Result<Setting<'a>> {
    if let Some(known) = all.iter().find(|known| same(known.name(), name)) {
        return setting(key, known, value);
    }
    let near = all
        .iter()
        .map(Known::name)
        .find(|known| strsim::normalized_damerau_levenshtein(&plain(known), &plain(name)) > 0.6);
    let near = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
    Err(no_such_option(key, &near, all))
}

/// With the names of those that can be set.
fn no_such_option(key: &str, near: &str, all: &[Known<'_>]) -> SourceError {
    let mut seen = HashSet::new();
    let can_set = all.iter().filter(|known| !known.sensor.view().is_option_read_only(known.option));
    let names: Vec<_> = can_set.map(Known::name).filter(|name| seen.insert(*name)).collect();
    let has = match names[..] {
        [] => "it has none that can be set".into(),
        _ => format!("it has {}", names.join(", ")),
    };
    unsupported(format!("{key}: this camera has no such option{near}; {has}"))
}

/// Names as people type them: `laser_power` is `Laser Power`.
fn same(a: &str, b: &str) -> bool {
    plain(a) == plain(b)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Checks a value against what the camera says about the option.
fn setting<'a>(key: &str, known: &Known<'a>, value: &OptionValue) -> Result<Setting<'a>> {
    let name = known.name();
    if known.sensor.view().is_option_read_only(known.option) {
        return Err(unsupported(format!("{key}: \"{name}\" can be read, but not set")));
    }
    let range = known.sensor.view().get_option_range(known.option);
    let range = range.ok_or_else(|| sdk_error("option", format!("{name} has no range")))?;
    let value = match value {
        OptionValue::Number(number) => *number as f32,
        OptionValue::Switch(on) => f32::from(u8::from(*on)),
        OptionValue::Name(text) => by_name(key, known, &range, text)?,
        OptionValue::OfSensor(_) => {
            return Err(unsupported(format!(
                "{key}: it is an option's value, or under a sensor's name a table of options"
            )));
        }
    };
    let shown = shown(&range);
    let Rs2OptionRange { min, max, step, .. } = range;
    if !(min..=max).contains(&value) {
        return Err(unsupported(format!("{key} is {value}; \"{name}\" goes {shown}")));
    }
    let steps = (value - min) / step;
    if step > 0.0 && (steps - steps.round()).abs() > 0.01 {
        let (below, above) = (min + steps.floor() * step, min + steps.ceil() * step);
        return Err(unsupported(format!(
            "{key} is {value}; \"{name}\" goes {shown}: take {below} or {above}"
        )));
    }
    Ok((*known, value))
}

fn shown(&Rs2OptionRange { min, max, step, default }: &Rs2OptionRange) -> String {
    let steps = if step > 0.0 { format!(" in steps of {step}") } else { String::new() };
    format!("from {min} to {max}{steps} (default {default})")
}

/// The value that the camera calls so; `on` and `off` where there are two.
fn by_name(key: &str, known: &Known<'_>, range: &Rs2OptionRange, text: &str) -> Result<f32> {
    let &Rs2OptionRange { min, max, step, .. } = range;
    let count = if step > 0.0 { (max - min) / step } else { f32::INFINITY };
    let count = if count <= MAX_NAMED { count as usize + 1 } else { 0 };
    let values = (0..count).map(|i| min + i as f32 * step).take_while(|value| *value <= max);
    let named: Vec<_> = values
        .filter_map(|value| Some((known.sensor.value_name(known.option, value)?, value)))
        .collect();
    if let Some((_, value)) = named.iter().find(|(has, _)| same(has, text)) {
        return Ok(*value);
    }
    match (plain(text).as_str(), min <= 0.0 && max >= 1.0) {
        ("off", true) => return Ok(0.0),
        ("on", true) => return Ok(1.0),
        _ => {}
    }
    let names: Vec<_> = named.iter().map(|(name, value)| format!("\"{name}\" ({value})")).collect();
    let is = match names[..] {
        [] => format!("a number {}", shown(range)),
        _ => format!("one of {}", names.join(", ")),
    };
    Err(unsupported(format!("{key} is \"{text}\"; \"{}\" is {is}", known.name())))
}

/// Gives the camera a file of the realsense-viewer.
fn load_json(device: &Device, path: &Path) -> Result<()> {
    let wrong = |problem: &str| unsupported(format!("camera.json {}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(&format!("it is no JSON ({error})")))?;
    if !json.is_object() {
        return Err(wrong("it is no file of settings as the realsense-viewer saves it"));
    }
    if !device.has_advanced_mode()? {
        return Err(wrong("this camera has no advanced mode, so it takes no such file"));
    }
    let reason = |error| format!("the camera does not take it ({})", super::reason(&error));
    device.load_json(&text).map_err(|error| wrong(&reason(error)))
}

fn unsupported(text: impl Into<String>) -> SourceError {
    SourceError::Unsupported(text.into())
}
