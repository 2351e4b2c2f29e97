//! Which of a camera's profiles are opened: those asked for, or the best that the link carries.

use std::collections::HashSet;

use super::sdk::{ACCEL, COLOR, DEPTH, GYRO, INFRARED, Profile, RGB8, XYZ32F, Y8, Z16};
use crate::source::options::{CameraSettings, ColorWish, Mode};

/// How many profiles an error names.
const NEAREST: usize = 6;
/// Samples a second of each motion sensor, or what comes nearest.
const MOTION_HZ: i32 = 200;
const LIST: &str = "`depthcast devices` lists what it has";

/// Chooses among all profiles of a camera at a link of this USB version: depth, then colour unless
/// it is off, the infrared image beside depth, accelerometer and gyroscope. The error says what
/// can't be had, and what comes nearest to it.
pub(super) fn choose(
    profiles: &[Profile],
    wish: &CameraSettings,
    color: ColorWish,
    usb: Option<&str>,
) -> Result<Vec<Profile>, String> {
    let link = usb.map_or("this link".into(), |usb| format!("this USB {usb} link"));
    let of = |stream, format| {
        let fits = move |p: &&Profile| p.stream == stream && p.format == format && p.size.is_some();
        profiles.iter().filter(fits).copied().collect::<Vec<_>>()
    };
    let exactly = |mut profiles: Vec<Profile>, mode: &Mode, flag: &str, kind: &str| {
        sort_by_distance(&mut profiles, mode);
        let nearest = named(&profiles);
        profiles.retain(|profile| distance(profile, mode) == 0.0);
        let none = "the camera has no such";
        let error =
            || format!("{flag} {mode}: {none} {kind} profile at {link}; nearest are {nearest}");
        if profiles.is_empty() { Err(error()) } else { Ok(profiles) }
    };

    let mut depths = of(DEPTH, Z16);
    if depths.is_empty() {
        return Err(format!("the camera has no depth stream; {LIST}"));
    }
    match &wish.depth {
        Some(mode) => depths = exactly(depths, mode, "--depth", "depth")?,
        None => sort_by_distance(&mut depths, &wish.prefer),
    }
    let mut colors = if color == ColorWish::Off { Vec::new() } else { of(COLOR, RGB8) };
    if color != ColorWish::Off && colors.is_empty() {
        return Err(format!("colour was asked for, and the camera has no colour stream; {LIST}"));
    }
    if let ColorWish::Mode(mode) = color {
        colors = exactly(colors, &mode, "--color", "colour")?;
    }
    let infrareds = of(INFRARED, Y8);
    if wish.infrared && infrareds.is_empty() {
        return Err(format!("--infrared: the camera has no 8-bit infrared stream; {LIST}"));
    }
    let motion = if wish.imu { motion(profiles) } else { Vec::new() };
    if wish.imu && motion.is_empty() {
        return Err(format!("--imu: the camera has no motion sensors; {LIST}"));
    }

    let mut best: Option<Vec<Profile>> = None;
    for depth in depths {
        let mut streams = vec![depth];
        streams.extend(color_beside(&mut colors, color, &depth));
        if wish.infrared {
            let Some(infrared) = infrared_beside(&infrareds, &depth) else { continue };
            streams.push(infrared);
        }
        streams.extend(&motion);
        if mb_per_s(&streams) <= link_mb_per_s(usb) {
            return Ok(streams);
        }
        best.get_or_insert(streams);
    }
    let Some(streams) = best else {
        let depth = wish.depth.map_or(String::new(), |mode| format!(" of --depth {mode}"));
        let none = "--infrared: the camera has no infrared stream of the size and rate";
        return Err(format!("{none}{depth}; it has {}", named(&infrareds)));
    };
    // The camera lists it, so it may work, at the cost of frames.
    let mb_per_s = mb_per_s(&streams);
    tracing::warn!("{link} may not carry all of {mb_per_s:.0} MB/s; frames may be lost");
    Ok(streams)
}

/// Over the link: depth and colour (YUYV) with two bytes a pixel, infrared with one.
fn mb_per_s(streams: &[Profile]) -> f64 {
    let of = |profile: &Profile| {
        let bytes = if profile.stream == INFRARED { 1.0 } else { 2.0 };
        let Mode { width, height, fps } = mode(profile);
        f64::from(width) * f64::from(height) * fps * bytes / 1e6
    };
    streams.iter().map(of).sum()
}

/// In practice: USB 2 of its 480 Mbit/s, USB 3 of 5 Gbit/s. An unknown link is not judged.
fn link_mb_per_s(usb: Option<&str>) -> f64 {
    match usb.and_then(|usb| usb.chars().next()) {
        Some('1' | '2') => 36.0,
        Some('3') => 350.0,
        _ => f64::INFINITY,
    }
}

/// Accelerometer and gyroscope, as far as there are.
fn motion(profiles: &[Profile]) -> Vec<Profile> {
    let nearest = |stream| {
        let is_it = |p: &&Profile| p.stream == stream && p.format == XYZ32F;
        profiles.iter().filter(is_it).min_by_key(|profile| (profile.fps - MOTION_HZ).abs())
    };
    [ACCEL, GYRO].into_iter().filter_map(nearest).copied().collect()
}

/// The left infrared image of the same size and rate.
fn infrared_beside(infrareds: &[Profile], depth: &Profile) -> Option<Profile> {
    let same = infrareds.iter().filter(|p| p.size == depth.size && p.fps == depth.fps);
    same.min_by_key(|infrared| infrared.index).copied()
}

/// Where any colour will do: one as wide as depth, and as fast, but no faster.
fn color_beside(colors: &mut [Profile], wish: ColorWish, depth: &Profile) -> Option<Profile> {
    if wish == ColorWish::Any {
        sort_by_distance(colors, &mode(depth));
        if let Some(slower) = colors.iter().find(|color| color.fps <= depth.fps) {
            return Some(*slower);
        }
    }
    colors.first().copied()
}

pub(super) fn mode(profile: &Profile) -> Mode {
    let (width, height) = profile.size.unwrap_or_default();
    Mode { width: width as u32, height: height as u32, fps: f64::from(profile.fps) }
}

/// In doublings of width, height and rate.
fn distance(profile: &Profile, mode: &Mode) -> f64 {
    let (width, height) = profile.size.unwrap_or((1, 1));
    let apart = |a: i32, b: f64| (f64::from(a.max(1)) / b).log2().abs();
    let size = apart(width, mode.width.into()) + apart(height, mode.height.into());
    size + apart(profile.fps, mode.fps.round())
}

/// Of those equally far the ones with more pixels first, whatever the camera's order.
fn sort_by_distance(profiles: &mut [Profile], mode: &Mode) {
    let pixels = |profile: &Profile| profile.size.map_or(0, |(w, h)| i64::from(w) * i64::from(h));
    profiles.sort_by(|a, b| {
        distance(a, mode).total_cmp(&distance(b, mode)).then(pixels(b).cmp(&pixels(a)))
    });
}

/// The first few, as they are given to the flags.
fn named(profiles: &[Profile]) -> String {
    let mut seen = HashSet::new();
    let names = profiles.iter().map(|profile| mode(profile).to_string());
    let names = names.filter(|name| seen.insert(name.clone()));
    names.take(NEAREST).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(stream: u32, format: u32, index: i32, modes: &str) -> Vec<Profile> {
        let profile = |mode: &str| {
            let mode: Mode = mode.parse().unwrap();
            let size = Some((mode.width as i32, mode.height as i32));
            Profile { stream, index, size, fps: mode.fps as i32, format }
        };
        modes.split_whitespace().map(profile).collect()
    }

    /// As a D435 lists them at USB 3, or at USB 2.
    fn d435(usb: &str) -> Vec<Profile> {
        let [depth, color] = match usb {
            "3.2" => [
                "1280x720@30 1280x720@15 1280x720@6 848x480@90 848x480@60 848x480@30 640x480@90 \
                 640x480@60 640x480@30 424x240@90",
                "1920x1080@30 1280x720@30 960x540@60 848x480@60 848x480@30 640x480@60 640x480@30 \
                 424x240@60",
            ],
            _ => [
                "1280x720@6 640x480@30 640x480@15 480x270@60 480x270@30 424x240@30",
                "1280x720@10 640x480@30 640x480@15 424x240@30",
            ],
        };
        [
            profiles(DEPTH, Z16, 0, depth),
            profiles(INFRARED, Y8, 2, depth),
            profiles(INFRARED, Y8, 1, depth),
            profiles(COLOR, realsense_sys::rs2_format_RS2_FORMAT_YUYV, 0, color),
            profiles(COLOR, RGB8, 0, color),
        ]
        .concat()
    }

    fn settings(prefer: &str) -> CameraSettings {
        let (prefer, tuning) = (prefer.parse().unwrap(), Default::default());
        let (serial, depth, color, infrared, imu) = (None, None, None, false, false);
        CameraSettings { serial, depth, prefer, color, infrared, imu, tuning }
    }

    fn chosen(
        usb: &str,
        depth: &str,
        prefer: &str,
        color: &str,
        infrared: bool,
    ) -> Result<String, String> {
        let depth = (!depth.is_empty()).then(|| depth.parse().unwrap());
        let color = if color.is_empty() { ColorWish::Any } else { color.parse().unwrap() };
        let wish = CameraSettings { depth, infrared, ..settings(prefer) };
        let streams = choose(&d435(usb), &wish, color, Some(usb))?;
        Ok(streams.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn without_a_wish_the_best_that_the_link_carries() {
        let best = |usb, prefer, color| chosen(usb, "", prefer, color, false).unwrap();
        assert_eq!(best("3.2", "848x480@90", "off"), "depth 848x480@90 z16");
        assert_eq!(best("3.2", "848x480@30", ""), "depth 848x480@30 z16, color 848x480@30 rgb8");
        assert_eq!(best("3.2", "848x480@90", ""), "depth 848x480@90 z16, color 848x480@60 rgb8");
        assert_eq!(best("2.1", "848x480@90", "off"), "depth 640x480@30 z16");
        // Both at 640x480@30 are 37 MB a second.
        assert_eq!(best("2.1", "848x480@30", ""), "depth 640x480@15 z16, color 640x480@15 rgb8");
    }

    #[test]
    fn a_wish_is_met_exactly_or_answered_with_what_is_nearest() {
        let ask = |depth, color, infrared| chosen("3.2", depth, "848x480@30", color, infrared);
        assert_eq!(ask("640x480@90", "off", false).unwrap(), "depth 640x480@90 z16");
        assert_eq!(
            ask("848x480@90", "1280x720@30", true).unwrap(),
            "depth 848x480@90 z16, color 1280x720@30 rgb8, infrared 1 848x480@90 y8"
        );
        let nearest = "nearest are 848x480@90, 640x480@90, 848x480@60, ";
        for (usb, depth, color, start, end) in [
            ("3.2", "848x480@91", "off", "--depth 848x480@91: ", nearest),
            ("3.2", "848x480@90", "1920x1080@60", "--color 1920x1080@60: ", "are 1920x1080@30, "),
            ("2.1", "848x480@90", "off", "--depth 848x480@90: ", "640x480@30"),
        ] {
            let error = chosen(usb, depth, "848x480@30", color, false).unwrap_err();
            let usb = format!("USB {usb}");
            let has = error.starts_with(start) && error.contains(&usb) && error.contains(end);
            assert!(has, "{error}");
        }
    }

    #[test]
    fn what_a_camera_does_not_have_is_said() {
        let plain = settings("848x480@30");
        let (any, off) = (ColorWish::Any, ColorWish::Off);
        let infrared = CameraSettings { infrared: true, ..plain.clone() };
        let imu = CameraSettings { imu: true, ..plain.clone() };
        let depth = profiles(DEPTH, Z16, 0, "640x480@30");
        let other = [depth.clone(), profiles(INFRARED, Y8, 1, "1280x720@30")].concat();
        for (has, wish, color, expected) in [
            (&vec![], &plain, off, "no depth stream"),
            (&depth, &plain, any, "no colour stream"),
            (&depth, &infrared, off, "no 8-bit infrared stream"),
            (&depth, &imu, off, "no motion sensors"),
            (&other, &infrared, off, "of the size and rate; it has 1280x720@30"),
        ] {
            let error = choose(has, wish, color, None).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let xyz = |stream, fps| Profile { stream, index: 0, size: None, fps, format: XYZ32F };
        let sensors = vec![xyz(ACCEL, 63), xyz(ACCEL, 250), xyz(GYRO, 400), xyz(GYRO, 200)];
        let streams = choose(&[depth, sensors].concat(), &imu, off, None).unwrap();
        assert_eq!(streams.iter().map(|profile| profile.fps).collect::<Vec<_>>(), [30, 250, 200]);
    }
}
