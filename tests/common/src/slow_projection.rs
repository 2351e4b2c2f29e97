//! A clock by which each projection takes longer.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use depthcast::clock::{Clock, HostTime};

thread_local! {
    static IS_PROJECTING: Cell<bool> = const { Cell::new(false) };
}

/// Reads `clock`, and lets `delay` pass between the two readings that the projection's thread makes
/// for each frame: before it projects, and after it. It must then show in `project` and `total` and
/// nowhere else.
pub struct SlowProjection {
    clock: Arc<dyn Clock>,
    delay: Duration,
}

impl SlowProjection {
    pub fn new(clock: Arc<dyn Clock>, delay: Duration) -> Arc<Self> {
        Arc::new(Self { clock, delay })
    }
}

impl Clock for SlowProjection {
    fn now(&self) -> HostTime {
        let is_projection =
            std::thread::current().name().is_some_and(|name| name.starts_with("project"));
        if is_projection && IS_PROJECTING.replace(!IS_PROJECTING.get()) {
            self.clock.sleep_until(self.clock.now().plus(self.delay));
        }
        self.clock.now()
    }

    fn sleep_until(&self, t: HostTime) {
        self.clock.sleep_until(t);
    }

    fn unix_ns(&self, t: HostTime) -> i64 {
        self.clock.unix_ns(t)
    }
}
