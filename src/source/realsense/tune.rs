//! Sets a camera's options, before it streams: what was asked for, checked against what the camera
//! says about each option.
//!
//! Options persist in the camera until it is unplugged or reset, as they do after the
//! realsense-viewer. Of those that depend on one another, the farther-reaching is set first: files
//! of the viewer, the visual preset, automatic modes, all others.

use std::path::Path;

use realsense_sys as sys;

use super::handle::Device;
use super::sensor::{Range, Sensor};
use crate::source::SourceError;
use crate::source::options::{Exposure, OptionValue, Options, Tuning};

/// An option on its way to a sensor.
struct Setting<'a> {
    sensor: &'a Sensor,
    option: sys::rs2_option,
    /// What librealsense calls it.
    name: String,
    value: f32,
}

/// One of a sensor's options, by its name.
struct Known<'a> {
    sensor: &'a Sensor,
    option: sys::rs2_option,
    name: String,
}

/// Tunes the camera, and tells what was set, as it was read back: `Laser Power 150, Gain 16`.
///
/// # Errors
/// [`SourceError::Unsupported`], with the names or the range that there are, for what the camera
/// does not have or take. Nothing is set then.
pub(super) fn apply(device: &Device, tuning: &Tuning) -> Result<Option<String>, SourceError> {
    if tuning.is_empty() {
        return Ok(None);
    }
    let sensors = device.sensors()?;
    let all = known(&sensors)?;
    let mut settings = named_keys(&sensors, &all, tuning)?;
    settings.extend(options(&sensors, &all, &tuning.options)?);
    let mut told = Vec::new();
    if let Some(path) = &tuning.json {
        load_json(device, path)?;
        told.push(path.display().to_string());
    }
    settings.sort_by_key(|setting| rank(setting.option));
    for Setting { sensor, option, name, value } in &settings {
        sensor.set(*option, *value)?;
        tracing::debug!("{name} set to {value}");
    }
    // Read when all are set: one may change another.
    for Setting { sensor, option, name, value } in &settings {
        let got = sensor.value(*option)?;
        if !is_close(got, *value) {
            tracing::warn!("{name} was set to {value}, and the camera has made it {got}");
        }
        told.push(format!("{name} {got}"));
    }
    Ok(Some(told.join(", ")))
}

fn is_close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-3 * a.abs().max(b.abs()).max(1e-6)
}

fn rank(option: sys::rs2_option) -> u8 {
    match option {
        sys::rs2_option_RS2_OPTION_VISUAL_PRESET => 0,
        sys::rs2_option_RS2_OPTION_ENABLE_AUTO_EXPOSURE
        | sys::rs2_option_RS2_OPTION_ENABLE_AUTO_WHITE_BALANCE => 1,
        _ => 2,
    }
}

/// The options of all sensors, those of the depth sensor first.
fn known(sensors: &[Sensor]) -> Result<Vec<Known<'_>>, SourceError> {
    let is_depth = |sensor: &&Sensor| sensor.value(sys::rs2_option_RS2_OPTION_DEPTH_UNITS).is_ok();
    let (depth, others): (Vec<_>, Vec<_>) = sensors.iter().partition(is_depth);
    let mut all = Vec::new();
    for sensor in depth.into_iter().chain(others) {
        for option in sensor.options()? {
            let name = sensor.option_name(option)?.unwrap_or_else(|| format!("option {option}"));
            all.push(Known { sensor, option, name });
        }
    }
    Ok(all)
}

/// The keys of `[camera]` that stand for options of the depth sensor.
fn named_keys<'a>(
    sensors: &'a [Sensor],
    all: &[Known<'a>],
    tuning: &Tuning,
) -> Result<Vec<Setting<'a>>, SourceError> {
    let mut settings = Vec::new();
    let mut add = |key: &str, option, value: Option<&OptionValue>| {
        let Some(value) = value else { return Ok(()) };
        let known = all.iter().find(|known| known.option == option);
        let Some(known) = known else {
            return Err(unsupported(format!(
                "camera.{key}: this camera has no such option{}",
                list(sensors)
            )));
        };
        settings.push(setting(&format!("camera.{key}"), known, value)?);
        Ok(())
    };
    let number = |value: Option<f64>| value.map(OptionValue::Number);
    add("visual_preset", sys::rs2_option_RS2_OPTION_VISUAL_PRESET, tuning.visual_preset.as_ref())?;
    add("emitter", sys::rs2_option_RS2_OPTION_EMITTER_ENABLED, tuning.emitter.as_ref())?;
    add(
        "laser_power_mw",
        sys::rs2_option_RS2_OPTION_LASER_POWER,
        number(tuning.laser_power_mw).as_ref(),
    )?;
    add(
        "depth_units_m",
        sys::rs2_option_RS2_OPTION_DEPTH_UNITS,
        number(tuning.depth_units_m).as_ref(),
    )?;
    let by_hand = tuning.gain.is_some() || matches!(tuning.exposure_us, Some(Exposure::Us(_)));
    let automatic = tuning.exposure_us == Some(Exposure::Auto);
    if automatic && tuning.gain.is_some() {
        return Err(unsupported(
            "camera.gain: automatic exposure (camera.exposure_us = \"auto\") chooses the gain too"
                .into(),
        ));
    }
    let auto = sys::rs2_option_RS2_OPTION_ENABLE_AUTO_EXPOSURE;
    if automatic || (by_hand && all.iter().any(|known| known.option == auto)) {
        add("exposure_us", auto, Some(&OptionValue::Switch(automatic)))?;
    }
    if let Some(Exposure::Us(us)) = tuning.exposure_us {
        add("exposure_us", sys::rs2_option_RS2_OPTION_EXPOSURE, Some(&OptionValue::Number(us)))?;
    }
    add("gain", sys::rs2_option_RS2_OPTION_GAIN, number(tuning.gain).as_ref())?;
    Ok(settings)
}

/// `[camera.options]`.
fn options<'a>(
    sensors: &'a [Sensor],
    all: &[Known<'a>],
    wanted: &Options,
) -> Result<Vec<Setting<'a>>, SourceError> {
    let mut settings = Vec::new();
    for (name, value) in wanted {
        let OptionValue::OfSensor(table) = value else {
            settings.push(option(
                sensors,
                all,
                &format!("camera.options.\"{name}\""),
                name,
                value,
            )?);
            continue;
        };
        let sensor =
            sensors.iter().find(|sensor| sensor.name().is_some_and(|has| same(&has, name)));
        let Some(sensor) = sensor else {
            let names: Vec<_> = sensors.iter().filter_map(Sensor::name).collect();
            let text = format!(
                "camera.options.\"{name}\": the camera has no such sensor; it has {}",
                names.join(", ")
            );
            return Err(unsupported(text));
        };
        let of_sensor: Vec<_> =
            all.iter().filter(|known| std::ptr::eq(known.sensor, sensor)).collect();
        for (option_name, value) in table {
            let key = format!("camera.options.\"{name}\".\"{option_name}\"");
            let mine: Vec<_> = of_sensor
                .iter()
                .map(|k| Known { sensor: k.sensor, option: k.option, name: k.name.clone() })
                .collect();
            settings.push(option(std::slice::from_ref(sensor), &mine, &key, option_name, value)?);
        }
    }
    Ok(settings)
}

fn option<'a>(
    sensors: &[Sensor],
    all: &[Known<'a>],
    key: &str,
    name: &str,
    value: &OptionValue,
) -> Result<Setting<'a>, SourceError> {
    match all.iter().find(|known| same(&known.name, name)) {
        Some(known) => setting(key, known, value),
        None => {
            let near = |known: &&Known<'_>| {
                strsim::normalized_damerau_levenshtein(&plain(&known.name), &plain(name)) > 0.6
            };
            let near = all
                .iter()
                .find(near)
                .map_or(String::new(), |known| format!("; did you mean \"{}\"?", known.name));
            Err(unsupported(format!(
                "{key}: this camera has no such option{near}{}",
                list(sensors)
            )))
        }
    }
}

/// Names as people type them: `laser_power` is `Laser Power`.
fn same(a: &str, b: &str) -> bool {
    plain(a) == plain(b)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What can be set.
fn list(sensors: &[Sensor]) -> String {
    let mut names = Vec::new();
    for sensor in sensors {
        for option in sensor.options().unwrap_or_default() {
            let name = sensor.option_name(option).ok().flatten();
            names.extend(name.filter(|name| {
                !names.contains(name) && !sensor.is_read_only(option).unwrap_or(true)
            }));
        }
    }
    if names.is_empty() {
        "; it has none that can be set".into()
    } else {
        format!("; it has {}", names.join(", "))
    }
}

/// Checks a value against what the camera says about the option.
fn setting<'a>(
    key: &str,
    known: &Known<'a>,
    value: &OptionValue,
) -> Result<Setting<'a>, SourceError> {
    let Known { sensor, option, name } = known;
    if sensor.is_read_only(*option)? {
        return Err(unsupported(format!("{key}: \"{name}\" can be read, but not set")));
    }
    let range = sensor.range(*option)?;
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
    if !(range.min..=range.max).contains(&value) {
        return Err(unsupported(format!("{key} is {value}; \"{name}\" goes {}", shown(&range))));
    }
    let steps = (value - range.min) / range.step;
    if range.step > 0.0 && (steps - steps.round()).abs() > 0.01 {
        let (below, above) =
            (range.min + steps.floor() * range.step, range.min + steps.ceil() * range.step);
        return Err(unsupported(format!(
            "{key} is {value}; \"{name}\" goes {}: take {below} or {above}",
            shown(&range)
        )));
    }
    Ok(Setting { sensor, option: *option, name: name.clone(), value })
}

fn shown(range: &Range) -> String {
    let steps =
        if range.step > 0.0 { format!(" in steps of {}", range.step) } else { String::new() };
    format!("from {} to {}{steps} (default {})", range.min, range.max, range.default)
}

/// The most values of which names are asked for.
const MAX_NAMED: f32 = 64.0;

/// The value that the camera calls so; `on` and `off` where there are two.
fn by_name(key: &str, known: &Known<'_>, range: &Range, text: &str) -> Result<f32, SourceError> {
    let Known { sensor, option, name } = known;
    let count = if range.step > 0.0 { (range.max - range.min) / range.step } else { f32::INFINITY };
    let values =
        (0..).map(|i| range.min + i as f32 * range.step).take_while(|value| *value <= range.max);
    let values = values.take(if count <= MAX_NAMED { count as usize + 1 } else { 0 });
    let named: Vec<_> = values
        .filter_map(|value| Some((sensor.value_name(*option, value).ok().flatten()?, value)))
        .collect();
    if let Some((_, value)) = named.iter().find(|(has, _)| same(has, text)) {
        return Ok(*value);
    }
    match (plain(text).as_str(), range.min <= 0.0 && range.max >= 1.0) {
        ("off", true) => return Ok(0.0),
        ("on", true) => return Ok(1.0),
        _ => {}
    }
    if named.is_empty() {
        return Err(unsupported(format!(
            "{key} is \"{text}\"; \"{name}\" is a number {}",
            shown(range)
        )));
    }
    let names: Vec<_> = named.iter().map(|(name, value)| format!("\"{name}\" ({value})")).collect();
    Err(unsupported(format!("{key} is \"{text}\"; \"{name}\" is one of {}", names.join(", "))))
}

/// Gives the camera a file of the realsense-viewer.
fn load_json(device: &Device, path: &Path) -> Result<(), SourceError> {
    let wrong = |problem: String| unsupported(format!("camera.json {}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    match serde_json::from_str(&text) {
        Ok(serde_json::Value::Object(_)) => {}
        Ok(_) => {
            return Err(wrong("it is no file of settings as the realsense-viewer saves it".into()));
        }
        Err(error) => return Err(wrong(format!("it is no JSON ({error})"))),
    }
    if !device.has_advanced_mode()? {
        return Err(wrong("this camera has no advanced mode, so it takes no such file".into()));
    }
    device.load_json(&text).map_err(|error| match error {
        SourceError::Sdk { message, .. } => {
            wrong(format!("the camera does not take it ({message})"))
        }
        other => other,
    })
}

fn unsupported(text: String) -> SourceError {
    SourceError::Unsupported(text)
}
