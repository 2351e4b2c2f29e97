//! Frames as librealsense hands them out, and the sets of them that its pipeline makes.

use std::ptr::NonNull;

use realsense_sys as sys;

use super::sdk::call;
use super::sensor::Profile;
use crate::clock::{DeviceTime, HostTime, TimestampDomain};
use crate::source::motion::{MotionKind, MotionSample};
use crate::source::{ErrorKind, SourceError};

/// One of librealsense's references to a frame, whatever its kind.
pub(super) struct Frame(NonNull<sys::rs2_frame>);

// SAFETY: frames count their references atomically and may be released on any thread.
unsafe impl Send for Frame {}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: this reference is ours, and given back once.
        unsafe { sys::rs2_release_frame(self.0.as_ptr()) }
    }
}

impl Frame {
    /// # Safety
    /// The frame must be valid, and this reference to it nobody else's to release.
    pub(super) unsafe fn from_raw(frame: NonNull<sys::rs2_frame>) -> Self {
        Self(frame)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rs2_frame {
        self.0.as_ptr()
    }

    /// Gives up the ownership.
    pub(super) fn into_raw(self) -> NonNull<sys::rs2_frame> {
        std::mem::ManuallyDrop::new(self).0
    }

    /// Another reference to it.
    pub(super) fn share(&self) -> Result<Self, SourceError> {
        // SAFETY: the frame is valid; the new reference is owned by the value returned.
        call("frame", |error| unsafe { sys::rs2_frame_add_ref(self.as_ptr(), error) })?;
        Ok(Self(self.0))
    }

    /// The profile of its stream, valid as long as the frame.
    pub(super) fn profile_ptr(&self) -> Result<*const sys::rs2_stream_profile, SourceError> {
        // SAFETY: the frame is valid.
        call("frame", |error| unsafe { sys::rs2_get_frame_stream_profile(self.as_ptr(), error) })
    }

    pub(super) fn profile(&self) -> Result<Profile, SourceError> {
        let profile = self.profile_ptr()?;
        // SAFETY: the frame is valid, and so is its profile.
        unsafe { Profile::of(profile) }
    }

    pub(super) fn number(&self) -> Result<u64, SourceError> {
        // SAFETY: the frame is valid.
        call("frame number", |error| unsafe { sys::rs2_get_frame_number(self.as_ptr(), error) })
    }

    pub(super) fn device_time(&self) -> Result<DeviceTime, SourceError> {
        // SAFETY: the frame is valid.
        let (ms, domain) = unsafe {
            (
                call("time stamp", |error| sys::rs2_get_frame_timestamp(self.as_ptr(), error))?,
                call("time stamp", |error| {
                    sys::rs2_get_frame_timestamp_domain(self.as_ptr(), error)
                })?,
            )
        };
        let domain = match domain {
            sys::rs2_timestamp_domain_RS2_TIMESTAMP_DOMAIN_HARDWARE_CLOCK => {
                TimestampDomain::HardwareClock
            }
            sys::rs2_timestamp_domain_RS2_TIMESTAMP_DOMAIN_SYSTEM_TIME => {
                TimestampDomain::SystemTime
            }
            sys::rs2_timestamp_domain_RS2_TIMESTAMP_DOMAIN_GLOBAL_TIME => {
                TimestampDomain::GlobalTime
            }
            _ => TimestampDomain::Unknown,
        };
        Ok(DeviceTime { ms, domain })
    }

    /// What the camera says about the frame, where it says it.
    pub(super) fn metadata(&self, key: sys::rs2_frame_metadata_value) -> Option<i64> {
        // SAFETY: the frame is valid.
        unsafe {
            let is_told = call("metadata", |error| {
                sys::rs2_supports_frame_metadata(self.as_ptr(), key, error)
            })
            .ok()?
                != 0;
            is_told.then(|| {
                call("metadata", |error| sys::rs2_get_frame_metadata(self.as_ptr(), key, error))
                    .ok()
            })?
        }
    }

    /// Whether it is a set of frames.
    pub(super) fn is_set(&self) -> bool {
        const SET: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_COMPOSITE_FRAME;
        // SAFETY: the frame is valid.
        call("frame", |error| unsafe {
            sys::rs2_is_frame_extendable_to(self.as_ptr(), SET, error) != 0
        })
        .unwrap_or(false)
    }

    /// The measurement that came as this frame; `None` if it is none.
    pub(super) fn motion_sample(&self, arrived_at: HostTime) -> Option<MotionSample> {
        let profile = self.profile().ok()?;
        let kind = match profile.stream {
            sys::rs2_stream_RS2_STREAM_ACCEL => MotionKind::Accel,
            sys::rs2_stream_RS2_STREAM_GYRO => MotionKind::Gyro,
            _ => return None,
        };
        if profile.format != sys::rs2_format_RS2_FORMAT_MOTION_XYZ32F {
            return None;
        }
        // SAFETY: the frame is valid.
        let (bytes, data) = unsafe {
            (
                call("motion", |error| sys::rs2_get_frame_data_size(self.as_ptr(), error)).ok()?,
                call("motion", |error| sys::rs2_get_frame_data(self.as_ptr(), error))
                    .ok()?
                    .cast::<[f32; 3]>(),
            )
        };
        // Those of a software device say 0 bytes, as its images do.
        if data.is_null() || (1..12).contains(&bytes) {
            return None;
        }
        // SAFETY: the frame is of a motion sensor, in three floats, and lives as long as `self`.
        let xyz = unsafe { data.read_unaligned() };
        Some(MotionSample { kind, xyz, arrived_at, device_time: self.device_time().ok()? })
    }

    /// Metres per depth step.
    pub(super) fn depth_units_m(&self) -> Result<f32, SourceError> {
        // SAFETY: the frame is valid; librealsense refuses one that is no depth frame.
        call("no depth units", |error| unsafe {
            sys::rs2_depth_frame_get_units(self.as_ptr(), error)
        })
    }

    pub(super) fn is_disparity(&self) -> Result<bool, SourceError> {
        const DISPARITY: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_DISPARITY_FRAME;
        // SAFETY: the frame is valid.
        call("frame", |error| unsafe {
            sys::rs2_is_frame_extendable_to(self.as_ptr(), DISPARITY, error) != 0
        })
    }

    /// The rows of an image of this size and format, each with the `row_bytes` of its pixels and
    /// whatever stands behind them.
    ///
    /// # Errors
    /// If the image is another one.
    pub(super) fn rows(
        &self,
        (width, height): (usize, usize),
        format: sys::rs2_format,
        row_bytes: usize,
    ) -> Result<std::slice::Chunks<'_, u8>, SourceError> {
        let frame = self.as_ptr();
        // SAFETY: the frame is valid; librealsense refuses one that is no image.
        let (got, stride, bytes, data) = unsafe {
            let got = (
                call("image", |error| sys::rs2_get_frame_width(frame, error))?,
                call("image", |error| sys::rs2_get_frame_height(frame, error))?,
            );
            let stride = call("image", |error| sys::rs2_get_frame_stride_in_bytes(frame, error))?;
            let bytes = call("image", |error| sys::rs2_get_frame_data_size(frame, error))?;
            (got, stride, bytes, call("image", |error| sys::rs2_get_frame_data(frame, error))?)
        };
        let (stride, bytes) = (stride.max(0) as usize, bytes.max(0) as usize);
        let profile = self.profile()?;
        // Images of a software device say 0 bytes: their pixels stand elsewhere, and
        // `SoftwareDevice::send` has counted them.
        let fits = stride >= row_bytes
            && (bytes == 0 || bytes >= height * stride)
            && row_bytes > 0
            && !data.is_null();
        if got != (width as i32, height as i32) || profile.format != format || !fits {
            let message = format!(
                "an image of {}x{} with {bytes} bytes, {stride} a row, came ({profile}), the stream is {width}x{height}",
                got.0, got.1
            );
            return Err(SourceError::Sdk { what: "odd frame", message, kind: ErrorKind::Fatal });
        }
        // SAFETY: the image has `height` rows of `stride` bytes (checked above), and lives as long
        // as the frame, from which the result borrows.
        Ok(unsafe { std::slice::from_raw_parts(data.cast(), height * stride) }.chunks(stride))
    }
}

/// What the pipeline hands over at once: the newest frame of each stream.
pub(super) struct Set {
    pub depth: Frame,
    pub color: Option<Frame>,
    /// Of the left imager, whose view is that of the depth image.
    pub infrared: Option<Frame>,
    pub arrived_at: HostTime,
}

impl Set {
    /// The frames in a set of librealsense's, or `None` if it has no depth.
    pub(super) fn of(set: &Frame, arrived_at: HostTime) -> Result<Option<Self>, SourceError> {
        let (mut depth, mut color, mut infrared) = (None, None, None);
        // SAFETY: the set is valid; each frame taken out of it is a reference of ours.
        let count =
            call("set", |error| unsafe { sys::rs2_embedded_frames_count(set.as_ptr(), error) })?;
        for i in 0..count {
            // SAFETY: as above.
            let frame =
                call("set", |error| unsafe { sys::rs2_extract_frame(set.as_ptr(), i, error) })?;
            let Some(frame) = NonNull::new(frame).map(Frame) else { continue };
            match frame.profile()? {
                Profile { stream: sys::rs2_stream_RS2_STREAM_DEPTH, .. } => depth = Some(frame),
                Profile { stream: sys::rs2_stream_RS2_STREAM_COLOR, .. } => color = Some(frame),
                Profile { stream: sys::rs2_stream_RS2_STREAM_INFRARED, .. } => {
                    infrared = Some(frame)
                }
                _ => {}
            }
        }
        Ok(depth.map(|depth| Self { depth, color, infrared, arrived_at }))
    }
}
