//! When chunks end, and when the recording does.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::messages::Messages;
use super::writer::{Times, Writer};
use super::{CHUNK_TIME, Ending, RecordOptions};
use crate::clock::{Clock, HostTime};
use crate::frame::DepthFrame;
use crate::source::SourceInfo;
use crate::stats::RecordingStats;
use crate::words::count;

/// Frames may wait for the recorder for this long, if that is no more than so many bytes: disks
/// pause.
const QUEUE_S: f64 = 1.0;
const QUEUE_BYTES: u64 = 256 << 20;

/// Writes frames to a file.
pub struct Recorder {
    path: PathBuf,
    options: RecordOptions,
    clock: Arc<dyn Clock>,
    stats: Arc<RecordingStats>,
    /// For asking how much room its disk has.
    file: File,
    /// Until the file is finished.
    writer: Option<Writer>,
    messages: Messages,
    chunk: Chunk,
    /// The `log_time` of the first frame.
    first_log_ns: Option<u64>,
}

/// What the chunk that has not ended holds.
#[derive(Debug, Clone, Copy, Default)]
struct Chunk {
    /// When its first frame came, and that frame's `log_time`.
    start: Option<(HostTime, u64)>,
    frames: u64,
    color_images: u64,
}

impl Recorder {
    /// Creates the file at `path` and writes its start. The source is needed for the facts about
    /// it.
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
        let cannot = || format!("{name}: cannot be written");
        if path.exists() && !options.overwrite {
            bail!("{name}: exists already; --force replaces it, another name keeps it");
        }
        // Before an old file is gone.
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let disk = rustix::fs::statvfs(folder).with_context(cannot)?;
        if let Some(text) = low_disk(&disk, options.min_free_bytes) {
            bail!("{name}: {text}; make room, or give a smaller --min-free");
        }
        let mut open = OpenOptions::new();
        open.write(true).create(options.overwrite).truncate(options.overwrite);
        let file = open.create_new(!options.overwrite).open(path).with_context(cannot)?;
        let stats = Arc::new(RecordingStats::new(name.to_string(), options.compression.as_str()));
        let start = || -> io::Result<(Writer, Messages)> {
            let (file, saved_bytes) = (file.try_clone()?, Arc::clone(&stats.bytes));
            let mut writer = Writer::new(file, saved_bytes, options.compression, metadata(source))?;
            let messages = Messages::new(&mut writer, source, options.color)?;
            Ok((writer, messages))
        };
        let (writer, messages) = start()
            .inspect_err(|_| {
                if file.metadata().is_ok_and(|is| is.is_file()) {
                    let _ = std::fs::remove_file(path);
                }
            })
            .with_context(cannot)?;
        Ok(Self {
            path: path.to_owned(),
            options,
            clock,
            stats,
            file,
            writer: Some(writer),
            messages,
            chunk: Chunk::default(),
            first_log_ns: None,
        })
    }

    pub fn stats(&self) -> Arc<RecordingStats> {
        Arc::clone(&self.stats)
    }

    /// How many frames may wait for the recorder.
    pub fn queue_frames(&self) -> usize {
        let fps = self.messages.depth.nominal_fps;
        let by_time = (fps * QUEUE_S).ceil().clamp(8.0, 256.0) as u64;
        by_time.min(QUEUE_BYTES / self.messages.images_bytes()).max(4) as usize
    }

    /// Writes a frame, with its colour image where that is asked for and was not written with the
    /// frame before. Whatever becomes of the frame is counted.
    ///
    /// # Errors
    /// Why the recording has to end. [`finish`](Self::finish) saves what is in it.
    pub fn record(&mut self, frame: &DepthFrame) -> Result<(), Ending> {
        let arrived_ns = self.clock.unix_ns(frame.meta.arrived_at);
        let times = self.messages.times(frame.meta.device_time, arrived_ns);
        self.check_limits(times).inspect_err(|ending| {
            let counted =
                if ending.ends_the_run() { &self.stats.after_end } else { &*self.stats.dropped };
            counted.add(1);
        })?;
        let is_first = self.chunk.start.is_none();
        let (started_at, start_log_ns) =
            *self.chunk.start.get_or_insert((self.clock.now(), times.log_ns));
        self.chunk.frames += 1;
        if let Err(error) = self.write(frame, is_first, times, arrived_ns) {
            return Err(self.fail(&error));
        }
        let is_long = u128::from(times.log_ns.abs_diff(start_log_ns)) >= CHUNK_TIME.as_nanos();
        let is_full = self.writer.as_ref().is_some_and(Writer::is_chunk_full);
        if is_full || is_long || self.has_waited(started_at) { self.end_chunk() } else { Ok(()) }
    }

    fn write(
        &mut self,
        frame: &DepthFrame,
        is_first: bool,
        times: Times,
        arrived_ns: i64,
    ) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if is_first {
            self.messages.write_infos(writer, frame.meta.number as u32, times)?;
        }
        self.messages.write_depth(writer, frame, times)?;
        let has_color = self.messages.write_color(writer, frame, arrived_ns)?;
        self.chunk.color_images += u64::from(has_color);
        Ok(())
    }

    /// Writes out what has waited long enough; to be called when no frame comes.
    ///
    /// # Errors
    /// Why the recording has to end.
    pub fn tick(&mut self) -> Result<(), Ending> {
        match self.chunk.start {
            Some((started_at, _)) if self.has_waited(started_at) => self.end_chunk(),
            _ => Ok(()),
        }
    }

    /// Whether the chunk that started then has to end. Where a recording's chunks end must not
    /// depend on how fast this machine is.
    fn has_waited(&self, started_at: HostTime) -> bool {
        !self.messages.is_recording && self.clock.now().since(started_at) >= CHUNK_TIME
    }

    /// Saves what waits and ends the file.
    ///
    /// # Errors
    /// If that fails. What was saved before is still there.
    pub fn finish(mut self) -> Result<(), Ending> {
        if self.chunk.start.is_some()
            && let Err(ending @ Ending::Failed(_)) = self.end_chunk()
        {
            return Err(ending);
        }
        match self.writer.as_mut().map(Writer::finish) {
            Some(Err(error)) => Err(self.fail(&error)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Makes sure that a frame with these times makes the recording neither too long nor too large.
    fn check_limits(&mut self, times: Times) -> Result<(), Ending> {
        let first_log_ns = *self.first_log_ns.get_or_insert(times.log_ns);
        let recorded_ns = u128::from(times.log_ns.saturating_sub(first_log_ns));
        if self.options.max_duration.is_some_and(|limit| recorded_ns >= limit.as_nanos()) {
            return Err(Ending::MaxDuration);
        }
        let Some(max_bytes) = self.options.max_bytes else { return Ok(()) };
        let frame_bytes = self.messages.frame_bytes();
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

    fn end_chunk(&mut self) -> Result<(), Ending> {
        if let Some(Err(error)) = self.writer.as_mut().map(Writer::end_chunk) {
            return Err(self.fail(&error));
        }
        let Chunk { frames, color_images, .. } = std::mem::take(&mut self.chunk);
        self.stats.frames.add(frames);
        self.stats.color_images.add(color_images);
        // A system that can't say how much room there is may have enough.
        let disk = rustix::fs::fstatvfs(&self.file).ok();
        match disk.and_then(|disk| low_disk(&disk, self.options.min_free_bytes)) {
            Some(text) => Err(Ending::LowDisk(text)),
            None => Ok(()),
        }
    }

    /// Ends the file as well as that can be done, and counts what never reached it.
    fn fail(&mut self, error: &io::Error) -> Ending {
        let lost = std::mem::take(&mut self.chunk).frames;
        self.stats.dropped.add(lost);
        let has_end = match self.writer.take().map_or(Ok(()), Writer::give_up) {
            Ok(()) => "it can be read, but has no index",
            Err(_) => "it has no end, but can be read",
        };
        let (name, frames) = (self.path.display(), count(self.stats.frames.get(), "frame"));
        Ending::Failed(format!(
            "{name}: cannot be written ({error}); saved until then: {frames}; {has_end}"
        ))
    }
}

/// The facts about the source.
fn metadata(source: &SourceInfo) -> BTreeMap<String, String> {
    let facts = source.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let own = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("source", &source.name),
        ("kind", source.kind.as_str()),
    ];
    facts.chain(own.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// What to say where there is not enough room.
fn low_disk(disk: &rustix::fs::StatVfs, min_free_bytes: u64) -> Option<String> {
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    (free_bytes < min_free_bytes).then(|| {
        format!(
            "its disk has {:.2} GiB free, and {:.2} GiB are to stay free (--min-free)",
            gib(free_bytes),
            gib(min_free_bytes)
        )
    })
}
