//! Writes the depth frames of a recording to files, one for each frame.
//!
//! Each worker has one frame, one cloud and one output buffer, and takes the next frame from the
//! reader when its file is done, so memory stays at a few frames however long the recording is.
//! Files appear under their names whole or not at all.

mod files;
pub mod formats;

use std::ffi::OsString;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;

use self::files::{Names, write_file};
use self::formats::Encoder;
pub use self::formats::Format;
use crate::clock::{Clock, HostTime};
use crate::frame::DepthFrame;
use crate::pipeline::Stop;
use crate::recording::{Damage, ReadOptions};
use crate::source::recording::{Pace, RecordingSource, ReplayOptions};
use crate::source::{Delivery, FrameSource as _};
use crate::words::count;

/// The contract that [`Summary`] follows when it is written as JSON.
pub const EXPORT_SCHEMA: &str = "depthcast.export.v1";

/// More workers would only hold more memory: disks and the one reader do not keep up with them.
const MOST_WORKERS: usize = 8;

/// What is exported, and where to.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    pub recording: PathBuf,
    /// The folder for the files. It is made if it does not exist.
    pub dir: PathBuf,
    pub format: Format,
    /// As in [`ReplayOptions`].
    pub from: Option<Duration>,
    pub to: Option<Duration>,
    /// Of so many frames, the first.
    pub every: NonZeroU64,
    pub read: ReadOptions,
    /// Give points the colours of the recording's colour camera.
    pub color: bool,
    /// Replace files that exist.
    pub force: bool,
}

/// The result of an export.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub schema: &'static str,
    /// The recording's path as it was given.
    pub file: String,
    pub dir: String,
    pub format: Format,
    /// Files written.
    pub files: u64,
    /// Frames read, those between the exported ones included.
    pub frames: u64,
    /// Pixels with depth in the exported frames: the points of their clouds.
    pub points: u64,
    /// Of all files together.
    pub bytes: u64,
    pub damage: Damage,
    pub warnings: Vec<String>,
}

/// An export that is ready to run.
pub struct Export {
    settings: ExportSettings,
    clock: Arc<dyn Clock>,
    frames: Frames,
    encoders: Vec<Encoder>,
}

impl Export {
    /// Opens the recording. Nothing is written yet.
    ///
    /// # Errors
    /// If the recording cannot be read or projected, or if the folder is none.
    pub fn open(settings: ExportSettings, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let frames = Frames::open(&settings, &clock)?;
        let workers = available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        let encoders = (0..workers)
            .map(|_| Encoder::new(settings.format, frames.source.info()))
            .collect::<Result<_, _>>()
            .with_context(|| settings.recording.display().to_string())?;
        if settings.dir.exists() && !settings.dir.is_dir() {
            bail!("--out {}: this is a file; give a folder", settings.dir.display());
        }
        Ok(Self { settings, clock, frames, encoders })
    }

    /// How many files there will be, where the recording knows.
    pub fn expected_files(&self) -> Option<u64> {
        let frames = self.frames.source.info().expected_frames;
        frames.map(|frames| frames.div_ceil(self.settings.every.get()))
    }

    /// Writes all files. After each, `on_file` gets how many there are by now.
    ///
    /// # Errors
    /// The first error of the reader or of a worker ends the export, and so does `stop`. What was
    /// written until then is whole and stays.
    pub fn run(
        self,
        stop: &Stop,
        on_file: &mut (dyn FnMut(u64) + Send),
    ) -> anyhow::Result<Summary> {
        if !self.settings.force {
            self.refuse_existing(stop)?;
        }
        let Self { settings, frames, encoders, .. } = self;
        let ExportSettings { dir, format, recording, force, from: settings_from, .. } = settings;
        let is_new_dir = !dir.exists();
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("--out {}: cannot be made", dir.display()))?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(encoders.len())
            .thread_name(|n| format!("export{n}"))
            .build()
            .context("cannot start the export's threads")?;
        let summary = Summary {
            schema: EXPORT_SCHEMA,
            file: recording.display().to_string(),
            dir: dir.display().to_string(),
            format,
            files: 0,
            frames: 0,
            points: 0,
            bytes: 0,
            damage: Damage::default(),
            warnings: Vec::new(),
        };
        let shared = Mutex::new(Shared { frames, summary, too_far: 0, error: None, stop, on_file });
        pool.scope(|scope| {
            let (shared, dir) = (&shared, &dir);
            for encoder in encoders {
                scope.spawn(move |_| work(encoder, shared, dir, force));
            }
        });

        let Shared { frames, mut summary, too_far, error, .. } =
            shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        let files = summary.files;
        if is_new_dir && files == 0 {
            // Nobody needs an empty folder; one that has something in it stays.
            let _ = std::fs::remove_dir(&dir);
        }
        if let Some(error) = error {
            return Err(error.context(format!("the export ended early (files written: {files})")));
        }
        summary.frames = frames.read;
        summary.damage = frames.source.damage();
        summary.warnings.extend(frames.names.warning());
        if files == 0 {
            let is_from = if settings_from.is_some() { "; is --from after the end?" } else { "" };
            summary.warnings.push(format!("no frame was exported{is_from}"));
        }
        if too_far > 0 {
            summary.warnings.push(format!(
                "{} with a depth that 16 bits in millimetres cannot hold (under 0.5 mm, or over \
                 65.535 m) {} 0 in the images; --format npy keeps it",
                count(too_far, "pixel"),
                if too_far == 1 { "is" } else { "are" }
            ));
        }
        Ok(summary)
    }

    /// Looks for files that are in the way before the first is written. Only where some might be,
    /// this takes a pass through the recording.
    fn refuse_existing(&self, stop: &Stop) -> anyhow::Result<()> {
        let dir = &self.settings.dir;
        if !self.frames.names.may_be_in(dir).with_context(|| format!("--out {}", dir.display()))? {
            return Ok(());
        }
        let mut frames = Frames::open(&self.settings, &self.clock)?;
        let mut frame = DepthFrame::default();
        while let Some(name) = frames.next(&mut frame, stop)? {
            let path = dir.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(explain(io::ErrorKind::AlreadyExists.into(), &path));
            }
        }
        Ok(())
    }
}

/// The frames to export, in order, each with the name of its file.
struct Frames {
    source: RecordingSource,
    every: NonZeroU64,
    names: Names,
    read: u64,
}

impl Frames {
    fn open(settings: &ExportSettings, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let options = ReplayOptions {
            pace: Pace::Max,
            from: settings.from,
            to: settings.to,
            read: settings.read.clone(),
            color: settings.color,
            ..ReplayOptions::default()
        };
        Ok(Self {
            source: RecordingSource::open(&settings.recording, options, Arc::clone(clock))?,
            every: settings.every,
            names: Names::new(&settings.recording, settings.format.extension()),
            read: 0,
        })
    }

    fn next(&mut self, frame: &mut DepthFrame, stop: &Stop) -> anyhow::Result<Option<OsString>> {
        loop {
            if stop.is_asked() {
                bail!("interrupted");
            }
            // Waits for nothing, so that a stop is noticed also where frames are far between.
            match self.source.next_frame(frame, HostTime::default())? {
                Delivery::Frame => {
                    self.read += 1;
                    if (self.read - 1).is_multiple_of(self.every.get()) {
                        return Ok(Some(self.names.next(frame.meta.number)));
                    }
                }
                Delivery::Idle => {}
                Delivery::End => return Ok(None),
            }
        }
    }
}

/// What the workers share.
struct Shared<'a> {
    frames: Frames,
    summary: Summary,
    /// Pixels whose depth no file can hold.
    too_far: u64,
    /// The first one, which ends the work of all.
    error: Option<anyhow::Error>,
    stop: &'a Stop,
    on_file: &'a mut (dyn FnMut(u64) + Send),
}

/// A file: its points, its bytes, and the pixels whose depth it cannot hold.
type Written = (u64, u64, u64);

impl Shared<'_> {
    /// Accounts for the file before, then reads the next frame into `frame`. Returns the name of
    /// its file, or None if there is no more to do.
    fn next(
        &mut self,
        done: Option<anyhow::Result<Written>>,
        frame: &mut DepthFrame,
    ) -> Option<OsString> {
        let result = done.transpose().and_then(|done| {
            if let Some((points, bytes, too_far)) = done {
                self.too_far += too_far;
                self.summary.files += 1;
                self.summary.points += points;
                self.summary.bytes += bytes;
                (self.on_file)(self.summary.files);
            }
            if self.error.is_some() { Ok(None) } else { self.frames.next(frame, self.stop) }
        });
        result.unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            None
        })
    }
}

/// Reads frame after frame and makes a file of each.
fn work(mut encoder: Encoder, shared: &Mutex<Shared>, dir: &Path, replace: bool) {
    let (mut frame, mut done) = (DepthFrame::default(), None);
    // A poisoned lock means that another worker has panicked, which the pool reports at the end.
    while let Some(name) =
        shared.lock().ok().and_then(|mut shared| shared.next(done.take(), &mut frame))
    {
        done = Some(write(&mut encoder, &frame, &dir.join(name), replace));
    }
}

fn write(
    encoder: &mut Encoder,
    frame: &DepthFrame,
    path: &Path,
    replace: bool,
) -> anyhow::Result<Written> {
    let points = encoder.project(frame).with_context(|| path.display().to_string())? as u64;
    let bytes = write_file(path, replace, |out| encoder.write(frame, out))
        .map_err(|error| explain(error, path))?;
    let is_lost = |(&metres, &steps): (&f32, &u16)| metres > 0.0 && steps == 0;
    let too_far = match encoder.format {
        Format::Png => frame.depth_m.iter().zip(&frame.depth).filter(|p| is_lost(*p)).count(),
        _ => 0,
    };
    Ok((points, bytes, too_far as u64))
}

/// Which file could not be written, and what to do.
fn explain(error: io::Error, path: &Path) -> anyhow::Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            anyhow!("{path}: exists already; --force replaces such files, another --out keeps them")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            anyhow!("{path}: there is no room for it ({error}); make some, or give another --out")
        }
        _ => anyhow::Error::from(error).context(format!("{path}: cannot be written")),
    }
}
