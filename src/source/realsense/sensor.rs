//! Sensors of a camera, what they can stream, and their options.

use realsense_sys as sys;

use super::handle::{Owned, copied};
use super::sdk::{Error, call, make};
use crate::camera::{Distortion, Intrinsics};
use crate::source::SourceError;

/// What a sensor can stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    pub stream: sys::rs2_stream,
    /// Tells streams of a kind apart, from 1 on; 0 for the only one.
    pub index: i32,
    /// Of images alone.
    pub size: Option<(i32, i32)>,
    pub fps: i32,
    pub format: sys::rs2_format,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub min: f32,
    pub max: f32,
    pub step: f32,
    pub default: f32,
}

pub(super) struct Sensor(pub(super) Owned<sys::rs2_sensor>);

impl Sensor {
    fn options_ptr(&self) -> *const sys::rs2_options {
        // A sensor is one of the things that have options.
        self.0.as_ptr().cast()
    }

    pub(super) fn name(&self) -> Option<String> {
        let (sensor, what) = (self.0.as_ptr(), sys::rs2_camera_info_RS2_CAMERA_INFO_NAME);
        // SAFETY: the sensor is valid, and its text too until it is copied.
        unsafe {
            let is_told =
                call("name", |error| sys::rs2_supports_sensor_info(sensor, what, error)).ok()? != 0;
            let text = if is_told {
                call("name", |error| sys::rs2_get_sensor_info(sensor, what, error)).ok()?
            } else {
                return None;
            };
            copied(text)
        }
    }

    pub(super) fn profiles(&self) -> Result<Vec<Profile>, SourceError> {
        const WHAT: &str = "profiles";
        // SAFETY: the sensor is valid; the list made is ours, and its profiles are valid as long as
        // it.
        unsafe {
            let delete = sys::rs2_delete_stream_profiles_list;
            let list = Owned::new(WHAT, delete, |error| {
                sys::rs2_get_stream_profiles(self.0.as_ptr(), error)
            })?;
            let count =
                call(WHAT, |error| sys::rs2_get_stream_profiles_count(list.as_ptr(), error))?;
            let raw = |i| {
                make(WHAT, |error| sys::rs2_get_stream_profile(list.as_ptr(), i, error).cast_mut())
            };
            (0..count).map(|i| Profile::of(raw(i)?.as_ptr())).collect()
        }
    }

    pub(super) fn options(&self) -> Result<Vec<sys::rs2_option>, SourceError> {
        const WHAT: &str = "options";
        // SAFETY: the sensor is valid; the list made is ours.
        unsafe {
            let list = Owned::new(WHAT, sys::rs2_delete_options_list, |error| {
                sys::rs2_get_options_list(self.options_ptr(), error)
            })?;
            let count = call(WHAT, |error| sys::rs2_get_options_list_size(list.as_ptr(), error))?;
            (0..count)
                .map(|i| call(WHAT, |error| sys::rs2_get_option_from_list(list.as_ptr(), i, error)))
                .collect()
        }
    }

    pub(super) fn option_name(
        &self,
        option: sys::rs2_option,
    ) -> Result<Option<String>, SourceError> {
        // SAFETY: the sensor is valid, and the text too until it is copied.
        unsafe {
            Ok(copied(call("option", |error| {
                sys::rs2_get_option_name(self.options_ptr(), option, error)
            })?))
        }
    }

    pub(super) fn option_description(
        &self,
        option: sys::rs2_option,
    ) -> Result<Option<String>, SourceError> {
        // SAFETY: as above.
        unsafe {
            Ok(copied(call("option", |error| {
                sys::rs2_get_option_description(self.options_ptr(), option, error)
            })?))
        }
    }

    /// What a value is called, where values have names.
    pub(super) fn value_name(
        &self,
        option: sys::rs2_option,
        value: f32,
    ) -> Result<Option<String>, SourceError> {
        let text = |error: Error| {
            // SAFETY: the sensor is valid.
            unsafe {
                sys::rs2_get_option_value_description(self.options_ptr(), option, value, error)
            }
        };
        // SAFETY: the text is valid until it is copied.
        call("option", text).map(|text| unsafe { copied(text) })
    }

    pub(super) fn is_read_only(&self, option: sys::rs2_option) -> Result<bool, SourceError> {
        // SAFETY: the sensor is valid.
        call("option", |error| unsafe {
            sys::rs2_is_option_read_only(self.options_ptr(), option, error) != 0
        })
    }

    /// The value of an option that is a number.
    pub(super) fn value(&self, option: sys::rs2_option) -> Result<f32, SourceError> {
        // SAFETY: the sensor is valid.
        call("option", |error| unsafe { sys::rs2_get_option(self.options_ptr(), option, error) })
    }

    /// librealsense refuses what is read-only or out of range.
    pub(super) fn set(&self, option: sys::rs2_option, value: f32) -> Result<(), SourceError> {
        // SAFETY: the sensor is valid.
        call("option", |error| unsafe {
            sys::rs2_set_option(self.options_ptr(), option, value, error)
        })
    }

    pub(super) fn range(&self, option: sys::rs2_option) -> Result<Range, SourceError> {
        let mut range = Range { min: 0.0, max: 0.0, step: 0.0, default: 0.0 };
        let Range { min, max, step, default } = &mut range;
        // SAFETY: the sensor is valid; the numbers outlive the call.
        call("option", |error| unsafe {
            sys::rs2_get_option_range(self.options_ptr(), option, min, max, step, default, error);
        })?;
        Ok(range)
    }
}

impl Profile {
    /// # Safety
    /// The profile must be valid.
    pub(super) unsafe fn of(raw: *const sys::rs2_stream_profile) -> Result<Self, SourceError> {
        const WHAT: &str = "profile";
        const VIDEO: sys::rs2_extension = sys::rs2_extension_RS2_EXTENSION_VIDEO_PROFILE;
        let (mut stream, mut format, mut index, mut id, mut fps) = (0, 0, 0, 0, 0);
        let (mut width, mut height) = (0, 0);
        // SAFETY: the profile is valid; the numbers outlive the calls.
        let is_video = unsafe {
            let data = |error: Error| {
                sys::rs2_get_stream_profile_data(
                    raw,
                    &mut stream,
                    &mut format,
                    &mut index,
                    &mut id,
                    &mut fps,
                    error,
                );
            };
            call(WHAT, data)?;
            let is_video = call(WHAT, |error| sys::rs2_stream_profile_is(raw, VIDEO, error))? != 0;
            if is_video {
                call(WHAT, |error| {
                    sys::rs2_get_video_stream_resolution(raw, &mut width, &mut height, error)
                })?;
            }
            is_video
        };
        Ok(Self { stream, index, size: is_video.then_some((width, height)), fps, format })
    }
}

/// The lens behind the images of a profile.
///
/// # Safety
/// The profile must be valid.
pub(super) unsafe fn intrinsics(
    raw: *const sys::rs2_stream_profile,
) -> Result<Intrinsics, SourceError> {
    let mut i = sys::rs2_intrinsics {
        width: 0,
        height: 0,
        ppx: 0.0,
        ppy: 0.0,
        fx: 0.0,
        fy: 0.0,
        model: 0,
        coeffs: [0.0; 5],
    };
    // SAFETY: the profile is valid; the numbers outlive the call.
    call("no intrinsics", |error| unsafe {
        sys::rs2_get_video_stream_intrinsics(raw, &mut i, error)
    })?;
    let distortion = match i.model {
        sys::rs2_distortion_RS2_DISTORTION_NONE => Distortion::None,
        sys::rs2_distortion_RS2_DISTORTION_BROWN_CONRADY => Distortion::BrownConrady,
        sys::rs2_distortion_RS2_DISTORTION_MODIFIED_BROWN_CONRADY => {
            Distortion::ModifiedBrownConrady
        }
        sys::rs2_distortion_RS2_DISTORTION_INVERSE_BROWN_CONRADY => Distortion::InverseBrownConrady,
        sys::rs2_distortion_RS2_DISTORTION_FTHETA => Distortion::Ftheta,
        sys::rs2_distortion_RS2_DISTORTION_KANNALA_BRANDT4 => Distortion::KannalaBrandt4,
        other => {
            let text = format!(
                "the camera's lens has distortion model {other}, which this depthcast does not know"
            );
            return Err(SourceError::Unsupported(text));
        }
    };
    let (width, height) = (i.width as u32, i.height as u32);
    Ok(Intrinsics {
        width,
        height,
        fx: i.fx,
        fy: i.fy,
        ppx: i.ppx,
        ppy: i.ppy,
        distortion,
        coeffs: i.coeffs,
    })
}

/// Such as `depth 848x480@90 z16`, or `infrared 1 848x480@90 y8`.
impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: both give constant texts, also for numbers that librealsense does not know.
        let (stream, format) = unsafe {
            (
                copied(sys::rs2_stream_to_string(self.stream)),
                copied(sys::rs2_format_to_string(self.format)),
            )
        };
        let name = |text: Option<String>| text.unwrap_or_else(|| "unknown".into()).to_lowercase();
        f.write_str(&name(stream))?;
        if self.index > 0 {
            write!(f, " {}", self.index)?;
        }
        if let Some((width, height)) = self.size {
            write!(f, " {width}x{height}")?;
        }
        write!(f, "@{} {}", self.fps, name(format))
    }
}
