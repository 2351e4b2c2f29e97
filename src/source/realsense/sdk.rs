//! librealsense's C interface where realsense-rust has no way in: ownership, contexts, cameras,
//! their sensors and what these can stream, with every error of its lists: realsense-rust answers
//! those with empty ones.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr::{self, NonNull};

use num_traits::FromPrimitive as _;
use realsense_rust::kind::{Rs2CameraInfo, Rs2Option};
use realsense_sys as sys;

use crate::source::{ErrorKind, Result, SourceError};

/// Where librealsense puts an error.
pub(super) type Error = *mut *mut sys::rs2_error;

/// Calls librealsense and turns its error into ours.
pub(super) fn call<T>(what: &'static str, f: impl FnOnce(Error) -> T) -> Result<T> {
    let mut error = ptr::null_mut();
    let value = f(&mut error);
    if error.is_null() {
        return Ok(value);
    }
    // SAFETY: `error` was set by librealsense; its message lives until the error is freed.
    let message = unsafe {
        let message = copied(sys::rs2_get_error_message(error)).unwrap_or_default();
        sys::rs2_free_error(error);
        message
    };
    Err(sdk_error(what, message))
}

pub(super) fn sdk_error(what: &'static str, message: impl Display) -> SourceError {
    SourceError::Sdk { what, message: message.to_string(), kind: ErrorKind::Fatal }
}

/// An error of realsense-rust, whose texts end with librealsense's own words.
pub(super) fn crate_error(what: &'static str, error: impl Display) -> SourceError {
    let text = error.to_string();
    sdk_error(what, text.split_once("Reason: ").map_or(text.as_str(), |(_, reason)| reason))
}

/// realsense-rust panics where librealsense gives what it does not expect: an error of the source,
/// which may recover.
pub(super) fn catch_panic<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    let message = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("unknown").to_owned(),
    };
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|panic| Err(sdk_error("unexpected answer", message(panic))))
}

/// Something of librealsense's that is ours, and deleted once.
pub(super) struct Owned<T> {
    raw: NonNull<T>,
    delete: unsafe extern "C" fn(*mut T),
}

// SAFETY: librealsense's handles belong to no thread; each of ours is owned and not shared.
unsafe impl<T> Send for Owned<T> {}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `Owned::new` was promised that this is ours, and deleted so.
        unsafe { (self.delete)(self.raw.as_ptr()) }
    }
}

impl<T> Owned<T> {
    /// # Safety
    /// What `f` makes must be valid, nobody else's to delete, and deleted by `delete`.
    pub(super) unsafe fn new(
        what: &'static str,
        delete: unsafe extern "C" fn(*mut T),
        f: impl FnOnce(Error) -> *mut T,
    ) -> Result<Self> {
        Ok(Self { raw: make(what, f)?, delete })
    }

    pub(super) fn as_ptr(&self) -> *mut T {
        self.raw.as_ptr()
    }

    pub(super) fn raw(&self) -> NonNull<T> {
        self.raw
    }
}

/// As [`call`], for what is made.
pub(super) fn make<T>(what: &'static str, f: impl FnOnce(Error) -> *mut T) -> Result<NonNull<T>> {
    NonNull::new(call(what, f)?).ok_or_else(|| sdk_error(what, "got a null pointer"))
}

/// A copy of a text that librealsense keeps.
///
/// # Safety
/// `text` is null, or a text with a zero at its end.
pub(super) unsafe fn copied(text: *const c_char) -> Option<String> {
    // SAFETY: as promised above.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// realsense-rust's functions panic where an error repeats a path that is not UTF-8.
pub(super) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SourceError::Format {
        path: path.into(),
        problem: "a name with a zero in it".into(),
    })
}

/// realsense-rust keeps the pointer of its own, which pipelines and lists of devices take.
pub(super) type Context = Owned<sys::rs2_context>;

pub(super) fn context() -> Result<Context> {
    let version = sys::RS2_API_VERSION as c_int;
    // SAFETY: the context made is ours.
    unsafe {
        Owned::new("cannot start", sys::rs2_delete_context, |e| sys::rs2_create_context(version, e))
    }
}

/// All entries of a list: `query` makes it, and `get` an entry of it.
///
/// # Safety
/// The functions must be those of this list, and an entry may not need it any longer.
unsafe fn list<L, T>(
    what: &'static str,
    (delete, count): (unsafe extern "C" fn(*mut L), unsafe extern "C" fn(*const L, Error) -> c_int),
    query: impl FnOnce(Error) -> *mut L,
    get: impl Fn(*const L, c_int) -> Result<T>,
) -> Result<Vec<T>> {
    // SAFETY: as promised; the list made is ours, and is there until all entries are made.
    unsafe {
        let list = Owned::new(what, delete, query)?;
        let count = call(what, |e| count(list.as_ptr(), e))?;
        (0..count).map(|i| get(list.as_ptr(), i)).collect()
    }
}

/// The version of the library that is linked, such as 2.56.5.
pub(super) fn sdk_version() -> String {
    // SAFETY: has no arguments but the place for an error.
    match call("version", |e| unsafe { sys::rs2_get_api_version(e) }) {
        Ok(v) => format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100),
        Err(_) => "unknown".into(),
    }
}

/// The version of the interface that this is compiled for, and of the library that is linked.
pub fn sdk_versions() -> (String, String) {
    use sys::{
        RS2_API_MAJOR_VERSION as MAJOR, RS2_API_MINOR_VERSION as MINOR,
        RS2_API_PATCH_VERSION as PATCH,
    };
    (format!("{MAJOR}.{MINOR}.{PATCH}"), sdk_version())
}

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
pub(super) fn devices(context: &Context) -> Result<Vec<Result<Device>>> {
    // SAFETY: the context is valid; the devices made are ours.
    unsafe {
        list(
            "list of cameras",
            (sys::rs2_delete_device_list, sys::rs2_get_device_count),
            |e| sys::rs2_query_devices(context.as_ptr(), e),
            |list, i| Ok(Device::new("camera", |e| sys::rs2_create_device(list, i, e))),
        )
    }
}

/// A recording, as if it were a camera.
pub(super) fn file(context: &Context, path: &Path) -> Result<Device> {
    let name = c_path(path)?;
    // SAFETY: context and name are valid; the device made is ours.
    unsafe {
        Device::new("recording", |e| {
            sys::rs2_context_add_device(context.as_ptr(), name.as_ptr(), e)
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
    ) -> Result<Self> {
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

    pub(super) fn sensors(&self) -> Result<Vec<Sensor>> {
        const WHAT: &str = "sensors";
        // SAFETY: the device is valid; the sensors made are ours.
        unsafe {
            list(
                WHAT,
                (sys::rs2_delete_sensor_list, sys::rs2_get_sensors_count),
                |e| sys::rs2_query_sensors(self.as_ptr(), e),
                |list, i| {
                    Owned::new(WHAT, sys::rs2_delete_sensor, |e| sys::rs2_create_sensor(list, i, e))
                        .map(Sensor)
                },
            )
        }
    }

    /// Makes the camera start anew, seconds later; this handle is of no use then.
    pub(super) fn hardware_reset(&self) -> Result<()> {
        // SAFETY: the device is valid.
        call("hardware reset", |e| unsafe { sys::rs2_hardware_reset(self.as_ptr(), e) })
    }

    /// Whether it takes the settings of `rs2_load_json`, the files of the realsense-viewer.
    pub(super) fn has_advanced_mode(&self) -> Result<bool> {
        const ADVANCED: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_ADVANCED_MODE;
        // SAFETY: the device is valid.
        call("advanced mode", |e| unsafe {
            sys::rs2_is_device_extendable_to(self.as_ptr(), ADVANCED, e) != 0
        })
    }

    /// Gives a camera with advanced mode the settings of such a file.
    pub(super) fn load_json(&self, text: &str) -> Result<()> {
        let (size, text) = (u32::try_from(text.len()).unwrap_or(u32::MAX), text.as_ptr().cast());
        // SAFETY: device and text are valid, and the text is `size` bytes long.
        call("advanced mode", |e| unsafe { sys::rs2_load_json(self.as_ptr(), text, size, e) })
    }

    /// Makes the player of a file keep the pace of the stamps, or play as fast as frames are taken.
    pub(super) fn set_real_time(&self, real_time: bool) -> Result<()> {
        // SAFETY: the device is valid; librealsense refuses one that is no player.
        call("pace", |e| unsafe {
            sys::rs2_playback_device_set_real_time(self.as_ptr(), i32::from(real_time), e)
        })
    }

    /// Whether the player has read its file to the end.
    pub(super) fn has_stopped(&self) -> bool {
        // SAFETY: as above.
        let status = call("status", |e| unsafe {
            sys::rs2_playback_device_get_current_status(self.as_ptr(), e)
        });
        matches!(status, Ok(sys::rs2_playback_status_RS2_PLAYBACK_STATUS_STOPPED))
    }
}

pub(super) struct Sensor(Owned<sys::rs2_sensor>);

impl Sensor {
    /// realsense-rust's sensor, which deletes nothing when it is made so.
    pub(super) fn view(&self) -> realsense_rust::sensor::Sensor {
        self.0.raw().into()
    }

    fn options_ptr(&self) -> *const sys::rs2_options {
        // A sensor is one of the things that have options.
        self.0.as_ptr().cast()
    }

    pub(super) fn name(&self) -> Option<String> {
        self.view().info(Rs2CameraInfo::Name).map(|text| text.to_string_lossy().into_owned())
    }

    pub(super) fn profiles(&self) -> Result<Vec<Profile>> {
        const WHAT: &str = "profiles";
        // SAFETY: the sensor is valid, and profiles are as long as their list.
        unsafe {
            list(
                WHAT,
                (sys::rs2_delete_stream_profiles_list, sys::rs2_get_stream_profiles_count),
                |e| sys::rs2_get_stream_profiles(self.0.as_ptr(), e),
                |list, i| Profile::of(call(WHAT, |e| sys::rs2_get_stream_profile(list, i, e))?),
            )
        }
    }

    /// Those that realsense-rust knows: all of the SDK that it was made for.
    pub(super) fn options(&self) -> Result<Vec<Rs2Option>> {
        const WHAT: &str = "options";
        // SAFETY: the sensor is valid.
        let options = unsafe {
            list(
                WHAT,
                (sys::rs2_delete_options_list, sys::rs2_get_options_list_size),
                |e| sys::rs2_get_options_list(self.options_ptr(), e),
                |list, i| call(WHAT, |e| sys::rs2_get_option_from_list(list, i, e)),
            )
        };
        Ok(options?.into_iter().filter_map(Rs2Option::from_u32).collect())
    }

    pub(super) fn option_description(&self, option: Rs2Option) -> Option<String> {
        let (options, option) = (self.options_ptr(), option as sys::rs2_option);
        // SAFETY: the sensor is valid, and the text too until it is copied.
        let text = |e| unsafe { copied(sys::rs2_get_option_description(options, option, e)) };
        call("option", text).ok()?
    }

    /// What a value is called, where values have names.
    pub(super) fn value_name(&self, option: Rs2Option, value: f32) -> Option<String> {
        let (options, option) = (self.options_ptr(), option as sys::rs2_option);
        // SAFETY: as above.
        call("option", |e| unsafe {
            copied(sys::rs2_get_option_value_description(options, option, value, e))
        })
        .ok()?
    }
}

/// What a sensor can stream. realsense-rust's profile panics on kinds and formats of newer versions.
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
    pub(super) unsafe fn of(raw: *const sys::rs2_stream_profile) -> Result<Self> {
        const WHAT: &str = "profile";
        const VIDEO: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_VIDEO_PROFILE;
        let (mut stream, mut format, mut index, mut id, mut fps) = (0, 0, 0, 0, 0);
        let (s, f, n) = (&mut stream, &mut format, &mut index);
        let (mut width, mut height) = (0, 0);
        // SAFETY: the profile is valid; the numbers outlive the calls.
        let is_video = unsafe {
            call(WHAT, |e| {
                sys::rs2_get_stream_profile_data(raw, s, f, n, &mut id, &mut fps, e);
            })?;
            call(WHAT, |e| sys::rs2_stream_profile_is(raw, VIDEO, e))? != 0
        };
        if is_video {
            // SAFETY: as above.
            call(WHAT, |e| unsafe {
                sys::rs2_get_video_stream_resolution(raw, &mut width, &mut height, e);
            })?;
        }
        Ok(Self { stream, index, size: is_video.then_some((width, height)), fps, format })
    }
}

/// Such as `depth 848x480@90 z16`, or `infrared 1 848x480@90 y8`.
impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: both give constant texts, also for numbers that librealsense does not know.
        let [stream, format] = unsafe {
            [sys::rs2_stream_to_string(self.stream), sys::rs2_format_to_string(self.format)]
                .map(|text| copied(text).unwrap_or_else(|| "unknown".into()).to_lowercase())
        };
        f.write_str(&stream)?;
        if self.index > 0 {
            write!(f, " {}", self.index)?;
        }
        if let Some((width, height)) = self.size {
            write!(f, " {width}x{height}")?;
        }
        write!(f, "@{} {format}", self.fps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_the_source() {
        let error = catch_panic::<()>(|| panic!("kind {}", 99)).unwrap_err();
        assert_eq!(error.to_string(), "librealsense: unexpected answer: kind 99");
        assert_eq!(catch_panic(|| Ok(1)).unwrap(), 1);
    }

    #[test]
    fn errors_of_the_crate_are_told_in_librealsenses_words() {
        let error = crate_error("frame", "Could not get width. Type: Unknown; Reason: no image");
        assert_eq!(error.to_string(), "librealsense: frame: no image");
        assert_eq!(crate_error("frame", "timed out").to_string(), "librealsense: frame: timed out");
    }
}
