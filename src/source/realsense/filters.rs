//! librealsense's filters between its pipeline and our copy of the frame.
//!
//! The order is the one that librealsense recommends (its `doc/post-processing-filters.md`). A
//! chain has a memory, the temporal filter's: each run has its own.

use realsense_sys as sys;

use super::frame::Frame;
use super::sdk::{Block, BlockKind};
use crate::source::SourceError;
use crate::source::options::Filters;

/// The filters that are on.
pub(super) struct FilterChain {
    blocks: Vec<Block>,
    /// What is on, with the values that were given: `decimation 2, spatial, temporal`.
    summary: Vec<String>,
}

/// An option by its name in the configuration, and the value given, if one was.
type Given = (&'static str, sys::rs2_option, Option<f32>);

impl FilterChain {
    /// # Errors
    /// [`SourceError::Unsupported`], with the range, for a value that librealsense does not take.
    pub(super) fn new(filters: &Filters) -> Result<Self, SourceError> {
        const MAGNITUDE: sys::rs2_option = sys::rs2_option_RS2_OPTION_FILTER_MAGNITUDE;
        const ALPHA: sys::rs2_option = sys::rs2_option_RS2_OPTION_FILTER_SMOOTH_ALPHA;
        const DELTA: sys::rs2_option = sys::rs2_option_RS2_OPTION_FILTER_SMOOTH_DELTA;
        const HOLES: sys::rs2_option = sys::rs2_option_RS2_OPTION_HOLES_FILL;
        const MIN: sys::rs2_option = sys::rs2_option_RS2_OPTION_MIN_DISTANCE;
        const MAX: sys::rs2_option = sys::rs2_option_RS2_OPTION_MAX_DISTANCE;
        let number = |value: Option<i32>| value.map(|value| value as f32);
        let disparity = filters.disparity == Some(true);
        let mut chain = Self { blocks: Vec::new(), summary: Vec::new() };
        if let Some(f) = filters.decimation {
            chain.add(
                BlockKind::Decimation,
                "decimation",
                &[("magnitude", MAGNITUDE, number(f.magnitude))],
            )?;
        }
        if let Some(f) = filters.threshold {
            // librealsense would move one of them out of the other's way.
            if let (Some(min_m), Some(max_m)) = (f.min_m, f.max_m)
                && min_m > max_m
            {
                let text = format!(
                    "filters.threshold.min_m is {min_m} and max_m {max_m}; nothing lies between"
                );
                return Err(SourceError::Unsupported(text));
            }
            chain.add(
                BlockKind::Threshold,
                "threshold",
                &[("min_m", MIN, f.min_m), ("max_m", MAX, f.max_m)],
            )?;
        }
        if disparity {
            chain.add(BlockKind::DepthToDisparity, "disparity", &[])?;
        }
        if let Some(f) = filters.spatial {
            let smooth = [
                ("smooth_alpha", ALPHA, f.smooth_alpha),
                ("smooth_delta", DELTA, number(f.smooth_delta)),
            ];
            let others = [
                ("magnitude", MAGNITUDE, number(f.magnitude)),
                ("holes_fill", HOLES, number(f.holes_fill)),
            ];
            chain.add(BlockKind::Spatial, "spatial", &[smooth, others].concat())?;
        }
        if let Some(f) = filters.temporal {
            let smooth = [
                ("smooth_alpha", ALPHA, f.smooth_alpha),
                ("smooth_delta", DELTA, number(f.smooth_delta)),
            ];
            chain.add(
                BlockKind::Temporal,
                "temporal",
                &[&smooth[..], &[("persistence", HOLES, number(f.persistence))]].concat(),
            )?;
        }
        if disparity {
            chain.blocks.push(Block::new(BlockKind::DisparityToDepth)?);
        }
        if let Some(f) = filters.hole_filling {
            chain.add(
                BlockKind::HoleFilling,
                "hole_filling",
                &[("mode", HOLES, number(f.mode))],
            )?;
        }
        Ok(chain)
    }

    fn add(
        &mut self,
        kind: BlockKind,
        name: &'static str,
        options: &[Given],
    ) -> Result<(), SourceError> {
        let mut block = Block::new(kind)?;
        let mut summary = name.replace('_', " ");
        for &(key, option, value) in options {
            let Some(value) = value else { continue };
            let (min, max) = block.range(option)?;
            if !(min..=max).contains(&value) {
                return Err(SourceError::Unsupported(format!(
                    "filters.{name}.{key} is {value}; it goes from {min} to {max}"
                )));
            }
            block.set(option, value)?;
            // Where there is but one, it needs no name.
            let key = if options.len() == 1 { String::new() } else { format!(" {key}") };
            summary += &format!("{key} {value}");
        }
        self.blocks.push(block);
        self.summary.push(summary);
        Ok(())
    }

    /// For people; `None` where no filter is on.
    pub(super) fn summary(&self) -> Option<String> {
        (!self.summary.is_empty()).then(|| self.summary.join(", "))
    }

    /// Runs the filters that are on.
    ///
    /// # Errors
    /// Also [`SourceError::Unsupported`] if disparity is asked for and the camera has none.
    pub(super) fn process(&mut self, mut frame: Frame) -> Result<Frame, SourceError> {
        for block in &mut self.blocks {
            frame = block.process(frame)?;
            // librealsense would go on with depth in silence.
            if block.kind() == BlockKind::DepthToDisparity && !frame.is_disparity()? {
                let text = "filters.disparity: librealsense knows no stereo baseline of this camera, so it has no disparity; leave it out";
                return Err(SourceError::Unsupported(text.into()));
            }
        }
        Ok(frame)
    }
}
