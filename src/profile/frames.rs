//! Single frames out of the journals of a run: when each was where, and where it was lost.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::HostTime;
use crate::stats::journal::{Event, FrameId, Journal, Journals};
use crate::stats::{Drops, Samples};

/// The clock readings of one frame; those of the first sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    pub id: FrameId,
    /// Frames that the source announced as lost just before this one.
    pub missing: u64,
    pub queued_at: HostTime,
    /// Taken by the projection, and finished.
    pub projected: Option<(HostTime, HostTime)>,
    /// Taken by the sink.
    pub sink_at: Option<HostTime>,
    pub handed_over_at: Option<HostTime>,
    pub released_at: Option<HostTime>,
    /// The show rate was reached.
    pub is_above_show_rate: bool,
}

/// A stage, or a sum of several, of one frame.
pub type Part = fn(&Frame) -> Option<(HostTime, HostTime)>;

/// Names are those of the report.
pub const STAGES: [(&str, Part); 7] = [
    ("capture_queue", |f| Some((f.id.arrived_at, f.projected?.0))),
    ("project", |f| f.projected),
    ("cloud_queue", |f| Some((f.projected?.1, f.sink_at?))),
    ("log", |f| Some((f.sink_at?, f.handed_over_at?))),
    ("release", |f| Some((f.handed_over_at?, f.released_at?))),
    ("arrival_to_cloud", |f| Some((f.id.arrived_at, f.projected?.1))),
    ("total", |f| Some((f.id.arrived_at, f.handed_over_at?))),
];

/// Names of what follows from pairs of frames.
pub const INTERVALS: [&str; 4] = ["interval", "jitter", "shown_interval", "shown_jitter"];

impl Frame {
    pub fn ns(&self, part: Part) -> Option<u64> {
        part(self).map(|(from, to)| to.ns_since(from))
    }

    /// On its way to the sink, or there. One that the show rate passes over is none.
    pub fn is_lost(&self) -> bool {
        self.handed_over_at.is_none() && !self.is_above_show_rate
    }
}

/// The frames that were captured, in their order; where a journal was too small for the run, those
/// that all journals had room for. What one of them could not hold must not look as if it had been
/// lost in a queue.
pub fn frames(journals: &Journals) -> Vec<Frame> {
    let mut index = HashMap::new();
    let mut frames = Vec::with_capacity(journals.capture.entries().len());
    for entry in journals.capture.entries() {
        if let Event::Captured { frames_missing: missing } = entry.event {
            index.insert(entry.frame, frames.len());
            frames.push(Frame {
                id: entry.frame,
                missing,
                queued_at: entry.to,
                projected: None,
                sink_at: None,
                handed_over_at: None,
                released_at: None,
                is_above_show_rate: false,
            });
        }
    }
    let first_sink = journals.sinks.first().map_or(&[][..], |sink| sink.entries());
    let of_all = [&journals.capture, &journals.project].into_iter().chain(journals.sinks.first());
    let full_at = of_all.filter_map(Journal::full_at).min();
    for entry in journals.project.entries().iter().chain(first_sink) {
        let Some(frame) = index.get(&entry.frame).map(|&i: &usize| &mut frames[i]) else {
            continue;
        };
        match entry.event {
            Event::Captured { .. } => {}
            Event::Projected => frame.projected = Some((entry.from, entry.to)),
            Event::HandedOver => {
                (frame.sink_at, frame.handed_over_at) = (Some(entry.from), Some(entry.to))
            }
            Event::NotHandedOver => frame.sink_at = Some(entry.from),
            Event::AboveShowRate => {
                (frame.sink_at, frame.is_above_show_rate) = (Some(entry.from), true)
            }
            Event::Released => frame.released_at = Some(entry.to),
        }
    }
    if let Some(full_at) = full_at {
        frames.retain(|frame| frame.id.arrived_at <= full_at);
    }
    frames
}

/// Leaves out the frames that arrived within `warm_up` after the first.
pub fn without_warm_up(mut frames: Vec<Frame>, warm_up: Duration) -> Vec<Frame> {
    if let Some(begin) =
        frames.first().map(|first| first.id.arrived_at.plus(warm_up)).filter(|_| !warm_up.is_zero())
    {
        frames.retain(|frame| frame.id.arrived_at >= begin);
    }
    frames
}

/// What can be said of the frames of one run.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub captured: u64,
    pub projected: u64,
    pub shown: u64,
    pub drops: Drops,
    /// Of those at the viewer, the ones that were passed over since the show rate was reached.
    pub above_show_rate: u64,
    pub deadline_misses: u64,
    /// From the first arrival to the last.
    pub span: Duration,
    /// Of each of [`STAGES`] and [`INTERVALS`].
    pub samples: Vec<(&'static str, Samples)>,
}

impl Figures {
    /// `period` is one frame's, as the source promises it.
    pub fn of(frames: &[Frame], period: Option<Duration>) -> Self {
        let count =
            |test: fn(&Frame) -> bool| frames.iter().filter(|frame| test(frame)).count() as u64;
        let (captured, projected, at_sink, shown) = (
            frames.len() as u64,
            count(|f| f.projected.is_some()),
            count(|f| f.sink_at.is_some()),
            count(|f| f.handed_over_at.is_some()),
        );
        let mut samples: Vec<_> = STAGES
            .iter()
            .map(|&(name, part)| {
                let mut samples = Samples::default();
                frames.iter().filter_map(|frame| frame.ns(part)).for_each(|ns| samples.record(ns));
                (name, samples)
            })
            .collect();
        let arrivals = frames.iter().map(|frame| frame.id.arrived_at);
        let [interval, jitter] = intervals(arrivals.clone());
        let [shown_interval, shown_jitter] =
            intervals(frames.iter().filter_map(|frame| frame.handed_over_at));
        samples.extend(INTERVALS.into_iter().zip([interval, jitter, shown_interval, shown_jitter]));
        let total = STAGES[STAGES.len() - 1].1;
        let is_late = |frame: &Frame| {
            frame
                .ns(total)
                .zip(period)
                .is_some_and(|(ns, period)| u128::from(ns) > period.as_nanos())
        };
        Self {
            captured,
            projected,
            shown,
            drops: Drops {
                source: frames.iter().skip(1).map(|frame| frame.missing).sum(),
                capture_queue: captured - projected,
                cloud_queue: projected - at_sink,
                viewer: at_sink - shown,
            },
            above_show_rate: count(|f| f.is_above_show_rate),
            deadline_misses: frames.iter().filter(|frame| is_late(frame)).count() as u64,
            span: arrivals
                .clone()
                .next_back()
                .unwrap_or_default()
                .since(arrivals.clone().next().unwrap_or_default()),
            samples,
        }
    }

    pub fn samples(&self, name: &str) -> &Samples {
        &self.samples.iter().find(|(known, _)| *known == name).expect("all stages are there").1
    }
}

/// Times from one event to the next, and how they change from one to the next.
fn intervals(times: impl Iterator<Item = HostTime>) -> [Samples; 2] {
    let [mut interval, mut jitter] = [Samples::default(), Samples::default()];
    let (mut last, mut before) = (None, None);
    for at in times {
        if let Some(last) = last {
            let ns = at.ns_since(last);
            interval.record(ns);
            if let Some(before) = before.replace(ns) {
                jitter.record(ns.abs_diff(before));
            }
        }
        last = Some(at);
    }
    [interval, jitter]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn at(us: u64) -> HostTime {
        HostTime::from_ns(us * 1000)
    }

    /// Five frames 10 ms apart: two shown, one lost at each place; two more were lost by the source
    /// before the third.
    pub fn journals() -> Journals {
        let id =
            |k: u64| FrameId { arrived_at: at(10_000 * k), number: if k < 3 { k } else { k + 2 } };
        let mut journals = Journals {
            capture: Journal::new(10),
            project: Journal::new(10),
            sinks: vec![Journal::new(10), Journal::new(10)],
        };
        for k in 1..=5 {
            let frames_missing = if k == 3 { 2 } else { 0 };
            journals.capture.write(
                id(k),
                Event::Captured { frames_missing },
                id(k).arrived_at,
                at(10_000 * k + 50),
            );
        }
        for k in [1, 2, 3, 5] {
            journals.project.write(
                id(k),
                Event::Projected,
                at(10_000 * k + 100),
                at(10_000 * k + 400),
            );
        }
        for (k, event, us) in [
            (1, Event::HandedOver, 500),
            (3, Event::NotHandedOver, 0),
            (5, Event::HandedOver, 10_000),
        ] {
            journals.sinks[0].write(id(k), event, at(10_000 * k + 450), at(10_000 * k + 450 + us));
        }
        journals.sinks[0].write(id(1), Event::Released, at(10_950), at(13_000));
        journals.sinks[1].write(id(2), Event::HandedOver, at(20_450), at(20_460));
        journals
    }

    #[test]
    fn each_frame_is_where_it_was_lost() {
        let frames = frames(&journals());
        let figures = Figures::of(&frames, Some(Duration::from_millis(10)));
        assert_eq!((figures.captured, figures.projected, figures.shown), (5, 4, 2));
        assert_eq!(figures.drops, Drops { source: 2, capture_queue: 1, cloud_queue: 1, viewer: 1 });
        assert_eq!((figures.deadline_misses, figures.span), (1, Duration::from_millis(40)));
        let mean =
            |name| (figures.samples(name).latency().count, figures.samples(name).latency().mean);
        assert_eq!(mean("capture_queue"), (4, 100.0));
        assert_eq!(mean("project"), (4, 300.0));
        assert_eq!(mean("cloud_queue"), (3, 50.0));
        assert_eq!(mean("log"), (2, 5250.0));
        assert_eq!(mean("release"), (1, 2050.0));
        assert_eq!(mean("arrival_to_cloud"), (4, 400.0));
        assert_eq!(mean("total"), (2, 5700.0));
        assert_eq!((mean("interval"), mean("jitter")), ((4, 10_000.0), (3, 0.0)));
        assert_eq!((mean("shown_interval"), mean("shown_jitter")), ((1, 49_500.0), (0, 0.0)));
    }

    #[test]
    fn what_the_show_rate_passes_over_is_not_lost() {
        let mut journals = journals();
        let frame = journals.sinks[0].entries()[1].frame;
        journals.sinks[0].write(frame, Event::AboveShowRate, at(50_000), at(50_000));
        let frames = frames(&journals);
        assert_eq!(frames.iter().filter(|frame| frame.is_lost()).count(), 2);
        let figures = Figures::of(&frames, None);
        assert_eq!((figures.above_show_rate, figures.drops.viewer), (1, 1));
        assert_eq!(super::super::report::FiguresReport::new(&figures).lost_share(), 4.0 / 7.0);
    }

    #[test]
    fn what_a_journal_has_no_room_for_is_no_loss() {
        // Each frame is shown and released. The sink's journal is full after two of them, the
        // others after five and seven.
        let mut journals = Journals {
            capture: Journal::new(7),
            project: Journal::new(5),
            sinks: vec![Journal::new(4)],
        };
        for k in 1..=9 {
            let id = FrameId { arrived_at: at(1000 * k), number: k };
            let time = |us| at(1000 * k + us);
            journals.capture.write(
                id,
                Event::Captured { frames_missing: 0 },
                id.arrived_at,
                time(1),
            );
            journals.project.write(id, Event::Projected, time(2), time(3));
            journals.sinks[0].write(id, Event::HandedOver, time(4), time(5));
            journals.sinks[0].write(id, Event::Released, time(5), time(6));
        }
        let shown = |journals: &Journals| {
            let figures = Figures::of(&frames(journals), None);
            assert_eq!(figures.drops, Drops::default());
            (figures.captured, figures.shown)
        };
        assert_eq!(shown(&journals), (2, 2));
        // Nothing is known of a sink that was left behind.
        journals.sinks.clear();
        assert_eq!(frames(&journals).len(), 5);
    }

    #[test]
    fn the_warm_up_is_left_out_with_its_losses() {
        let frames = without_warm_up(frames(&journals()), Duration::from_millis(20));
        assert_eq!(frames.iter().map(|frame| frame.id.number).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!(
            Figures::of(&frames, None).drops,
            Drops { source: 0, capture_queue: 1, cloud_queue: 0, viewer: 1 }
        );
        assert!(without_warm_up(Vec::new(), Duration::from_secs(1)).is_empty());
    }
}
