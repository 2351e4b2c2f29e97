//! A camera as the watch drives it: opened anew after each stall.
//!
//! Starting and stopping a pipeline, making a context (it enumerates USB), and a reset exchange control transfers with the camera, and
//! librealsense waits seconds for a camera that does not answer. Only the wait for frames has a limit of ours. So this driver blocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use realsense_rust::context::Context;

use super::sdk::sdk_error;
use super::{Input, RealsenseSource, all_devices, devices};
use crate::clock::{Clock, HostTime};
use crate::config::{Filters, Mode};
use crate::frame::DepthFrame;
use crate::source::watch::{CameraDriver, Started};
use crate::source::{Delivery, FrameSource as _, SourceError};

pub struct RealsenseCamera {
    /// The mode asked for, or the one that librealsense chose at the first start: on another USB link it would choose another.
    mode: Option<Mode>,
    color: bool,
    record_to: Option<PathBuf>,
    /// Starts that succeeded.
    starts: u32,
    filters: Filters,
    clock: Arc<dyn Clock>,
    source: Option<RealsenseSource>,
}

impl RealsenseCamera {
    /// librealsense records to `record_to`, where that is asked for; after each restart to a file of its own beside it (`x_2.bag`).
    pub fn new(mode: Option<Mode>, color: bool, record_to: Option<PathBuf>, filters: Filters, clock: Arc<dyn Clock>) -> Self {
        Self { mode, color, record_to, starts: 0, filters, clock, source: None }
    }
}

impl CameraDriver for RealsenseCamera {
    const BLOCKS: bool = true;

    fn start(&mut self, serial: Option<&str>) -> Result<Started, SourceError> {
        self.stop();
        let record_to = self.record_to.as_deref().map(|path| numbered(path, self.starts + 1));
        let input = Input::Camera { serial: serial.map(str::to_owned), mode: self.mode, color: self.color, record_to };
        let source = RealsenseSource::open(input, &self.filters, Arc::clone(&self.clock))?;
        self.starts += 1;
        // With colour the request is repeated as it was, since the depth rate would decide which colour profile librealsense takes.
        if !self.color {
            self.mode = Some(source.mode);
        }
        let info = source.info().clone();
        let serial = info.facts.iter().find(|fact| fact.0 == "serial").map(|fact| fact.1.clone());
        self.source = Some(source);
        Ok(Started { info, serial })
    }

    fn stop(&mut self) {
        self.source = None;
    }

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery, SourceError> {
        match &mut self.source {
            Some(source) => source.next_frame(frame, until),
            None => Err(sdk_error("no frame", "the camera was not started")),
        }
    }

    fn look(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(devices::serials(&context()?))
    }

    fn hardware_reset(&mut self, serial: Option<&str>) -> Result<(), SourceError> {
        let context = context()?;
        let is_meant = |found: Option<String>| serial.is_none() || found.as_deref() == serial;
        let mut cameras = all_devices(&context).into_iter();
        let Some(camera) = cameras.find(|camera| is_meant(devices::serial(camera))) else {
            return Err(SourceError::NoCamera("it is not there".into()));
        };
        camera.hardware_reset();
        Ok(())
    }

    fn substitute(&self) -> Self {
        let Self { mode, color, record_to, starts, filters, clock, source: _ } = self;
        let (record_to, filters, clock) = (record_to.clone(), filters.clone(), Arc::clone(clock));
        Self { mode: *mode, color: *color, record_to, starts: *starts, filters, clock, source: None }
    }
}

fn context() -> Result<Context, SourceError> {
    Context::new().map_err(|e| sdk_error("cannot start", e))
}

/// The name of the recording's `part`, from 1 on: what was recorded before a restart is not written over.
fn numbered(path: &Path, part: u32) -> PathBuf {
    if part == 1 {
        return path.to_owned();
    }
    let [stem, extension] = [path.file_stem(), path.extension()].map(|text| text.unwrap_or_default().to_string_lossy());
    path.with_file_name(format!("{stem}_{part}.{extension}"))
}
