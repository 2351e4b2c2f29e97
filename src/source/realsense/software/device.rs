//! A camera made of software, with sensors, profiles, options and frames of the program's choice,
//! which librealsense's pipeline takes for one of its own. It is how all that concerns live cameras
//! is tried without one.

use std::alloc::Layout;
use std::ffi::{CString, c_int, c_void};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use realsense_sys as sys;

use super::super::handle::{Device, Owned};
use super::super::metadata;
use super::super::sdk::{Error, call, make, sdk_error};
use super::super::sensor::Sensor;
use super::{
    MotionFrame, MotionStream, VideoFrame, VideoStream, rs2_create_software_device,
    rs2_software_device_add_sensor, rs2_software_device_register_info,
    rs2_software_sensor_add_motion_stream, rs2_software_sensor_add_option,
    rs2_software_sensor_add_read_only_option, rs2_software_sensor_add_video_stream,
    rs2_software_sensor_on_motion_frame, rs2_software_sensor_on_video_frame,
    rs2_software_sensor_set_metadata, to_sdk,
};
use crate::camera::{Extrinsics, Intrinsics};
use crate::clock::TimestampDomain;
use crate::frame::FrameMetadata;
use crate::source::SourceError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// 16 bits a pixel.
    Depth,
    /// 8-bit red, green, blue.
    Color,
    /// 8-bit grey, of the imager with this number: 1 is the left one.
    Infrared(i32),
    /// Metres per second squared.
    Accel,
    /// Radians per second.
    Gyro,
}

/// What a sensor can stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftwareStream {
    pub kind: StreamKind,
    pub fps: i32,
    /// Of images.
    pub intrinsics: Option<Intrinsics>,
    /// From the first depth stream's camera into this one's, if it stands elsewhere.
    pub from_depth: Option<Extrinsics>,
}

/// An option by the name that librealsense gives it, such as `Laser Power`.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftwareOption {
    pub name: String,
    pub min: f32,
    pub max: f32,
    pub step: f32,
    pub default: f32,
    pub is_writable: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct SoftwareSensor {
    pub name: String,
    pub streams: Vec<SoftwareStream>,
    pub options: Vec<SoftwareOption>,
}

/// What the camera tells about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SoftwareFacts {
    pub name: Option<String>,
    pub serial: Option<String>,
    pub firmware: Option<String>,
    pub recommended_firmware: Option<String>,
    /// USB version of its link.
    pub usb: Option<String>,
}

/// A frame on its way into librealsense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftwareFrame<'a> {
    pub number: i32,
    pub timestamp_ms: f64,
    pub domain: TimestampDomain,
    /// Rows without padding; for motion three floats.
    pub bytes: &'a [u8],
    pub metadata: FrameMetadata,
}

/// Clones are the same camera.
#[derive(Clone)]
pub struct SoftwareDevice(Arc<Inner>);

struct Inner {
    /// Profiles belong to their sensors, and sensors are given back before the device.
    streams: Vec<(usize, SoftwareStream, *const sys::rs2_stream_profile)>,
    sensors: Vec<Sensor>,
    device: Device,
    /// librealsense locks nothing of a software sensor: a frame that comes while it is started or
    /// stopped reads memory that is gone.
    gate: Mutex<()>,
    in_flight: Arc<AtomicUsize>,
}

// SAFETY: librealsense's handles belong to no thread; what changes a sensor, and what gives frames
// to it, happens behind the gate.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// librealsense keeps the places of all streams of a process in one list, and adds to it without a
/// lock when it is told of one.
static PLACES: Mutex<()> = Mutex::new(());

impl fmt::Debug for SoftwareDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareDevice").finish_non_exhaustive()
    }
}

impl SoftwareDevice {
    /// A camera with these sensors.
    ///
    /// # Errors
    /// If librealsense does not know an option, or can't be started.
    pub fn new(facts: &SoftwareFacts, sensors: &[SoftwareSensor]) -> Result<Self, SourceError> {
        // SAFETY: the device made is ours.
        let device = unsafe { Device::from_raw(|error| rs2_create_software_device(error)) }?;
        for (what, text) in [
            (sys::rs2_camera_info_RS2_CAMERA_INFO_NAME, &facts.name),
            (sys::rs2_camera_info_RS2_CAMERA_INFO_SERIAL_NUMBER, &facts.serial),
            (sys::rs2_camera_info_RS2_CAMERA_INFO_FIRMWARE_VERSION, &facts.firmware),
            (
                sys::rs2_camera_info_RS2_CAMERA_INFO_RECOMMENDED_FIRMWARE_VERSION,
                &facts.recommended_firmware,
            ),
            (sys::rs2_camera_info_RS2_CAMERA_INFO_USB_TYPE_DESCRIPTOR, &facts.usb),
        ] {
            let Some(text) = text else { continue };
            let text = c_text(text)?;
            // SAFETY: device and text are valid.
            let register = |error: Error| unsafe {
                rs2_software_device_register_info(device.as_ptr(), what, text.as_ptr(), error);
            };
            call("software device", register)?;
        }
        let (mut streams, mut made) = (Vec::new(), Vec::new());
        for (index, spec) in sensors.iter().enumerate() {
            let name = c_text(&spec.name)?;
            // SAFETY: device and name are valid; the sensor made is ours.
            let sensor = unsafe {
                Owned::new("software sensor", sys::rs2_delete_sensor, |error| {
                    rs2_software_device_add_sensor(device.as_ptr(), name.as_ptr(), error)
                })?
            };
            spec.options.iter().try_for_each(|option| add_option(sensor.as_ptr(), option))?;
            for stream in &spec.streams {
                let uid = streams.len() as c_int;
                // SAFETY: the sensor is valid, and owns the profile.
                let profile = unsafe { add_stream(sensor.as_ptr(), stream, uid) }?;
                streams.push((index, *stream, profile));
            }
            made.push(Sensor(sensor));
        }
        let depth = streams
            .iter()
            .find(|(_, stream, _)| stream.kind == StreamKind::Depth)
            .map(|(_, _, profile)| *profile);
        let _alone = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, stream, profile) in &streams {
            let (Some(depth), Some(place)) = (depth, &stream.from_depth) else { continue };
            let place =
                sys::rs2_extrinsics { rotation: place.rotation, translation: place.translation_m };
            // SAFETY: both profiles are valid.
            call("place", |error| unsafe {
                sys::rs2_register_extrinsics(depth, *profile, place, error)
            })?;
        }
        Ok(Self(Arc::new(Inner {
            streams,
            sensors: made,
            device,
            gate: Mutex::default(),
            in_flight: Arc::default(),
        })))
    }

    pub(in crate::source::realsense) fn device(&self) -> &Device {
        &self.0.device
    }

    /// Frames that librealsense, and who has them from it, hold.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Keeps frames out for as long as the result lives.
    pub(in crate::source::realsense) fn hold(&self) -> MutexGuard<'_, ()> {
        self.0.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a frame to librealsense, which drops it unless the stream is on.
    ///
    /// # Errors
    /// If there is no such stream, or the frame has another size.
    pub fn send(
        &self,
        kind: StreamKind,
        fps: i32,
        frame: &SoftwareFrame<'_>,
    ) -> Result<(), SourceError> {
        let stream = self
            .0
            .streams
            .iter()
            .filter(|(_, stream, _)| (stream.kind, stream.fps) == (kind, fps))
            .find(|(_, stream, _)| stream.bytes() == frame.bytes.len());
        let Some((sensor, stream, profile)) = stream else {
            return Err(sdk_error(
                "software frame",
                format!("no {kind:?} stream at {fps} takes {} bytes", frame.bytes.len()),
            ));
        };
        let _held = self.hold();
        let sensor = self.0.sensors[*sensor].0.as_ptr();
        for (key, value) in metadata::KEYS.into_iter().zip(frame.metadata.values()) {
            let Some(value) = value.1.and_then(|value| i64::try_from(value).ok()) else { continue };
            // SAFETY: the sensor is valid.
            call("metadata", |error| unsafe {
                rs2_software_sensor_set_metadata(sensor, key, value, error)
            })?;
        }
        let domain = match frame.domain {
            TimestampDomain::HardwareClock | TimestampDomain::Unknown => {
                sys::rs2_timestamp_domain_RS2_TIMESTAMP_DOMAIN_HARDWARE_CLOCK
            }
            TimestampDomain::SystemTime => {
                sys::rs2_timestamp_domain_RS2_TIMESTAMP_DOMAIN_SYSTEM_TIME
            }
            TimestampDomain::GlobalTime => {
                sys::rs2_timestamp_domain_RS2_TIMESTAMP_DOMAIN_GLOBAL_TIME
            }
        };
        let bytes = lend(frame.bytes, &self.0.in_flight)?;
        let (timestamp_ms, number, profile) = (frame.timestamp_ms, frame.number, *profile);
        let deleter = give_back;
        // SAFETY: sensor and profile are valid; the bytes are librealsense's from here on, as many
        // as the profile says.
        call("software frame", |error| unsafe {
            match stream.pixel_bytes() {
                None => {
                    let frame =
                        MotionFrame { data: bytes, deleter, timestamp_ms, domain, number, profile };
                    rs2_software_sensor_on_motion_frame(sensor, frame, error);
                }
                Some(pixel_bytes) => {
                    let width = stream.intrinsics.map_or(0, |i| i.width as c_int);
                    let (stride, bytes_per_pixel) =
                        (width * pixel_bytes as c_int, pixel_bytes as c_int);
                    let (pixels, depth_units_m) = (bytes, 0.0);
                    let frame = VideoFrame {
                        pixels,
                        deleter,
                        stride,
                        bytes_per_pixel,
                        timestamp_ms,
                        domain,
                        number,
                        profile,
                        depth_units_m,
                    };
                    rs2_software_sensor_on_video_frame(sensor, frame, error);
                }
            }
        })
    }
}

/// What stands before the bytes of a frame that librealsense holds.
#[repr(C, align(64))]
struct Lent {
    in_flight: Arc<AtomicUsize>,
    length: usize,
}

impl Lent {
    fn layout(length: usize) -> Result<Layout, SourceError> {
        let whole = Layout::new::<Self>()
            .extend(Layout::array::<u8>(length).unwrap_or(Layout::new::<Self>()));
        whole.map(|(layout, _)| layout).map_err(|error| sdk_error("software frame", error))
    }
}

/// A copy of the bytes, until `give_back`.
fn lend(bytes: &[u8], in_flight: &Arc<AtomicUsize>) -> Result<*mut c_void, SourceError> {
    let layout = Lent::layout(bytes.len())?;
    in_flight.fetch_add(1, Ordering::Relaxed);
    let lent = Lent { in_flight: Arc::clone(in_flight), length: bytes.len() };
    // SAFETY: the layout is that of a `Lent` and the bytes behind it, and not of size 0.
    unsafe {
        let start = std::alloc::alloc(layout).cast::<Lent>();
        if start.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        start.write(lent);
        let copy = start.add(1).cast::<u8>();
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        Ok(copy.cast())
    }
}

/// Called by librealsense when nobody holds the frame any more.
///
/// # Safety
/// `bytes` must come from `lend`, and be given back once.
unsafe extern "C" fn give_back(bytes: *mut c_void) {
    // SAFETY: a `Lent` stands before what `lend` returns; its memory was allocated with this
    // layout.
    unsafe {
        let start = bytes.cast::<Lent>().sub(1);
        let Lent { in_flight, length } = start.read();
        in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Ok(layout) = Lent::layout(length) {
            std::alloc::dealloc(start.cast(), layout);
        }
    }
}

impl SoftwareStream {
    /// Of images.
    fn pixel_bytes(&self) -> Option<usize> {
        match self.kind {
            StreamKind::Depth => Some(2),
            StreamKind::Color => Some(3),
            StreamKind::Infrared(_) => Some(1),
            StreamKind::Accel | StreamKind::Gyro => None,
        }
    }

    fn bytes(&self) -> usize {
        let pixels = self.intrinsics.map_or(0, |i| i.width as usize * i.height as usize);
        self.pixel_bytes().map_or(12, |bytes| bytes * pixels)
    }
}

/// # Safety
/// The sensor must be valid.
unsafe fn add_stream(
    sensor: *mut sys::rs2_sensor,
    stream: &SoftwareStream,
    uid: c_int,
) -> Result<*const sys::rs2_stream_profile, SourceError> {
    const WHAT: &str = "software stream";
    let (kind, index, format) = match stream.kind {
        StreamKind::Depth => (sys::rs2_stream_RS2_STREAM_DEPTH, 0, sys::rs2_format_RS2_FORMAT_Z16),
        StreamKind::Color => (sys::rs2_stream_RS2_STREAM_COLOR, 0, sys::rs2_format_RS2_FORMAT_RGB8),
        StreamKind::Infrared(index) => {
            (sys::rs2_stream_RS2_STREAM_INFRARED, index, sys::rs2_format_RS2_FORMAT_Y8)
        }
        StreamKind::Accel => {
            (sys::rs2_stream_RS2_STREAM_ACCEL, 0, sys::rs2_format_RS2_FORMAT_MOTION_XYZ32F)
        }
        StreamKind::Gyro => {
            (sys::rs2_stream_RS2_STREAM_GYRO, 0, sys::rs2_format_RS2_FORMAT_MOTION_XYZ32F)
        }
    };
    let fps = stream.fps;
    let profile = match (stream.pixel_bytes(), &stream.intrinsics) {
        (Some(bytes), Some(intrinsics)) => {
            let (width, height) = (intrinsics.width as c_int, intrinsics.height as c_int);
            let intrinsics = to_sdk(intrinsics);
            let bytes_per_pixel = bytes as c_int;
            let stream = VideoStream {
                kind,
                index,
                uid,
                width,
                height,
                fps,
                bytes_per_pixel,
                format,
                intrinsics,
            };
            // SAFETY: the sensor is valid.
            make(WHAT, |error| unsafe {
                rs2_software_sensor_add_video_stream(sensor, stream, error)
            })?
        }
        (None, _) => {
            let intrinsics = sys::rs2_motion_device_intrinsic {
                data: [[0.0; 4]; 3],
                noise_variances: [0.0; 3],
                bias_variances: [0.0; 3],
            };
            let stream = MotionStream { kind, index, uid, fps, format, intrinsics };
            // SAFETY: the sensor is valid.
            make(WHAT, |error| unsafe {
                rs2_software_sensor_add_motion_stream(sensor, stream, error)
            })?
        }
        (Some(_), None) => return Err(sdk_error(WHAT, "images have intrinsics")),
    };
    Ok(profile.as_ptr())
}

fn add_option(sensor: *mut sys::rs2_sensor, option: &SoftwareOption) -> Result<(), SourceError> {
    let SoftwareOption { name, min, max, step, default, is_writable } = option;
    let text = c_text(name)?;
    // SAFETY: the text is valid.
    let id = unsafe { sys::rs2_option_from_string(text.as_ptr()) };
    if id == sys::rs2_option_RS2_OPTION_COUNT {
        return Err(sdk_error(
            "software option",
            format!("librealsense knows no option \"{name}\""),
        ));
    }
    // SAFETY: the sensor is valid.
    call("software option", |error| unsafe {
        if *is_writable {
            rs2_software_sensor_add_option(sensor, id, *min, *max, *step, *default, 1, error);
        } else {
            rs2_software_sensor_add_read_only_option(sensor, id, *default, error);
        }
    })
}

fn c_text(text: &str) -> Result<CString, SourceError> {
    CString::new(text).map_err(|_| sdk_error("software device", "a text with a zero in it"))
}
