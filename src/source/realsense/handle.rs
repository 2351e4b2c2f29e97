//! Cameras as librealsense's C interface has them: every error is seen, and whatever is made is
//! deleted.

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;
use std::ptr::NonNull;

use realsense_sys as sys;

use super::sdk::{Error, call, make};
use super::sensor::Sensor;
use crate::source::SourceError;

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
    /// What `f` makes must be valid, and nobody else's to delete; `delete` must be what it is
    /// deleted with.
    pub(super) unsafe fn new(
        what: &'static str,
        delete: unsafe extern "C" fn(*mut T),
        f: impl FnOnce(Error) -> *mut T,
    ) -> Result<Self, SourceError> {
        Ok(Self { raw: make(what, f)?, delete })
    }

    pub(super) fn as_ptr(&self) -> *mut T {
        self.raw.as_ptr()
    }
}

/// A copy of a text that librealsense keeps.
///
/// # Safety
/// `text` is null, or a text with a zero at its end.
pub(super) unsafe fn copied(text: *const c_char) -> Option<String> {
    // SAFETY: as promised above.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

pub(super) struct Context(Owned<sys::rs2_context>);

impl Context {
    pub(super) fn new() -> Result<Self, SourceError> {
        let version = sys::RS2_API_VERSION as c_int;
        // SAFETY: the context made is ours.
        unsafe {
            Owned::new("cannot start", sys::rs2_delete_context, |error| {
                sys::rs2_create_context(version, error)
            })
        }
        .map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rs2_context {
        self.0.as_ptr()
    }

    /// All devices; an error for each that is there and cannot be used.
    pub(super) fn devices(&self) -> Result<Vec<Result<Device, SourceError>>, SourceError> {
        const WHAT: &str = "list of cameras";
        // SAFETY: the context is valid; the list made is ours, and valid while its devices are
        // made, which are ours too.
        unsafe {
            let list = Owned::new(WHAT, sys::rs2_delete_device_list, |error| {
                sys::rs2_query_devices(self.0.as_ptr(), error)
            })?;
            let count = call(WHAT, |error| sys::rs2_get_device_count(list.as_ptr(), error))?;
            let device = |i| {
                Owned::new("camera", sys::rs2_delete_device, |error| {
                    sys::rs2_create_device(list.as_ptr(), i, error)
                })
            };
            Ok((0..count).map(|i| device(i).map(Device)).collect())
        }
    }

    /// A recording, as if it were a camera.
    pub(super) fn file(&self, path: &Path) -> Result<Device, SourceError> {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| {
            SourceError::Format { path: path.into(), problem: "a name with a zero in it".into() }
        })?;
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
    pub(super) unsafe fn from_raw(
        f: impl FnOnce(Error) -> *mut sys::rs2_device,
    ) -> Result<Self, SourceError> {
        // SAFETY: as promised.
        unsafe { Owned::new("device", sys::rs2_delete_device, f) }.map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rs2_device {
        self.0.as_ptr()
    }

    /// A fact about the camera, if it tells it.
    pub(super) fn info(&self, what: sys::rs2_camera_info) -> Option<String> {
        let device = self.0.as_ptr();
        // SAFETY: the device is valid, and its text too until it is copied.
        unsafe {
            let is_told =
                call("fact", |error| sys::rs2_supports_device_info(device, what, error)).ok()? != 0;
            let text = if is_told {
                call("fact", |error| sys::rs2_get_device_info(device, what, error)).ok()?
            } else {
                return None;
            };
            copied(text)
        }
    }

    pub(super) fn sensors(&self) -> Result<Vec<Sensor>, SourceError> {
        const WHAT: &str = "sensors";
        // SAFETY: the device is valid; the list made is ours, and valid while its sensors are made,
        // which are ours too.
        unsafe {
            let list = Owned::new(WHAT, sys::rs2_delete_sensor_list, |error| {
                sys::rs2_query_sensors(self.0.as_ptr(), error)
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
        call("hardware reset", |error| unsafe { sys::rs2_hardware_reset(self.0.as_ptr(), error) })
    }

    /// Whether it takes the settings of `rs2_load_json`, the files of the realsense-viewer.
    pub(super) fn has_advanced_mode(&self) -> Result<bool, SourceError> {
        const ADVANCED: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_ADVANCED_MODE;
        // SAFETY: the device is valid.
        call("advanced mode", |error| unsafe {
            sys::rs2_is_device_extendable_to(self.0.as_ptr(), ADVANCED, error) != 0
        })
    }

    /// Gives a camera with advanced mode the settings of such a file.
    pub(super) fn load_json(&self, text: &str) -> Result<(), SourceError> {
        let size = u32::try_from(text.len()).unwrap_or(u32::MAX);
        // SAFETY: device and text are valid, and the text is `size` bytes long.
        call("advanced mode", |error| unsafe {
            sys::rs2_load_json(self.0.as_ptr(), text.as_ptr().cast(), size, error)
        })
    }
}
