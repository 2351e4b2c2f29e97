//! Which messages a frame becomes, and their channels.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::writer::{Times, Writer};
use super::{
    COLOR_FRAME, COLOR_IMAGE, COLOR_INFO, DEPTH_FRAME, DEPTH_IMAGE, DEPTH_INFO, DEPTH_METADATA,
    STATIC_TRANSFORMS,
};
use crate::camera::Intrinsics;
use crate::clock::DeviceTime;
use crate::frame::{ColorImage, DepthFrame, FrameMetadata};
use crate::recording::ros::{self, CameraInfo, Image};
use crate::source::{ColorStream, DepthStream, SourceInfo, SourceKind};

/// The most bytes of all messages beside images that a frame brings.
const SMALL_MESSAGES_BYTES: u64 = 4 << 10;

/// Writes the messages of frames.
pub struct Messages {
    /// The source is a recording, whose times are kept.
    pub is_recording: bool,
    pub depth: DepthStream,
    color: Option<Color>,
    info_channel: u16,
    /// The lens that was written last.
    lens: Intrinsics,
    /// The newest one, with the units that it is for.
    image_channel: Option<(f32, u16)>,
    /// The bytes of a message; kept.
    message: Vec<u8>,
}

struct Color {
    stream: ColorStream,
    image_channel: u16,
    info_channel: u16,
    transforms_channel: u16,
    /// The image written last. As long as it is held, no other can have its place in memory.
    last: Option<Arc<ColorImage>>,
}

impl Messages {
    pub fn new(writer: &mut Writer, source: &SourceInfo, color: bool) -> io::Result<Self> {
        let depth = source.stream.clone();
        let info_channel = info_channel(writer, DEPTH_INFO, &depth.intrinsics)?;
        let mut messages = Self {
            is_recording: source.kind == SourceKind::Recording,
            lens: depth.intrinsics,
            depth,
            color: None,
            info_channel,
            image_channel: None,
            message: Vec::new(),
        };
        messages.image_channel(writer, source.stream.depth_units_m)?;
        if let Some(stream) = source.color.clone().filter(|_| color) {
            let metadata = messages.image_metadata(stream.nominal_fps);
            messages.color = Some(Color {
                image_channel: writer.channel(COLOR_IMAGE, &Image::SCHEMA, &metadata)?,
                info_channel: self::info_channel(writer, COLOR_INFO, &stream.intrinsics)?,
                transforms_channel: writer.channel(
                    STATIC_TRANSFORMS,
                    &ros::TRANSFORMS,
                    &BTreeMap::new(),
                )?,
                stream,
                last: None,
            });
        }
        Ok(messages)
    }

    /// Colour has the stamps of the depth stream's clock.
    fn image_metadata(&self, nominal_fps: f64) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("timestamp_domain".into(), self.depth.timestamp_domain.as_str().into()),
            ("nominal_fps".into(), nominal_fps.to_string()),
        ])
    }

    /// The channel for depth with these units.
    fn image_channel(&mut self, writer: &mut Writer, units_m: f32) -> io::Result<u16> {
        match self.image_channel {
            Some((known_m, channel)) if known_m.to_bits() == units_m.to_bits() => Ok(channel),
            _ => {
                let mut metadata = self.image_metadata(self.depth.nominal_fps);
                metadata.insert("depth_units_m".into(), units_m.to_string());
                let channel = writer.channel(DEPTH_IMAGE, &Image::SCHEMA, &metadata)?;
                self.image_channel = Some((units_m, channel));
                Ok(channel)
            }
        }
    }

    /// The bytes of a depth image and a colour image.
    pub fn images_bytes(&self) -> u64 {
        let pixels = |lens: &Intrinsics| u64::from(lens.width) * u64::from(lens.height);
        let color_bytes = self.color.as_ref().map_or(0, |Color { stream, .. }| {
            pixels(&stream.intrinsics) * stream.format.bytes_per_pixel() as u64
        });
        2 * pixels(&self.depth.intrinsics) + color_bytes
    }

    /// The most bytes of all messages of a frame.
    pub fn frame_bytes(&self) -> u64 {
        self.images_bytes() + SMALL_MESSAGES_BYTES
    }

    /// The times of a message that arrived at `arrived_ns` since 1970, with the device's stamp.
    pub fn times(&self, device_time: Option<DeviceTime>, arrived_ns: i64) -> Times {
        let stamp_ns = device_time.map_or(arrived_ns, whole_ns);
        let log_ns = if self.is_recording { stamp_ns } else { arrived_ns };
        // ROS has no time before 1970.
        Times { log_ns: log_ns.max(0) as u64, stamp_ns: stamp_ns.max(0) as u64 }
    }

    /// What a reader needs to understand the images that follow: lenses and places.
    pub fn write_infos(
        &mut self,
        writer: &mut Writer,
        sequence: u32,
        times: Times,
    ) -> io::Result<()> {
        let (bytes, stamp_ns) = (&mut self.message, times.stamp_ns.cast_signed());
        CameraInfo::of(&self.depth.intrinsics, DEPTH_FRAME).write(bytes, stamp_ns);
        writer.message(self.info_channel, sequence, times, bytes)?;
        if let Some(Color { stream, info_channel, transforms_channel, .. }) = &self.color {
            CameraInfo::of(&stream.intrinsics, COLOR_FRAME).write(bytes, stamp_ns);
            writer.message(*info_channel, sequence, times, bytes)?;
            let frames = [DEPTH_FRAME, COLOR_FRAME];
            ros::write_transform(bytes, stamp_ns, frames, &stream.from_depth);
            writer.message(*transforms_channel, sequence, times, bytes)?;
        }
        Ok(())
    }

    pub fn write_depth(
        &mut self,
        writer: &mut Writer,
        frame: &DepthFrame,
        times: Times,
    ) -> io::Result<()> {
        let (meta, stamp_ns) = (&frame.meta, times.stamp_ns.cast_signed());
        let sequence = meta.number as u32;
        let has_metadata = meta.metadata != FrameMetadata::default()
            || meta.device_time.is_some_and(|time| time.domain != self.depth.timestamp_domain);
        // Before the image, so that a reader who has come to that knows that metadata follows.
        let metadata_channel = if has_metadata {
            Some(writer.channel(DEPTH_METADATA, &ros::METADATA, &BTreeMap::new())?)
        } else {
            None
        };
        let image_channel = self.image_channel(writer, meta.depth_units_m)?;
        let bytes = &mut self.message;
        ros::write_depth_image(bytes, stamp_ns, DEPTH_FRAME, frame);
        writer.message(image_channel, sequence, times, bytes)?;
        let lens = frame.intrinsics.unwrap_or(self.depth.intrinsics);
        if lens != self.lens {
            self.lens = lens;
            CameraInfo::of(&lens, DEPTH_FRAME).write(bytes, stamp_ns);
            writer.message(self.info_channel, sequence, times, bytes)?;
        }
        if let Some(channel) = metadata_channel {
            ros::write_metadata(bytes, stamp_ns, DEPTH_FRAME, meta);
            writer.message(channel, sequence, times, bytes)?;
        }
        Ok(())
    }

    /// Writes the colour image of a frame, unless colour is not recorded or the frame before had
    /// the same. Whether it did.
    pub fn write_color(
        &mut self,
        writer: &mut Writer,
        frame: &DepthFrame,
        arrived_ns: i64,
    ) -> io::Result<bool> {
        let (Some(color), Some(image)) = (&self.color, &frame.color) else { return Ok(false) };
        if color.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, image)) {
            return Ok(false);
        }
        let times = self.times(image.device_time, arrived_ns);
        let bytes = &mut self.message;
        ros::write_color_image(bytes, times.stamp_ns.cast_signed(), COLOR_FRAME, image);
        writer.message(color.image_channel, image.number as u32, times, bytes)?;
        if let Some(color) = &mut self.color {
            color.last = Some(Arc::clone(image));
        }
        Ok(true)
    }
}

fn info_channel(writer: &mut Writer, topic: &str, lens: &Intrinsics) -> io::Result<u16> {
    let metadata = BTreeMap::from([("distortion".into(), lens.distortion.as_str().into())]);
    writer.channel(topic, &CameraInfo::SCHEMA, &metadata)
}

/// Whole milliseconds and their rest apart: as one number, nanoseconds since 1970 have more digits
/// than an f64.
fn whole_ns(time: DeviceTime) -> i64 {
    let whole_ms = time.ms.floor();
    (whole_ms as i64)
        .saturating_mul(1_000_000)
        .saturating_add(((time.ms - whole_ms) * 1e6).round() as i64)
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
