//! Frames as a trace for Perfetto (<https://ui.perfetto.dev>) or `chrome://tracing`: the Trace
//! Event Format as JSON.
//!
//! One track for each thread with a slice for each frame, and an arrow that follows the frame from
//! one thread to the next. Waiting in the queues, and the time until the viewer's library released
//! a cloud, are on tracks of their own, since several frames can do so at once. Losses are marked
//! where they happened.

use serde_json::{Value, json};

use super::frames::{Frame, TOTAL};
use crate::clock::HostTime;

const PID: u32 = 1;
const CAPTURE: u32 = 1;
const PROJECT: u32 = 2;
const SINK: u32 = 3;

/// Microseconds, as the format counts.
fn us(at: HostTime) -> f64 {
    at.as_ns() as f64 / 1e3
}

pub fn trace(frames: &[Frame], name: &str) -> Value {
    let meta = |tid: u32, what: &str, name: &str| {
        let args = json!({"name": name});
        json!({"ph": "M", "pid": PID, "tid": tid, "name": what, "args": args})
    };
    let mut events = vec![
        meta(0, "process_name", &format!("depthcast: {name}")),
        meta(CAPTURE, "thread_name", "capture"),
        meta(PROJECT, "thread_name", "project"),
        meta(SINK, "thread_name", "sink"),
    ];
    let mut capture_free_at = HostTime::default();
    for (index, frame) in frames.iter().enumerate() {
        let mut track = Track { events: &mut events, index, number: frame.id.number };
        track.frame(frame, &mut capture_free_at);
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

/// Writes the events of one frame.
struct Track<'a> {
    events: &'a mut Vec<Value>,
    index: usize,
    number: u64,
}

impl Track<'_> {
    fn frame(&mut self, frame: &Frame, capture_free_at: &mut HostTime) {
        // The projection may have taken the frame before the capture thread read the clock after
        // sending it.
        let taken_at = frame.projected.map_or(frame.queued_at, |(taken_at, _)| taken_at);
        let queued_at = frame.queued_at.min(taken_at);
        // Slices of one thread must not overlap: a frame that arrived while the one before was
        // delivered starts after it.
        let started_at = frame.id.arrived_at.max(*capture_free_at).min(queued_at);
        *capture_free_at = queued_at;
        if frame.missing > 0 {
            self.mark(CAPTURE, &format!("{} lost by the source", frame.missing), started_at);
        }
        let arrow = frame.projected.map(|_| 's');
        self.slice(CAPTURE, "capture", started_at, queued_at, arrow);
        let Some((taken_at, projected_at)) = frame.projected else {
            return self.mark(CAPTURE, "lost in the capture queue", queued_at);
        };
        self.span("capture queue", queued_at, taken_at);
        let arrow = if frame.sink_at.is_some() { 't' } else { 'f' };
        self.slice(PROJECT, "project", taken_at, projected_at, Some(arrow));
        let Some(sink_at) = frame.sink_at else {
            return self.mark(PROJECT, "lost in the cloud queue", projected_at);
        };
        self.span("cloud queue", projected_at, sink_at);
        let log_end = frame.handed_over_at.unwrap_or(sink_at);
        self.slice(SINK, "log", sink_at, log_end, Some('f'));
        let Some(handed_over_at) = frame.handed_over_at else {
            return self.mark(SINK, "not handed over", sink_at);
        };
        if let Some(released_at) = frame.released_at {
            self.span("held by the viewer's library", handed_over_at, released_at);
        }
        let (_, total) = TOTAL;
        let (ts, ms) = (us(handed_over_at), frame.ns(total).unwrap_or(0) as f64 / 1e6);
        self.events
            .push(json!({"ph": "C", "pid": PID, "name": "total", "ts": ts, "args": {"ms": ms}}));
    }

    /// A slice on a thread, with a step of the frame's arrow in its middle: its start, a step or
    /// its end.
    fn slice(&mut self, tid: u32, name: &str, from: HostTime, to: HostTime, arrow: Option<char>) {
        let (ts, dur) = (us(from), to.ns_since(from) as f64 / 1e3);
        self.events.push(json!({
            "ph": "X", "pid": PID, "tid": tid, "name": name, "ts": ts, "dur": dur,
            "args": {"frame": self.number},
        }));
        let Some(arrow) = arrow else { return };
        let mut step = json!({
            "ph": arrow.to_string(), "pid": PID, "tid": tid, "cat": "frame", "name": "frame",
            "ts": ts + dur / 2.0, "id": self.index,
        });
        if arrow == 'f' {
            // Bound to the slice around it, not to the next one.
            step["bp"] = "e".into();
        }
        self.events.push(step);
    }

    /// Something that others may do at the same time.
    fn span(&mut self, name: &str, from: HostTime, to: HostTime) {
        for (ph, at) in [("b", from), ("e", to)] {
            self.events.push(json!({
                "ph": ph, "pid": PID, "tid": CAPTURE, "cat": name, "name": name, "ts": us(at),
                "id": format!("{name} {}", self.index), "args": {"frame": self.number},
            }));
        }
    }

    fn mark(&mut self, tid: u32, name: &str, at: HostTime) {
        self.events.push(json!({
            "ph": "i", "s": "t", "pid": PID, "tid": tid, "name": name, "ts": us(at),
            "args": {"frame": self.number},
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::{frames, tests::journals};
    use super::*;

    fn events(frames: &[Frame]) -> Vec<Value> {
        trace(frames, "test")["traceEvents"].as_array().unwrap().clone()
    }

    #[test]
    fn threads_have_slices_that_do_not_overlap_and_frames_have_arrows() {
        let events = events(&frames(&journals()));
        let of = |ph: &str| events.iter().filter(|event| event["ph"] == ph).collect::<Vec<_>>();
        let us = |event: &Value, key: &str| event[key].as_f64().unwrap();
        for tid in [CAPTURE, PROJECT, SINK] {
            let slices: Vec<_> = of("X").into_iter().filter(|event| event["tid"] == tid).collect();
            let end = |slice| us(slice, "ts") + us(slice, "dur");
            assert!(slices.windows(2).all(|pair| us(pair[1], "ts") >= end(pair[0])));
        }
        assert_eq!(["X", "s", "t", "f"].map(|ph| of(ph).len()), [5 + 4 + 3, 4, 3, 4]);
        assert_eq!(of("b").len(), of("e").len());
        let marks: Vec<_> = of("i").iter().map(|event| event["name"].as_str().unwrap()).collect();
        assert_eq!(
            marks,
            [
                "lost in the cloud queue",
                "2 lost by the source",
                "not handed over",
                "lost in the capture queue"
            ]
        );
        assert!(of("f").iter().all(|event| event["bp"] == "e"));
    }

    #[test]
    fn a_frame_that_arrived_early_does_not_overlap_the_one_before() {
        let mut frames = frames(&journals());
        frames[1].id.arrived_at = frames[0].id.arrived_at;
        let events = events(&frames);
        let slices = events.iter().filter(|e| e["ph"] == "X" && e["tid"] == CAPTURE);
        let starts: Vec<_> = slices.map(|e| e["ts"].as_f64().unwrap()).collect();
        assert_eq!(starts[..2], [10_000.0, 10_050.0]);
    }

    #[test]
    fn an_arrow_goes_forward_even_if_the_capture_thread_was_delayed_after_sending() {
        let mut frames = frames(&journals());
        let (_, projected_at) = frames[0].projected.unwrap();
        frames[0].queued_at = HostTime::from_ns(projected_at.as_ns() + 5_000_000);
        let events = events(&frames);
        let of_frame = events.iter().filter(|e| e["cat"] == "frame" && e["id"] == 0);
        let steps: Vec<_> = of_frame.map(|e| e["ts"].as_f64().unwrap()).collect();
        assert!(steps.len() == 3 && steps.is_sorted(), "{steps:?}");
    }
}
