//! `depthcast export FILE --out DIR --format F`.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::flags::SectionArgs;
use super::source::{as_usage, split_files};
use super::status::bar;
use super::terminal::stop_on_signals;
use super::{Done, one_of, print, print_json};
use crate::clock::MonotonicClock;
use crate::config::UsageError;
use crate::export::{Export, ExportSettings, Format, Summary};
use crate::recording::ReadOptions;
use crate::words::count;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The recording: a file, several that belong together in order of time, or the folder of a
    /// rosbag2 recording
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The folder for the files; it is made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// ply and pcd: binary clouds; npy: float32 (N,3); csv: x,y,z as text; png: the raw depth as
    /// 16-bit grey
    #[arg(long, value_parser = one_of::<Format>(&["ply", "pcd", "npy", "png", "csv"]))]
    format: Format,
    #[command(flatten)]
    section: SectionArgs,
    /// Only the first of every N frames
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_every)]
    every: NonZeroU64,
    /// Give points the colours of the recording's colour camera (ply, pcd, csv)
    #[arg(long)]
    color: bool,
    /// Replace files that exist already
    #[arg(long)]
    force: bool,
    /// Print a summary as JSON (depthcast.export.v1)
    #[arg(long)]
    json: bool,
}

fn parse_every(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| "give a whole number, 1 or more; 1 takes all frames")
}

pub(super) fn export(args: ExportArgs) -> anyhow::Result<Done> {
    let ExportArgs { files, out: dir, format, section, every, color, force, json } = args;
    section.check()?;
    let SectionArgs { from, to, topic, overrides } = section;
    let (recording, more_parts) = split_files(&files);
    let (recording, overrides) = (recording.to_owned(), overrides.overrides());
    let without_lens = format == Format::Png;
    let read = ReadOptions { more_parts, topic, overrides, without_lens };
    if color && !format.has_colors() {
        let text = format!(
            "--color: a .{} has no colours; ply, pcd and csv have, or leave --color out",
            format.extension()
        );
        return Err(UsageError(text).into());
    }
    let settings = ExportSettings { recording, dir, format, from, to, every, read, color, force };
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
    if json {
        print_json(&summary)?
    } else {
        print(&line(&summary))?
    }
    summary.warnings.iter().for_each(|warning| eprintln!("depthcast: {warning}"));
    let remarks = summary.damage.remarks.iter();
    remarks.for_each(|remark| eprintln!("depthcast: {}: {remark}", summary.file));
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
