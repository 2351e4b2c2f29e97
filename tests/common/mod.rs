//! What several integration tests need.
#![allow(dead_code, reason = "each test file uses another part")]

use std::path::{Path, PathBuf};

pub mod bag_writer;
pub mod recording;

/// The folder with the sample recordings (`DEPTHCAST_TEST_DATA`, or `../shared/data` beside the repository).
///
/// Without it a test says so and passes, except in continuous integration, which never skips.
pub fn test_data() -> Option<PathBuf> {
    let path = std::env::var_os("DEPTHCAST_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{}: the sample recordings are missing; set DEPTHCAST_TEST_DATA", path.display());
    eprintln!("SKIPPED: {}: the sample recordings are missing; set DEPTHCAST_TEST_DATA", path.display());
    None
}
