//! `depthcast devices`.

use super::{DevicesArgs, Done};

#[cfg(feature = "realsense")]
pub(super) fn devices(args: &DevicesArgs) -> anyhow::Result<Done> {
    use std::fmt::Write as _;

    let cameras = crate::source::realsense::cameras()?;
    if args.json {
        let report = serde_json::json!({ "schema": "depthcast.devices.v1", "cameras": cameras });
        super::print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        return Ok(Done::Whole);
    }
    let mut out = String::new();
    for camera in &cameras {
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
        writeln!(
            out,
            "{}\n  serial {}, firmware {}, USB {}",
            or_unknown(&camera.name),
            or_unknown(&camera.serial),
            or_unknown(&camera.firmware),
            or_unknown(&camera.usb)
        )?;
        if camera.usb.as_ref().is_some_and(|usb| usb.starts_with('2')) {
            writeln!(out, "  warning: on USB 2 only small and slow modes work; use a USB 3 port and cable")?;
        }
        for sensor in &camera.sensors {
            writeln!(out, "  {}", or_unknown(&sensor.name))?;
            sensor.profiles.iter().try_for_each(|profile| writeln!(out, "    {profile}"))?;
        }
    }
    if cameras.is_empty() {
        let what = crate::source::realsense::WHAT_TO_CHECK;
        eprintln!("depthcast: no RealSense camera found: {what}");
    }
    super::print(&out)?;
    Ok(Done::Whole)
}

#[cfg(not(feature = "realsense"))]
pub(super) fn devices(_: &DevicesArgs) -> anyhow::Result<Done> {
    anyhow::bail!("`devices` needs librealsense, and this depthcast was built without it")
}
