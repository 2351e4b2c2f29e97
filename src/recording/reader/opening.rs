//! How a recording is opened: the streams to deliver, as its start has them, or why they cannot be
//! delivered.

use std::path::Path;

use crate::camera::{Distortion, Intrinsics};
use crate::clock::TimestampDomain;
use crate::frame::DepthStream;
use crate::recording::ReadOptions;
use crate::recording::container::{self, ByTime, Container, Format, RecordingError, Topic};
use crate::recording::image_codec;
use crate::recording::reader::assembler::{Assembler, FrameNumbers, Metadata, missing_metadata};
use crate::recording::reader::color::ColorReader;
use crate::recording::reader::images::{ImageReader, LensFollower, Remarks};
use crate::recording::reader::raw_images::{RawImages, decode_ahead};
use crate::recording::reader::start::{Seen, Start, learn_late_lens, read_start};
use crate::recording::ros::{CompressedImage, Encoding};
use crate::recording::streams::catalogue::{Catalogue, DEFAULT_FPS};
use crate::recording::streams::librealsense::is_librealsense;
use crate::recording::streams::selection::{Images, no_color, no_depth};
use crate::recording::streams::{driver, lens, units};

impl ImageReader {
    /// Opens the recording at `path`. Reads its index, and up to the first images and their
    /// metadata.
    ///
    /// The depth stream is that on the topic asked for, or as `selection::depth` has it.
    pub fn open(
        path: &Path,
        options: &ReadOptions,
        with_color: bool,
    ) -> Result<Self, RecordingError> {
        let (mut container, format) = container::open(&options.parts(path))?;
        let wrong = |problem: String| RecordingError::Format { path: path.to_owned(), problem };
        let Start { mut known, depth, color, doubtful_lenses } =
            read_start(&mut *container, options, with_color)
                .map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
        known.learn_notes(&container.notes());
        let depth = depth
            .map_err(|text| RecordingError::Unsupported(format!("{}: {text}", path.display())))?;
        let Some(seen) = depth else {
            return Err(wrong(no_depth(&*container, &known)));
        };
        let first_stamp_ns = seen.first_stamp_ns();
        let Seen { images: Images { stream, topic }, guess, size_px, offset_ns, .. } = seen;
        let is_driver = !is_librealsense(&topic);
        if known.lens(&stream).is_none() {
            learn_late_lens(&mut *container, &mut known)
                .map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
        }
        let depth_topic = topic_of(&*container, &topic);
        refuse_unreadable(&known, &stream, &depth_topic).map_err(wrong)?;
        if doubtful_lenses.contains(&stream) {
            container.note_for_good(
                "the intrinsics are in a chunk that fails its checksum: all points may be wrong",
            );
        }
        if color.as_ref().is_some_and(|color| doubtful_lenses.contains(&color.stream)) {
            container.note_for_good(
                "the colour camera's intrinsics are in a chunk that fails its checksum: all \
                 texture may be wrong",
            );
        }
        if color.is_none() && with_color {
            return Err(RecordingError::Unsupported(no_color(path, &*container, &known)));
        }
        let topics = container.topics();
        let color = color.map(|color| {
            let topic = topic_of(&*container, &color.topic);
            ColorReader::new(&known, &stream, &color.stream, &topic, &topics)
        });
        let mut color = color.transpose().map_err(wrong)?;
        if let Some(color) = color.as_mut().filter(|_| is_driver) {
            color.assembler.replace_zero_stamps(offset_ns.unwrap_or(0));
        }
        let damage = container.damage().notes.first().map(String::as_str);
        let intrinsics = match (lens::of_stream(&known, &stream, "depth", damage), size_px) {
            (Err(_), Some(size_px)) if options.without_lens => any_lens(size_px),
            (lens, _) => lens.map_err(wrong)?,
        };
        let lens_size_px = (intrinsics.width, intrinsics.height);
        // Buffers have the size of the intrinsics: no damaged number may make them huge.
        if let Some((width, height)) = size_px.filter(|&size_px| size_px != lens_size_px)
            && !is_driver
        {
            let (lens_width, lens_height) = lens_size_px;
            return Err(wrong(format!(
                "its depth images are {width}x{height}, and their intrinsics are those of \
                 {lens_width}x{lens_height}: one of them is damaged"
            )));
        }
        let numbers = FrameNumbers::of(&depth_topic, known.has_idle_numbers(&stream));
        let guess = guess.unwrap_or_default();
        let metadata = Metadata::any(&depth_topic, &topics, guess);
        let mut depth = Assembler::new(numbers, metadata, Some("depth"));
        if is_driver {
            depth.replace_zero_stamps(offset_ns.unwrap_or(0));
        }
        let lens_topic = known.streams.get(&stream).and_then(|facts| facts.lens_topic.clone());
        let lens =
            lens_topic.filter(|_| options.overrides.intrinsics.is_none()).map(|lens_topic| {
                let fps = known.fps(&stream).unwrap_or(DEFAULT_FPS);
                let indexed = |topic: &str| container.indexed(topic).unwrap_or(0);
                let is_sparse = (2..indexed(&topic) / 2).contains(&indexed(&lens_topic));
                let mut lens = LensFollower::new(&lens_topic, &topic, intrinsics, fps);
                lens.is_sparse = is_sparse;
                lens
            });
        let missing_metadata = missing_metadata(&topics, &depth_topic);
        let facts = describe(&*container, format, &known, &stream, &depth_topic);
        let domain = known.streams.get(&stream).and_then(|facts| facts.timestamp_domain);
        let depth_stream = DepthStream {
            intrinsics,
            nominal_fps: known.fps(&stream).unwrap_or(DEFAULT_FPS),
            depth_units_m: known.depth_units_m(&stream).unwrap_or(units::DEFAULT_M),
            timestamp_domain: domain.unwrap_or(TimestampDomain::Unknown),
        };
        missing_metadata.iter().for_each(|what| container.note_for_good(what));
        let color_topics =
            color.iter().flat_map(|color| [Some(&*color.topic), color.assembler.metadata_topic()]);
        let lens_topic = lens.as_ref().map(|lens| lens.topic.as_str());
        let own_topics = [Some(&*topic), depth.metadata_topic(), lens_topic];
        let wanted: Vec<_> = own_topics.into_iter().chain(color_topics).flatten().collect();
        let mut order_remark = None;
        if is_driver {
            (container, order_remark) = ByTime::wrap(container, &wanted);
        }
        container.expect(Some(&wanted));
        decode_ahead(&mut *container, &topic, lens_size_px);
        if let Some(color) = &color {
            let intrinsics = color.stream.intrinsics;
            let size_px = (intrinsics.width, intrinsics.height);
            decode_ahead(&mut *container, &color.topic, size_px);
        }
        let mut remarks = Remarks::default();
        let facts_of_stream = known.streams.get(&stream);
        let lens_by = facts_of_stream.and_then(|facts| facts.lens_by.clone());
        remarks.for_good.extend(
            lens_by
                .filter(|_| options.overrides.intrinsics.is_none())
                .map(|by| format!("the depth stream is projected {by}")),
        );
        remarks.for_good.extend(order_remark.map(str::to_owned));
        remarks.for_good.extend(lens::remark_of_fisheye(&intrinsics));
        container.rewind();
        let mut reader = Self {
            path: path.to_owned(),
            expected: container.indexed(&topic),
            container,
            topic,
            stream: depth_stream,
            depth,
            color,
            facts,
            first_stamp_ns,
            is_whole_pass: true,
            put_back: None,
            image: vec![],
            image_m: vec![],
            raw: RawImages::default(),
            units_m: options.overrides.depth_units_m,
            lens,
            held: None,
            image_recorded_ns: None,
            remarks,
        };
        if order_remark.is_some() {
            reader.find_first()?;
        }
        Ok(reader)
    }
}

/// Of images that nobody will project.
fn any_lens((width, height): (u32, u32)) -> Intrinsics {
    let focal_px = width.max(height) as f32;
    Intrinsics {
        width,
        height,
        fx: focal_px,
        fy: focal_px,
        ppx: width as f32 / 2.0,
        ppy: height as f32 / 2.0,
        distortion: Distortion::None,
        coeffs: [0.0; 5],
    }
}

/// What is known of the topic with this name.
fn topic_of(container: &dyn Container, name: &str) -> Topic {
    let topic = container.topics().into_iter().find(|topic| topic.name == name).cloned();
    topic.unwrap_or_else(|| Topic::new(name, "", Encoding::Ros1))
}

fn refuse_unreadable(known: &Catalogue, stream: &str, topic: &Topic) -> Result<(), String> {
    let format =
        known.streams.get(stream).and_then(|facts| facts.encoding.as_deref()).unwrap_or_default();
    // What JPEG has lost of depth, nobody can bring back.
    let is_readable = image_codec::is_readable(format) && !format.contains("jpeg");
    if topic.schema != CompressedImage::SCHEMA || is_librealsense(&topic.name) || is_readable {
        return Ok(());
    }
    Err(format!(
        "its depth images ({}) are compressed as '{}', which depthcast does not read; record the \
         raw topic ({}) instead",
        topic.name,
        format.escape_debug(),
        driver::base(&topic.name)
    ))
}

/// The facts of a recording for people.
fn describe(
    container: &dyn Container,
    format: Format,
    known: &Catalogue,
    stream: &str,
    topic: &Topic,
) -> Vec<(&'static str, String)> {
    let is_compressed = topic.schema == CompressedImage::SCHEMA;
    let packing = if is_compressed { "packed images" } else { "unpacked" };
    let packing = container.compression().unwrap_or(packing);
    let device =
        [("device", &known.device), ("serial", &known.serial), ("firmware", &known.firmware)];
    let mut facts: Vec<(&'static str, String)> =
        device.into_iter().filter_map(|(name, fact)| Some((name, fact.clone()?))).collect();
    facts.push(("format", format!("{}, {packing}", format.as_str())));
    if known.depth_units_m(stream).is_none() {
        let units_m = units::DEFAULT_M;
        let text = format!("taken as {units_m} m where frames do not say: the recording does not");
        facts.push(("depth units", text));
    }
    if let Some((_, why)) = known.driver.depth_units(stream) {
        facts.push(("depth topic", stream.to_owned()));
        if known.overrides.depth_units_m.is_none() {
            facts.push(("depth units", why.to_owned()));
        }
    }
    if let Some(units_m) = known.overrides.depth_units_m {
        facts.push(("depth units", format!("{units_m} m, as asked for")));
    }
    if known.overrides.intrinsics.is_some() {
        facts.push(("lens", "as asked for".to_owned()));
    } else if let Some(by) = known.streams.get(stream).and_then(|facts| facts.lens_by.clone()) {
        facts.push(("lens", by));
    }
    let promised_fps = known.streams.get(stream).and_then(|facts| facts.nominal_fps);
    match (promised_fps, known.fps(stream)) {
        (Some(_), _) => {}
        (None, Some(fps)) => {
            facts.push(("frame rate", format!("{fps}/s by the first time stamps")))
        }
        (None, None) => facts
            .push(("frame rate", format!("taken as {DEFAULT_FPS}/s: the recording does not say"))),
    }
    facts
}
