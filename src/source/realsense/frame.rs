//! Frames as librealsense hands them out, the sets of them that its pipeline makes, and which
//! colour image belongs to which depth frame.

use std::ptr::NonNull;
use std::sync::Arc;

use num_traits::FromPrimitive as _;
use realsense_rust::frame::{
    ColorFrame, CompositeFrame, DepthFrame, FrameEx, ImageFrame, InfraredFrame,
};
use realsense_rust::kind::{Rs2Format, Rs2FrameMetadata, Rs2TimestampDomain};
use realsense_rust::stream_profile::StreamProfile;
use realsense_sys as sys;

use super::sdk::{ACCEL, GYRO, Profile, XYZ32F, call, crate_error};
use crate::camera::{Distortion, Extrinsics, Intrinsics};
use crate::clock::{DeviceTime, HostTime, TimestampDomain};
use crate::frame::{COLOR_BUFFERS, ColorFormat, ColorImage, FrameMetadata};
use crate::pairing::{Pairs, Patience};
use crate::pool::Pool;
use crate::source::motion::{MotionKind, MotionSample};
use crate::source::{ColorStream, ErrorKind, Result, SourceError};

/// What the pipeline hands over at once: the newest frame of each stream.
pub(super) struct Set {
    pub depth: DepthFrame,
    pub color: Option<ColorFrame>,
    /// Of the left imager, whose view is that of the depth image.
    pub infrared: Option<InfraredFrame>,
    pub arrived_at: HostTime,
}

impl Set {
    /// `None` if it has no depth. It holds the streams that were opened, of kinds that
    /// realsense-rust knows.
    pub(super) fn of(set: &CompositeFrame, arrived_at: HostTime) -> Option<Self> {
        let depth = set.frames_of_type::<DepthFrame>().pop()?;
        let color = set.frames_of_type::<ColorFrame>().pop();
        Some(Self { depth, color, infrared: set.frames_of_type().pop(), arrived_at })
    }
}

/// Whether a frame is a set of frames.
///
/// # Safety
/// The frame must be valid.
pub(super) unsafe fn is_set(frame: NonNull<sys::rs2_frame>) -> bool {
    const SET: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_COMPOSITE_FRAME;
    // SAFETY: as promised.
    call("frame", |e| unsafe { sys::rs2_is_frame_extendable_to(frame.as_ptr(), SET, e) != 0 })
        .unwrap_or(false)
}

/// The measurement in this frame, if it is one. realsense-rust's type panics on software frames.
///
/// # Safety
/// The frame must be valid.
pub(super) unsafe fn motion_sample(
    frame: NonNull<sys::rs2_frame>,
    arrived_at: HostTime,
) -> Option<MotionSample> {
    const WHAT: &str = "motion";
    let frame = frame.as_ptr();
    // SAFETY: the frame is valid, as promised, and so are its profile and its data as long as it.
    unsafe {
        let profile = call(WHAT, |e| sys::rs2_get_frame_stream_profile(frame, e)).ok()?;
        let kind = match Profile::of(profile).ok()? {
            Profile { stream: ACCEL, format: XYZ32F, .. } => MotionKind::Accel,
            Profile { stream: GYRO, format: XYZ32F, .. } => MotionKind::Gyro,
            _ => return None,
        };
        let bytes = call(WHAT, |e| sys::rs2_get_frame_data_size(frame, e)).ok()?;
        let data = call(WHAT, |e| sys::rs2_get_frame_data(frame, e)).ok()?;
        // Those of a software device say 0 bytes, as its images do.
        if data.is_null() || (1..12).contains(&bytes) {
            return None;
        }
        let ms = call(WHAT, |e| sys::rs2_get_frame_timestamp(frame, e)).ok()?;
        let domain = call(WHAT, |e| sys::rs2_get_frame_timestamp_domain(frame, e)).ok()?;
        Some(MotionSample {
            kind,
            xyz: data.cast::<[f32; 3]>().read_unaligned(),
            arrived_at,
            device_time: DeviceTime { ms, domain: domain_of(Rs2TimestampDomain::from_u32(domain)) },
        })
    }
}

fn domain_of(domain: Option<Rs2TimestampDomain>) -> TimestampDomain {
    match domain {
        Some(Rs2TimestampDomain::HardwareClock) => TimestampDomain::HardwareClock,
        Some(Rs2TimestampDomain::SystemTime) => TimestampDomain::SystemTime,
        Some(Rs2TimestampDomain::GlobalTime) => TimestampDomain::GlobalTime,
        None => TimestampDomain::Unknown,
    }
}

pub(super) fn device_time(frame: &impl FrameEx) -> DeviceTime {
    DeviceTime { ms: frame.timestamp(), domain: domain_of(Some(frame.timestamp_domain())) }
}

/// Time stamps for comparing: to the microsecond also where they count from 1970.
pub(super) fn stamp_ns(frame: &impl FrameEx) -> i64 {
    (frame.timestamp() * 1e6) as i64
}

/// What librealsense reports of a frame beside its image, as far as the kernel passes it on.
pub(super) fn metadata(frame: &impl FrameEx) -> FrameMetadata {
    // None of these can be negative in truth.
    let get = |kind| frame.metadata(kind).and_then(|value| u64::try_from(value).ok());
    FrameMetadata {
        frame_counter: get(Rs2FrameMetadata::FrameCounter),
        sensor_timestamp_us: get(Rs2FrameMetadata::SensorTimestamp),
        frame_timestamp_us: get(Rs2FrameMetadata::FrameTimestamp),
        backend_timestamp_ms: get(Rs2FrameMetadata::BackendTimestamp),
        exposure_us: get(Rs2FrameMetadata::ActualExposure),
        gain: get(Rs2FrameMetadata::GainLevel),
    }
}

/// Metres per depth step. realsense-rust asks a sensor for it, and leaks the sensor.
pub(super) fn depth_units_m(frame: DepthFrame) -> Result<(f32, DepthFrame)> {
    // SAFETY: the frame is valid, and its reference goes on into the frame that is made again.
    unsafe {
        let raw = frame.get_owned_raw();
        let units_m = call("no depth units", |e| sys::rs2_depth_frame_get_units(raw.as_ptr(), e));
        let frame = DepthFrame::try_from(raw).map_err(|error| crate_error("frame", error))?;
        Ok((units_m?, frame))
    }
}

/// The rows of an image of this size and format, each with the `row_bytes` of its pixels and
/// whatever comes after them; an error if the image is another one.
pub(super) fn rows<K>(
    frame: &ImageFrame<K>,
    (width, height): (usize, usize),
    format: Rs2Format,
    row_bytes: usize,
) -> Result<std::slice::Chunks<'_, u8>> {
    let (stride, bytes, profile) = (frame.stride(), frame.get_data_size(), frame.stream_profile());
    // Images of a software device say 0 bytes; it has checked their pixels.
    let fits = stride >= row_bytes && (bytes == 0 || bytes >= height * stride) && row_bytes > 0;
    let got = (frame.width(), frame.height());
    if got != (width, height) || profile.format() != format || !fits {
        let (kind, format) = (profile.kind(), profile.format());
        let message = format!(
            "an image of {}x{} with {bytes} bytes, {stride} a row, came ({kind} {format:?}), \
             the stream is {width}x{height}",
            got.0, got.1
        );
        return Err(SourceError::Sdk { what: "odd frame", message, kind: ErrorKind::Fatal });
    }
    // SAFETY: the image has `height` rows of `stride` bytes (checked above), and lives as long as
    // the frame, from which the result borrows.
    let bytes = unsafe {
        let data = std::ptr::from_ref(frame.get_data()).cast();
        std::slice::from_raw_parts(data, height * stride)
    };
    Ok(bytes.chunks(stride))
}

/// Copies an image into a buffer of its size and format.
pub(super) fn copy<K>(
    pool: &mut Pool<ColorImage>,
    frame: &ImageFrame<K>,
) -> Result<Arc<ColorImage>> {
    let mut free = pool.free();
    let image = free.get_mut();
    let (width, height) = (image.width as usize, image.height as usize);
    let row_bytes = width * image.format.bytes_per_pixel();
    let format = match image.format {
        ColorFormat::Mono8 => Rs2Format::Y8,
        _ => Rs2Format::Rgb8,
    };
    let rows = rows(frame, (width, height), format, row_bytes)?;
    for (from, to) in rows.zip(image.bytes.chunks_exact_mut(row_bytes)) {
        to.copy_from_slice(&from[..row_bytes]);
    }
    (image.number, image.device_time) = (frame.frame_number(), Some(device_time(frame)));
    Ok(free.share())
}

/// What the colour camera of this frame is like, and where it is.
pub(super) fn color_stream(color: &ColorFrame, depth: &DepthFrame) -> Result<ColorStream> {
    let extrinsics = depth.stream_profile().extrinsics(color.stream_profile());
    let extrinsics = extrinsics.map_err(|error| crate_error("no extrinsics", error))?;
    let (rotation, translation_m) = (extrinsics.rotation(), extrinsics.translation());
    Ok(ColorStream {
        intrinsics: intrinsics(color.stream_profile())?,
        format: ColorFormat::Rgb8,
        nominal_fps: f64::from(color.stream_profile().framerate()),
        from_depth: Extrinsics { rotation, translation_m },
    })
}

/// The lens of the camera whose images have this profile.
pub(super) fn intrinsics(profile: &StreamProfile) -> Result<Intrinsics> {
    let intrinsics = profile.intrinsics().map_err(|error| crate_error("no intrinsics", error))?;
    let sys::rs2_intrinsics { width, height, ppx, ppy, fx, fy, model, coeffs } = intrinsics.0;
    let distortion = match model {
        sys::rs2_distortion_RS2_DISTORTION_NONE => Distortion::None,
        sys::rs2_distortion_RS2_DISTORTION_BROWN_CONRADY => Distortion::BrownConrady,
        sys::rs2_distortion_RS2_DISTORTION_MODIFIED_BROWN_CONRADY => {
            Distortion::ModifiedBrownConrady
        }
        sys::rs2_distortion_RS2_DISTORTION_INVERSE_BROWN_CONRADY => Distortion::InverseBrownConrady,
        sys::rs2_distortion_RS2_DISTORTION_FTHETA => Distortion::Ftheta,
        sys::rs2_distortion_RS2_DISTORTION_KANNALA_BRANDT4 => Distortion::KannalaBrandt4,
        other => {
            return Err(SourceError::Unsupported(format!(
                "the camera's lens has distortion model {other}, \
                 which this depthcast does not know"
            )));
        }
    };
    let (width, height) = (width as u32, height as u32);
    Ok(Intrinsics { width, height, fx, fy, ppx, ppy, distortion, coeffs })
}

/// A depth frame, the infrared image beside it, and when they arrived.
pub(super) type Waiting = (DepthFrame, Option<InfraredFrame>, HostTime);

/// Finds the colour image that belongs to each depth frame.
///
/// librealsense's pipeline gives sets of the newest frame of each stream. What that means for
/// depth:
///
/// - There is no set before each stream has had its first frame: of a file, depth before the first
///   colour image is lost. `depthcast replay` loses none.
/// - Cameras' frames are matched by their stamps. Those of a file are not: each image makes a set,
///   so that a depth frame comes first with the colour image before its own and once more with its
///   own.
///
/// So frames are told apart by their numbers, and a depth frame goes on at once if its colour image
/// is within half a period; else it waits for the next set.
pub(super) struct Coloring {
    pool: Pool<ColorImage>,
    pub(super) pairs: Pairs<Waiting, Arc<ColorImage>>,
    last_depth_number: Option<u64>,
    last_color_number: Option<u64>,
}

impl Coloring {
    pub(super) fn new(stream: &ColorStream) -> Self {
        let (width, height) = (stream.intrinsics.width, stream.intrinsics.height);
        let half_a_period_ns = 0.5e9 / stream.nominal_fps.max(1.0);
        let image = move || ColorImage::new(width, height, ColorFormat::Rgb8);
        Self {
            pool: Pool::new(COLOR_BUFFERS, image),
            pairs: Pairs::new(Patience { near_ns: half_a_period_ns as i64, wait_ns: 0 }),
            last_depth_number: None,
            last_color_number: None,
        }
    }

    /// Takes in the colour image of a set, unless it came before.
    pub(super) fn add_color(&mut self, color: &ColorFrame) -> Result<()> {
        let number = color.frame_number();
        if self.last_color_number.replace(number) != Some(number) {
            self.pairs.add_color(stamp_ns(color), copy(&mut self.pool, color)?);
        }
        Ok(())
    }

    /// Whether the depth frame of a set is not the one of the set before.
    pub(super) fn is_new(&mut self, depth: &DepthFrame) -> bool {
        let number = depth.frame_number();
        self.last_depth_number.replace(number) != Some(number)
    }
}
