//! Cameras, their sensors, profiles and options, as librealsense's C interface has them: every error is seen, and whatever is made is
//! deleted.
//!
//! realsense-rust hides errors behind empty answers, and does not tell what options are called or mean.

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;
use std::ptr::NonNull;

use realsense_sys as sys;

use super::sdk::{call, make};
use crate::source::SourceError;

type Error = *mut *mut sys::rs2_error;

/// Something of librealsense's that is ours, and deleted once.
struct Owned<T> {
    raw: NonNull<T>,
    delete: unsafe extern "C" fn(*mut T),
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `Owned::new` was promised that this is ours, and deleted so.
        unsafe { (self.delete)(self.raw.as_ptr()) }
    }
}

impl<T> Owned<T> {
    /// # Safety
    /// What `f` makes must be valid, and nobody else's to delete; `delete` must be what it is deleted with.
    unsafe fn new(
        what: &'static str,
        delete: unsafe extern "C" fn(*mut T),
        f: impl FnOnce(Error) -> *mut T,
    ) -> Result<Self, SourceError> {
        Ok(Self { raw: make(what, f)?, delete })
    }

    fn as_ptr(&self) -> *mut T {
        self.raw.as_ptr()
    }
}

/// A copy of a text that librealsense keeps.
///
/// # Safety
/// `text` is null, or a text with a zero at its end.
unsafe fn copied(text: *const c_char) -> Option<String> {
    // SAFETY: as promised above.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

pub(super) struct Context(Owned<sys::rs2_context>);

impl Context {
    pub(super) fn new() -> Result<Self, SourceError> {
        let version = sys::RS2_API_VERSION as c_int;
        // SAFETY: the context made is ours.
        unsafe { Owned::new("cannot start", sys::rs2_delete_context, |error| sys::rs2_create_context(version, error)) }.map(Self)
    }

    /// All devices; an error for each that is there and cannot be used.
    pub(super) fn devices(&self) -> Result<Vec<Result<Device, SourceError>>, SourceError> {
        const WHAT: &str = "list of cameras";
        // SAFETY: the context is valid; the list made is ours, and valid while its devices are made, which are ours too.
        unsafe {
            let list = Owned::new(WHAT, sys::rs2_delete_device_list, |error| sys::rs2_query_devices(self.0.as_ptr(), error))?;
            let count = call(WHAT, |error| sys::rs2_get_device_count(list.as_ptr(), error))?;
            let device =
                |i| Owned::new("camera", sys::rs2_delete_device, |error| sys::rs2_create_device(list.as_ptr(), i, error));
            Ok((0..count).map(|i| device(i).map(Device)).collect())
        }
    }

    /// A recording, as if it were a camera.
    pub(super) fn file(&self, path: &Path) -> Result<Device, SourceError> {
        let name = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| SourceError::Format { path: path.into(), problem: "a name with a zero in it".into() })?;
        // SAFETY: context and name are valid; the device made is ours.
        let device = unsafe {
            Owned::new("recording", sys::rs2_delete_device, |error| {
                sys::rs2_context_add_device(self.0.as_ptr(), name.as_ptr(), error)
            })
        };
        device.map(Device)
    }
}

pub(super) struct Device(Owned<sys::rs2_device>);

impl Device {
    /// # Safety
    /// The device must be valid and nobody else's to delete.
    #[cfg(test)]
    pub(super) unsafe fn from_raw(f: impl FnOnce(Error) -> *mut sys::rs2_device) -> Result<Self, SourceError> {
        // SAFETY: as promised.
        unsafe { Owned::new("device", sys::rs2_delete_device, f) }.map(Self)
    }

    #[cfg(test)]
    pub(super) fn as_ptr(&self) -> *mut sys::rs2_device {
        self.0.as_ptr()
    }

    /// A fact about the camera, if it tells it.
    pub(super) fn info(&self, what: sys::rs2_camera_info) -> Option<String> {
        let device = self.0.as_ptr();
        // SAFETY: the device is valid, and its text too until it is copied.
        unsafe {
            let is_told = call("fact", |error| sys::rs2_supports_device_info(device, what, error)).ok()? != 0;
            let text =
                if is_told { call("fact", |error| sys::rs2_get_device_info(device, what, error)).ok()? } else { return None };
            copied(text)
        }
    }

    pub(super) fn sensors(&self) -> Result<Vec<Sensor>, SourceError> {
        const WHAT: &str = "sensors";
        // SAFETY: the device is valid; the list made is ours, and valid while its sensors are made, which are ours too.
        unsafe {
            let list = Owned::new(WHAT, sys::rs2_delete_sensor_list, |error| sys::rs2_query_sensors(self.0.as_ptr(), error))?;
            let count = call(WHAT, |error| sys::rs2_get_sensors_count(list.as_ptr(), error))?;
            let sensor = |i| Owned::new(WHAT, sys::rs2_delete_sensor, |error| sys::rs2_create_sensor(list.as_ptr(), i, error));
            (0..count).map(|i| sensor(i).map(Sensor)).collect()
        }
    }

    /// Makes the camera start anew, as if it had been unplugged. It comes back seconds later; this handle is of no use then.
    pub(super) fn hardware_reset(&self) -> Result<(), SourceError> {
        // SAFETY: the device is valid.
        call("hardware reset", |error| unsafe { sys::rs2_hardware_reset(self.0.as_ptr(), error) })
    }
}

/// What a sensor can stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    pub stream: sys::rs2_stream,
    /// Tells streams of a kind apart, from 1 on; 0 for the only one.
    pub index: i32,
    /// Of images alone.
    pub size: Option<(i32, i32)>,
    pub fps: i32,
    pub format: sys::rs2_format,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub min: f32,
    pub max: f32,
    pub step: f32,
    pub default: f32,
}

pub(super) struct Sensor(Owned<sys::rs2_sensor>);

impl Sensor {
    fn options_ptr(&self) -> *const sys::rs2_options {
        // A sensor is one of the things that have options.
        self.0.as_ptr().cast()
    }

    pub(super) fn name(&self) -> Option<String> {
        let (sensor, what) = (self.0.as_ptr(), sys::rs2_camera_info_RS2_CAMERA_INFO_NAME);
        // SAFETY: the sensor is valid, and its text too until it is copied.
        unsafe {
            let is_told = call("name", |error| sys::rs2_supports_sensor_info(sensor, what, error)).ok()? != 0;
            let text =
                if is_told { call("name", |error| sys::rs2_get_sensor_info(sensor, what, error)).ok()? } else { return None };
            copied(text)
        }
    }

    pub(super) fn profiles(&self) -> Result<Vec<Profile>, SourceError> {
        const WHAT: &str = "profiles";
        // SAFETY: the sensor is valid; the list made is ours, and its profiles are valid as long as it.
        unsafe {
            let delete = sys::rs2_delete_stream_profiles_list;
            let list = Owned::new(WHAT, delete, |error| sys::rs2_get_stream_profiles(self.0.as_ptr(), error))?;
            let count = call(WHAT, |error| sys::rs2_get_stream_profiles_count(list.as_ptr(), error))?;
            let raw = |i| make(WHAT, |error| sys::rs2_get_stream_profile(list.as_ptr(), i, error).cast_mut());
            (0..count).map(|i| profile(raw(i)?)).collect()
        }
    }

    pub(super) fn options(&self) -> Result<Vec<sys::rs2_option>, SourceError> {
        const WHAT: &str = "options";
        // SAFETY: the sensor is valid; the list made is ours.
        unsafe {
            let list =
                Owned::new(WHAT, sys::rs2_delete_options_list, |error| sys::rs2_get_options_list(self.options_ptr(), error))?;
            let count = call(WHAT, |error| sys::rs2_get_options_list_size(list.as_ptr(), error))?;
            (0..count).map(|i| call(WHAT, |error| sys::rs2_get_option_from_list(list.as_ptr(), i, error))).collect()
        }
    }

    pub(super) fn option_name(&self, option: sys::rs2_option) -> Result<Option<String>, SourceError> {
        // SAFETY: the sensor is valid, and the text too until it is copied.
        unsafe { Ok(copied(call("option", |error| sys::rs2_get_option_name(self.options_ptr(), option, error))?)) }
    }

    pub(super) fn option_description(&self, option: sys::rs2_option) -> Result<Option<String>, SourceError> {
        // SAFETY: as above.
        unsafe { Ok(copied(call("option", |error| sys::rs2_get_option_description(self.options_ptr(), option, error))?)) }
    }

    /// What a value is called, where values have names.
    pub(super) fn value_name(&self, option: sys::rs2_option, value: f32) -> Result<Option<String>, SourceError> {
        let text = |error: Error| {
            // SAFETY: the sensor is valid.
            unsafe { sys::rs2_get_option_value_description(self.options_ptr(), option, value, error) }
        };
        // SAFETY: the text is valid until it is copied.
        call("option", text).map(|text| unsafe { copied(text) })
    }

    pub(super) fn is_read_only(&self, option: sys::rs2_option) -> Result<bool, SourceError> {
        // SAFETY: the sensor is valid.
        call("option", |error| unsafe { sys::rs2_is_option_read_only(self.options_ptr(), option, error) != 0 })
    }

    /// The value of an option that is a number.
    pub(super) fn value(&self, option: sys::rs2_option) -> Result<f32, SourceError> {
        // SAFETY: the sensor is valid.
        call("option", |error| unsafe { sys::rs2_get_option(self.options_ptr(), option, error) })
    }

    pub(super) fn range(&self, option: sys::rs2_option) -> Result<Range, SourceError> {
        let mut range = Range { min: 0.0, max: 0.0, step: 0.0, default: 0.0 };
        let Range { min, max, step, default } = &mut range;
        // SAFETY: the sensor is valid; the numbers outlive the call.
        call("option", |error| unsafe {
            sys::rs2_get_option_range(self.options_ptr(), option, min, max, step, default, error);
        })?;
        Ok(range)
    }
}

/// # Safety
/// The profile must be valid.
unsafe fn profile(raw: NonNull<sys::rs2_stream_profile>) -> Result<Profile, SourceError> {
    const WHAT: &str = "profile";
    const VIDEO: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_VIDEO_PROFILE;
    let (mut stream, mut format, mut index, mut id, mut fps) = (0, 0, 0, 0, 0);
    let (mut width, mut height) = (0, 0);
    let raw = raw.as_ptr();
    // SAFETY: the profile is valid; the numbers outlive the calls.
    let is_video = unsafe {
        let data = |error: Error| {
            sys::rs2_get_stream_profile_data(raw, &mut stream, &mut format, &mut index, &mut id, &mut fps, error);
        };
        call(WHAT, data)?;
        let is_video = call(WHAT, |error| sys::rs2_stream_profile_is(raw, VIDEO, error))? != 0;
        if is_video {
            call(WHAT, |error| sys::rs2_get_video_stream_resolution(raw, &mut width, &mut height, error))?;
        }
        is_video
    };
    Ok(Profile { stream, index, size: is_video.then_some((width, height)), fps, format })
}

/// Such as `depth 848x480@90 z16`, or `infrared 1 848x480@90 y8`.
impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: both give constant texts, also for numbers that librealsense does not know.
        let (stream, format) =
            unsafe { (copied(sys::rs2_stream_to_string(self.stream)), copied(sys::rs2_format_to_string(self.format))) };
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
