//! librealsense's C interface where realsense-rust has no way in: errors, ownership, contexts.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr::{self, NonNull};

use realsense_sys as sys;

use crate::source::{ErrorKind, SourceError};

/// Where librealsense puts an error.
pub(super) type Error = *mut *mut sys::rs2_error;

/// Calls librealsense and turns its error into ours.
pub(super) fn call<T>(what: &'static str, f: impl FnOnce(Error) -> T) -> Result<T, SourceError> {
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

/// realsense-rust panics where librealsense gives what it does not expect: that is an error of the
/// source, which may recover, and not the end of the run.
pub(super) fn catch_panic<T>(f: impl FnOnce() -> Result<T, SourceError>) -> Result<T, SourceError> {
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

    pub(super) fn raw(&self) -> NonNull<T> {
        self.raw
    }
}

/// As [`call`], for what is made.
pub(super) fn make<T>(
    what: &'static str,
    f: impl FnOnce(Error) -> *mut T,
) -> Result<NonNull<T>, SourceError> {
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

/// realsense-rust's functions for paths panic where an error of librealsense's repeats one that is
/// not UTF-8.
pub(super) fn c_path(path: &Path) -> Result<CString, SourceError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SourceError::Format {
        path: path.into(),
        problem: "a name with a zero in it".into(),
    })
}

/// realsense-rust keeps the pointer of its own, which cameras' pipelines and lists of devices with
/// their errors take.
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
}

/// The version of the library that is linked, such as 2.56.5.
pub(super) fn sdk_version() -> String {
    // SAFETY: has no arguments but the place for an error.
    match call("version", |error| unsafe { sys::rs2_get_api_version(error) }) {
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
