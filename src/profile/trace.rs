//! Frames as a trace for Perfetto (<https://ui.perfetto.dev>) or `chrome://tracing`: the Trace
//! Event Format as JSON.
//!
//! One track for each thread with a slice for each frame, and an arrow that follows the frame from
//! one thread to the next. Waiting in the queues, and being held by the viewer's library, stand on
//! tracks of their own, since several frames can do so at once. What was lost is marked where it
//! was lost.

use serde_json::{Value, json};

use super::frames::{Frame, STAGES};
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
    let meta = |tid: u32, what: &str, name: &str| json!({"ph": "M", "pid": PID, "tid": tid, "name": what, "args": {"name": name}});
    let mut events = vec![
        meta(0, "process_name", &format!("depthcast: {name}")),
        meta(CAPTURE, "thread_name", "capture"),
        meta(PROJECT, "thread_name", "project"),
        meta(SINK, "thread_name", "sink"),
    ];
    // Slices of one thread must not overlap: a frame that arrived while the one before was
    // delivered begins after it.
    let mut capture_free_at = HostTime::default();
    for (index, frame) in frames.iter().enumerate() {
        let mut track = Track { events: &mut events, index, number: frame.id.number };
        let id = frame.id;
        // The projection may have taken the frame before the capture thread got to read the clock
        // behind its sending.
        let queued_at =
            frame.projected.map_or(frame.queued_at, |(taken_at, _)| frame.queued_at.min(taken_at));
        let began_at = id.arrived_at.max(capture_free_at).min(queued_at);
        capture_free_at = queued_at;
        if frame.missing > 0 {
            track.mark(CAPTURE, &format!("{} lost by the source", frame.missing), began_at);
        }
        track.slice(CAPTURE, "capture", began_at, queued_at, frame.projected.map(|_| 's'));
        if let Some((taken_at, projected_at)) = frame.projected {
            track.span("capture queue", queued_at, taken_at);
            track.slice(
                PROJECT,
                "project",
                taken_at,
                projected_at,
                Some(if frame.sink_at.is_some() { 't' } else { 'f' }),
            );
            if let Some(sink_at) = frame.sink_at {
                track.span("cloud queue", projected_at, sink_at);
                track.slice(
                    SINK,
                    "log",
                    sink_at,
                    frame.handed_over_at.unwrap_or(sink_at),
                    Some('f'),
                );
            } else {
                track.mark(PROJECT, "lost in the cloud queue", projected_at);
            }
        } else {
            track.mark(CAPTURE, "lost in the capture queue", queued_at);
        }
        match (frame.sink_at, frame.handed_over_at) {
            (Some(sink_at), None) => track.mark(SINK, "not handed over", sink_at),
            (_, Some(handed_over_at)) => {
                if let Some(released_at) = frame.released_at {
                    track.span("held by the viewer's library", handed_over_at, released_at);
                }
                let (_, total) = STAGES[STAGES.len() - 1];
                let ms = frame.ns(total).unwrap_or(0) as f64 / 1e6;
                let counter = json!({"ph": "C", "pid": PID, "name": "total", "ts": us(handed_over_at), "args": {"ms": ms}});
                events.push(counter);
            }
            (None, None) => {}
        }
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
    /// A slice on a thread, with a step of the frame's arrow in its middle: its start, a step or
    /// its end.
    fn slice(&mut self, tid: u32, name: &str, from: HostTime, to: HostTime, arrow: Option<char>) {
        let args = json!({"frame": self.number});
        let dur = to.ns_since(from) as f64 / 1e3;
        self.events.push(json!({"ph": "X", "pid": PID, "tid": tid, "name": name, "ts": us(from), "dur": dur, "args": args}));
        if let Some(arrow) = arrow {
            let ts = us(from) + dur / 2.0;
            let mut step = json!({"ph": arrow.to_string(), "pid": PID, "tid": tid, "cat": "frame", "name": "frame", "ts": ts});
            step["id"] = self.index.into();
            if arrow == 'f' {
                // Bound to the slice around it, not to the next one.
                step["bp"] = "e".into();
            }
            self.events.push(step);
        }
    }

    /// Something that others may do at the same time.
    fn span(&mut self, name: &str, from: HostTime, to: HostTime) {
        for (ph, at) in [("b", from), ("e", to)] {
            let mut event = json!({"ph": ph, "pid": PID, "tid": CAPTURE, "cat": name, "name": name, "ts": us(at)});
            event["id"] = format!("{name} {}", self.index).into();
            event["args"] = json!({"frame": self.number});
            self.events.push(event);
        }
    }

    fn mark(&mut self, tid: u32, name: &str, at: HostTime) {
        let args = json!({"frame": self.number});
        self.events.push(json!({"ph": "i", "s": "t", "pid": PID, "tid": tid, "name": name, "ts": us(at), "args": args}));
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::{frames, tests::journals};
    use super::*;

    #[test]
    fn threads_have_slices_that_do_not_overlap_and_frames_have_arrows() {
        let trace = trace(&frames(&journals()), "test");
        let events = trace["traceEvents"].as_array().unwrap();
        let of = |ph: &str| events.iter().filter(|event| event["ph"] == ph).collect::<Vec<_>>();
        for tid in [CAPTURE, PROJECT, SINK] {
            let slices: Vec<_> = of("X").into_iter().filter(|event| event["tid"] == tid).collect();
            let ends =
                slices.iter().map(|s| s["ts"].as_f64().unwrap() + s["dur"].as_f64().unwrap());
            assert!(
                slices
                    .iter()
                    .skip(1)
                    .zip(ends)
                    .all(|(next, end)| next["ts"].as_f64().unwrap() >= end)
            );
        }
        assert_eq!(
            (of("X").len(), of("s").len(), of("t").len(), of("f").len()),
            (5 + 4 + 3, 4, 3, 4)
        );
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
        let trace = trace(&frames, "test");
        let events = trace["traceEvents"].as_array().unwrap();
        let begins: Vec<_> = events
            .iter()
            .filter(|e| e["ph"] == "X" && e["tid"] == CAPTURE)
            .map(|e| e["ts"].as_f64().unwrap())
            .collect();
        assert_eq!(begins[..2], [10_000.0, 10_050.0]);
    }

    #[test]
    fn an_arrow_goes_forward_also_if_the_capture_thread_was_held_up_behind_its_sending() {
        let mut frames = frames(&journals());
        let (_, projected_at) = frames[0].projected.unwrap();
        frames[0].queued_at = HostTime::from_ns(projected_at.as_ns() + 5_000_000);
        let trace = trace(&frames, "test");
        let of_frame = |e: &&Value| e["cat"] == "frame" && e["id"] == 0;
        let steps: Vec<_> = trace["traceEvents"]
            .as_array()
            .unwrap()
            .iter()
            .filter(of_frame)
            .map(|e| e["ts"].as_f64().unwrap())
            .collect();
        assert!(steps.len() == 3 && steps.is_sorted(), "{steps:?}");
    }
}
