//! Every depth frame of a recording as a line of JSON, for comparison with other readers: `cargo
//! run --release --example frames -- x.bag`.
//!
//! `--color` adds the colour image that belongs to each frame. Sums are those of the raw depth;
//! `crc32` is of its u16 in little endian, row by row, and of the colour's bytes.

use std::path::Path;
use std::sync::Arc;

use depthcast::clock::{HostTime, MonotonicClock};
use depthcast::frame::DepthFrame;
use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
use depthcast::source::{Delivery, FrameSource as _};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let (flags, files): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let [file] = &files[..] else { anyhow::bail!("give one recording") };
    let options = ReplayOptions {
        pace: Pace::Max,
        color: flags.contains(&"--color".to_owned()),
        ..ReplayOptions::default()
    };
    let mut source =
        RecordingSource::open(Path::new(file), options, Arc::new(MonotonicClock::new()))?;
    let intrinsics = source.info().stream.intrinsics;
    let mut frame = DepthFrame::new(intrinsics.width, intrinsics.height);
    loop {
        match source.next_frame(&mut frame, HostTime::from_ns(u64::MAX))? {
            Delivery::Frame => println!("{}", line(&frame)),
            Delivery::Idle => {}
            Delivery::End => break,
        }
    }
    let damage = source.damage();
    anyhow::ensure!(damage.is_none(), "{file}: damaged: {damage:?}");
    Ok(())
}

fn line(frame: &DepthFrame) -> serde_json::Value {
    let bytes: Vec<u8> = frame.depth.iter().flat_map(|value| value.to_le_bytes()).collect();
    let metadata = frame
        .meta
        .metadata
        .values()
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    json!({
        "number": frame.meta.number,
        "stamp_ms": frame.meta.device_time.map(|time| time.ms),
        "domain": frame.meta.device_time.map(|time| time.domain.as_str()),
        "depth_units_m": frame.meta.depth_units_m,
        "sum": frame.depth.iter().map(|&value| u64::from(value)).sum::<u64>(),
        "crc32": crc32fast::hash(&bytes),
        "metadata": serde_json::Map::from_iter(metadata),
        "color": frame.color.as_ref().map(|image| json!({"number": image.number, "crc32": crc32fast::hash(&image.bytes)})),
    })
}
