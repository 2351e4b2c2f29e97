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
pub mod terminal;

use depthcast::pipeline::{Outcome, PipelineSettings, Policy};
use depthcast::project::ProjectOptions;
use depthcast::realtime::Realtime;

/// Those of a run without limits and with journals.
pub fn settings(policy: Policy, capture_queue: usize, cloud_queue: usize) -> PipelineSettings {
    PipelineSettings {
        policy,
        capture_queue,
        cloud_queue,
        threads: 1,
        duration: None,
        frames: None,
        journal: true,
        realtime: Realtime::default(),
        project: ProjectOptions::default(),
    }
}

/// Each frame is counted where it went, for every sink and for the recording.
#[track_caller]
pub fn assert_accounted(outcome: &Outcome) {
    let stats = &outcome.stats;
    let (captured, projected) = (stats.captured.count(), stats.projected.count());
    assert_eq!(captured, projected + stats.dropped_capture_queue.get(), "capture queue");
    assert_eq!(stats.project.latency().count, projected);
    for sink in &stats.sinks {
        let lost = sink.dropped_cloud_queue.get() + sink.dropped_viewer();
        assert_eq!(projected, sink.shown.count() + lost, "{}", sink.name);
        assert_eq!(sink.total.latency().count, sink.shown.count());
    }
    if let Some(recording) = stats.recording.as_ref().map(|recording| recording.report()) {
        assert_eq!(captured, recording.frames + recording.dropped + recording.after_end);
    }
}

/// What always holds in a report.
pub fn assert_identities(report: &serde_json::Value) {
    let number = |pointer: &str| {
        let number = report.pointer(pointer).and_then(serde_json::Value::as_u64);
        number.unwrap_or_else(|| panic!("{pointer}: {report}"))
    };
    let [captured, projected, shown] =
        ["captured", "projected", "shown"].map(|name| number(&format!("/frames/{name}")));
    let [in_capture, in_clouds, at_viewer] =
        ["capture_queue", "cloud_queue", "viewer"].map(|name| number(&format!("/drops/{name}")));
    assert_eq!(captured, projected + in_capture, "{report}");
    assert_eq!(projected, shown + in_clouds + at_viewer, "{report}");
    for stage in ["capture_queue", "project", "cloud_queue", "log", "total"] {
        for figure in ["count", "mean", "p50", "p90", "p99", "p999", "max"] {
            assert!(report["latency_us"][stage][figure].is_number(), "{stage} {figure}: {report}");
        }
    }
}
