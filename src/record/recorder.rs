//! Which messages a frame becomes, when chunks end, and when the recording does.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::channels::Channels;
use super::file::ChunkFile;
use super::writer::{Times, Writer};
use super::{CHUNK_TIME, COLOR_FRAME, DEPTH_FRAME, Ending, RecordOptions, messages};
use crate::clock::{Clock, DeviceTime, HostTime};
use crate::frame::{ColorImage, DepthFrame, FrameMetadata};
use crate::source::{ColorStream, DepthStream, SourceInfo, SourceKind};
use crate::stats::RecordingStats;
use crate::words::count;

/// Frames may wait for the recorder for this long, if that is no more than so many bytes: disks
/// pause.
const QUEUE_S: f64 = 1.0;
const QUEUE_BYTES: u64 = 256 << 20;
/// The most bytes of all messages beside images that a frame brings.
const SMALL_MESSAGES_BYTES: u64 = 4 << 10;

/// Writes frames to a file.
pub struct Recorder {
    path: PathBuf,
    options: RecordOptions,
    clock: Arc<dyn Clock>,
    is_recording: bool,
    depth: DepthStream,
    color: Option<ColorStream>,
    stats: Arc<RecordingStats>,
    /// For asking how much room its disk has.
    file: File,
    /// Until the file is finished.
    writer: Option<Writer>,
    channels: Channels,
    chunk: Chunk,
    /// The `log_time` of the first frame.
    first_log_ns: Option<u64>,
    /// The colour image written last. As long as it is held, no other can have its place in memory.
    last_color: Option<Arc<ColorImage>>,
    /// The bytes of a message; kept.
    message: Vec<u8>,
}

/// What the chunk that has not ended holds.
#[derive(Debug, Clone, Copy, Default)]
struct Chunk {
    /// When its first frame came, and that frame's `log_time`.
    begun: Option<(HostTime, u64)>,
    frames: u64,
    color_images: u64,
}

impl Recorder {
    /// Creates the file at `path` and writes its begin. The source is needed for what it tells of
    /// itself.
    ///
    /// # Errors
    /// If the file exists already and is not to be replaced, if it can't be written, or if its disk
    /// has less room than is to stay free.
    pub fn create(
        path: &Path,
        source: &SourceInfo,
        options: RecordOptions,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let name = path.display();
        if path.exists() && !options.overwrite {
            bail!("{name}: exists already; --force replaces it, another name keeps it");
        }
        // Before an old file is gone.
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let free_bytes = free_bytes(rustix::fs::statvfs(folder))
            .with_context(|| format!("{name}: cannot be written"))?;
        if let Some(text) = low_disk(free_bytes, options.min_free_bytes) {
            bail!("{name}: {text}; make room, or give a smaller --min-free");
        }
        let mut open = OpenOptions::new();
        if options.overwrite {
            open.create(true).truncate(true)
        } else {
            open.create_new(true)
        };
        let file =
            open.write(true).open(path).with_context(|| format!("{name}: cannot be written"))?;
        let color = source.color.clone().filter(|_| options.color);
        let stats = Arc::new(RecordingStats::new(name.to_string(), options.compression.as_str()));
        let begin = || -> io::Result<(Writer, Channels)> {
            let chunk_file = ChunkFile::new(file.try_clone()?, Arc::clone(&stats.bytes));
            let mut writer = Writer::new(chunk_file, options.compression, metadata(source))?;
            let channels = Channels::add(&mut writer, &source.stream, color.as_ref())?;
            Ok((writer, channels))
        };
        let (writer, channels) = begin()
            .inspect_err(|_| {
                if file.metadata().is_ok_and(|is| is.is_file()) {
                    let _ = std::fs::remove_file(path);
                }
            })
            .with_context(|| format!("{name}: cannot be written"))?;
        Ok(Self {
            path: path.to_owned(),
            options,
            clock,
            is_recording: source.kind == SourceKind::Recording,
            depth: source.stream.clone(),
            color,
            stats,
            file,
            writer: Some(writer),
            channels,
            chunk: Chunk::default(),
            first_log_ns: None,
            last_color: None,
            message: Vec::new(),
        })
    }

    pub fn stats(&self) -> Arc<RecordingStats> {
        Arc::clone(&self.stats)
    }

    /// How many frames may wait for the recorder.
    pub fn queue_frames(&self) -> usize {
        let by_time = (self.depth.nominal_fps * QUEUE_S).ceil().clamp(8.0, 256.0) as u64;
        by_time.min(QUEUE_BYTES / self.images_bytes()).max(4) as usize
    }

    /// Bytes of a depth image and a colour image.
    fn images_bytes(&self) -> u64 {
        let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
        let (depth, color) = (&self.depth.intrinsics, self.color.as_ref());
        let color_bytes = color.map_or(0, |c| {
            pixels(c.intrinsics.width, c.intrinsics.height) * c.format.bytes_per_pixel() as u64
        });
        2 * pixels(depth.width, depth.height) + color_bytes
    }

    /// Writes a frame, with its colour image where that is asked for and was not written with the
    /// frame before. Whatever becomes of the frame is counted.
    ///
    /// # Errors
    /// Why the recording has to end. [`finish`](Self::finish) saves what is in it.
    pub fn record(&mut self, frame: &DepthFrame) -> Result<(), Ending> {
        let arrived_ns = self.clock.unix_ns(frame.meta.arrived_at);
        let stamp_ns = frame.meta.device_time.map_or(arrived_ns, whole_ns);
        let times = self.times(stamp_ns, arrived_ns);
        let first_log_ns = *self.first_log_ns.get_or_insert(times.log_ns);
        let recorded_ns = u128::from(times.log_ns.saturating_sub(first_log_ns));
        let is_over =
            self.options.max_duration.is_some_and(|limit| recorded_ns >= limit.as_nanos());
        if let Err(ending) = if is_over { Err(Ending::MaxDuration) } else { self.make_room() } {
            let counted = if ending.ends_the_run() {
                &self.stats.after_end
            } else {
                self.stats.dropped.as_ref()
            };
            counted.add(1);
            return Err(ending);
        }
        let is_first = self.chunk.begun.is_none();
        let (begun_at, begun_log_ns) =
            *self.chunk.begun.get_or_insert((self.clock.now(), times.log_ns));
        self.chunk.frames += 1;
        if let Err(error) = self.write(frame, is_first, times, arrived_ns) {
            return Err(self.failed(&error));
        }
        let is_long = u128::from(times.log_ns.abs_diff(begun_log_ns)) >= CHUNK_TIME.as_nanos();
        let is_full = self.writer.as_ref().is_some_and(Writer::is_chunk_full);
        if is_full || is_long || self.has_waited(begun_at) { self.end_chunk() } else { Ok(()) }
    }

    /// Writes out what has waited long enough; to be called when no frame comes.
    ///
    /// # Errors
    /// Why the recording has to end.
    pub fn tick(&mut self) -> Result<(), Ending> {
        match self.chunk.begun {
            Some((begun_at, _)) if self.has_waited(begun_at) => self.end_chunk(),
            _ => Ok(()),
        }
    }

    /// Whether the chunk that begun then has to end. Where a recording's chunks end shall not
    /// depend on how fast this machine is.
    fn has_waited(&self, begun_at: HostTime) -> bool {
        !self.is_recording && self.clock.now().since(begun_at) >= CHUNK_TIME
    }

    /// Saves what waits and ends the file.
    ///
    /// # Errors
    /// If that fails. What was saved before is still there.
    pub fn finish(mut self) -> Result<(), Ending> {
        if self.chunk.begun.is_some()
            && let Err(ending @ Ending::Failed(_)) = self.end_chunk()
        {
            return Err(ending);
        }
        match self.writer.as_mut().map(Writer::finish) {
            Some(Err(error)) => Err(self.failed(&error)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Sees to it that a frame more does not make the file too large.
    fn make_room(&mut self) -> Result<(), Ending> {
        let Some(max_bytes) = self.options.max_bytes else { return Ok(()) };
        let frame_bytes = self.images_bytes() + SMALL_MESSAGES_BYTES;
        for is_last_try in [false, true] {
            let growth_bytes =
                self.writer.as_ref().map_or(0, |writer| writer.growth_bytes(frame_bytes));
            if self.stats.bytes.get() + growth_bytes <= max_bytes {
                return Ok(());
            }
            // The chunk may become much smaller than what is in it.
            if !is_last_try && self.chunk.frames > 0 {
                self.end_chunk()?;
            }
        }
        Err(Ending::MaxSize)
    }

    fn times(&self, stamp_ns: i64, arrived_ns: i64) -> Times {
        let log_ns = if self.is_recording { stamp_ns } else { arrived_ns };
        Times {
            log_ns: u64::try_from(log_ns).unwrap_or(0),
            stamp_ns: u64::try_from(stamp_ns).unwrap_or(0),
        }
    }

    fn write(
        &mut self,
        frame: &DepthFrame,
        is_first: bool,
        times: Times,
        arrived_ns: i64,
    ) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let (bytes, channels) = (&mut self.message, &mut self.channels);
        let sequence = frame.meta.number as u32;
        // As it is written: ROS has no time before 1970.
        let stamp_ns = times.stamp_ns.cast_signed();
        if is_first {
            messages::camera_info(bytes, stamp_ns, DEPTH_FRAME, &self.depth.intrinsics);
            writer.message(channels.depth_info, sequence, times, bytes)?;
            if let Some(color) = &self.color {
                messages::camera_info(bytes, stamp_ns, COLOR_FRAME, &color.intrinsics);
                writer.message(channels.color_info, sequence, times, bytes)?;
                messages::transform(bytes, stamp_ns, [DEPTH_FRAME, COLOR_FRAME], &color.from_depth);
                writer.message(channels.transforms, sequence, times, bytes)?;
            }
        }
        let has_metadata = frame.meta.metadata != FrameMetadata::default()
            || frame
                .meta
                .device_time
                .is_some_and(|time| time.domain != self.depth.timestamp_domain);
        // Before the image, so that who has come to that knows that there is something behind it.
        let metadata = if has_metadata { Some(Channels::depth_metadata(writer)?) } else { None };
        let depth_image = channels.depth_image(writer, &self.depth, frame.meta.depth_units_m)?;
        messages::depth_image(bytes, stamp_ns, DEPTH_FRAME, frame);
        writer.message(depth_image, sequence, times, bytes)?;
        if let Some(metadata) = metadata {
            messages::metadata(bytes, stamp_ns, DEPTH_FRAME, &frame.meta);
            writer.message(metadata, sequence, times, bytes)?;
        }

        let is_new = |image: &&Arc<ColorImage>| {
            !self.last_color.as_ref().is_some_and(|last| Arc::ptr_eq(last, image))
        };
        if let Some(image) = frame.color.as_ref().filter(|_| self.color.is_some()).filter(is_new) {
            let stamp_ns = image.device_time.map_or(arrived_ns, whole_ns);
            let times = self.times(stamp_ns, arrived_ns);
            let Some(writer) = &mut self.writer else { return Ok(()) };
            messages::color_image(
                &mut self.message,
                times.stamp_ns.cast_signed(),
                COLOR_FRAME,
                image,
            );
            writer.message(self.channels.color_image, image.number as u32, times, &self.message)?;
            self.last_color = Some(Arc::clone(image));
            self.chunk.color_images += 1;
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), Ending> {
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::end_chunk) {
            return Err(self.failed(&error));
        }
        self.chunk_is_saved();
        match free_bytes(rustix::fs::fstatvfs(&self.file))
            .map(|free| low_disk(free, self.options.min_free_bytes))
        {
            Ok(Some(text)) => Err(Ending::LowDisk(text)),
            // Who can't say how much room there is may have enough.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn chunk_is_saved(&mut self) {
        let Chunk { frames, color_images, .. } = std::mem::take(&mut self.chunk);
        self.stats.frames.add(frames);
        self.stats.color_images.add(color_images);
    }

    /// Ends the file as well as that can be done, and counts what never reached it.
    fn failed(&mut self, error: &io::Error) -> Ending {
        let lost = std::mem::take(&mut self.chunk).frames;
        self.stats.dropped.add(lost);
        let ended = self.writer.take().map_or(Ok(()), Writer::give_up);
        let has_end = if ended.is_ok() {
            "it can be read, but has no index"
        } else {
            "it has no end, but can be read"
        };
        let (name, frames) = (self.path.display(), count(self.stats.frames.get(), "frame"));
        Ending::Failed(format!(
            "{name}: cannot be written ({error}); saved until then: {frames}; {has_end}"
        ))
    }
}

/// What the file tells of its source.
fn metadata(source: &SourceInfo) -> BTreeMap<String, String> {
    let facts = source.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let own = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("source", &source.name),
        ("kind", source.kind.as_str()),
    ];
    facts.chain(own.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// Whole milliseconds and their rest apart: as one number, nanoseconds since 1970 have more digits
/// than an f64.
fn whole_ns(time: DeviceTime) -> i64 {
    let whole_ms = time.ms.floor();
    (whole_ms as i64)
        .saturating_mul(1_000_000)
        .saturating_add(((time.ms - whole_ms) * 1e6).round() as i64)
}

fn free_bytes(answer: rustix::io::Result<rustix::fs::StatVfs>) -> io::Result<u64> {
    Ok(answer.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))?)
}

/// What to say where there is not enough room.
fn low_disk(free_bytes: u64, min_free_bytes: u64) -> Option<String> {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    (free_bytes < min_free_bytes).then(|| {
        format!(
            "its disk has {:.2} GiB free, and {:.2} GiB are to stay free (--min-free)",
            gib(free_bytes),
            gib(min_free_bytes)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TimestampDomain;

    #[test]
    fn stamps_are_whole_nanoseconds_also_since_1970() {
        let ns = |ms| whole_ns(DeviceTime { ms, domain: TimestampDomain::Unknown });
        assert_eq!(ns(11.111_111), 11_111_111);
        assert_eq!(ns(1_732_420_000_123.25), 1_732_420_000_123_250_000);
        assert_eq!(ns(-0.5), -500_000);
        assert_eq!(ns(f64::NAN), 0);
    }
}
