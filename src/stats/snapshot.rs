//! The figures at one moment of a run.

use serde::Serialize;

use super::{Drops, Latency, Meter, Quantiles, RunStats, Samples, SinkStats, Stage};
use crate::clock::HostTime;
use crate::source::watch::Monitor;

/// The windows of the figures that are shown while a run goes on, in seconds.
pub const WINDOWS_S: [u64; 2] = [1, 10];

/// The figures at one moment of a run. Rates are those of the last second.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub at: HostTime,
    pub captured: u64,
    pub projected: u64,
    pub shown: u64,
    pub fps: Rates,
    pub drops: Drops,
    /// Of a camera that is watched. Its state is the current one, not that at `at`.
    pub camera: Option<Monitor>,
    /// The part of `drops.viewer` that is no loss: clouds skipped since the show rate was reached.
    pub above_show_rate: u64,
    /// Frames that the recording lacks.
    pub dropped_by_recorder: u64,
    /// Frames handed over later than one frame period after their arrival.
    pub deadline_misses: u64,
    /// The connections of sinks that have one: name, and state in words.
    pub connections: Vec<(String, String)>,
    /// Of `total` over the whole run, once a cloud was handed over.
    pub total: Option<Distribution>,
    /// In the order that a frame passes them; then sums over several, then the intervals between
    /// frames.
    pub stages: Vec<StageFigures>,
}

/// Frames per second of host time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Rates {
    pub captured: f64,
    pub projected: f64,
    pub shown: f64,
}

/// One stage at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageFigures {
    pub name: &'static str,
    /// Samples of the whole run, and their sum.
    pub count: u64,
    pub sum_s: f64,
    /// The last second and the last ten, where they have samples.
    pub last_1s: Option<Quantiles>,
    pub last_10s: Option<Quantiles>,
}

/// How many frames had which latency.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Latencies that count together: 0 to one step, one to two steps, and so on. 1, 2 or 5 times a
    /// power of ten.
    pub step_ms: f64,
    /// The last one has all longer latencies too.
    pub frames: [u64; BARS],
}

/// Of a distribution. The steps are such that of 1,000 frames 999 lie before its end.
const BARS: usize = 40;

impl Distribution {
    fn of(Samples { histogram_ns, .. }: &Samples) -> Option<Self> {
        let longest_ns = histogram_ns.value_at_quantile(0.999).max(1) as f64;
        let least_ns = longest_ns / (BARS - 1) as f64;
        let power = 10f64.powi(least_ns.log10().floor() as i32);
        let step_ns = [1.0, 2.0, 5.0, 10.0]
            .map(|digit| digit * power)
            .into_iter()
            .find(|&step_ns| step_ns >= least_ns)?;
        let mut frames = [0; BARS];
        for value in histogram_ns.iter_recorded() {
            let bar = (value.value_iterated_to() as f64 / step_ns) as usize;
            frames[bar.min(BARS - 1)] += value.count_at_value();
        }
        (!histogram_ns.is_empty()).then_some(Self { step_ms: step_ns / 1e6, frames })
    }
}

impl Snapshot {
    /// What was lost, by place: source, capture queue, cloud queue, viewer.
    pub fn lost(&self) -> [(&'static str, u64); 4] {
        let Drops { source, capture_queue, cloud_queue, viewer } = self.drops;
        let viewer = viewer.saturating_sub(self.above_show_rate);
        [
            ("source", source),
            ("capture queue", capture_queue),
            ("cloud queue", cloud_queue),
            ("viewer", viewer),
        ]
    }

    /// The stage with this name in the last second.
    pub fn last_second(&self, stage: &str) -> Option<Quantiles> {
        self.stages.iter().find(|figures| figures.name == stage)?.last_1s
    }

    /// The stage with this name in the last ten seconds.
    pub fn last_ten_seconds(&self, stage: &str) -> Option<Quantiles> {
        self.stages.iter().find(|figures| figures.name == stage)?.last_10s
    }
}

impl RunStats {
    pub fn snapshot(&self, now: HostTime) -> Snapshot {
        let [since_1s, since_10s] =
            WINDOWS_S.map(|s| HostTime::from_ns(now.as_ns().saturating_sub(s * 1_000_000_000)));
        let of_stage = |(name, stage): (&'static str, &Stage)| StageFigures {
            name,
            count: stage.count(),
            sum_s: stage.sum_ns() as f64 / 1e9,
            last_1s: stage.recent(since_1s),
            last_10s: stage.recent(since_10s),
        };
        let of_meter = |name, meter: &Meter| {
            let Latency { count, mean, .. } = meter.interval();
            let sum_s = mean * count as f64 / 1e6;
            let (last_1s, last_10s) =
                (meter.recent_interval(since_1s), meter.recent_interval(since_10s));
            StageFigures { name, count, sum_s, last_1s, last_10s }
        };
        let sink = self.shown_by();
        // One reading for both: their difference, the clouds that were lost, must never fall.
        let above_show_rate = sink.above_show_rate.get();
        let drops = Drops { viewer: above_show_rate + sink.lost(), ..self.drops() };
        let is_known = |figures: &StageFigures| super::is_known(figures.name, figures.count);
        let mut stages: Vec<_> = self.stages().into_iter().map(of_stage).filter(is_known).collect();
        stages.extend([
            of_meter("interval", &self.captured),
            of_meter("shown_interval", &sink.shown),
        ]);
        Snapshot {
            at: now,
            captured: self.captured.count(),
            projected: self.projected.count(),
            shown: sink.shown.count(),
            fps: Rates {
                captured: self.captured.recent_fps(since_1s, now),
                projected: self.projected.recent_fps(since_1s, now),
                shown: sink.shown.recent_fps(since_1s, now),
            },
            drops,
            camera: self.camera.clone(),
            above_show_rate,
            dropped_by_recorder: self
                .recording
                .as_ref()
                .map_or(0, |recording| recording.dropped.get()),
            deadline_misses: sink.deadline_misses.get(),
            total: Distribution::of(&sink.total.samples()),
            connections: self.sinks.iter().filter_map(SinkStats::connection).collect(),
            stages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_show_rate_skips_is_not_lost() {
        let stats = RunStats::new(["viewer".to_owned()]);
        let sink = &stats.sinks[0];
        sink.above_show_rate.add(5);
        sink.busy.add(2);
        sink.disconnected.add(1);
        let snapshot = stats.snapshot(HostTime::default());
        assert_eq!((snapshot.lost()[3], snapshot.drops.viewer), (("viewer", 3), 8));
    }

    #[test]
    fn a_distribution_has_every_frame_and_round_steps() {
        let mut samples = Samples::default();
        assert_eq!(Distribution::of(&samples), None);
        for us in 0..1000 {
            samples.record(1000 * us + 500);
        }
        let Distribution { step_ms, frames } = Distribution::of(&samples).unwrap();
        assert_eq!((step_ms, frames.iter().sum::<u64>()), (0.05, 1000));
        assert!(
            frames[..20].iter().all(|n| n.abs_diff(50) <= 1)
                && frames[20..].iter().all(|&n| n == 0),
            "{frames:?}"
        );
        // One that is far off does not squeeze the others.
        samples.record(30_000_000_000);
        let Distribution { step_ms, frames } = Distribution::of(&samples).unwrap();
        assert_eq!((step_ms, frames[BARS - 1]), (0.05, 1));
    }
}
