//! `depthcast export FILE --out DIR --format F`.

use std::sync::Arc;

use super::run::{as_usage, check_section};
use super::signals::stop_on_signals;
use super::status::bar;
use super::{Done, ExportArgs, print};
use crate::clock::MonotonicClock;
use crate::export::{Export, ExportSettings, Summary};

pub(super) fn export(args: ExportArgs) -> anyhow::Result<Done> {
    check_section(args.from, args.to)?;
    let ExportArgs { file: recording, out: dir, format, from, to, every, topic, color, force, json } = args;
    let settings = ExportSettings { recording, dir, format, from, to, every, topic, color, force };
    let stop = stop_on_signals(None)?;
    let export = Export::open(settings, Arc::new(MonotonicClock::new())).map_err(as_usage)?;
    let bar = bar(export.expected_files());
    let summary = export.run(&stop, &mut |files| {
        let Some(bar) = &bar else { return };
        bar.set_position(files);
        if bar.length().is_none() {
            bar.set_message(format!("{files} files"));
        }
    });
    bar.iter().for_each(|bar| bar.finish_and_clear());
    let summary = summary?;
    print(&if json { serde_json::to_string_pretty(&summary)? + "\n" } else { line(&summary) })?;
    summary.warnings.iter().for_each(|warning| eprintln!("depthcast: {warning}"));
    if summary.damage.is_none() {
        return Ok(Done::Whole);
    }
    let (lost, damage) = (summary.damage.frames_lost, &summary.damage);
    eprintln!("depthcast: {}: the recording is damaged, {lost} frames are lost", summary.file);
    damage.notes.iter().for_each(|note| eprintln!("  {note}"));
    Ok(Done::Damaged)
}

fn line(summary: &Summary) -> String {
    let Summary { dir, format, files, frames, points, bytes, .. } = summary;
    let of = if files == frames { String::new() } else { format!(" of {frames} frames") };
    let megabytes = *bytes as f64 / 1e6;
    format!("{dir}: {files} {} files{of}, {points} points, {megabytes:.1} MB\n", format.extension())
}
