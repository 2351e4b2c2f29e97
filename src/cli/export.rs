//! `depthcast export FILE --out DIR --format F`.

use std::sync::Arc;

use super::run::{as_usage, check_section};
use super::signals::stop_on_signals;
use super::status::bar;
use super::{Done, ExportArgs, print};
use crate::clock::MonotonicClock;
use crate::config::UsageError;
use crate::export::{Export, ExportSettings, Summary};
use crate::words::count;

pub(super) fn export(args: ExportArgs) -> anyhow::Result<Done> {
    check_section(args.from, args.to)?;
    let ExportArgs {
        file: recording,
        out: dir,
        format,
        from,
        to,
        every,
        topic,
        color,
        force,
        json,
    } = args;
    if color && !format.has_colors() {
        let text = format!(
            "--color: a .{} has no colours; ply, pcd and csv have, or leave --color out",
            format.extension()
        );
        return Err(UsageError(text).into());
    }
    let settings = ExportSettings { recording, dir, format, from, to, every, topic, color, force };
    let stop = stop_on_signals(None)?;
    let export = Export::open(settings, Arc::new(MonotonicClock::new())).map_err(as_usage)?;
    let bar = bar(export.expected_files());
    let summary = export.run(&stop, &mut |files| {
        let Some(bar) = &bar else { return };
        bar.set_position(files);
        if bar.length().is_none() {
            bar.set_message(count(files, "file"));
        }
    });
    bar.iter().for_each(|bar| bar.finish_and_clear());
    let summary = summary?;
    print(&if json { serde_json::to_string_pretty(&summary)? + "\n" } else { line(&summary) })?;
    summary.warnings.iter().for_each(|warning| eprintln!("depthcast: {warning}"));
    if summary.damage.is_none() {
        return Ok(Done::Whole);
    }
    let damage = &summary.damage;
    eprintln!("depthcast: {}: the recording is damaged: {damage}", summary.file);
    damage.notes.iter().for_each(|note| eprintln!("  {note}"));
    Ok(Done::Damaged)
}

fn line(summary: &Summary) -> String {
    let Summary { dir, format, files, frames, points, bytes, .. } = summary;
    let of =
        if files == frames { String::new() } else { format!(" of {}", count(frames, "frame")) };
    let (files, points) =
        (count(files, &format!("{} file", format.extension())), count(points, "point"));
    let megabytes = *bytes as f64 / 1e6;
    format!("{dir}: {files}{of}, {points}, {megabytes:.1} MB\n")
}
