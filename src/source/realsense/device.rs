//! Cameras, their sensors, and what these can stream, with every error that librealsense has for
//! lists: realsense-rust answers them with empty ones.

use std::path::Path;
use std::ptr::NonNull;

use num_traits::FromPrimitive as _;
use realsense_rust::kind::{Rs2CameraInfo, Rs2Option, Rs2OptionRange};
use realsense_sys as sys;

use super::sdk::{Context, Error, Owned, c_path, call, copied, crate_error, make};
use crate::source::SourceError;

pub(super) const DEPTH: sys::rs2_stream = sys::rs2_stream_RS2_STREAM_DEPTH;
pub(super) const COLOR: sys::rs2_stream = sys::rs2_stream_RS2_STREAM_COLOR;
pub(super) const INFRARED: sys::rs2_stream = sys::rs2_stream_RS2_STREAM_INFRARED;
pub(super) const ACCEL: sys::rs2_stream = sys::rs2_stream_RS2_STREAM_ACCEL;
pub(super) const GYRO: sys::rs2_stream = sys::rs2_stream_RS2_STREAM_GYRO;
pub(super) const Z16: sys::rs2_format = sys::rs2_format_RS2_FORMAT_Z16;
pub(super) const RGB8: sys::rs2_format = sys::rs2_format_RS2_FORMAT_RGB8;
pub(super) const Y8: sys::rs2_format = sys::rs2_format_RS2_FORMAT_Y8;
pub(super) const XYZ32F: sys::rs2_format = sys::rs2_format_RS2_FORMAT_MOTION_XYZ32F;

/// All devices that are plugged in; an error for each that is there and cannot be used.
pub(super) fn devices(context: &Context) -> Result<Vec<Result<Device, SourceError>>, SourceError> {
    const WHAT: &str = "list of cameras";
    // SAFETY: the context is valid; the list made is ours, and valid while its devices are made,
    // which are ours too.
    unsafe {
        let list = Owned::new(WHAT, sys::rs2_delete_device_list, |error| {
            sys::rs2_query_devices(context.as_ptr(), error)
        })?;
        let count = call(WHAT, |error| sys::rs2_get_device_count(list.as_ptr(), error))?;
        let device =
            |i| Device::new("camera", |error| sys::rs2_create_device(list.as_ptr(), i, error));
        Ok((0..count).map(device).collect())
    }
}

/// A recording, as if it were a camera.
pub(super) fn file(context: &Context, path: &Path) -> Result<Device, SourceError> {
    let name = c_path(path)?;
    // SAFETY: context and name are valid; the device made is ours.
    unsafe {
        Device::new("recording", |error| {
            sys::rs2_context_add_device(context.as_ptr(), name.as_ptr(), error)
        })
    }
}

/// realsense-rust's device, and the pointer that it does not give back.
pub(super) struct Device {
    device: realsense_rust::device::Device,
    raw: NonNull<sys::rs2_device>,
}

// SAFETY: librealsense's handles belong to no thread; this one is owned and not shared.
unsafe impl Send for Device {}

impl Device {
    /// # Safety
    /// What `f` makes must be valid, and nobody else's to delete.
    pub(super) unsafe fn new(
        what: &'static str,
        f: impl FnOnce(Error) -> *mut sys::rs2_device,
    ) -> Result<Self, SourceError> {
        let raw = make(what, f)?;
        Ok(Self { device: raw.into(), raw })
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rs2_device {
        self.raw.as_ptr()
    }

    /// A fact about the camera, if it reports it.
    pub(super) fn info(&self, what: Rs2CameraInfo) -> Option<String> {
        self.device.info(what).map(|text| text.to_string_lossy().into_owned())
    }

    pub(super) fn serial(&self) -> Option<String> {
        self.info(Rs2CameraInfo::SerialNumber)
    }

    pub(super) fn sensors(&self) -> Result<Vec<Sensor>, SourceError> {
        const WHAT: &str = "sensors";
        // SAFETY: the device is valid; the list made is ours, and valid while its sensors are made,
        // which are ours too.
        unsafe {
            let list = Owned::new(WHAT, sys::rs2_delete_sensor_list, |error| {
                sys::rs2_query_sensors(self.as_ptr(), error)
            })?;
            let count = call(WHAT, |error| sys::rs2_get_sensors_count(list.as_ptr(), error))?;
            let sensor = |i| {
                Owned::new(WHAT, sys::rs2_delete_sensor, |error| {
                    sys::rs2_create_sensor(list.as_ptr(), i, error)
                })
            };
            (0..count).map(|i| sensor(i).map(Sensor)).collect()
        }
    }

    /// Makes the camera start anew, as if it had been unplugged. It comes back seconds later; this
    /// handle is of no use then.
    pub(super) fn hardware_reset(&self) -> Result<(), SourceError> {
        // SAFETY: the device is valid.
        call("hardware reset", |error| unsafe { sys::rs2_hardware_reset(self.as_ptr(), error) })
    }

    /// Whether it takes the settings of `rs2_load_json`, the files of the realsense-viewer.
    pub(super) fn has_advanced_mode(&self) -> Result<bool, SourceError> {
        const ADVANCED: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_ADVANCED_MODE;
        // SAFETY: the device is valid.
        call("advanced mode", |error| unsafe {
            sys::rs2_is_device_extendable_to(self.as_ptr(), ADVANCED, error) != 0
        })
    }

    /// Gives a camera with advanced mode the settings of such a file.
    pub(super) fn load_json(&self, text: &str) -> Result<(), SourceError> {
        let size = u32::try_from(text.len()).unwrap_or(u32::MAX);
        // SAFETY: device and text are valid, and the text is `size` bytes long.
        call("advanced mode", |error| unsafe {
            sys::rs2_load_json(self.as_ptr(), text.as_ptr().cast(), size, error)
        })
    }

    /// Makes the player of a file keep the pace of the recorded stamps, or play as fast as frames
    /// are taken (none is lost then).
    pub(super) fn set_real_time(&self, real_time: bool) -> Result<(), SourceError> {
        // SAFETY: the device is valid; librealsense refuses one that is no player.
        call("pace", |error| unsafe {
            sys::rs2_playback_device_set_real_time(self.as_ptr(), i32::from(real_time), error)
        })
    }

    /// Whether the player has read its file to the end.
    pub(super) fn has_stopped(&self) -> bool {
        // SAFETY: as above.
        let status = call("status", |error| unsafe {
            sys::rs2_playback_device_get_current_status(self.as_ptr(), error)
        });
        matches!(status, Ok(sys::rs2_playback_status_RS2_PLAYBACK_STATUS_STOPPED))
    }
}

pub(super) struct Sensor(Owned<sys::rs2_sensor>);

impl Sensor {
    /// realsense-rust's sensor, which deletes nothing when it is made so.
    fn view(&self) -> realsense_rust::sensor::Sensor {
        self.0.raw().into()
    }

    fn options_ptr(&self) -> *const sys::rs2_options {
        // A sensor is one of the things that have options.
        self.0.as_ptr().cast()
    }

    pub(super) fn name(&self) -> Option<String> {
        self.view().info(Rs2CameraInfo::Name).map(|text| text.to_string_lossy().into_owned())
    }

    pub(super) fn profiles(&self) -> Result<Vec<Profile>, SourceError> {
        const WHAT: &str = "profiles";
        // SAFETY: the sensor is valid; the list made is ours, and its profiles are valid as long as
        // it.
        unsafe {
            let delete = sys::rs2_delete_stream_profiles_list;
            let list = Owned::new(WHAT, delete, |error| {
                sys::rs2_get_stream_profiles(self.0.as_ptr(), error)
            })?;
            let count =
                call(WHAT, |error| sys::rs2_get_stream_profiles_count(list.as_ptr(), error))?;
            let profile = |i| {
                let raw = call(WHAT, |error| sys::rs2_get_stream_profile(list.as_ptr(), i, error))?;
                Profile::of(raw)
            };
            (0..count).map(profile).collect()
        }
    }

    /// Those that realsense-rust knows: all of the SDK that it was made for.
    pub(super) fn options(&self) -> Result<Vec<Rs2Option>, SourceError> {
        const WHAT: &str = "options";
        // SAFETY: the sensor is valid; the list made is ours.
        let options: Result<Vec<_>, _> = unsafe {
            let list = Owned::new(WHAT, sys::rs2_delete_options_list, |error| {
                sys::rs2_get_options_list(self.options_ptr(), error)
            })?;
            let count = call(WHAT, |error| sys::rs2_get_options_list_size(list.as_ptr(), error))?;
            (0..count)
                .map(|i| call(WHAT, |error| sys::rs2_get_option_from_list(list.as_ptr(), i, error)))
                .collect()
        };
        Ok(options?.into_iter().filter_map(Rs2Option::from_u32).collect())
    }

    pub(super) fn option_description(&self, option: Rs2Option) -> Option<String> {
        let (options, option) = (self.options_ptr(), option as sys::rs2_option);
        // SAFETY: the sensor is valid, and the text too until it is copied.
        call("option", |error| unsafe {
            copied(sys::rs2_get_option_description(options, option, error))
        })
        .ok()?
    }

    /// What a value is called, where values have names.
    pub(super) fn value_name(&self, option: Rs2Option, value: f32) -> Option<String> {
        let (options, option) = (self.options_ptr(), option as sys::rs2_option);
        // SAFETY: as above.
        call("option", |error| unsafe {
            copied(sys::rs2_get_option_value_description(options, option, value, error))
        })
        .ok()?
    }

    pub(super) fn is_read_only(&self, option: Rs2Option) -> bool {
        self.view().is_option_read_only(option)
    }

    /// The value of an option that is a number.
    pub(super) fn value(&self, option: Rs2Option) -> Option<f32> {
        self.view().get_option(option)
    }

    /// librealsense refuses what is read-only or out of range.
    pub(super) fn set(&self, option: Rs2Option, value: f32) -> Result<(), SourceError> {
        self.view().set_option(option, value).map_err(|error| crate_error("option", error))
    }

    pub(super) fn range(&self, option: Rs2Option) -> Option<Rs2OptionRange> {
        self.view().get_option_range(option)
    }
}

/// What a sensor can stream. realsense-rust's profile panics on kinds and formats that newer
/// versions of librealsense add; a camera lists all of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    pub stream: sys::rs2_stream,
    /// Tells streams of a kind apart, from 1 on; 0 for the only one.
    pub index: i32,
    /// Of images alone.
    pub size: Option<(i32, i32)>,
    pub fps: i32,
    pub format: sys::rs2_format,
}

impl Profile {
    /// # Safety
    /// The profile must be valid.
    pub(super) unsafe fn of(raw: *const sys::rs2_stream_profile) -> Result<Self, SourceError> {
        const WHAT: &str = "profile";
        const VIDEO: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_VIDEO_PROFILE;
        let (mut stream, mut format, mut index, mut id, mut fps) = (0, 0, 0, 0, 0);
        let (mut width, mut height) = (0, 0);
        // SAFETY: the profile is valid; the numbers outlive the calls.
        let is_video = unsafe {
            let (stream, format) = (&mut stream, &mut format);
            let (index, id, fps) = (&mut index, &mut id, &mut fps);
            call(WHAT, |e| {
                sys::rs2_get_stream_profile_data(raw, stream, format, index, id, fps, e);
            })?;
            let is_video = call(WHAT, |error| sys::rs2_stream_profile_is(raw, VIDEO, error))? != 0;
            if is_video {
                call(WHAT, |error| {
                    sys::rs2_get_video_stream_resolution(raw, &mut width, &mut height, error)
                })?;
            }
            is_video
        };
        Ok(Self { stream, index, size: is_video.then_some((width, height)), fps, format })
    }
}

/// Such as `depth 848x480@90 z16`, or `infrared 1 848x480@90 y8`.
impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: both give constant texts, also for numbers that librealsense does not know.
        let (stream, format) = unsafe {
            (
                copied(sys::rs2_stream_to_string(self.stream)),
                copied(sys::rs2_format_to_string(self.format)),
            )
        };
        let name = |text: Option<String>| text.unwrap_or_else(|| "unknown".into()).to_lowercase();
        f.write_str(&name(stream))?;
        if self.index > 0 {
            write!(f, " {}", self.index)?;
        }
        if let Some((width, height)) = self.size {
            write!(f, " {width}x{height}")?;
        }
        write!(f, "@{} {}", self.fps, name(format))
    }
}
