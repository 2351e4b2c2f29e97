//! librealsense's filters between its pipeline and our copy of the frame.
//!
//! The order is the one that librealsense recommends (its `doc/post-processing-filters.md`). A
//! chain has a memory, the temporal filter's: each run has its own.

use std::task::Poll;

use realsense_rust::frame::{DepthFrame, FrameEx as _};
use realsense_rust::kind::Rs2Format;
use realsense_rust::processing_blocks::decimation::Decimation;
use realsense_rust::processing_blocks::disparity_transform::DisparityTransform;
use realsense_rust::processing_blocks::errors::ProcessFrameError;
use realsense_rust::processing_blocks::hole_filling::HoleFillingFilter as Holes;
use realsense_rust::processing_blocks::options::OptionsExt;
use realsense_rust::processing_blocks::spatial_filter::SpatialFilter as Spatial;
use realsense_rust::processing_blocks::temporal_filter::TemporalFilter as Temporal;
use realsense_rust::processing_blocks::threshold::ThresholdFilter as Threshold;
use realsense_sys as sys;

use super::sdk::{crate_error, sdk_error};
use crate::source::options::Filters;
use crate::source::{Result, SourceError};

/// Frames that a block's queue holds: each is taken before the next one comes.
pub(super) const QUEUE: i32 = 1;

/// The filters that are on.
pub(super) struct FilterChain {
    steps: Vec<Step>,
    /// What is on, with the values that were given: `decimation 2, spatial, temporal`.
    summary: Vec<String>,
}

type Step = Box<dyn FnMut(DepthFrame) -> Result<DepthFrame>>;

// SAFETY: librealsense's blocks belong to no thread; those of a chain are owned and not shared.
unsafe impl Send for FilterChain {}

/// An option by its name in the configuration, and the value given, if one was.
type Given = (&'static str, sys::rs2_option, Option<f32>);

/// How a block takes a frame in, and gives one back: realsense-rust has no trait for it.
type Queue<B, F> = (
    fn(&mut B, DepthFrame) -> Result<(), ProcessFrameError>,
    fn(&mut B) -> Result<Poll<F>, ProcessFrameError>,
);

impl FilterChain {
    /// A value that librealsense does not take is an error with the range.
    pub(super) fn new(filters: &Filters) -> Result<Self> {
        const MAGNITUDE: sys::rs2_option = sys::rs2_option_RS2_OPTION_FILTER_MAGNITUDE;
        const ALPHA: sys::rs2_option = sys::rs2_option_RS2_OPTION_FILTER_SMOOTH_ALPHA;
        const DELTA: sys::rs2_option = sys::rs2_option_RS2_OPTION_FILTER_SMOOTH_DELTA;
        const HOLES: sys::rs2_option = sys::rs2_option_RS2_OPTION_HOLES_FILL;
        const MIN: sys::rs2_option = sys::rs2_option_RS2_OPTION_MIN_DISTANCE;
        const MAX: sys::rs2_option = sys::rs2_option_RS2_OPTION_MAX_DISTANCE;
        let number = |value: Option<i32>| value.map(|value| value as f32);
        let has_disparity = filters.disparity == Some(true);
        let mut chain = Self { steps: Vec::new(), summary: Vec::new() };
        if let Some(f) = filters.decimation {
            let options = [("magnitude", MAGNITUDE, number(f.magnitude))];
            let queue = (Decimation::queue as _, Decimation::poll as _);
            chain.add("decimation", Decimation::new, queue, &options)?;
        }
        if let Some(f) = filters.threshold {
            // librealsense would move one of them out of the other's way.
            let range = f.min_m.zip(f.max_m);
            if let Some((min_m, max_m)) = range.filter(|(min_m, max_m)| min_m > max_m) {
                return Err(SourceError::Unsupported(format!(
                    "filters.threshold.min_m is {min_m} and max_m {max_m}; nothing lies between"
                )));
            }
            let options = &[("min_m", MIN, f.min_m), ("max_m", MAX, f.max_m)];
            chain.add("threshold", Threshold::new, (Threshold::queue, Threshold::poll), options)?;
        }
        if has_disparity {
            chain.add_disparity_transform(true)?;
            chain.steps.push(Box::new(check_disparity));
            chain.summary.push("disparity".into());
        }
        if let Some(f) = filters.spatial {
            let options = [
                ("smooth_alpha", ALPHA, f.smooth_alpha),
                ("smooth_delta", DELTA, number(f.smooth_delta)),
                ("magnitude", MAGNITUDE, number(f.magnitude)),
                ("holes_fill", HOLES, number(f.holes_fill)),
            ];
            chain.add("spatial", Spatial::new, (Spatial::queue, Spatial::poll), &options)?;
        }
        if let Some(f) = filters.temporal {
            let options = [
                ("smooth_alpha", ALPHA, f.smooth_alpha),
                ("smooth_delta", DELTA, number(f.smooth_delta)),
                ("persistence", HOLES, number(f.persistence)),
            ];
            chain.add("temporal", Temporal::new, (Temporal::queue, Temporal::poll), &options)?;
        }
        if has_disparity {
            chain.add_disparity_transform(false)?;
        }
        if let Some(f) = filters.hole_filling {
            let options = [("mode", HOLES, number(f.mode))];
            chain.add("hole_filling", Holes::new, (Holes::queue, Holes::poll), &options)?;
        }
        Ok(chain)
    }

    /// Adds a block with the options that were given, and takes note of them.
    fn add<B: OptionsExt + 'static, E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        block: fn(i32) -> Result<B, E>,
        queue: Queue<B, DepthFrame>,
        options: &[Given],
    ) -> Result<()> {
        let mut block = block(QUEUE).map_err(|error| crate_error(name, error))?;
        let mut summary = name.replace('_', " ");
        for &(key, option, value) in options {
            let Some(value) = value else { continue };
            let range = block.get_option_range(option);
            let (min, max, ..) = range.map_err(|error| crate_error(name, error))?;
            if !(min..=max).contains(&value) {
                return Err(SourceError::Unsupported(format!(
                    "filters.{name}.{key} is {value}; it goes from {min} to {max}"
                )));
            }
            block.set_option(option, value).map_err(|error| crate_error(name, error))?;
            // Where there is but one, it needs no name.
            let key = if options.len() == 1 { String::new() } else { format!(" {key}") };
            summary += &format!("{key} {value}");
        }
        self.summary.push(summary);
        self.push(name, block, queue);
        Ok(())
    }

    fn add_disparity_transform(&mut self, is_to_disparity: bool) -> Result<()> {
        let block = DisparityTransform::new(is_to_disparity, QUEUE);
        let block = block.map_err(|error| crate_error("disparity", error))?;
        self.push("disparity", block, (DisparityTransform::queue, DisparityTransform::poll));
        Ok(())
    }

    fn push<B: 'static>(&mut self, name: &'static str, mut block: B, queue: Queue<B, DepthFrame>) {
        self.steps.push(Box::new(move |frame| process(name, &mut block, queue, frame)));
    }

    /// For people; `None` where no filter is on.
    pub(super) fn summary(&self) -> Option<String> {
        (!self.summary.is_empty()).then(|| self.summary.join(", "))
    }

    /// Runs the filters that are on; an error if disparity is asked for and the camera has none.
    pub(super) fn process(&mut self, frame: DepthFrame) -> Result<DepthFrame> {
        self.steps.iter_mut().try_fold(frame, |frame, step| step(frame))
    }
}

/// Runs a block on a frame, on this thread.
pub(super) fn process<B, F>(
    name: &'static str,
    block: &mut B,
    (queue, poll): Queue<B, F>,
    frame: DepthFrame,
) -> Result<F> {
    queue(block, frame).map_err(|error| crate_error(name, error))?;
    match poll(block).map_err(|error| crate_error(name, error))? {
        Poll::Ready(frame) => Ok(frame),
        // A block that fails only writes to librealsense's log.
        Poll::Pending => Err(sdk_error(name, "it made nothing of a frame")),
    }
}

/// librealsense would go on with depth in silence.
fn check_disparity(frame: DepthFrame) -> Result<DepthFrame> {
    if frame.stream_profile().format() == Rs2Format::Disparity32 {
        return Ok(frame);
    }
    Err(SourceError::Unsupported(
        "filters.disparity: librealsense knows no stereo baseline of this camera, \
         so it has no disparity; leave it out"
            .into(),
    ))
}
