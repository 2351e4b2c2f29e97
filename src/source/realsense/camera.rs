//! A camera as the watch drives it: opened anew after each stall.
//!
//! Starting and stopping a pipeline, making a context (it enumerates USB), and a reset exchange
//! control transfers with the camera, and librealsense waits seconds for a camera that does not
//! answer. Only the wait for frames has a limit of ours. So this driver blocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sdk::{Context, sdk_error};
use super::{CameraInput, Input, RealsenseSource, device, devices};
use crate::clock::{Clock, HostTime};
use crate::frame::DepthFrame;
use crate::source::motion::Motion;
use crate::source::options::{ColorWish, Filters};
use crate::source::watch::{CameraDriver, Started};
use crate::source::{Delivery, FrameSource as _, SourceError};

pub struct RealsenseCamera {
    /// What was asked for; from the first start on what was opened then, since on another USB link
    /// something else would be chosen.
    input: CameraInput,
    /// Starts that succeeded.
    starts: u32,
    filters: Filters,
    clock: Arc<dyn Clock>,
    source: Option<RealsenseSource>,
}

impl RealsenseCamera {
    /// librealsense records to the input's `record_to`, where that is asked for; after each restart
    /// to a file of its own beside it (`x_2.bag`).
    pub fn new(mut input: CameraInput, filters: Filters, clock: Arc<dyn Clock>) -> Self {
        if input.settings.imu {
            input.motion.get_or_insert_default();
        }
        Self { input, starts: 0, filters, clock, source: None }
    }
}

impl CameraDriver for RealsenseCamera {
    const BLOCKS: bool = true;

    fn start(&mut self, serial: Option<&str>) -> Result<Started, SourceError> {
        self.stop();
        let mut input = self.input.clone();
        input.settings.serial = serial.map(str::to_owned);
        input.record_to = input.record_to.map(|path| numbered(&path, self.starts + 1));
        let source = RealsenseSource::open(
            Input::Camera(Box::new(input)),
            &self.filters,
            Arc::clone(&self.clock),
        )?;
        self.starts += 1;
        let (depth, color) = source.modes();
        self.input.settings.depth = depth;
        self.input.settings.color = color.map(ColorWish::Mode).or(self.input.settings.color);
        let info = source.info().clone();
        let serial = info.facts.iter().find(|fact| fact.0 == "serial").map(|fact| fact.1.clone());
        self.source = Some(source);
        Ok(Started { info, serial })
    }

    fn stop(&mut self) {
        self.source = None;
    }

    fn next_frame(
        &mut self,
        frame: &mut DepthFrame,
        until: HostTime,
    ) -> Result<Delivery, SourceError> {
        match &mut self.source {
            Some(source) => source.next_frame(frame, until),
            None => Err(sdk_error("no frame", "the camera was not started")),
        }
    }

    fn look(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(devices::serials(&device::devices(&Context::new()?)?))
    }

    fn hardware_reset(&mut self, serial: Option<&str>) -> Result<(), SourceError> {
        devices::find(&Context::new()?, serial)?.hardware_reset()
    }

    fn motion(&self) -> Option<Motion> {
        self.input.motion.clone()
    }

    fn substitute(&self) -> Self {
        let (input, filters, clock) =
            (self.input.clone(), self.filters.clone(), Arc::clone(&self.clock));
        Self { input, starts: self.starts, filters, clock, source: None }
    }
}

/// The name of the recording's `part`, from 1 on: what was recorded before a restart is not written
/// over.
fn numbered(path: &Path, part: u32) -> PathBuf {
    if part == 1 {
        return path.to_owned();
    }
    let [stem, extension] =
        [path.file_stem(), path.extension()].map(|text| text.unwrap_or_default().to_string_lossy());
    path.with_file_name(format!("{stem}_{part}.{extension}"))
}
