//! What the thread of a sink does: it offers clouds, and counts those that are not taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::RecvTimeoutError;

use super::queue::Receiver;
use super::{Policy, Shared};
use crate::clock::HostTime;
use crate::frame::Cloud;
use crate::frame::FrameMeta;
use crate::sink::{CloudSink, FrameTime, Offer, Shown};
use crate::stats::SinkStats;
use crate::stats::journal::{Event, FrameId, Journal};

/// How often a sink without clouds looks for new figures.
const SLICE: Duration = Duration::from_millis(100);
/// How often a lossless run asks a busy sink again.
const BUSY_WAIT: Duration = Duration::from_millis(1);
/// How long a lossless run waits for a sink that takes nothing, before it goes on without it.
const STUCK: Duration = Duration::from_secs(10);
/// How long a sink may take to hand over its last clouds.
const FINISH: Duration = Duration::from_secs(3);

/// Offers clouds to a sink. Returns a warning if the sink could not hand over all at the end.
pub(super) fn show(
    mut sink: Box<dyn CloudSink>,
    index: usize,
    clouds: Receiver<Arc<Cloud>>,
    shared: &Shared,
) -> anyhow::Result<(Option<String>, Journal)> {
    let (clock, stats) = (&shared.clock, &shared.stats.sinks[index]);
    let frame_period = shared.stats.frame_period.unwrap_or(Duration::MAX);
    let mut journal = shared.new_sink_journal();
    let mut handed_over = HandedOver::default();
    let name = sink.name();
    let mut pace = ShowRate::new(match shared.settings.policy {
        Policy::Newest => sink.max_rate_hz(),
        Policy::Lossless => None,
    });
    let mut figures_of = HostTime::default();
    let mut waits = shared.settings.policy == Policy::Lossless;
    loop {
        match clouds.recv_timeout(SLICE) {
            Ok(cloud) => {
                let taken_at = clock.now();
                stats.cloud_queue.record(cloud.projected_at, taken_at);
                let mut event = Event::NotHandedOver;
                let mut handed_over_at = taken_at;
                if !pace.is_due(taken_at) {
                    stats.above_show_rate.add(1);
                    event = Event::AboveShowRate;
                } else {
                    match offer(sink.as_mut(), &cloud, &mut waits, shared) {
                        Ok(Offer::Taken) => {
                            handed_over_at = clock.now();
                            event = Event::HandedOver;
                            pace.shown(taken_at);
                            stats.log.record(taken_at, handed_over_at);
                            stats.total.record(cloud.meta.arrived_at, handed_over_at);
                            stats.deadline_misses.add(
                                (handed_over_at.since(cloud.meta.arrived_at) > frame_period).into(),
                            );
                            stats.shown.record(handed_over_at);
                            handed_over.push(&cloud.meta, handed_over_at);
                        }
                        Ok(Offer::Busy) => stats.busy.add(1),
                        Ok(Offer::Disconnected) => stats.disconnected.add(1),
                        Err(error) => {
                            stats.busy.add(1);
                            return Err(error.context(name));
                        }
                    }
                }
                journal.write(&cloud.meta, event, taken_at, handed_over_at);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        record_downstream(sink.as_mut(), &mut handed_over, stats, &mut journal);
        let snapshot = shared.snapshot();
        if snapshot.at > figures_of {
            figures_of = snapshot.at;
            stats.set_status(sink.status());
            sink.figures(&snapshot).with_context(|| name.clone())?;
        }
    }
    // Those that come too late are counted when the receiver goes.
    drop(clouds);
    record_downstream(sink.as_mut(), &mut handed_over, stats, &mut journal);
    // Also a run that was shorter than a tick has figures.
    sink.figures(&shared.stats.snapshot(clock.now())).with_context(|| name.clone())?;
    let must_finish = sink.must_finish();
    match sink.finish(FINISH) {
        Err(error) if must_finish => Err(error),
        finished => Ok((finished.err().map(|e| format!("{name}: {e:#}")), journal)),
    }
}

/// Records what became of clouds after they were handed over.
fn record_downstream(
    sink: &mut dyn CloudSink,
    handed_over: &mut HandedOver,
    stats: &SinkStats,
    journal: &mut Journal,
) {
    while let Some(FrameTime { number, at }) = sink.next_released() {
        if let Some((frame, handed_over_at)) = handed_over.take(number, 0) {
            stats.release.record(handed_over_at, at);
            journal.write(frame, Event::Released, handed_over_at, at.max(handed_over_at));
        }
    }
    while let Some(Shown { frame: FrameTime { number, at }, uncertainty_ms }) = sink.next_shown() {
        if let Some((frame, handed_over_at)) = handed_over.take(number, 1) {
            stats.record_seen(frame.arrived_at, handed_over_at, at, uncertainty_ms);
            journal.write(frame, Event::Seen, handed_over_at, at.max(handed_over_at));
        }
    }
}

/// The newest clouds that were handed over, and whether each is still to be released and seen.
struct HandedOver {
    clouds: [Option<(FrameId, HostTime, [bool; 2])>; 64],
    next: usize,
}

impl Default for HandedOver {
    fn default() -> Self {
        Self { clouds: [None; 64], next: 0 }
    }
}

impl HandedOver {
    fn push(&mut self, meta: &FrameMeta, handed_over_at: HostTime) {
        self.clouds[self.next] = Some((meta.into(), handed_over_at, [true; 2]));
        self.next = (self.next + 1) % self.clouds.len();
    }

    /// The oldest one with this number that is still to be released (0) or seen (1).
    fn take(&mut self, number: u64, event: usize) -> Option<(FrameId, HostTime)> {
        let (newer, older) = self.clouds.split_at_mut(self.next);
        let (frame, at, is_due) = older
            .iter_mut()
            .chain(newer)
            .flatten()
            .find(|(frame, _, is_due)| frame.number == number && is_due[event])?;
        is_due[event] = false;
        Some((*frame, *at))
    }
}

/// Offers one cloud. A lossless run `waits` for room, until the sink has taken nothing for too
/// long, or the run is given up and the sink is no file.
fn offer(
    sink: &mut dyn CloudSink,
    cloud: &Arc<Cloud>,
    waits: &mut bool,
    shared: &Shared,
) -> anyhow::Result<Offer> {
    let since = shared.clock.now();
    loop {
        let offered = sink.offer(cloud)?;
        let is_given_up = shared.abandon.load(Ordering::Relaxed) && !sink.must_finish();
        if offered != Offer::Busy || !*waits || is_given_up {
            return Ok(offered);
        }
        if shared.clock.now().since(since) > STUCK {
            tracing::warn!(
                "{}: it has taken nothing for {} s; going on without waiting for it",
                sink.name(),
                STUCK.as_secs()
            );
            *waits = false;
        }
        std::thread::sleep(BUSY_WAIT);
    }
}

/// Decides which clouds are shown when there is a limit on their rate: the first one after each due
/// time, on an absolute schedule.
struct ShowRate {
    period: Option<Duration>,
    due: HostTime,
}

impl ShowRate {
    fn new(rate_hz: Option<f64>) -> Self {
        Self {
            period: rate_hz.map(|hz| Duration::from_secs_f64(1.0 / hz)),
            due: HostTime::default(),
        }
    }

    /// A cloud that comes a little early counts as due: a camera at exactly twice or three times
    /// the rate must not alternate.
    fn is_due(&self, now: HostTime) -> bool {
        self.period.is_none_or(|period| now.plus(period / 8) >= self.due)
    }

    fn shown(&mut self, now: HostTime) {
        if let Some(period) = self.period {
            // What was not shown in time is not made up for: two clouds in a row would look like
            // twice the rate.
            let is_in_time = now.since(self.due) < period;
            self.due = if is_in_time { self.due } else { now }.plus(period);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_are_found_by_number_the_oldest_first_and_for_each_event_once() {
        let mut handed_over = HandedOver::default();
        for k in 0..70 {
            let meta = FrameMeta {
                number: k % 40,
                arrived_at: HostTime::from_ns(k),
                ..Default::default()
            };
            handed_over.push(&meta, HostTime::from_ns(100 + k));
        }
        let mut take = |number, event| {
            let (frame, at) = handed_over.take(number, event)?;
            Some((frame.arrived_at.as_ns(), at.as_ns()))
        };
        for event in [0, 1] {
            assert_eq!(take(9, event), Some((9, 109)));
            assert_eq!(take(9, event), Some((49, 149)));
            assert_eq!(take(9, event), None);
            assert_eq!(take(3, event), Some((43, 143)), "the first one was too long ago");
        }
    }

    fn shown_of(rate_hz: Option<f64>, arrivals_us: impl Iterator<Item = u64>) -> usize {
        let mut pace = ShowRate::new(rate_hz);
        arrivals_us
            .map(|us| HostTime::from_ns(us * 1000))
            .filter(|&now| {
                let due = pace.is_due(now);
                if due {
                    pace.shown(now);
                }
                due
            })
            .count()
    }

    #[test]
    fn the_show_rate_is_kept_whatever_the_cameras_rate() {
        for fps in [30, 45, 60, 90] {
            // Ten seconds, with jitter of up to 0.8 ms.
            let arrivals =
                (0..10 * fps).map(|k| 1_000_000 + k * 1_000_000 / fps + (k * 7919) % 800);
            let shown = shown_of(Some(30.0), arrivals.clone());
            assert!((297..=303).contains(&shown), "{fps}: {shown}");
            assert_eq!(shown_of(None, arrivals), 10 * fps as usize);
        }
    }

    #[test]
    fn neither_the_first_cloud_nor_one_after_a_pause_is_followed_by_another_at_once() {
        let after_a_pause = [1000, 1033, 1066, 9000, 9033, 9066].map(|ms| ms * 1000);
        assert_eq!(shown_of(Some(10.0), after_a_pause.into_iter()), 2);
    }
}
