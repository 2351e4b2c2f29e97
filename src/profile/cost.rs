//! What measuring itself costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::clock::{Clock, DeviceTime, MonotonicClock, TimestampDomain};
use crate::frame::{FrameMeta, FrameMetadata};
use crate::stats::RunStats;
use crate::stats::continuity::Continuity;
use crate::stats::journal::{Event, Journal};
use crate::stats::time::SourceTime;

const FRAMES: u64 = 2_000;
const ROUNDS: usize = 15;

/// All that a run without a viewer does for measuring one frame, on all its threads together: the
/// readings of the clock, what is noted of numbers, stamps and metadata, the records of the stages
/// and the journals. The frames are those that cost most: a camera's, with a stamp whose age can be
/// told, and all metadata. The median of several rounds.
pub fn cost_per_frame() -> Duration {
    let (clock, stats, mut continuity) = all_that_measures();
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let mut journals = [(); 3].map(|()| Journal::new(FRAMES as usize));
            let started = Instant::now();
            for number in 0..FRAMES {
                measure_frame(&clock, &stats, &mut continuity, &mut journals, black_box(number));
            }
            started.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2] / u32::try_from(FRAMES).unwrap_or(u32::MAX)
}

fn all_that_measures() -> (MonotonicClock, RunStats, Continuity) {
    let stats = RunStats { time: SourceTime::new(true), ..RunStats::new(["none".to_owned()]) };
    (MonotonicClock::new(), stats, Continuity::new(90.0))
}

fn measure_frame(
    clock: &dyn Clock,
    stats: &RunStats,
    continuity: &mut Continuity,
    [capture, project, sink]: &mut [Journal; 3],
    number: u64,
) {
    let sink_stats = &stats.sinks[0];
    let meta = FrameMeta {
        number,
        arrived_at: clock.now(),
        device_time: Some(DeviceTime { ms: number as f64, domain: TimestampDomain::GlobalTime }),
        metadata: FrameMetadata {
            frame_counter: Some(number),
            sensor_timestamp_us: Some(number),
            frame_timestamp_us: Some(number),
            backend_timestamp_ms: Some(number),
            exposure_us: Some(number),
            gain: Some(number),
        },
        ..FrameMeta::default()
    };
    stats.captured.record(meta.arrived_at);
    let found = continuity.judge(&meta);
    let frames_missing = found.frames_missing;
    stats.continuity.add(found);
    stats.time.note(&meta, clock);
    capture.write(&meta, Event::Captured { frames_missing }, meta.arrived_at, clock.now());
    let taken_at = clock.now();
    let projected_at = clock.now();
    stats.capture_queue.record(meta.arrived_at, taken_at);
    stats.project.record(taken_at, projected_at);
    stats.arrival_to_cloud.record(meta.arrived_at, projected_at);
    stats.projected.record(projected_at);
    stats.points.add(1);
    project.write(&meta, Event::Projected, taken_at, projected_at);
    let (sink_at, _, handed_over_at) = (clock.now(), clock.now(), clock.now());
    sink_stats.cloud_queue.record(projected_at, sink_at);
    sink_stats.log.record(sink_at, handed_over_at);
    sink_stats.total.record(meta.arrived_at, handed_over_at);
    sink_stats.deadline_misses.add(0);
    sink_stats.shown.record(handed_over_at);
    sink.write(&meta, Event::HandedOver, sink_at, handed_over_at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::time::Age;

    #[test]
    fn it_measures_what_a_run_records() {
        let (clock, stats, mut continuity) = all_that_measures();
        let mut journals = [(); 3].map(|()| Journal::new(10));
        (0..10).for_each(|number| {
            measure_frame(&clock, &stats, &mut continuity, &mut journals, number)
        });
        let recorded = stats.stages().into_iter().filter(|(name, _)| *name != "release");
        assert!(recorded.into_iter().all(|(_, stage)| stage.count() == 10));
        let time = stats.time.report();
        assert!(matches!(time.sensor_to_host_age, Age::Estimate { .. }), "{time:?}");
        assert_eq!(time.metadata.len(), FrameMetadata::COUNT);
        assert!(journals.iter().all(|journal| journal.entries().len() == 10));
        assert!(cost_per_frame() > Duration::ZERO);
    }
}
