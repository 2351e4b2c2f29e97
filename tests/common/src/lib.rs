//! What several integration tests need.

use std::path::{Path, PathBuf};

pub mod bag_writer;
pub mod browser;
pub mod db3_writer;
pub mod driver_messages;
pub mod export_readers;
pub mod kinds;
pub mod mcap_writer;
pub mod recording;
pub mod ros2;
pub mod scripted;
pub mod slow_projection;
#[cfg(feature = "realsense")]
pub mod software;
pub mod terminal;

/// The folder with the sample recordings (`DEPTHCAST_TEST_DATA`, or `../shared/data` beside the
/// repository).
///
/// Without it a test says so and passes, except in continuous integration, which never skips.
pub fn test_data() -> Option<PathBuf> {
    let path = std::env::var_os("DEPTHCAST_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    if path.is_dir() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{}: the sample recordings are missing; set DEPTHCAST_TEST_DATA",
        path.display()
    );
    eprintln!(
        "SKIPPED: {}: the sample recordings are missing; set DEPTHCAST_TEST_DATA",
        path.display()
    );
    None
}

/// What always holds in a report.
pub fn assert_identities(report: &serde_json::Value) {
    let number = |pointer: &str| {
        report
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("{pointer}: {report}"))
    };
    let (captured, projected, shown) =
        (number("/frames/captured"), number("/frames/projected"), number("/frames/shown"));
    assert_eq!(captured, projected + number("/drops/capture_queue"), "{report}");
    assert_eq!(
        projected,
        shown + number("/drops/cloud_queue") + number("/drops/viewer"),
        "{report}"
    );
    for stage in ["capture_queue", "project", "cloud_queue", "log", "total"] {
        for figure in ["count", "mean", "p50", "p90", "p99", "p999", "max"] {
            assert!(report["latency_us"][stage][figure].is_number(), "{stage} {figure}: {report}");
        }
    }
}
