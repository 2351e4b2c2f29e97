//! A RealSense camera through librealsense's pipeline, or a recording that librealsense plays as if
//! it were one.
//!
//! ```text
//! find the camera (devices) ──> choose its profiles (streams) ──> set its options (tune)
//!     ──> start (pipeline) ──> frames ──> filters ──> our buffers
//! ```
//!
//! Each depth frame is filtered, copied at once into the pipeline's own buffer (0.8 MB at 848x480)
//! and given back: so a slow stage downstream can never exhaust librealsense's small frame pool and
//! stall the camera. The copy leaves the image in the cache, where the projection reads it next.
//!
//! Devices, sensors, frames, options and filters are those of the crate realsense-rust. What it
//! lacks goes through librealsense's C interface (`realsense-sys`): see `sdk`.

mod devices;
mod filters;
mod frame;
mod measure;
mod pipeline;
mod sdk;
mod streams;
mod tune;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use realsense_rust::frame::{DepthFrame as SdkDepthFrame, FrameEx as _};
use realsense_rust::kind::{Rs2CameraInfo, Rs2Format};

pub(crate) use devices::WHAT_TO_CHECK;
pub use devices::{
    CameraReport, OptionReport, RealsenseCamera, SensorReport, camera_in_file, cameras,
    connected_serials, reset,
};
use filters::FilterChain;
use frame::{Coloring, Set, Waiting};
pub use measure::{SdkFilters, SdkPointcloud};
use pipeline::{Origin, Pipeline};
pub use sdk::sdk_versions;
use sdk::{COLOR, Context, DEPTH, Device, Profile, RGB8, Sensor, Z16, context};

use super::motion::Motion;
use super::recording::{RecordingSource, ReplayOptions};
use super::watch::FIRST_FRAME;
use super::{Delivery, DepthStream, FrameSource, Result, SourceError, SourceInfo, SourceKind};
use crate::clock::{Clock, HostTime};
use crate::frame::{COLOR_BUFFERS, ColorFormat, ColorImage, DepthFrame, FrameMeta};
use crate::pool::Pool;
use crate::recording::{Format, sniff};
use crate::source::options::{CameraSettings, ColorWish, Filters, Mode};

/// How long a depth frame waits for its colour image when no other depth frame comes.
const COLOR_WAIT: Duration = Duration::from_millis(500);
/// How long a file may give nothing.
const SILENCE: Duration = Duration::from_secs(4);

/// What librealsense is to open.
#[derive(Debug, Clone)]
pub enum Input {
    Camera(Box<CameraInput>),
    /// A recording, at the pace of its frames' stamps or as fast as they are taken. With colour,
    /// depth before the first colour image does not come: librealsense withholds it.
    File {
        path: PathBuf,
        real_time: bool,
        color: bool,
    },
}

#[derive(Debug, Clone)]
pub struct CameraInput {
    /// Which camera, what it streams, and how it is tuned.
    pub settings: CameraSettings,
    /// Colour images are delivered: each depth frame gets the one nearest in time.
    pub color: bool,
    /// Where samples of the motion sensors go, if the settings ask for them.
    pub motion: Option<Motion>,
    /// librealsense's own recorder writes what the camera delivers to this `.bag`.
    pub record_to: Option<PathBuf>,
}

impl Input {
    fn is_camera(&self) -> bool {
        matches!(self, Self::Camera(_))
    }
}

pub struct RealsenseSource {
    info: SourceInfo,
    /// What a camera sends, before filters: depth, and colour where it is on.
    modes: [Option<Mode>; 2],
    clock: Arc<dyn Clock>,
    input: Input,
    /// Where colour was asked for. It holds frames, so it goes before what they come from.
    color: Option<Coloring>,
    /// Where infrared images are asked for.
    infrared: Option<Pool<ColorImage>>,
    /// A camera streams from the start. A file is started anew at the first call for a frame: none
    /// of it is lost while the viewer opens, as one would be by pausing librealsense's player.
    running: Option<Pipeline>,
    filters: FilterChain,
    is_first_call: bool,
    /// The player of a file has played a frame, and its pace was set.
    has_pace: bool,
    last_frame_at: HostTime,
}

impl RealsenseSource {
    /// Opens the input and waits for a frame, to know what the filtered stream is like.
    ///
    /// # Errors
    /// If there is no such camera or file, or it stays silent; [`SourceError::Unsupported`] for
    /// profiles, options and values that the camera or a filter does not take.
    pub fn open(input: Input, filters: &Filters, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut probe = FilterChain::new(filters)?;
        // librealsense's own words for a file that is none, or has no depth, are hard to
        // understand; our reader knows better ones.
        if let Input::File { path, color, .. } = &input
            && sniff(path)? == Format::Bag
        {
            let options = ReplayOptions { color: *color, ..ReplayOptions::default() };
            RecordingSource::open(path, options, Arc::clone(&clock))?;
        }
        sdk::catch_panic(|| {
            let Started { pipeline, modes, tuned } = start(&input, &clock)?;
            let Set { depth, color, infrared, .. } = first_set(&pipeline, clock.as_ref(), &input)?;
            let color = color.map(|color| frame::color_stream(&color, &depth)).transpose()?;
            let infrared = infrared.map(|image| {
                let (width, height) = (image.width() as u32, image.height() as u32);
                let image = move || ColorImage::new(width, height, ColorFormat::Mono8);
                Pool::new(COLOR_BUFFERS, image)
            });
            let name = match &input {
                Input::Camera(_) => pipeline.device().info(Rs2CameraInfo::Name),
                Input::File { path, .. } => Some(path.display().to_string()),
            };
            let info = SourceInfo {
                kind: SourceKind::Realsense,
                name: name.unwrap_or_else(|| "RealSense camera".into()),
                facts: facts(pipeline.device(), tuned, &probe),
                stream: depth_stream(probe.process(depth)?)?,
                color,
                expected_frames: None,
            };
            Ok(Self {
                color: info.color.as_ref().map(Coloring::new),
                info,
                modes,
                infrared,
                running: input.is_camera().then_some(pipeline),
                // The run's filters have not seen the frame that the probe saw.
                filters: FilterChain::new(filters)?,
                is_first_call: true,
                has_pace: false,
                last_frame_at: clock.now(),
                clock: Arc::clone(&clock),
                input: input.clone(),
            })
        })
    }

    fn take(&mut self, waiting: &Waiting, into: &mut DepthFrame) -> Result<()> {
        let (depth, infrared, arrived_at) = waiting;
        let i = &self.info.stream.intrinsics;
        let (width, height) = (i.width as usize, i.height as usize);
        let rows = frame::rows(depth, (width, height), Rs2Format::Z16, width * 2)?;
        for (row, pixels) in into.depth.chunks_exact_mut(width).zip(rows) {
            for (to, from) in row.iter_mut().zip(pixels.as_chunks().0) {
                *to = u16::from_le_bytes(*from);
            }
        }
        into.infrared = match (&mut self.infrared, infrared) {
            (Some(pool), Some(image)) => Some(frame::copy(pool, image)?),
            _ => None,
        };
        into.meta = FrameMeta {
            number: depth.frame_number(),
            is_restart: false,
            arrived_at: *arrived_at,
            device_time: Some(frame::device_time(depth)),
            depth_units_m: self.info.stream.depth_units_m,
            metadata: frame::metadata(depth),
        };
        Ok(())
    }

    /// The next depth frame whose colour image is certain.
    fn take_paired(&mut self, into: &mut DepthFrame) -> Result<bool> {
        let next = self.color.as_mut().and_then(|coloring| coloring.pairs.next());
        let Some((waiting, image)) = next else { return Ok(false) };
        self.take(&waiting, into)?;
        into.color = image;
        Ok(true)
    }

    fn next(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery> {
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(start(&self.input, &self.clock)?.pipeline),
        };
        if std::mem::take(&mut self.is_first_call) {
            self.last_frame_at = self.clock.now();
            // It has grown old while the viewer opened.
            running.skip_waiting();
        }
        if self.take_paired(frame)? {
            return Ok(Delivery::Frame);
        }
        let Some(running) = &self.running else { return Ok(Delivery::Idle) };
        let set = running.wait(until.since(self.clock.now()))?;
        // The end of a file is a mere time-out; the player knows better, once it has played a frame.
        let has_stopped = set.is_none() && self.has_pace && running.device().has_stopped();
        if let Some(Set { depth, color, infrared, arrived_at }) = set {
            if let (Input::File { real_time, .. }, false) = (&self.input, self.has_pace) {
                self.has_pace = true;
                // Before its first frame has come, the player would lose some by it.
                running.device().set_real_time(*real_time)?;
            }
            let Some(coloring) = &mut self.color else {
                self.last_frame_at = arrived_at;
                let depth = self.filters.process(depth)?;
                self.take(&(depth, infrared, arrived_at), frame)?;
                return Ok(Delivery::Frame);
            };
            if let Some(color) = color {
                coloring.add_color(&color)?;
            }
            // The filters see each frame once.
            if coloring.is_new(&depth) {
                self.last_frame_at = arrived_at;
                let depth = self.filters.process(depth)?;
                coloring.pairs.add_depth(frame::stamp_ns(&depth), (depth, infrared, arrived_at));
            }
        }
        let silence = self.clock.now().since(self.last_frame_at);
        if let Some(coloring) = &mut self.color
            && (has_stopped || silence > COLOR_WAIT)
        {
            coloring.pairs.hurry();
        }
        match silence {
            _ if self.take_paired(frame)? => Ok(Delivery::Frame),
            _ if has_stopped => Ok(Delivery::End),
            // A camera is watched by those who use it.
            silence if silence > SILENCE && !self.input.is_camera() => {
                Err(SourceError::GivenUp(silent(&self.info.name, SILENCE)))
            }
            _ => Ok(Delivery::Idle),
        }
    }
}

impl FrameSource for RealsenseSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery> {
        sdk::catch_panic(|| self.next(frame, until))
    }
}

struct Started {
    pipeline: Pipeline,
    modes: [Option<Mode>; 2],
    tuned: Option<String>,
}

fn start(input: &Input, clock: &Arc<dyn Clock>) -> Result<Started> {
    let context = context()?;
    match input {
        Input::Camera(camera) => start_camera(camera, context, clock),
        Input::File { path, color, .. } => {
            let any = |stream, format| Profile { stream, index: -1, size: None, fps: 0, format };
            let streams = [any(DEPTH, Z16), any(COLOR, RGB8)];
            let streams = &streams[..1 + usize::from(*color)];
            let started = Pipeline::start(context, Origin::File(path), streams, Arc::clone(clock));
            let pipeline = started.map_err(|error| {
                let (reason, advice) = (reason(&error), advice(path));
                let problem = format!("librealsense cannot play it ({reason}); {advice}");
                SourceError::Format { path: path.clone(), problem }
            })?;
            Ok(Started { pipeline, modes: [None; 2], tuned: None })
        }
    }
}

/// What else there is for a file that librealsense does not play.
fn advice(path: &Path) -> &'static str {
    match sniff(path) {
        Ok(Format::Db3) => {
            "librealsense plays .db3 from 2.58 on, and before it only .bag; \
             `depthcast replay FILE` reads it"
        }
        Ok(Format::Mcap) => {
            "librealsense plays .bag, and .db3 from 2.58 on; `depthcast replay FILE` reads it"
        }
        _ => "`depthcast info` tells what is in it, `depthcast replay` reads damaged ones",
    }
}

fn start_camera(camera: &CameraInput, context: Context, clock: &Arc<dyn Clock>) -> Result<Started> {
    let CameraInput { settings, color, .. } = camera;
    let device = devices::find(&context, settings.serial.as_deref())?;
    let profiles: Result<Vec<_>> = device.sensors()?.iter().map(Sensor::profiles).collect();
    let profiles = profiles?.concat();
    let color = if *color { settings.color.unwrap_or(ColorWish::Any) } else { ColorWish::Off };
    let usb = device.info(Rs2CameraInfo::UsbTypeDescriptor);
    let streams = streams::choose(&profiles, settings, color, usb.as_deref())
        .map_err(SourceError::Unsupported)?;
    let tuned = tune::apply(&device, &settings.tuning)?;
    let origin = Origin::Camera(&device, camera);
    let pipeline = Pipeline::start(context, origin, &streams, Arc::clone(clock));
    let pipeline = pipeline.map_err(|error| {
        let names: Vec<_> = streams.iter().map(ToString::to_string).collect();
        let (names, reason) = (names.join(", "), reason(&error));
        SourceError::NotStarted(format!(
            "the camera cannot be started with {names} ({reason}): \
             close other programs that use it, or unplug it and plug it in again"
        ))
    })?;
    let mode = |kind| streams.iter().find(|profile| profile.stream == kind).map(streams::mode);
    Ok(Started { pipeline, modes: [DEPTH, COLOR].map(mode), tuned })
}

/// librealsense's own words.
fn reason(error: &SourceError) -> String {
    match error {
        SourceError::Sdk { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn first_set(pipeline: &Pipeline, clock: &dyn Clock, input: &Input) -> Result<Set> {
    let patience = if input.is_camera() { FIRST_FRAME } else { SILENCE };
    let deadline = clock.now().plus(patience);
    while clock.now() < deadline {
        if let Some(set) = pipeline.wait(Duration::from_millis(100))? {
            return Ok(set);
        }
    }
    Err(match input {
        Input::Camera(_) => SourceError::Silent(silent("the camera", patience)),
        Input::File { path, .. } => SourceError::Format {
            path: path.clone(),
            problem: "librealsense plays no depth frame from it".into(),
        },
    })
}

fn silent(name: &str, patience: Duration) -> String {
    let seconds = patience.as_secs();
    format!(
        "{name} has sent no frame for {seconds} s: \
         unplug it and plug it in again, and check that its port and cable are USB 3"
    )
}

/// What is reported of the device beside its stream.
fn facts(
    device: &Device,
    tuned: Option<String>,
    filters: &FilterChain,
) -> Vec<(&'static str, String)> {
    [
        ("device", device.info(Rs2CameraInfo::Name)),
        ("serial", device.serial()),
        ("firmware", device.info(Rs2CameraInfo::FirmwareVersion)),
        ("usb", device.info(Rs2CameraInfo::UsbTypeDescriptor)),
        ("librealsense", Some(sdk::sdk_version())),
        ("tuned", tuned),
        ("filters", filters.summary()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// The stream that this frame is the first of, as it leaves the filters.
fn depth_stream(first: SdkDepthFrame) -> Result<DepthStream> {
    let (depth_units_m, first) = frame::depth_units_m(first)?;
    Ok(DepthStream {
        intrinsics: frame::intrinsics(first.stream_profile())?,
        nominal_fps: f64::from(first.stream_profile().framerate()),
        depth_units_m,
        timestamp_domain: frame::device_time(&first).domain,
    })
}
