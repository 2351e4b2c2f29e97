//! The depth frames of a recording, each with its colour image where that was asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::DeviceTime;
use crate::frame::{COLOR_BUFFERS, ColorImage, ColorStream, DepthFrame};
use crate::pairing::{MAX_APART, Pairs, Patience};
use crate::pool::Pool;
use crate::recording::ReadOptions;
use crate::recording::container::RecordingError;
use crate::recording::reader::assembler::FrameFacts;
use crate::recording::reader::images::{Found, ImageReader, Step};

/// Reads the depth frames of a recording.
pub struct Frames {
    pub reader: ImageReader,
    /// Without colour, frames go straight from the reader to their receiver.
    color: Option<Coloring>,
}

/// Reads ahead until a depth frame's colour image is certain.
struct Coloring {
    pairs: Pairs<Waiting, Arc<ColorImage>>,
    pool: Pool<ColorImage>,
    /// Depth buffers that are free.
    spare: Vec<(Vec<u16>, Vec<f32>)>,
    /// What the last step found.
    found: Option<(Waiting, Option<Arc<ColorImage>>)>,
    /// What has to be added to the colour images' stamps in this pass.
    offset_ns: i64,
}

/// A depth frame that waits for its colour image.
struct Waiting {
    facts: FrameFacts,
    depth: Vec<u16>,
    depth_m: Vec<f32>,
}

impl Frames {
    pub fn open(
        path: &Path,
        options: &ReadOptions,
        with_color: bool,
    ) -> Result<Self, RecordingError> {
        let reader = ImageReader::open(path, options, with_color)?;
        let color = reader.color().map(Coloring::new);
        Ok(Self { reader, color })
    }

    /// Reads on to the next frame, at most to the end of a chunk.
    pub fn step(&mut self) -> Result<Step<FrameFacts>, RecordingError> {
        let Some(color) = &mut self.color else {
            return Ok(match self.reader.step()? {
                Step::Found(Found::Depth(facts)) => Step::Found(facts),
                Step::Found(Found::Color(_)) | Step::More => Step::More,
                Step::End => Step::End,
            });
        };
        if let Some((used, _)) = color.found.take() {
            color.spare.push((used.depth, used.depth_m));
        }
        color.found = color.pairs.next();
        let mut is_over = false;
        if color.found.is_none() {
            is_over = !color.read(&mut self.reader)?;
            color.found = color.pairs.next();
        }
        Ok(match &color.found {
            Some((waiting, _)) => Step::Found(waiting.facts),
            None if is_over => Step::End,
            None => Step::More,
        })
    }

    /// Writes depth and colour of the frame that [`Frames::step`] found last into `frame`, which
    /// has the stream's size.
    pub fn take(&mut self, frame: &mut DepthFrame) {
        frame.color = None;
        match self.color.as_mut().map(|color| &mut color.found) {
            None => self.reader.take_depth(&mut frame.depth, &mut frame.depth_m),
            Some(Some((waiting, color))) => {
                std::mem::swap(&mut frame.depth, &mut waiting.depth);
                std::mem::swap(&mut frame.depth_m, &mut waiting.depth_m);
                frame.color = color.take();
            }
            Some(None) => {}
        }
    }

    /// Goes to the first frame at or after `since_first`, counted from the recording's first, or to
    /// one before it; damage is counted anew. `offset_ns` is added to the stamps from here on.
    pub fn seek(&mut self, since_first: Duration, offset_ns: i64) -> Result<(), RecordingError> {
        // The nearest colour image may come before the depth frame.
        let margin = if self.color.is_some() { MAX_APART } else { Duration::ZERO };
        self.reader.seek(as_ns(since_first.saturating_sub(margin)))?;
        if let Some(color) = &mut self.color {
            color.pairs.clear();
            color.found = None;
            color.offset_ns = offset_ns;
        }
        Ok(())
    }
}

impl Coloring {
    fn new(stream: &ColorStream) -> Self {
        let ColorStream { intrinsics, format, .. } = *stream;
        // The nearest colour image may have been recorded much later: as long as there is room, depth
        // waits for it.
        let patience = Patience { near_ns: 0, wait_ns: u64::MAX };
        Self {
            pairs: Pairs::new(patience),
            pool: Pool::new(COLOR_BUFFERS, move || {
                ColorImage::new(intrinsics.width, intrinsics.height, format)
            }),
            spare: Vec::new(),
            found: None,
            offset_ns: 0,
        }
    }

    /// Takes in what the reader comes to next; false at the end.
    fn read(&mut self, reader: &mut ImageReader) -> Result<bool, RecordingError> {
        match reader.step()? {
            Step::Found(Found::Depth(facts)) => {
                let intrinsics = &reader.stream.intrinsics;
                let len = intrinsics.width as usize * intrinsics.height as usize;
                let new = || (vec![0; len], Vec::new());
                let (mut depth, mut depth_m) = self.spare.pop().unwrap_or_else(new);
                reader.take_depth(&mut depth, &mut depth_m);
                self.pairs.add_depth(facts.stamp_ns, Waiting { facts, depth, depth_m });
            }
            Step::Found(Found::Color(facts)) => {
                let mut free = self.pool.free();
                let image = free.get_mut();
                image.number = facts.number;
                let ms = as_ms(facts.stamp_ns.saturating_add(self.offset_ns));
                image.device_time = Some(DeviceTime { ms, domain: reader.stream.timestamp_domain });
                reader.copy_color(&mut image.bytes);
                self.pairs.add_color(facts.stamp_ns, free.share());
            }
            Step::More => {}
            Step::End => {
                self.pairs.hurry();
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// From frame to frame, nominally.
pub fn period(nominal_fps: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / nominal_fps).unwrap_or_default()
}

/// As signed nanoseconds, at most as many as there are.
pub fn as_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A stamp in milliseconds. Seconds and their rest apart: as one number, nanoseconds since 1970
/// have more digits than an f64.
pub fn as_ms(stamp_ns: i64) -> f64 {
    const NS_PER_S: i64 = 1_000_000_000;
    stamp_ns.div_euclid(NS_PER_S) as f64 * 1e3 + stamp_ns.rem_euclid(NS_PER_S) as f64 / 1e6
}
