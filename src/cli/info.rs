//! `depthcast info FILE`.

use std::fmt::{Display, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::flags::OverrideArgs;
use super::source::split_files;
use super::{Done, print, print_json};
use crate::camera::Extrinsics;
use crate::recording::{self, ReadOptions, RecordingInfo, StreamInfo};

#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    /// The recording: a file, several that belong together in order of time, or the folder of a
    /// rosbag2 recording
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Read all of a file above 32 MiB, to find damage anywhere in it; otherwise an intact index
    /// says how many frames there are, and of the frames only the first and the last are read
    #[arg(long)]
    check: bool,
    /// As JSON (depthcast.info.v1)
    #[arg(long)]
    json: bool,
}

pub(super) fn info(args: &InfoArgs) -> anyhow::Result<Done> {
    let (file, more_parts) = split_files(&args.files);
    let overrides = args.overrides.overrides();
    let options = ReadOptions { more_parts, overrides, ..ReadOptions::default() };
    let bytes = |file: &PathBuf| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let is_small = args.files.iter().map(bytes).sum::<u64>() <= recording::CHECKED_BYTES;
    let info = if args.check || is_small {
        recording::inspect(file, &options)?
    } else {
        recording::quick_inspect(file, &options)?
    };
    if args.json {
        print_json(&info)?
    } else {
        print(&table(&info)?)?
    }
    Ok(if info.damage.is_none() { Done::Whole } else { Done::Damaged })
}

fn table(info: &RecordingInfo) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let format = info
        .compression
        .map_or(info.format.to_owned(), |packing| format!("{} ({packing})", info.format));
    let complete = match (info.complete, info.checked) {
        (true, true) => "complete",
        (true, false) => "complete by its index (--check reads all of it)",
        (false, _) => "not complete",
    };
    writeln!(out, "{}: {format}, {:.3} s, {complete}", info.file, info.duration_s)?;
    let device = [("serial", &info.serial), ("firmware", &info.firmware)];
    let device: Vec<_> = device
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|v| format!(", {name} {v}")))
        .collect();
    if let Some(name) = &info.device {
        writeln!(out, "{name}{}", device.concat())?;
    }
    if let Some(domain) = info.timestamp_domain {
        writeln!(out, "time stamps of the {}", domain.as_str().replace('_', " "))?;
    }
    let encoding = |stream: &StreamInfo| stream.encoding.clone().unwrap_or("-".into());
    let wide =
        info.streams.iter().map(|stream| encoding(stream).chars().count()).fold(9, usize::max);
    writeln!(
        out,
        "\n{:<10} {:<10} {:>5} {:<wide$} {:>7}  {:<13} lens",
        "stream", "size", "fps", "encoding", "frames", "numbers"
    )?;
    for stream in &info.streams {
        writeln!(
            out,
            "{:<10} {:<10} {:>5} {:<wide$} {:>7}  {:<13} {}",
            stream.kind,
            pair(stream.width, "x", stream.height),
            stream.nominal_fps.map_or("-".into(), |fps| format!("{fps:.0}")),
            encoding(stream),
            stream.frames,
            pair(stream.first_frame_number, " to ", stream.last_frame_number),
            lens(stream),
        )?;
    }
    if !info.topics.is_empty() {
        let wide = info.topics.iter().map(|topic| topic.name.chars().count()).fold(5, usize::max);
        writeln!(out, "\n{:<wide$} {:>8} {:>9}  type", "topic", "messages", "seconds")?;
        for topic in &info.topics {
            let seconds = topic.duration_s.map_or("-".into(), |seconds| format!("{seconds:.3}"));
            let (name, messages, schema) = (&topic.name, topic.messages, &topic.schema);
            writeln!(out, "{name:<wide$} {messages:>8} {seconds:>9}  {schema}")?;
        }
    }
    details(&mut out, info)?;
    // Names that --topic takes; where there is nothing to choose they are of no use.
    let is_one_of_several =
        |s: &StreamInfo| info.streams.iter().filter(|other| other.kind == s.kind).count() > 1;
    if info.streams.iter().any(is_one_of_several) {
        writeln!(out, "\n{:<10} topic", "stream")?;
        info.streams
            .iter()
            .try_for_each(|stream| writeln!(out, "{:<10} {}", stream.kind, stream.topic))?;
    }
    if let Some(refusal) = &info.refusal {
        writeln!(out, "\n`replay` refuses it: {refusal}")?;
    }
    let damage = &info.damage;
    damage.remarks.iter().try_for_each(|remark| writeln!(out, "\nnote: {remark}"))?;
    if !damage.is_none() {
        writeln!(out, "\ndamaged: {damage}")?;
        damage.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))?;
    }
    Ok(out)
}

/// Where the cameras are, and which metadata single frames have.
fn details(out: &mut String, info: &RecordingInfo) -> std::fmt::Result {
    let placed: Vec<_> =
        info.streams.iter().filter_map(|s| Some((&s.kind, s.from_depth.as_ref()?))).collect();
    if !placed.is_empty() {
        writeln!(out, "\n{:<10} from the depth camera's frame into its own", "stream")?;
    }
    for (kind, place) in placed {
        let [x, y, z] = place.translation_m.map(|t| 1000.0 * t);
        writeln!(
            out,
            "{kind:<10} moved by {x:.2}, {y:.2}, {z:.2} mm, turned by {:.3} degrees",
            turned_degrees(place)
        )?;
    }
    let described: Vec<_> =
        info.streams.iter().filter(|stream| !stream.metadata.is_empty()).collect();
    if !described.is_empty() {
        writeln!(out, "\n{:<10} metadata of single frames", "stream")?;
    }
    described
        .iter()
        .try_for_each(|stream| writeln!(out, "{:<10} {}", stream.kind, stream.metadata.join(", ")))
}

/// The angle of a rotation: its sine by the antisymmetric part of the matrix, its cosine by the
/// trace. Either alone is blunt somewhere.
fn turned_degrees(place: &Extrinsics) -> f64 {
    let r = place.rotation.map(f64::from);
    let axis = [r[5] - r[7], r[6] - r[2], r[1] - r[3]];
    let (sine, cosine) =
        (axis.iter().map(|v| v * v).sum::<f64>().sqrt() / 2.0, (r[0] + r[4] + r[8] - 1.0) / 2.0);
    sine.atan2(cosine).to_degrees()
}

fn pair<T: Display>(a: Option<T>, between: &str, b: Option<T>) -> String {
    match (a, b) {
        (Some(a), Some(b)) => format!("{a}{between}{b}"),
        _ => "-".into(),
    }
}

fn lens(stream: &StreamInfo) -> String {
    let (Some(fx), Some(fy), Some(ppx), Some(ppy)) = (stream.fx, stream.fy, stream.ppx, stream.ppy)
    else {
        return "-".into();
    };
    let units = stream.depth_units_m.map_or(String::new(), |units| format!(", {units} m per step"));
    let distortion = stream.distortion.map_or("", |d| d.as_str()).replace('_', " ");
    let coeffs = stream
        .coeffs
        .filter(|coeffs| *coeffs != [0.0; 5])
        .map_or(String::new(), |coeffs| format!(" {coeffs:?}"));
    format!("fx {fx:.2} fy {fy:.2} ppx {ppx:.2} ppy {ppy:.2}, {distortion}{coeffs}{units}")
}
