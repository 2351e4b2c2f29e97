//! librealsense's pipeline: streams of a camera, or of a recording that it plays as one, matched in
//! time.
//!
//! A camera's sets come through a callback, which reads the clock and puts them into a queue of
//! ours. librealsense's own wait would hold one set only, and when it comes to nothing because the
//! cable was pulled, it starts the pipeline again by itself and blocks for up to 15 seconds. A
//! recording's player waits for whoever takes its frames, which a callback can't make it do; so
//! there the pipeline's own wait is used, and the clock read when it returns.

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel as channel;
use realsense_sys as sys;

use super::frame::{Frame, Set};
use super::handle::{Context, Device, Owned};
use super::sdk::{Error, call};
use super::sensor::Profile;
use super::software::SoftwareDevice;
use crate::clock::{Clock, HostTime};
use crate::source::motion::Motion;
use crate::source::{ErrorKind, SourceError};

/// Sets that may wait: what a hiccup of the capture thread of 0.1 s leaves at 90 frames a second.
/// librealsense has 16 frames a stream to give away, and some of them are on their way through it.
const QUEUE: usize = 10;

/// Where frames come from.
#[derive(Clone, Copy)]
pub(super) enum From<'a> {
    Camera {
        device: &'a Device,
        /// Where the camera is one.
        software: Option<&'a SoftwareDevice>,
        motion: Option<&'a Motion>,
        record_to: Option<&'a Path>,
    },
    File(&'a Path),
}

pub(super) struct Pipeline {
    /// The active profile leads to the device; all are given back before the pipeline, which ends
    /// with its last frame.
    device: Device,
    /// There until the end.
    pipeline: Option<Owned<sys::rs2_pipeline>>,
    software: Option<SoftwareDevice>,
    /// Of a camera. It goes after the pipeline, whose callback writes to it.
    arrivals: Option<Box<Arrivals>>,
    clock: Arc<dyn Clock>,
    _context: Context,
}

/// A frame or set and when it was handed over.
type Arrival = (Frame, HostTime);

struct Arrivals {
    motion: Option<Motion>,
    sets: channel::Sender<Arrival>,
    waiting: channel::Receiver<Arrival>,
    clock: Arc<dyn Clock>,
}

impl Arrivals {
    fn new(motion: Option<Motion>, clock: Arc<dyn Clock>) -> Self {
        let (sets, waiting) = channel::bounded(QUEUE);
        Self { motion, sets, waiting, clock }
    }

    /// The oldest gives way; the gap in the frame numbers tells of it.
    ///
    /// Samples of motion sensors, which are in no set, must not make sets give way.
    fn add(&self, mut arrival: Arrival) {
        if !arrival.0.is_set() {
            if let (Some(motion), Some(sample)) = (&self.motion, arrival.0.motion_sample(arrival.1))
            {
                motion.add(sample);
            }
            return;
        }
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
    if let Some(frame) = NonNull::new(frame) {
        // SAFETY: the reference came to us.
        arrivals.add((unsafe { Frame::from_raw(frame) }, arrived_at));
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _held = self.software.as_ref().map(SoftwareDevice::hold);
        self.pipeline = None;
    }
}

impl Pipeline {
    /// Starts the streams; of each, whatever stands in its profile as 0 is librealsense's to
    /// choose.
    pub(super) fn start(
        context: Context,
        from: From<'_>,
        streams: &[Profile],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SourceError> {
        const WHAT: &str = "cannot start the streams";
        // SAFETY: the context is valid; what is made is ours.
        let (pipeline, config) = unsafe {
            (
                Owned::new(WHAT, sys::rs2_delete_pipeline, |error| {
                    sys::rs2_create_pipeline(context.as_ptr(), error)
                })?,
                Owned::new(WHAT, sys::rs2_delete_config, |error| sys::rs2_create_config(error))?,
            )
        };
        for stream in streams {
            let (width, height) = stream.size.unwrap_or_default();
            let Profile { stream, index, format, fps, .. } = *stream;
            // SAFETY: the configuration is valid.
            let enable = |error: Error| unsafe {
                sys::rs2_config_enable_stream(
                    config.as_ptr(),
                    stream,
                    index,
                    width,
                    height,
                    format,
                    fps,
                    error,
                );
            };
            call(WHAT, enable)?;
        }
        let arrivals = match from {
            From::Camera { device, motion, record_to, .. } => {
                // SAFETY: all are valid; the pipeline takes a reference of its own to the device.
                call(WHAT, |error| unsafe {
                    sys::rs2_pipeline_set_device(pipeline.as_ptr(), device.as_ptr(), error)
                })?;
                if let Some(path) = record_to {
                    let path = c_path(path)?;
                    // SAFETY: both are valid.
                    let record = |error: Error| unsafe {
                        sys::rs2_config_enable_record_to_file(
                            config.as_ptr(),
                            path.as_ptr(),
                            error,
                        );
                    };
                    call(WHAT, record)?;
                }
                Some(Box::new(Arrivals::new(motion.cloned(), Arc::clone(&clock))))
            }
            From::File(path) => {
                let path = c_path(path)?;
                // SAFETY: both are valid.
                let play = |error: Error| unsafe {
                    sys::rs2_config_enable_device_from_file_repeat_option(
                        config.as_ptr(),
                        path.as_ptr(),
                        0,
                        error,
                    );
                };
                call(WHAT, play)?;
                None
            }
        };
        let software =
            if let From::Camera { software, .. } = from { software.cloned() } else { None };
        let held = software.as_ref().map(SoftwareDevice::hold);
        // SAFETY: pipeline and configuration are valid. The arrivals stand where they are until the
        // pipeline is deleted (order of the fields). What is made is ours.
        let started = unsafe {
            Owned::new(WHAT, sys::rs2_delete_pipeline_profile, |error| match &arrivals {
                Some(arrivals) => {
                    let user = ptr::from_ref(&**arrivals).cast_mut().cast();
                    sys::rs2_pipeline_start_with_config_and_callback(
                        pipeline.as_ptr(),
                        config.as_ptr(),
                        Some(arrived),
                        user,
                        error,
                    )
                }
                None => {
                    sys::rs2_pipeline_start_with_config(pipeline.as_ptr(), config.as_ptr(), error)
                }
            })
        };
        let active = match started {
            Ok(active) => active,
            Err(error) => {
                // A start that fails half-way can leave a sensor behind that streams, and goes on
                // calling.
                std::mem::forget(arrivals);
                return Err(error);
            }
        };
        // SAFETY: the active profile is valid; the device made is ours.
        let device = unsafe {
            Device::from_raw(|error| sys::rs2_pipeline_profile_get_device(active.as_ptr(), error))
        };
        let device = match device {
            Ok(device) => device,
            Err(error) => {
                // It streams, and goes on calling until it is deleted, which would be after the
                // arrivals.
                std::mem::forget(arrivals);
                return Err(error);
            }
        };
        drop(held);
        Ok(Self { device, pipeline: Some(pipeline), software, arrivals, clock, _context: context })
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The next set with depth, or `None` if there is none within `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> Result<Option<Set>, SourceError> {
        // Rounded up: with 0 ms librealsense would return at once, and the caller spin.
        let timeout = timeout.max(Duration::from_millis(1));
        let (set, arrived_at) = match &self.arrivals {
            Some(arrivals) => match arrivals.waiting.recv_timeout(timeout) {
                Ok(arrival) => arrival,
                Err(_) => return Ok(None),
            },
            None => {
                let (mut frame, timeout_ms) =
                    (ptr::null_mut(), u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
                let Some(pipeline) = &self.pipeline else { return Ok(None) };
                // SAFETY: the pipeline is valid; the frame it stores is a reference of ours.
                let got = call("no frame", |error| unsafe {
                    sys::rs2_pipeline_try_wait_for_frames(
                        pipeline.as_ptr(),
                        &mut frame,
                        timeout_ms,
                        error,
                    )
                });
                got.map_err(passing)?;
                let Some(frame) = NonNull::new(frame) else { return Ok(None) };
                // SAFETY: as above.
                (unsafe { Frame::from_raw(frame) }, self.clock.now())
            }
        };
        Set::of(&set, arrived_at)
    }

    /// Forgets what waits.
    pub(super) fn skip_waiting(&self) {
        if let Some(arrivals) = &self.arrivals {
            arrivals.waiting.try_iter().for_each(drop);
        }
    }
}

/// The next wait may bring a frame.
fn passing(error: SourceError) -> SourceError {
    match error {
        SourceError::Sdk { what, message, .. } => {
            SourceError::Sdk { what, message, kind: ErrorKind::Retry }
        }
        other => other,
    }
}

fn c_path(path: &Path) -> Result<CString, SourceError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SourceError::Format {
        path: path.into(),
        problem: "a name with a zero in it".into(),
    })
}
