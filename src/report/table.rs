//! The report for people.

use std::fmt::{self, Write};

use super::{CameraReport, Report, SourceReport};
use crate::pipeline::End;
use crate::source::watch::Health;
use crate::stats::time::Age;
use crate::stats::{Drops, Latency, RecordingReport};
use crate::words::count;

impl Report {
    /// In lines of at most 100 columns.
    pub fn table(&self) -> String {
        let mut out = String::new();
        self.write_table(&mut out).expect("a String takes all");
        out
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        if self.cameras.is_empty() {
            writeln!(out, "{}", self.source)?;
        } else {
            write_cameras(out, &self.cameras)?;
        }
        let end = match self.end {
            End::EndOfInput => "end of input",
            End::Duration => "duration reached",
            End::Frames => "frame count reached",
            End::RecordingLimit => "the recording's limit was reached",
            End::Interrupted => "interrupted",
        };
        let points_per_frame = self.points.total as f64 / self.frames.projected.max(1) as f64;
        writeln!(
            out,
            "{:.2} s until {end}; {points_per_frame:.0} points a frame\n",
            self.duration_s
        )?;
        self.write_frames(out)?;
        self.write_latencies(out)?;
        if let Some(period_us) = self.deadline.period_us.filter(|_| self.frames.shown > 0) {
            writeln!(
                out,
                "{} of {} took longer than one frame period ({:.1} ms)",
                self.deadline.misses,
                count(self.frames.shown, "frame"),
                period_us / 1e3
            )?;
        }
        if let Some(recording) = &self.recording {
            writeln!(out, "\n{}", RecordingLine(recording))?;
        }
        if let Age::Estimate { estimate_us, ahead_of_host } = &self.time.sensor_to_host_age {
            write_latency(out, "age (estimate)", estimate_us)?;
            let ahead = optional(*ahead_of_host, |n| format!("  ({n} below 0)"));
            writeln!(out, "{ahead}")?;
        }
        let c = &self.source_continuity;
        let irregular = listed(&[
            (c.repeats, "with the number of the one before"),
            (c.went_back, "with a lower one"),
            (c.clock_jumps, "after a jump of the device's clock"),
            (c.clock_changes, "stamped by another clock than the one before"),
        ]);
        if !irregular.is_empty() {
            writeln!(out, "\nframes that came: {irregular}")?;
        }
        if let Some(motion) = self.motion {
            let (accel, gyro) = (motion.accel_samples, motion.gyro_samples);
            let missed = optional(motion.missed_by_sinks, |n| format!(", {n} not shown"));
            writeln!(out, "\nmotion: {accel} samples of acceleration, {gyro} of turning{missed}")?;
        }
        if let Some(health) = &self.camera {
            write_health(out, "the camera", health)?;
        }
        for CameraReport { serial, report, .. } in &self.cameras {
            if let Some(health) = report.as_ref().and_then(|report| report.camera.as_ref()) {
                write_health(out, &format!("camera {serial}"), health)?;
            }
        }
        if let Some(realtime) = &self.realtime {
            writeln!(out, "\nreal time: {realtime}")?;
        }
        for remark in &self.damage.remarks {
            writeln!(out, "\nnote: {remark}")?;
        }
        if !self.damage.is_none() {
            writeln!(out, "\nthe recording is damaged: {}", self.damage)?;
        }
        for note in &self.damage.notes {
            writeln!(out, "  {note}")?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        Ok(())
    }

    fn write_frames(&self, out: &mut String) -> fmt::Result {
        let (frames, fps, drops) = (&self.frames, &self.fps, &self.drops);
        writeln!(out, "{:<14} {:>9} {:>9}   lost before it", "", "frames", "fps")?;
        let mut row = |name: &str, frames: u64, fps: f64, lost: String| {
            writeln!(out, "{name:<14} {frames:>9} {fps:>9.1}   {lost}")
        };
        row("captured", frames.captured, fps.captured, format!("{} by the source", drops.source))?;
        let lost = format!("{} in the capture queue", drops.capture_queue);
        row("projected", frames.projected, fps.projected, lost)?;
        for sink in &self.sinks {
            let drops = &sink.drops;
            let reasons = listed(&[
                (drops.above_show_rate, "above the show rate"),
                (drops.busy, "busy"),
                (drops.disconnected, "disconnected"),
            ]);
            let reasons = optional(drops.viewer, |_| format!(" ({reasons})"));
            let lost = format!(
                "{} in the cloud queue, {} at the viewer{reasons}",
                drops.cloud_queue, drops.viewer
            );
            let unseen = optional(sink.never_seen.unwrap_or(0), |n| format!("; {n} never drawn"));
            row(&format!("shown ({})", sink.name), sink.shown, sink.fps, lost + &unseen)?;
        }
        if let Some(recording) = &self.recording {
            let fps = recording.frames as f64 / self.duration_s.max(1e-9);
            let late = optional(recording.after_end, |n| format!(", {n} after its end"));
            let lost = format!("{} before the disk{late}", recording.dropped);
            row("recorded", recording.frames, fps, lost)?;
        }
        Ok(())
    }

    fn write_latencies(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "\n{:<14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "latency, us", "mean", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (stage, latency) in self.latency_us.0.iter().chain(&self.interval_us.0) {
            let name = match *stage {
                "arrival_to_cloud" => "arr. to cloud".to_owned(),
                "arrival_to_eye" => "arr. to eye".to_owned(),
                _ => stage.replace('_', " "),
            };
            if latency.count > 0 {
                write_latency(out, &name, latency)?;
                writeln!(out)?;
            }
        }
        let uncertainty_us = self.sinks.iter().find_map(|sink| sink.eye_uncertainty_us);
        uncertainty_us.map_or(Ok(()), |us| {
            writeln!(
                out,
                "the times of the viewer and the eye are the page's, off by at most {us:.0} us"
            )
        })
    }
}

/// Without the end of its line.
fn write_latency(out: &mut String, name: &str, latency: &Latency) -> fmt::Result {
    write!(out, "{name:<14}")?;
    latency.columns().iter().try_for_each(|us| write!(out, " {us:>9.1}"))
}

/// Those that are not 0, such as `2 busy, 1 disconnected`.
fn listed(counts: &[(u64, &str)]) -> String {
    let named = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    named.collect::<Vec<_>>().join(", ")
}

/// The text, if there is anything to count.
fn optional(n: u64, text: impl FnOnce(u64) -> String) -> String {
    if n > 0 { text(n) } else { String::new() }
}

impl fmt::Display for SourceReport {
    /// What it streams, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, width, height, nominal_fps, depth_units_m, timestamp_domain, .. } = self;
        write!(f, "{name}: {width}x{height} at {nominal_fps:.0} fps, ")?;
        write!(f, "{depth_units_m} m per step, clock {}", timestamp_domain.as_str())
    }
}

struct RecordingLine<'a>(&'a RecordingReport);

impl fmt::Display for RecordingLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recording = self.0;
        write!(f, "{}: {}", recording.file, count(recording.frames, "frame"))?;
        if recording.color_images > 0 {
            write!(f, ", {}", count(recording.color_images, "colour image"))?;
        }
        write!(f, ", {:.1} MB ({})", recording.bytes as f64 / 1e6, recording.compression)?;
        match recording.ended_early {
            Some(why) => write!(f, "; ended early: {}", why.replace('_', " ")),
            None => Ok(()),
        }
    }
}

/// What happened to a watched camera, if anything did.
fn write_health(out: &mut String, name: &str, health: &Health) -> fmt::Result {
    if health.stalls == 0 {
        return Ok(());
    }
    let [stalls, restarts, resets, reconnects] = [
        count(health.stalls, "stall"),
        count(health.restarts, "restart"),
        count(health.resets, "reset"),
        count(health.reconnects, "reconnect"),
    ];
    let (silent_s, state) = (health.without_frames_s, health.state.as_str());
    write!(out, "\n{name}: {stalls}, {silent_s:.1} s without frames; ")?;
    writeln!(out, "{restarts}, {resets}, {reconnects}; now {state}")?;
    if health.changes_left_out > 0 {
        writeln!(out, "  {} earlier changes", health.changes_left_out)?;
    }
    for change in &health.changes {
        let (from, to) = (change.from.as_str(), change.to.as_str());
        writeln!(out, "  {:>8.1} s  {from} -> {to}: {}", change.at_s, change.why)?;
    }
    Ok(())
}

/// What each camera streams, and a row of its figures.
fn write_cameras(out: &mut String, cameras: &[CameraReport]) -> fmt::Result {
    writeln!(out, "{} cameras", cameras.len())?;
    for CameraReport { serial, report, .. } in cameras {
        match report {
            Some(report) => writeln!(out, "  {serial}  {}", report.source)?,
            None => writeln!(out, "  {serial}  could not be opened")?,
        }
    }
    writeln!(
        out,
        "\n{:<14} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}",
        "camera", "captured", "fps", "shown", "lost", "p50, us", "p99, us"
    )?;
    for CameraReport { serial, report, .. } in cameras {
        let Some(report) = report else { continue };
        let (frames, total) = (&report.frames, report.latency_us.get("total"));
        let Drops { source, capture_queue, cloud_queue, .. } = report.drops;
        let sink = report.sinks.first().map(|sink| &sink.drops);
        let lost_at_viewer = sink.map_or(0, |drops| drops.busy + drops.disconnected);
        let lost = source + capture_queue + cloud_queue + lost_at_viewer;
        writeln!(
            out,
            "{serial:<14} {:>9} {:>9.1} {:>9} {lost:>9} {:>10.1} {:>10.1}",
            frames.captured, report.fps.captured, frames.shown, total.p50, total.p99
        )?;
    }
    for camera in cameras {
        if let Some(error) = camera.error() {
            writeln!(out, "camera {} failed: {error}", camera.serial)?;
        }
    }
    writeln!(out, "\nall together:")
}
