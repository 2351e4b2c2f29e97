//! A RealSense camera through librealsense's pipeline, or a recording that librealsense plays as if it were one.
//!
//! Only the depth stream is opened, and the colour stream where it is asked for (see `color`). Each depth frame goes through those of
//! librealsense's filters that are on, is copied at once into the pipeline's own buffer (0.8 MB at 848x480) and given back to librealsense:
//! so a slow stage downstream can never exhaust librealsense's small frame pool and stall the camera, and every source delivers the same
//! kind of buffer. The copy leaves the image in the cache, where the projection reads it next.

mod color;
mod devices;
mod filters;
mod handle;
mod playback;
mod sdk;
mod software;

use std::collections::HashSet;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use realsense_rust::config::Config;
use realsense_rust::context::Context;
use realsense_rust::device::Device;
use realsense_rust::frame::{ColorFrame, DepthFrame as SdkFrame, FrameEx as _};
use realsense_rust::kind::{Rs2CameraInfo, Rs2DistortionModel, Rs2Format, Rs2StreamKind, Rs2TimestampDomain};
use realsense_rust::pipeline::{ActivePipeline, FrameWaitError, InactivePipeline};
use realsense_rust::stream_profile::StreamProfile;

use color::Coloring;
pub(crate) use devices::WHAT_TO_CHECK;
pub use devices::{CameraReport, OptionReport, SensorReport, camera_in_file, cameras, reset};
use filters::FilterChain;
use playback::Playback;
use sdk::sdk_error;
pub use sdk::sdk_versions;
pub use software::{SdkFilters, SdkPointcloud};

use super::recording::{Format, RecordingSource, ReplayOptions};
use super::{ColorStream, Delivery, DepthStream, ErrorKind, FrameSource, SourceError, SourceInfo, SourceKind};
use crate::camera::{Distortion, Intrinsics};
use crate::clock::{Clock, DeviceTime, HostTime, TimestampDomain};
use crate::config::{Filters, Mode};
use crate::frame::{DepthFrame, FrameMeta};

/// How long a depth frame waits for its colour image when no other comes; otherwise the next one ends the waiting.
const COLOR_WAIT: Duration = Duration::from_millis(500);
/// How long a camera may be silent, at the start and later, before it counts as dead.
const SILENCE: Duration = Duration::from_secs(4);

/// What librealsense is to open.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A camera: the one with this serial number, or the first; in this mode, or what librealsense prefers. librealsense's own recorder
    /// writes what it delivers to a `.bag`, where that is asked for.
    Camera { serial: Option<String>, mode: Option<Mode>, color: bool, record_to: Option<PathBuf> },
    /// A recording, at the pace of its frames' stamps or as fast as they are taken. With colour, depth before the first colour image
    /// does not come: librealsense withholds it.
    File { path: PathBuf, real_time: bool, color: bool },
}

impl Input {
    /// The colour stream is asked for too: each depth frame gets the colour image nearest in time.
    fn color(&self) -> bool {
        matches!(self, Self::Camera { color: true, .. } | Self::File { color: true, .. })
    }
}

pub struct RealsenseSource {
    info: SourceInfo,
    clock: Arc<dyn Clock>,
    input: Input,
    /// Where colour was asked for. It holds frames, so it goes before what they come from.
    color: Option<Coloring>,
    /// A camera streams from the start. A file is started anew at the first call for a frame, so that none of it is lost while the
    /// viewer opens; pausing librealsense's player instead would lose a frame.
    running: Option<Running>,
    filters: FilterChain,
    is_first_call: bool,
    last_frame_at: HostTime,
}

struct Running {
    pipeline: ActivePipeline,
    /// Of a file, from its first frame on.
    playback: Option<Playback>,
    _context: Context,
}

impl RealsenseSource {
    /// Opens the input and waits for a frame that tells what the stream is like once it is filtered.
    ///
    /// # Errors
    /// If there is no such camera or file, it has no such mode, or it stays silent; [`SourceError::Unsupported`] for filters with values
    /// that librealsense does not take.
    pub fn open(input: Input, filters: &Filters, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let mut probe = FilterChain::new(filters)?;
        if let Input::File { path, .. } = &input {
            // librealsense's own words for a file that is none, or has no depth, are hard to understand; our reader knows better ones.
            if super::recording::sniff(path)? == Format::Bag {
                let options = ReplayOptions { color: input.color(), ..ReplayOptions::default() };
                RecordingSource::open(path, options, Arc::clone(&clock))?;
            }
        }
        let mut running = Running::start(&input)?;
        let (first, color) = first_frame(&mut running.pipeline, clock.as_ref(), &input)?;
        let color = color.map(|color| color::describe(&color, first.stream_profile())).transpose()?;
        let first = probe.process(first.into())?;
        let depth_units_m = first.depth_units_m()?;
        let first = first.into_depth()?;
        let info = describe(&input, running.pipeline.profile().device(), &probe, &first, depth_units_m, color)?;
        drop(first);
        // The run's filters have not seen the frame that the probe saw.
        let filters = FilterChain::new(filters)?;
        let color = info.color.as_ref().map(Coloring::new);
        let running = matches!(input, Input::Camera { .. }).then_some(running);
        let last_frame_at = clock.now();
        Ok(Self { info, clock, input, color, running, filters, is_first_call: true, last_frame_at })
    }

    fn take(&self, frame: &SdkFrame, arrived_at: HostTime, into: &mut DepthFrame) -> Result<(), SourceError> {
        let i = &self.info.stream.intrinsics;
        let (width, height) = (i.width as usize, i.height as usize);
        let row_bytes = width * 2;
        if (frame.width(), frame.height()) != (width, height)
            || frame.stride() < row_bytes
            || frame.get_data_size() < height * frame.stride()
        {
            let message = format!("the image is {}x{}, the stream {width}x{height}", frame.width(), frame.height());
            return Err(SourceError::Sdk { what: "odd frame", message, kind: ErrorKind::Fatal });
        }
        for (v, row) in into.depth.chunks_exact_mut(width).enumerate() {
            // SAFETY: the image has `height` rows of `stride` bytes, each at least a row of pixels long (checked above), and lives as long
            // as `frame`; Z16 pixels are u16 at even addresses.
            let pixels: &[u16] = unsafe {
                let start = std::ptr::from_ref(frame.get_data()).cast::<u8>().add(v * frame.stride());
                std::slice::from_raw_parts(start.cast(), width)
            };
            row.copy_from_slice(pixels);
        }
        into.meta = FrameMeta {
            number: frame.frame_number(),
            is_restart: false,
            arrived_at,
            device_time: Some(DeviceTime { ms: frame.timestamp(), domain: domain(frame.timestamp_domain()) }),
            depth_units_m: self.info.stream.depth_units_m,
        };
        Ok(())
    }

    /// The next depth frame whose colour image is certain.
    fn take_paired(&mut self, into: &mut DepthFrame) -> Result<bool, SourceError> {
        let Some(((depth, arrived_at), image)) = self.color.as_mut().and_then(Coloring::next) else { return Ok(false) };
        self.take(&depth, arrived_at, into)?;
        into.color = image;
        Ok(true)
    }
}

impl FrameSource for RealsenseSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery, SourceError> {
        if self.running.is_none() {
            self.running = Some(Running::start(&self.input)?);
        }
        let Some(running) = &mut self.running else { return Ok(Delivery::Idle) };
        if std::mem::take(&mut self.is_first_call) {
            self.last_frame_at = self.clock.now();
            if matches!(self.input, Input::Camera { .. }) {
                // What waits in librealsense's queue has grown old while the viewer opened.
                let _ = running.pipeline.poll();
            }
        }
        if self.take_paired(frame)? {
            return Ok(Delivery::Frame);
        }
        let Some(running) = &mut self.running else { return Ok(Delivery::Idle) };
        let set = wait(&mut running.pipeline, until.since(self.clock.now()))?;
        // The end of a file is a mere time-out for librealsense; its player knows better.
        let has_stopped = set.is_none() && running.playback.as_ref().is_some_and(Playback::has_stopped);
        if let Some((mut depth, color)) = set {
            let arrived_at = self.clock.now();
            if let (Input::File { real_time, .. }, None) = (&self.input, &running.playback) {
                let (playback, back) = Playback::of(depth)?;
                playback.set_real_time(*real_time)?;
                (running.playback, depth) = (Some(playback), back);
            }
            let Some(coloring) = &mut self.color else {
                self.last_frame_at = arrived_at;
                let depth = self.filters.apply(depth)?;
                self.take(&depth, arrived_at, frame)?;
                return Ok(Delivery::Frame);
            };
            if let Some(color) = color {
                coloring.add_color(&color)?;
            }
            // The filters see each frame once.
            if coloring.is_new(&depth) {
                self.last_frame_at = arrived_at;
                coloring.add_depth(self.filters.apply(depth)?, arrived_at);
            }
        }
        let silence = self.clock.now().since(self.last_frame_at);
        if let Some(coloring) = self.color.as_mut().filter(|_| has_stopped || silence > COLOR_WAIT) {
            coloring.hurry();
        }
        match silence {
            _ if self.take_paired(frame)? => Ok(Delivery::Frame),
            _ if has_stopped => Ok(Delivery::End),
            silence if silence > SILENCE => Err(silent(&self.info.name)),
            _ => Ok(Delivery::Idle),
        }
    }
}

impl Running {
    fn start(input: &Input) -> Result<Self, SourceError> {
        let context = Context::new().map_err(|e| sdk_error("cannot start", e))?;
        let (width, height, fps) = match input {
            Input::Camera { mode: Some(m), .. } => (m.width as usize, m.height as usize, m.fps.round() as usize),
            _ => (0, 0, 0),
        };
        let start = |color_fps: Option<usize>| -> Result<anyhow::Result<ActivePipeline>, SourceError> {
            let mut config = Config::new();
            let device = match input {
                Input::Camera { serial, .. } => {
                    let serial = CString::new(devices::choose(&context, serial.as_deref())?).unwrap_or_default();
                    config.enable_device_from_serial(&serial).map(drop).map_err(anyhow::Error::from)
                }
                Input::File { path, .. } => config.enable_device_from_file(path, false).map(drop),
            };
            Ok(device.and_then(|()| {
                config.enable_stream(Rs2StreamKind::Depth, None, width, height, Rs2Format::Z16, fps)?;
                if let Input::Camera { record_to: Some(path), .. } = input {
                    config.enable_record_to_file(path)?;
                }
                if let Some(fps) = color_fps {
                    config.enable_stream(Rs2StreamKind::Color, None, 0, 0, Rs2Format::Rgb8, fps)?;
                }
                InactivePipeline::try_from(&context)?.start(Some(config))
            }))
        };
        let mut started = start(input.color().then_some(fps))?;
        if started.is_err() && input.color() && fps != 0 {
            // Depth is faster than any colour camera can be.
            started = start(Some(0))?;
        }
        let pipeline = started.map_err(|e| cannot_open(input, &e, &context))?;
        Ok(Self { pipeline, playback: None, _context: context })
    }
}

/// A depth frame and the newest colour image, where colour streams.
type Set = (SdkFrame, Option<ColorFrame>);

/// The next set with depth, or `None` if there is none within `timeout`.
fn wait(pipeline: &mut ActivePipeline, timeout: Duration) -> Result<Option<Set>, SourceError> {
    // Rounded up: with 0 ms librealsense would return at once, and the caller spin.
    let timeout = timeout.max(Duration::from_millis(1));
    match pipeline.wait(Some(timeout)) {
        Ok(frames) => {
            let color = if frames.count() > 1 { frames.frames_of_type::<ColorFrame>().pop() } else { None };
            Ok(frames.frames_of_type::<SdkFrame>().pop().map(|depth| (depth, color)))
        }
        Err(FrameWaitError::DidTimeoutBeforeFrameArrival) => Ok(None),
        Err(error) => Err(SourceError::Sdk { what: "no frame", message: error.to_string(), kind: ErrorKind::Retry }),
    }
}

fn first_frame(pipeline: &mut ActivePipeline, clock: &dyn Clock, input: &Input) -> Result<Set, SourceError> {
    let deadline = clock.now().plus(SILENCE);
    while clock.now() < deadline {
        if let Some(set) = wait(pipeline, Duration::from_millis(100))? {
            return Ok(set);
        }
    }
    Err(match input {
        Input::Camera { .. } => silent("the camera"),
        Input::File { path, .. } => {
            SourceError::Format { path: path.clone(), problem: "librealsense plays no depth frame from it".into() }
        }
    })
}

fn silent(name: &str) -> SourceError {
    SourceError::NoCamera(format!(
        "{name} has sent no frame for {} s: unplug it and plug it in again, and check that its port and cable are USB 3",
        SILENCE.as_secs()
    ))
}

/// Says what to do when librealsense can't open something.
fn cannot_open(input: &Input, error: &anyhow::Error, context: &Context) -> SourceError {
    let message = error.to_string();
    // librealsense's own words come last in it.
    let reason = message.rsplit("Reason: ").next().unwrap_or(&message);
    match input {
        Input::File { path, .. } => SourceError::Format {
            path: path.clone(),
            problem: format!(
                "librealsense cannot play it ({reason}); `depthcast info` tells what is in it, `depthcast replay` reads damaged ones"
            ),
        },
        Input::Camera { color: true, .. } if !devices::has_color(context) => SourceError::Unsupported(
            "colour was asked for, and the camera has no colour stream; `depthcast devices` lists what it has".into(),
        ),
        Input::Camera { mode: Some(mode), .. } => {
            let modes = devices::depth_modes(context);
            SourceError::Unsupported(format!(
                "--depth {}x{}@{}: the camera has no such depth mode on this USB link; it has {}",
                mode.width,
                mode.height,
                mode.fps,
                if modes.is_empty() { "none that can be listed".into() } else { modes.join(", ") }
            ))
        }
        Input::Camera { mode: None, .. } => SourceError::NoCamera(format!(
            "the camera cannot be started ({reason}): close other programs that use it, or unplug it and plug it in again"
        )),
    }
}

fn describe(
    input: &Input,
    device: &Device,
    filters: &FilterChain,
    first: &SdkFrame,
    depth_units_m: f32,
    color: Option<ColorStream>,
) -> Result<SourceInfo, SourceError> {
    let profile = first.stream_profile();
    let fact = |what| device.info(what).map(|text| text.to_string_lossy().into_owned());
    let mut facts = Vec::new();
    for (name, what) in [
        ("device", Rs2CameraInfo::Name),
        ("serial", Rs2CameraInfo::SerialNumber),
        ("firmware", Rs2CameraInfo::FirmwareVersion),
        ("usb", Rs2CameraInfo::UsbTypeDescriptor),
    ] {
        facts.extend(fact(what).map(|value| (name, value)));
    }
    facts.push(("librealsense", sdk::sdk_version()));
    facts.extend(filters.summary().map(|summary| ("filters", summary)));
    Ok(SourceInfo {
        kind: SourceKind::Realsense,
        name: match input {
            Input::Camera { .. } => fact(Rs2CameraInfo::Name).unwrap_or_else(|| "RealSense camera".into()),
            Input::File { path, .. } => path.display().to_string(),
        },
        facts,
        stream: DepthStream {
            intrinsics: intrinsics(profile)?,
            nominal_fps: f64::from(profile.framerate()),
            depth_units_m,
            timestamp_domain: domain(first.timestamp_domain()),
        },
        color,
        expected_frames: None,
    })
}

fn intrinsics(profile: &StreamProfile) -> Result<Intrinsics, SourceError> {
    let intrinsics = profile.intrinsics().map_err(|e| sdk_error("no intrinsics", e))?;
    let distortion = intrinsics.distortion();
    Ok(Intrinsics {
        width: intrinsics.width() as u32,
        height: intrinsics.height() as u32,
        fx: intrinsics.fx(),
        fy: intrinsics.fy(),
        ppx: intrinsics.ppx(),
        ppy: intrinsics.ppy(),
        distortion: match distortion.model {
            Rs2DistortionModel::None => Distortion::None,
            Rs2DistortionModel::BrownConrady => Distortion::BrownConrady,
            Rs2DistortionModel::BrownConradyModified => Distortion::ModifiedBrownConrady,
            Rs2DistortionModel::BrownConradyInverse => Distortion::InverseBrownConrady,
            Rs2DistortionModel::FThetaFisheye => Distortion::Ftheta,
            Rs2DistortionModel::KannalaBrandt => Distortion::KannalaBrandt4,
        },
        coeffs: distortion.coeffs,
    })
}

fn domain(domain: Rs2TimestampDomain) -> TimestampDomain {
    match domain {
        Rs2TimestampDomain::HardwareClock => TimestampDomain::HardwareClock,
        Rs2TimestampDomain::SystemTime => TimestampDomain::SystemTime,
        Rs2TimestampDomain::GlobalTime => TimestampDomain::GlobalTime,
    }
}

/// All cameras, whatever their product line.
fn all_devices(context: &Context) -> Vec<Device> {
    context.query_devices(HashSet::new())
}
