//! Single frames, from the journals of a run: when each was where, and where it was lost.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::HostTime;
use crate::stats::journal::{Event, FrameId, Journal, Journals};

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
    /// Drawn by a page that acknowledges what it draws.
    pub seen_at: Option<HostTime>,
    /// The show rate was reached.
    pub is_above_show_rate: bool,
}

/// A stage, or a sum of several, of one frame.
pub type Part = fn(&Frame) -> Option<(HostTime, HostTime)>;

/// Names are those of the report.
pub const STAGES: [(&str, Part); 9] = [
    ("capture_queue", |f| Some((f.id.arrived_at, f.projected?.0))),
    ("project", |f| f.projected),
    ("cloud_queue", |f| Some((f.projected?.1, f.sink_at?))),
    ("log", |f| Some((f.sink_at?, f.handed_over_at?))),
    ("release", |f| Some((f.handed_over_at?, f.released_at?))),
    ("viewer", |f| Some((f.handed_over_at?, f.seen_at?))),
    ("arrival_to_cloud", |f| Some((f.id.arrived_at, f.projected?.1))),
    ("total", |f| Some((f.id.arrived_at, f.handed_over_at?))),
    ("arrival_to_eye", |f| Some((f.id.arrived_at, f.seen_at?))),
];

/// The stage by which a run is judged: how long its frames took.
pub const TOTAL: (&str, Part) = STAGES[7];

impl Frame {
    pub fn ns(&self, part: Part) -> Option<u64> {
        part(self).map(|(from, to)| to.ns_since(from))
    }

    /// On its way to the sink, or there. One that the show rate skips is not lost.
    pub fn is_lost(&self) -> bool {
        self.handed_over_at.is_none() && !self.is_above_show_rate
    }
}

/// The frames that were captured, in their order; where a journal was too small for the run, those
/// that all journals had room for. A frame without room must not look as if it had been lost in a
/// queue.
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
                seen_at: None,
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
            Event::Seen => frame.seen_at = Some(entry.to),
        }
    }
    if let Some(full_at) = full_at {
        frames.retain(|frame| frame.id.arrived_at <= full_at);
    }
    frames
}

/// Without the frames that arrived within `warm_up` after the first.
pub fn without_warm_up(mut frames: Vec<Frame>, warm_up: Duration) -> Vec<Frame> {
    let start = frames.first().map(|first| first.id.arrived_at.plus(warm_up));
    if let Some(start) = start.filter(|_| !warm_up.is_zero()) {
        frames.retain(|frame| frame.id.arrived_at >= start);
    }
    frames
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::profile::report::Figures;
    use crate::stats::Drops;

    pub fn at(us: u64) -> HostTime {
        HostTime::from_ns(us * 1000)
    }

    /// Five frames 10 ms apart: two shown, one lost at each place; two more were lost by the source
    /// before the third.
    pub fn journals() -> Journals {
        let time = |k: u64, us: u64| at(10_000 * k + us);
        let id = |k: u64| FrameId { arrived_at: time(k, 0), number: if k < 3 { k } else { k + 2 } };
        let [mut capture, mut project, mut sink, mut other] = [(); 4].map(|()| Journal::new(10));
        for k in 1..=5 {
            let frames_missing = if k == 3 { 2 } else { 0 };
            capture.write(id(k), Event::Captured { frames_missing }, time(k, 0), time(k, 50));
        }
        for k in [1, 2, 3, 5] {
            project.write(id(k), Event::Projected, time(k, 100), time(k, 400));
        }
        sink.write(id(1), Event::HandedOver, time(1, 450), time(1, 950));
        sink.write(id(3), Event::NotHandedOver, time(3, 450), time(3, 450));
        sink.write(id(5), Event::HandedOver, time(5, 450), time(5, 10_450));
        sink.write(id(1), Event::Released, at(10_950), at(13_000));
        other.write(id(2), Event::HandedOver, time(2, 450), time(2, 460));
        Journals { capture, project, sinks: vec![sink, other] }
    }

    #[test]
    fn each_frame_is_where_it_was_lost() {
        let frames = frames(&journals());
        let figures = Figures::of(&frames, Some(Duration::from_millis(10)));
        let report = &figures.report;
        assert_eq!((report.captured, report.projected, report.shown), (5, 4, 2));
        assert_eq!(report.drops, Drops { source: 2, capture_queue: 1, cloud_queue: 1, viewer: 1 });
        assert_eq!((report.deadline_misses, report.span_s), (1, 0.04));
        for (name, count, mean_us) in [
            ("capture_queue", 4, 100.0),
            ("project", 4, 300.0),
            ("cloud_queue", 3, 50.0),
            ("log", 2, 5250.0),
            ("release", 1, 2050.0),
            ("arrival_to_cloud", 4, 400.0),
            ("total", 2, 5700.0),
            ("interval", 4, 10_000.0),
            ("jitter", 3, 0.0),
            ("shown_interval", 1, 49_500.0),
            ("shown_jitter", 0, 0.0),
        ] {
            let latency = report.latency(name);
            assert_eq!((latency.count, latency.mean), (count, mean_us), "{name}");
        }
    }

    #[test]
    fn what_the_show_rate_skips_is_not_lost() {
        let mut journals = journals();
        let frame = journals.sinks[0].entries()[1].frame;
        journals.sinks[0].write(frame, Event::AboveShowRate, at(50_000), at(50_000));
        let frames = frames(&journals);
        assert_eq!(frames.iter().filter(|frame| frame.is_lost()).count(), 2);
        let report = Figures::of(&frames, None).report;
        assert_eq!((report.above_show_rate, report.drops.viewer), (1, 1));
        assert_eq!(report.lost_share(), 4.0 / 7.0);
    }

    #[test]
    fn what_a_journal_has_no_room_for_is_no_loss() {
        // Each frame is shown and released. The sink's journal is full after two of them, the
        // others after five and seven.
        let [capture, project, sink] = [7, 5, 4].map(Journal::new);
        let mut journals = Journals { capture, project, sinks: vec![sink] };
        for k in 1..=9 {
            let id = FrameId { arrived_at: at(1000 * k), number: k };
            let time = |us| at(1000 * k + us);
            let captured = Event::Captured { frames_missing: 0 };
            journals.capture.write(id, captured, time(0), time(1));
            journals.project.write(id, Event::Projected, time(2), time(3));
            journals.sinks[0].write(id, Event::HandedOver, time(4), time(5));
            journals.sinks[0].write(id, Event::Released, time(5), time(6));
        }
        let report = Figures::of(&frames(&journals), None).report;
        assert_eq!((report.captured, report.shown, report.drops), (2, 2, Drops::default()));
        // Nothing is known of a sink that was abandoned.
        journals.sinks.clear();
        assert_eq!(frames(&journals).len(), 5);
    }

    #[test]
    fn the_warm_up_is_omitted_with_its_losses() {
        let frames = without_warm_up(frames(&journals()), Duration::from_millis(20));
        assert_eq!(frames.iter().map(|frame| frame.id.number).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!(
            Figures::of(&frames, None).report.drops,
            Drops { source: 0, capture_queue: 1, cloud_queue: 0, viewer: 1 }
        );
        assert!(without_warm_up(Vec::new(), Duration::from_secs(1)).is_empty());
    }
}
