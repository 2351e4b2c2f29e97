//! librealsense's C interface: errors, queues, processing blocks.

use std::ffi::CStr;
use std::fmt::Display;
use std::ptr::{self, NonNull};

use realsense_sys as sys;

use super::frame::Frame;
use crate::source::{ErrorKind, SourceError};

/// Where librealsense puts an error.
pub(super) type Error = *mut *mut sys::rs2_error;

/// Calls librealsense and turns its error into ours.
pub(super) fn call<T>(
    what: &'static str,
    f: impl FnOnce(*mut *mut sys::rs2_error) -> T,
) -> Result<T, SourceError> {
    let mut error = ptr::null_mut();
    let value = f(&mut error);
    if error.is_null() {
        return Ok(value);
    }
    // SAFETY: `error` was set by librealsense; its message lives until the error is freed.
    let message = unsafe {
        let text = sys::rs2_get_error_message(error);
        let message = if text.is_null() {
            String::new()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        };
        sys::rs2_free_error(error);
        message
    };
    Err(sdk_error(what, message))
}

/// As [`call`], for what is made.
pub(super) fn make<T>(
    what: &'static str,
    f: impl FnOnce(*mut *mut sys::rs2_error) -> *mut T,
) -> Result<NonNull<T>, SourceError> {
    NonNull::new(call(what, f)?).ok_or_else(|| sdk_error(what, "got a null pointer"))
}

pub(super) fn sdk_error(what: &'static str, message: impl Display) -> SourceError {
    SourceError::Sdk { what, message: message.to_string(), kind: ErrorKind::Fatal }
}

/// The version of the library that is linked, such as 2.56.5.
pub(super) fn sdk_version() -> String {
    // SAFETY: has no arguments but the place for an error.
    match call("version", |error| unsafe { sys::rs2_get_api_version(error) }) {
        Ok(v) => format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100),
        Err(_) => "unknown".into(),
    }
}

/// The version of the interface that this is compiled for, and of the library that is linked.
pub fn sdk_versions() -> (String, String) {
    use sys::{
        RS2_API_MAJOR_VERSION as MAJOR, RS2_API_MINOR_VERSION as MINOR,
        RS2_API_PATCH_VERSION as PATCH,
    };
    (format!("{MAJOR}.{MINOR}.{PATCH}"), sdk_version())
}

/// A queue of one frame: those who use it take what they have put into it at once.
pub(super) struct Queue(NonNull<sys::rs2_frame_queue>);

// SAFETY: librealsense's queues are made to be used by several threads.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours, and deleted once.
        unsafe { sys::rs2_delete_frame_queue(self.0.as_ptr()) }
    }
}

impl Queue {
    pub(super) fn new() -> Result<Self, SourceError> {
        // SAFETY: the queue made is owned by the value returned.
        make("frame queue", |error| unsafe { sys::rs2_create_frame_queue(1, error) }).map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rs2_frame_queue {
        self.0.as_ptr()
    }

    /// What is in it.
    pub(super) fn take(&self) -> Result<Option<Frame>, SourceError> {
        let mut frame = ptr::null_mut();
        // SAFETY: the queue is valid; the frame it stores is a reference of ours.
        call("frame queue", |error| unsafe {
            sys::rs2_poll_for_frame(self.as_ptr(), &mut frame, error)
        })?;
        // SAFETY: as above.
        Ok(NonNull::new(frame).map(|frame| unsafe { Frame::from_raw(frame) }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    Decimation,
    Threshold,
    DepthToDisparity,
    Spatial,
    Temporal,
    DisparityToDepth,
    HoleFilling,
    Pointcloud,
}

impl BlockKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Decimation => "decimation",
            Self::Threshold => "threshold",
            Self::DepthToDisparity => "depth to disparity",
            Self::Spatial => "spatial filter",
            Self::Temporal => "temporal filter",
            Self::DisparityToDepth => "disparity to depth",
            Self::HoleFilling => "hole filling",
            Self::Pointcloud => "point cloud",
        }
    }
}

/// One of librealsense's processing blocks.
pub(super) struct Block {
    kind: BlockKind,
    block: NonNull<sys::rs2_processing_block>,
    /// Where the block puts its result.
    queue: Queue,
}

// SAFETY: a block belongs to no thread; this handle is owned and not shared.
unsafe impl Send for Block {}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block is ours, and deleted once, before the queue that it knows.
        unsafe { sys::rs2_delete_processing_block(self.block.as_ptr()) }
    }
}

impl Block {
    pub(super) fn new(kind: BlockKind) -> Result<Self, SourceError> {
        let queue = Queue::new()?;
        // SAFETY: these have no arguments but the direction of a transform and the place for an
        // error; the block is owned by the value below.
        let block = make(kind.name(), |error| unsafe {
            match kind {
                BlockKind::Decimation => sys::rs2_create_decimation_filter_block(error),
                BlockKind::Threshold => sys::rs2_create_threshold(error),
                BlockKind::DepthToDisparity => sys::rs2_create_disparity_transform_block(1, error),
                BlockKind::Spatial => sys::rs2_create_spatial_filter_block(error),
                BlockKind::Temporal => sys::rs2_create_temporal_filter_block(error),
                BlockKind::DisparityToDepth => sys::rs2_create_disparity_transform_block(0, error),
                BlockKind::HoleFilling => sys::rs2_create_hole_filling_filter_block(error),
                BlockKind::Pointcloud => sys::rs2_create_pointcloud(error),
            }
        })?;
        let this = Self { kind, block, queue };
        // SAFETY: both are valid, and the block is deleted before the queue.
        call(kind.name(), |error| unsafe {
            sys::rs2_start_processing_queue(block.as_ptr(), this.queue.as_ptr(), error)
        })?;
        Ok(this)
    }

    pub(super) fn kind(&self) -> BlockKind {
        self.kind
    }

    /// The least and the greatest value of an option.
    pub(super) fn range(&self, option: sys::rs2_option) -> Result<(f32, f32), SourceError> {
        let (mut min, mut max, mut step, mut default) = (0.0, 0.0, 0.0, 0.0);
        // SAFETY: a block is one of the things that have options; the numbers outlive the call.
        call(self.kind.name(), |error| unsafe {
            sys::rs2_get_option_range(
                self.block.as_ptr().cast(),
                option,
                &mut min,
                &mut max,
                &mut step,
                &mut default,
                error,
            );
        })?;
        Ok((min, max))
    }

    pub(super) fn set(&mut self, option: sys::rs2_option, value: f32) -> Result<(), SourceError> {
        // SAFETY: as above.
        call(self.kind.name(), |error| unsafe {
            sys::rs2_set_option(self.block.as_ptr().cast(), option, value, error)
        })
    }

    /// Runs the block on a frame, on this thread.
    pub(super) fn process(&mut self, frame: Frame) -> Result<Frame, SourceError> {
        let frame = frame.into_raw();
        // SAFETY: block and frame are valid, and the frame's reference is the block's from here on.
        call(self.kind.name(), |error| unsafe {
            sys::rs2_process_frame(self.block.as_ptr(), frame.as_ptr(), error)
        })?;
        // A block that fails only writes to librealsense's log.
        self.queue.take()?.ok_or_else(|| sdk_error(self.kind.name(), "it made nothing of a frame"))
    }
}
