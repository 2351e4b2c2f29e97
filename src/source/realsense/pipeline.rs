//! librealsense's pipeline: streams of a camera, or of a recording that it plays as one, matched in
//! time. realsense-rust cannot start it with a callback or with the device that was chosen.
//!
//! A camera's sets come through a callback, which reads the clock and puts them into a queue of
//! ours: librealsense's own wait holds one set only, and when the cable was pulled, it starts the
//! pipeline again and blocks for up to 15 seconds. A recording's player waits for whoever takes its
//! frames, but not for a callback: there the pipeline's own wait is used.

use std::ffi::c_void;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel as channel;
use realsense_rust::frame::CompositeFrame;
use realsense_sys as sys;

use super::CameraInput;
use super::frame::{Set, is_set, motion_sample};
use super::sdk::{Context, Owned, c_path, call};
use super::sdk::{Device, Profile};
use crate::clock::{Clock, HostTime};
use crate::source::motion::Motion;
use crate::source::{ErrorKind, Result, SourceError};

/// Sets that may wait: what a hiccup of the capture thread of 0.1 s leaves at 90 frames a second.
/// librealsense has 16 frames a stream to give away, and some of them are on their way through it.
const QUEUE: usize = 10;

/// Where frames come from.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    Camera(&'a Device, &'a CameraInput),
    File(&'a Path),
}

pub(super) struct Pipeline {
    /// Given back before the pipeline, which ends with its last frame.
    device: Device,
    pipeline: Owned<sys::rs2_pipeline>,
    /// Of a camera. It goes after the pipeline, whose callback writes to it.
    arrivals: Option<Box<Arrivals>>,
    clock: Arc<dyn Clock>,
    _context: Context,
}

/// A set and when it was handed over.
type Arrival = (CompositeFrame, HostTime);

struct Arrivals {
    motion: Option<Motion>,
    sets: channel::Sender<Arrival>,
    waiting: channel::Receiver<Arrival>,
    clock: Arc<dyn Clock>,
}

impl Arrivals {
    /// The oldest gives way; the gap in the frame numbers shows it.
    fn add(&self, mut arrival: Arrival) {
        while let Err(channel::TrySendError::Full(back)) = self.sets.try_send(arrival) {
            let _ = self.waiting.try_recv();
            arrival = back;
        }
    }
}

/// Called by librealsense, on a thread of its own, with a reference to a frame that is ours.
///
/// # Safety
/// `user` must be the [`Arrivals`] of a pipeline that has not been deleted.
unsafe extern "C" fn arrived(frame: *mut sys::rs2_frame, user: *mut c_void) {
    // SAFETY: as promised; the pipeline is deleted, and its callback with it, before the arrivals
    // are.
    let arrivals = unsafe { &*user.cast::<Arrivals>() };
    let arrived_at = arrivals.clock.now();
    let Some(frame) = NonNull::new(frame) else { return };
    // SAFETY: the reference came to us, and goes to the set or is given back.
    unsafe {
        if is_set(frame) {
            return arrivals.add((CompositeFrame::from(frame), arrived_at));
        }
        // Samples of motion sensors, which are in no set, must not make sets give way.
        if let Some(motion) = &arrivals.motion
            && let Some(sample) = motion_sample(frame, arrived_at)
        {
            motion.add(sample);
        }
        sys::rs2_release_frame(frame.as_ptr());
    }
}

impl Pipeline {
    /// Starts the streams; of each, whatever is 0 in its profile is librealsense's to choose.
    pub(super) fn start(
        context: Context,
        origin: Origin<'_>,
        streams: &[Profile],
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        const WHAT: &str = "cannot start the streams";
        // SAFETY: the context is valid; what is made is ours.
        let (pipeline, config) = unsafe {
            (
                Owned::new(WHAT, sys::rs2_delete_pipeline, |error| {
                    sys::rs2_create_pipeline(context.as_ptr(), error)
                })?,
                Owned::new(WHAT, sys::rs2_delete_config, |e| sys::rs2_create_config(e))?,
            )
        };
        let config = config.as_ptr();
        for &Profile { stream, index, size, fps, format } in streams {
            let (width, height) = size.unwrap_or_default();
            // SAFETY: the configuration is valid.
            call(WHAT, |e| unsafe {
                sys::rs2_config_enable_stream(config, stream, index, width, height, format, fps, e);
            })?;
        }
        let arrivals = match origin {
            Origin::Camera(device, CameraInput { motion, record_to, .. }) => {
                // SAFETY: all are valid; the pipeline takes a reference of its own to the device.
                call(WHAT, |e| unsafe {
                    sys::rs2_pipeline_set_device(pipeline.as_ptr(), device.as_ptr(), e)
                })?;
                if let Some(path) = record_to {
                    let path = c_path(path)?;
                    // SAFETY: both are valid.
                    call(WHAT, |e| unsafe {
                        sys::rs2_config_enable_record_to_file(config, path.as_ptr(), e);
                    })?;
                }
                let ((sets, waiting), motion) = (channel::bounded(QUEUE), motion.clone());
                Some(Box::new(Arrivals { motion, sets, waiting, clock: Arc::clone(&clock) }))
            }
            Origin::File(path) => {
                let path = c_path(path)?;
                // SAFETY: both are valid.
                call(WHAT, |e| unsafe {
                    let (path, repeat) = (path.as_ptr(), 0);
                    sys::rs2_config_enable_device_from_file_repeat_option(config, path, repeat, e);
                })?;
                None
            }
        };
        let start = |error| {
            let pipeline = pipeline.as_ptr();
            // SAFETY: pipeline and configuration are valid. The arrivals stay where they are until
            // the pipeline is deleted (order of the fields).
            unsafe {
                let Some(user) = &arrivals else {
                    return sys::rs2_pipeline_start_with_config(pipeline, config, error);
                };
                let (user, f) = (ptr::from_ref(&**user).cast_mut().cast(), Some(arrived as _));
                sys::rs2_pipeline_start_with_config_and_callback(pipeline, config, f, user, error)
            }
        };
        // SAFETY: what is made is ours, and leads to the device, which is ours too.
        let device = unsafe {
            Owned::new(WHAT, sys::rs2_delete_pipeline_profile, start).and_then(|active| {
                let profile = active.as_ptr();
                Device::new("device", |e| sys::rs2_pipeline_profile_get_device(profile, e))
            })
        };
        match device {
            Ok(device) => Ok(Self { device, pipeline, arrivals, clock, _context: context }),
            Err(error) => {
                // A start that fails half-way can leave a sensor streaming, which goes on calling.
                std::mem::forget(arrivals);
                Err(error)
            }
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The next set with depth, or `None` if there is none within `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> Result<Option<Set>> {
        // Rounded up: with 0 ms librealsense would return at once, and the caller spin.
        let timeout = timeout.max(Duration::from_millis(1));
        if let Some(arrivals) = &self.arrivals {
            let arrival = arrivals.waiting.recv_timeout(timeout).ok();
            return Ok(arrival.and_then(|(set, arrived_at)| Set::of(&set, arrived_at)));
        }
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let (pipeline, mut frame) = (self.pipeline.as_ptr(), ptr::null_mut());
        // SAFETY: the pipeline is valid; the frame it stores is a reference of ours.
        let waited = call("no frame", |e| unsafe {
            sys::rs2_pipeline_try_wait_for_frames(pipeline, &mut frame, timeout_ms, e)
        });
        if let Err(SourceError::Sdk { what, message, .. }) = waited {
            // The next wait may bring a frame.
            return Err(SourceError::Sdk { what, message, kind: ErrorKind::Retry });
        }
        let set = NonNull::new(frame).map(CompositeFrame::from);
        Ok(set.and_then(|set| Set::of(&set, self.clock.now())))
    }

    /// Forgets what waits.
    pub(super) fn skip_waiting(&self) {
        if let Some(arrivals) = &self.arrivals {
            arrivals.waiting.try_iter().for_each(drop);
        }
    }
}
