//! What the watch asks of a camera.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::call::wait;
use crate::clock::{Clock, HostTime};
use crate::frame::DepthFrame;
use crate::source::motion::Motion;
use crate::source::{Delivery, SourceError, SourceInfo};

/// How long the end of a run waits for a camera to stop.
const STOPPING: Duration = Duration::from_millis(1500);

/// What a driver has started.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    pub info: SourceInfo,
    /// The camera's serial number, where it has one.
    pub serial: Option<String>,
}

/// A camera as the machine needs it.
pub trait CameraDriver: Send + 'static {
    /// Whether calls other than `next_frame` may take longer than 50 ms. They are made on another
    /// thread then.
    const BLOCKS: bool;

    /// Starts the stream of the camera with this serial number, or of any, with all that was set at
    /// the first start. A stream that runs already is stopped first. Later starts ask for the
    /// profile that the first one got.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`](crate::source::ErrorKind::Retry) if the camera was started and stays
    /// silent; [`SourceError::Unsupported`] if it will never do what it is asked for.
    fn start(&mut self, serial: Option<&str>) -> Result<Started, SourceError>;

    /// Stops the stream, if it runs. Dropping the driver does so too.
    fn stop(&mut self);

    /// As [`FrameSource::next_frame`](crate::source::FrameSource::next_frame), for at most 50 ms.
    ///
    /// # Errors
    /// A fatal one means that the stream has to be started again.
    fn next_frame(
        &mut self,
        frame: &mut DepthFrame,
        until: HostTime,
    ) -> Result<Delivery, SourceError>;

    /// Serial numbers of all cameras that are there.
    ///
    /// # Errors
    /// If that can't be told.
    fn look(&mut self) -> Result<Vec<String>, SourceError>;

    /// Lets the camera with this serial number, or any, begin anew as if it had been plugged in. It
    /// goes away for some seconds.
    ///
    /// # Errors
    /// If the camera can't be reached.
    fn hardware_reset(&mut self, serial: Option<&str>) -> Result<(), SourceError>;

    /// What the camera's motion sensors measure, where that was asked for: the same at all starts,
    /// and for a substitute.
    fn motion(&self) -> Option<Motion> {
        None
    }

    /// A driver that does the same and shares nothing with this one, for going on when a call of
    /// this one does not return.
    fn substitute(&self) -> Self;
}

/// A driver that keeps nobody waiting when it goes: stopping a camera that was pulled can take for
/// ever.
pub(super) struct Held<C: CameraDriver> {
    driver: Option<C>,
    clock: Arc<dyn Clock>,
}

impl<C: CameraDriver> Held<C> {
    pub(super) fn new(driver: C, clock: &Arc<dyn Clock>) -> Self {
        Self { driver: Some(driver), clock: Arc::clone(clock) }
    }

    pub(super) fn into_inner(mut self) -> C {
        self.driver.take().expect("it is there until it goes")
    }
}

impl<C: CameraDriver> Deref for Held<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.driver.as_ref().expect("it is there until it goes")
    }
}

impl<C: CameraDriver> DerefMut for Held<C> {
    fn deref_mut(&mut self) -> &mut C {
        self.driver.as_mut().expect("it is there until it goes")
    }
}

impl<C: CameraDriver> Drop for Held<C> {
    fn drop(&mut self) {
        let Some(driver) = self.driver.take().filter(|_| C::BLOCKS) else { return };
        let Ok(thread) = thread::Builder::new().name("camera".into()).spawn(move || drop(driver))
        else {
            return;
        };
        wait(&thread, &*self.clock, self.clock.now().plus(STOPPING));
        if !thread.is_finished() {
            tracing::warn!("the camera did not stop in time and was left behind");
        }
    }
}
