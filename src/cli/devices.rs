//! `depthcast devices`.

use std::path::PathBuf;

use clap::Args;

use super::Done;

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    /// As JSON (depthcast.devices.v1)
    #[arg(long)]
    json: bool,
    /// Reset the camera with this serial number, as if it were unplugged and plugged in again
    #[arg(long, value_name = "SERIAL", conflicts_with_all = ["json", "from_file"])]
    reset: Option<String>,
    /// List this recording as if it were a camera, as `live --from-file` sees it
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

#[cfg(feature = "realsense")]
pub(super) fn devices(args: &DevicesArgs) -> anyhow::Result<Done> {
    use crate::source::realsense::{WHAT_TO_CHECK, camera_in_file, cameras, reset};

    if let Some(serial) = &args.reset {
        reset(serial)?;
        super::print(&format!("camera {serial} was reset; it is there again in about 5 s\n"))?;
        return Ok(Done::Whole);
    }
    let cameras = match &args.from_file {
        Some(path) => vec![camera_in_file(path)?],
        None => cameras()?,
    };
    if args.json {
        let report = serde_json::json!({ "schema": "depthcast.devices.v1", "cameras": cameras });
        super::print_json(&report)?;
        return Ok(Done::Whole);
    }
    if cameras.is_empty() {
        eprintln!("depthcast: no RealSense camera found: {WHAT_TO_CHECK}");
    }
    super::print(&listing::text(&cameras)?)?;
    Ok(Done::Whole)
}

#[cfg(not(feature = "realsense"))]
pub(super) fn devices(_: &DevicesArgs) -> anyhow::Result<Done> {
    anyhow::bail!("`devices` needs librealsense, and this depthcast was built without it")
}

/// What people read.
#[cfg(feature = "realsense")]
mod listing {
    use std::fmt::{Error, Write as _};

    use crate::source::realsense::{CameraReport, OptionReport};

    pub(super) fn text(cameras: &[CameraReport]) -> Result<String, Error> {
        let mut out = String::new();
        cameras.iter().try_for_each(|camera| write_camera(&mut out, camera))?;
        Ok(out)
    }

    fn or_unknown(text: Option<&String>) -> &str {
        text.map_or("unknown", String::as_str)
    }

    fn write_camera(out: &mut String, camera: &CameraReport) -> Result<(), Error> {
        let recommended = camera
            .recommended_firmware
            .as_ref()
            .filter(|firmware| camera.firmware.as_ref() != Some(*firmware));
        let recommended =
            recommended.map_or(String::new(), |firmware| format!(" (recommended {firmware})"));
        let (firmware, usb) =
            (or_unknown(camera.firmware.as_ref()), or_unknown(camera.usb.as_ref()));
        writeln!(out, "{}", or_unknown(camera.name.as_ref()))?;
        writeln!(
            out,
            "  serial {}, firmware {firmware}{recommended}, USB {usb}",
            or_unknown(camera.serial.as_ref())
        )?;
        camera.warnings.iter().try_for_each(|warning| writeln!(out, "  warning: {warning}"))?;
        for sensor in &camera.sensors {
            writeln!(out, "  {}", or_unknown(sensor.name.as_ref()))?;
            sensor.profiles.iter().try_for_each(|profile| writeln!(out, "    {profile}"))?;
            write_options(out, &sensor.options)?;
        }
        Ok(())
    }

    /// A table whose columns are as wide as what is in them.
    fn write_options(out: &mut String, options: &[OptionReport]) -> Result<(), Error> {
        if options.is_empty() {
            return Ok(());
        }
        let number = |value: Option<f32>| value.map_or("-".into(), |value| value.to_string());
        let head = ["option", "value", "min", "max", "step", "default", ""].map(str::to_owned);
        let rows = options.iter().map(|option| {
            let meaning = match (&option.value_name, option.read_only) {
                (Some(name), true) => format!("{name} (read only)"),
                (Some(name), false) => name.clone(),
                (None, true) => "(read only)".into(),
                (None, false) => String::new(),
            };
            let [value, min, max] = [option.value, option.min, option.max].map(number);
            [
                option.name.clone(),
                value,
                min,
                max,
                number(option.step),
                number(option.default),
                meaning,
            ]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let [name, value, min, max, step, default] = [0, 1, 2, 3, 4, 5].map(width);
        for row in &rows {
            let line = format!(
                "    {:<name$}  {:>value$}  {:>min$}  {:>max$}  {:>step$}  {:>default$}  {}",
                row[0], row[1], row[2], row[3], row[4], row[5], row[6]
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
