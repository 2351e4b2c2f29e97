//! Tests that need what a machine may lack: the sample recordings, Chromium, the rerun program.
//! `build.rs` looks for them. Where one is missing its tests are reported as ignored, and fail in
//! continuous integration.
//!
//! ```ignore
//! common::with_data! { a_recording_is_read }
//!
//! fn a_recording_is_read(data: &Path) { ... }
//! ```

use std::path::Path;

/// The folder with the sample recordings: `DEPTHCAST_TEST_DATA`, or `../shared/data` beside the
/// repository.
pub fn data() -> &'static Path {
    found(option_env!("FOUND_DATA"), "the sample recordings are missing; set DEPTHCAST_TEST_DATA")
}

/// Rerun's program: `DEPTHCAST_TEST_RERUN`, or where `scripts/setup.sh --tests` puts it.
pub fn rerun() -> &'static Path {
    found(option_env!("FOUND_RERUN"), "rerun is missing; run scripts/setup.sh --tests")
}

pub fn chromium() -> &'static Path {
    found(option_env!("FOUND_CHROMIUM"), "chromium is missing; run scripts/setup.sh --tests")
}

fn found(path: Option<&'static str>, missing: &str) -> &'static Path {
    Path::new(path.expect(missing))
}

/// Makes tests of functions that take the folder with the sample recordings.
#[cfg(has_data)]
#[macro_export]
macro_rules! with_data {
    ($($tests:tt)*) => { $crate::with! { with_data, data, cfg(all()), $($tests)* } };
}
#[cfg(not(has_data))]
#[macro_export]
macro_rules! with_data {
    ($($tests:tt)*) => { $crate::with! {
        with_data, data,
        ignore = "the sample recordings are missing; set DEPTHCAST_TEST_DATA", $($tests)*
    } };
}

/// Makes tests of functions that take the rerun program.
#[cfg(has_rerun)]
#[macro_export]
macro_rules! with_rerun {
    ($($tests:tt)*) => { $crate::with! { with_rerun, rerun, cfg(all()), $($tests)* } };
}
#[cfg(not(has_rerun))]
#[macro_export]
macro_rules! with_rerun {
    ($($tests:tt)*) => { $crate::with! {
        with_rerun, rerun, ignore = "rerun is missing; run scripts/setup.sh --tests", $($tests)*
    } };
}

/// Makes tests of functions that take the Chromium program.
#[cfg(has_chromium)]
#[macro_export]
macro_rules! with_chromium {
    ($($tests:tt)*) => { $crate::with! { with_chromium, chromium, cfg(all()), $($tests)* } };
}
#[cfg(not(has_chromium))]
#[macro_export]
macro_rules! with_chromium {
    ($($tests:tt)*) => { $crate::with! {
        with_chromium, chromium,
        ignore = "chromium is missing; run scripts/setup.sh --tests", $($tests)*
    } };
}

/// A module of tests, each marked, that call the functions of the same names outside of it.
#[doc(hidden)]
#[macro_export]
macro_rules! with {
    ($module:ident, $needed:ident, $mark:meta,
        $($(#[$attribute:meta])* $test:ident),+ $(,)?) => {
        mod $module {
            $(
                $(#[$attribute])*
                #[test]
                #[$mark]
                fn $test() {
                    super::$test($crate::needs::$needed());
                }
            )+
        }
    };
}
