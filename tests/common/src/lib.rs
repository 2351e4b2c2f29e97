//! What several integration tests need.

pub mod bag_writer;
pub mod browser;
pub mod db3_writer;
pub mod driver_messages;
pub mod export_readers;
pub mod kinds;
pub mod mcap_writer;
pub mod needs;
pub mod recording;
pub mod ros2;
pub mod scripted;
pub mod slow_projection;
pub mod terminal;

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
