//! Which of a camera's profiles are opened: those that were asked for, or the best that the link
//! carries.

use realsense_sys as sys;

use super::sensor::Profile;
use crate::source::options::{ColorWish, Mode};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wish {
    pub depth: Option<Mode>,
    /// What depth shall be like where nothing is asked for.
    pub prefer: Mode,
    pub color: ColorWish,
    /// The left imager's image beside each depth image.
    pub infrared: bool,
    /// What its motion sensors measure.
    pub imu: bool,
}

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Streams {
    pub depth: Profile,
    pub color: Option<Profile>,
    pub infrared: Option<Profile>,
    /// Accelerometer and gyroscope, as far as there are.
    pub motion: [Option<Profile>; 2],
}

impl Streams {
    pub(super) fn all(&self) -> Vec<Profile> {
        let [accel, gyro] = self.motion;
        [Some(self.depth), self.color, self.infrared, accel, gyro].into_iter().flatten().collect()
    }

    /// What goes over the link, in megabytes a second: depth and colour (YUYV) with two bytes a
    /// pixel, infrared with one.
    fn mb_per_s(&self) -> f64 {
        let of = |profile: &Profile, bytes: f64| {
            let (width, height) = profile.size.unwrap_or_default();
            f64::from(width) * f64::from(height) * f64::from(profile.fps) * bytes / 1e6
        };
        let color = self.color.as_ref().map_or(0.0, |profile| of(profile, 2.0));
        of(&self.depth, 2.0)
            + color
            + self.infrared.as_ref().map_or(0.0, |profile| of(profile, 1.0))
    }
}

/// What a link carries in practice, in megabytes a second: USB 2 of its 480 Mbit/s, USB 3 of 5
/// Gbit/s. An unknown link is not judged.
fn link_mb_per_s(usb: Option<&str>) -> f64 {
    match usb.and_then(|usb| usb.chars().next()) {
        Some('1' | '2') => 36.0,
        Some('3') => 350.0,
        _ => f64::INFINITY,
    }
}

/// How many profiles an error names.
const NEAREST: usize = 6;

/// Chooses among all profiles of a camera at a link of this USB version.
///
/// # Errors
/// What can't be had, and what comes nearest to it, in one line.
pub(super) fn choose(
    profiles: &[Profile],
    wish: &Wish,
    usb: Option<&str>,
) -> Result<Streams, String> {
    let link = usb.map_or("this link".into(), |usb| format!("this USB {usb} link"));
    let of = |stream, format| {
        let fits = move |p: &&Profile| p.stream == stream && p.format == format && p.size.is_some();
        profiles.iter().filter(fits).copied().collect::<Vec<_>>()
    };
    let mut depths = of(sys::rs2_stream_RS2_STREAM_DEPTH, sys::rs2_format_RS2_FORMAT_Z16);
    if depths.is_empty() {
        return Err("the camera has no depth stream; `depthcast devices` lists what it has".into());
    }
    sort_by_distance(&mut depths, &wish.depth.unwrap_or(wish.prefer));
    if let Some(mode) = &wish.depth {
        let nearest = named(&depths);
        depths.retain(|profile| is(profile, mode));
        if depths.is_empty() {
            return Err(format!(
                "--depth {mode}: the camera has no such depth profile at {link}; nearest are {nearest}"
            ));
        }
    }
    let mut colors = of(sys::rs2_stream_RS2_STREAM_COLOR, sys::rs2_format_RS2_FORMAT_RGB8);
    match wish.color {
        ColorWish::Off => {}
        _ if colors.is_empty() => {
            return Err("colour was asked for, and the camera has no colour stream; `depthcast devices` lists what it has".into());
        }
        ColorWish::Any => {}
        ColorWish::Mode(mode) => {
            sort_by_distance(&mut colors, &mode);
            let nearest = named(&colors);
            colors.retain(|profile| is(profile, &mode));
            if colors.is_empty() {
                return Err(format!(
                    "--color {mode}: the camera has no such colour profile at {link}; nearest are {nearest}"
                ));
            }
        }
    }
    let infrareds = of(sys::rs2_stream_RS2_STREAM_INFRARED, sys::rs2_format_RS2_FORMAT_Y8);
    if wish.infrared && infrareds.is_empty() {
        return Err("--infrared: the camera has no 8-bit infrared stream; `depthcast devices` lists what it has".into());
    }

    let motion = if wish.imu { motion(profiles) } else { [None; 2] };
    if wish.imu && motion == [None; 2] {
        return Err(
            "--imu: the camera has no motion sensors; `depthcast devices` lists what it has".into(),
        );
    }

    let mut best: Option<Streams> = None;
    for depth in depths {
        let infrared = wish.infrared.then(|| beside(&infrareds, &depth));
        if infrared == Some(None) {
            continue;
        }
        let color = (wish.color != ColorWish::Off)
            .then(|| color_beside(&mut colors, wish.color, &depth))
            .flatten();
        let streams = Streams { depth, color, infrared: infrared.flatten(), motion };
        if streams.mb_per_s() <= link_mb_per_s(usb) {
            return Ok(streams);
        }
        best.get_or_insert(streams);
    }
    // The camera lists it, so it may work, at the cost of frames.
    best.inspect(|streams| {
        tracing::warn!(
            "{link} may not carry all of {:.0} MB/s; frames may be lost",
            streams.mb_per_s()
        )
    })
    .ok_or_else(|| {
        let depth = wish.depth.map_or(String::new(), |mode| format!(" of --depth {mode}"));
        format!(
            "--infrared: the camera has no infrared stream of the size and rate{depth}; it has {}",
            named(&infrareds)
        )
    })
}

/// Samples a second of each motion sensor, or what comes nearest.
const MOTION_HZ: i32 = 200;

/// Of the accelerometer and the gyroscope.
fn motion(profiles: &[Profile]) -> [Option<Profile>; 2] {
    [sys::rs2_stream_RS2_STREAM_ACCEL, sys::rs2_stream_RS2_STREAM_GYRO].map(|stream| {
        let is_it = |p: &&Profile| {
            p.stream == stream && p.format == sys::rs2_format_RS2_FORMAT_MOTION_XYZ32F
        };
        profiles.iter().filter(is_it).min_by_key(|profile| (profile.fps - MOTION_HZ).abs()).copied()
    })
}

/// The left infrared image of the same size and rate.
fn beside(infrareds: &[Profile], depth: &Profile) -> Option<Profile> {
    let same = infrareds
        .iter()
        .filter(|infrared| infrared.size == depth.size && infrared.fps == depth.fps);
    same.min_by_key(|infrared| infrared.index).copied()
}

/// Where any colour will do: one as wide as depth, since its points get no more colours than there
/// are pixels, and as fast, but no faster.
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

fn is(profile: &Profile, mode: &Mode) -> bool {
    distance(profile, mode) == 0.0
}

/// In doublings of width, height and rate.
fn distance(profile: &Profile, mode: &Mode) -> f64 {
    let (width, height) = profile.size.unwrap_or((1, 1));
    let apart = |a: i32, b: f64| (f64::from(a.max(1)) / b).log2().abs();
    apart(width, f64::from(mode.width))
        + apart(height, f64::from(mode.height))
        + apart(profile.fps, mode.fps.round())
}

/// Among those equally far the ones with more pixels first, so that the choice does not depend on
/// the camera's order.
fn sort_by_distance(profiles: &mut [Profile], mode: &Mode) {
    let pixels = |profile: &Profile| {
        profile.size.map_or(0, |(width, height)| i64::from(width) * i64::from(height))
    };
    profiles.sort_by(|a, b| {
        distance(a, mode).total_cmp(&distance(b, mode)).then(pixels(b).cmp(&pixels(a)))
    });
}

/// The first few, as they are given to the flags.
fn named(profiles: &[Profile]) -> String {
    let mut names: Vec<String> = Vec::new();
    for profile in profiles {
        let name = mode(profile).to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.truncate(NEAREST);
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles(
        stream: sys::rs2_stream,
        format: sys::rs2_format,
        index: i32,
        modes: &str,
    ) -> Vec<Profile> {
        let profile = |mode: &str| {
            let mode: Mode = mode.parse().unwrap();
            let size = Some((mode.width as i32, mode.height as i32));
            Profile { stream, index, size, fps: mode.fps as i32, format }
        };
        modes.split_whitespace().map(profile).collect()
    }

    /// As a D435 lists them at USB 3, or at USB 2.
    fn d435(usb: &str) -> Vec<Profile> {
        let (depth, color) = match usb {
            "3.2" => (
                "1280x720@30 1280x720@15 1280x720@6 848x480@90 848x480@60 848x480@30 640x480@90 640x480@60 640x480@30 424x240@90",
                "1920x1080@30 1280x720@30 960x540@60 848x480@60 848x480@30 640x480@60 640x480@30 424x240@60",
            ),
            _ => (
                "1280x720@6 640x480@30 640x480@15 480x270@60 480x270@30 424x240@30",
                "1280x720@10 640x480@30 640x480@15 424x240@30",
            ),
        };
        let (z16, y8) = (sys::rs2_format_RS2_FORMAT_Z16, sys::rs2_format_RS2_FORMAT_Y8);
        let infrared = sys::rs2_stream_RS2_STREAM_INFRARED;
        [
            profiles(sys::rs2_stream_RS2_STREAM_DEPTH, z16, 0, depth),
            profiles(infrared, y8, 2, depth),
            profiles(infrared, y8, 1, depth),
            profiles(sys::rs2_stream_RS2_STREAM_COLOR, sys::rs2_format_RS2_FORMAT_YUYV, 0, color),
            profiles(sys::rs2_stream_RS2_STREAM_COLOR, sys::rs2_format_RS2_FORMAT_RGB8, 0, color),
        ]
        .concat()
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
        let wish = Wish { depth, prefer: prefer.parse().unwrap(), color, infrared, imu: false };
        let streams = choose(&d435(usb), &wish, Some(usb))?;
        Ok(streams.all().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
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
        let error = ask("848x480@91", "off", false).unwrap_err();
        assert!(error.starts_with("--depth 848x480@91: ") && error.contains("USB 3.2"), "{error}");
        assert!(error.contains("nearest are 848x480@90, 640x480@90, 848x480@60, "), "{error}");
        let error = ask("848x480@90", "1920x1080@60", false).unwrap_err();
        assert!(
            error.starts_with("--color 1920x1080@60: ")
                && error.contains("nearest are 1920x1080@30, "),
            "{error}"
        );
        let error = chosen("2.1", "848x480@90", "848x480@30", "off", false).unwrap_err();
        assert!(error.contains("USB 2.1") && error.contains("640x480@30"), "{error}");
    }

    #[test]
    fn what_a_camera_does_not_have_is_said() {
        let wish = Wish {
            depth: None,
            prefer: "848x480@30".parse().unwrap(),
            color: ColorWish::Any,
            infrared: true,
            imu: false,
        };
        let depth = profiles(
            sys::rs2_stream_RS2_STREAM_DEPTH,
            sys::rs2_format_RS2_FORMAT_Z16,
            0,
            "640x480@30",
        );
        assert!(choose(&[], &wish, None).unwrap_err().contains("no depth stream"));
        assert!(choose(&depth, &wish, None).unwrap_err().contains("no colour stream"));
        let infrared = Wish { color: ColorWish::Off, ..wish };
        assert!(choose(&depth, &infrared, None).unwrap_err().contains("no 8-bit infrared stream"));
        let imu = Wish { infrared: false, imu: true, ..infrared };
        assert!(choose(&depth, &imu, None).unwrap_err().contains("no motion sensors"));
        let xyz = |stream, fps| Profile {
            stream,
            index: 0,
            size: None,
            fps,
            format: sys::rs2_format_RS2_FORMAT_MOTION_XYZ32F,
        };
        let (accel, gyro) = (sys::rs2_stream_RS2_STREAM_ACCEL, sys::rs2_stream_RS2_STREAM_GYRO);
        let sensors = vec![xyz(accel, 63), xyz(accel, 250), xyz(gyro, 400), xyz(gyro, 200)];
        let streams = choose(&[depth.clone(), sensors].concat(), &imu, None).unwrap();
        assert_eq!(streams.motion.map(|profile| profile.unwrap().fps), [250, 200]);
        let other = profiles(
            sys::rs2_stream_RS2_STREAM_INFRARED,
            sys::rs2_format_RS2_FORMAT_Y8,
            1,
            "1280x720@30",
        );
        let error = choose(&[depth, other].concat(), &infrared, None).unwrap_err();
        assert!(error.contains("1280x720@30"), "{error}");
    }
}
