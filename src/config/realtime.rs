//! `[realtime]`: which threads go before other programs, where they run, and whether memory is
//! locked.

use super::{Realtime, UsageError, check};
use crate::realtime::{self, MOST_CORES, Priority, Scheduling};

/// Before all that is not real-time; after the kernel's own threads for interrupts, which have 50.
const CAPTURE_FIFO: i64 = 20;
/// After capture, which must not wait for a projection.
const PROJECT_FIFO: i64 = 10;

impl Realtime {
    /// Nothing is asked for that is not said; with `on`, what is usual where nothing is said.
    pub(super) fn validated(self) -> Result<realtime::Realtime, UsageError> {
        let on = self.on.unwrap_or(false);
        let usual = |nice: Option<i64>, fifo| (on && nice.is_none()).then_some(fifo);
        let capture_fifo = self.capture_fifo.or(usual(self.capture_nice, CAPTURE_FIFO));
        let project_fifo = self.project_fifo.or(usual(self.project_nice, PROJECT_FIFO));
        Ok(realtime::Realtime {
            capture: scheduling("capture", capture_fifo, self.capture_nice, self.capture_cores)?,
            project: scheduling("project", project_fifo, self.project_nice, self.project_cores)?,
            lock_memory: self.lock_memory.unwrap_or(on),
        })
    }
}

fn scheduling(
    thread: &str,
    fifo: Option<i64>,
    nice: Option<i64>,
    cores: Option<Vec<usize>>,
) -> Result<Scheduling, UsageError> {
    let priority = match (fifo, nice) {
        (Some(_), Some(_)) => {
            let text = format!(
                "realtime.{thread}_fifo and realtime.{thread}_nice: a thread has the one or the \
                 other"
            );
            return Err(UsageError(text));
        }
        (Some(fifo), None) => {
            check(
                (1..=99).contains(&fifo),
                format!("realtime.{thread}_fifo is {fifo}; it goes from 1 to 99"),
            )?;
            Priority::Fifo(fifo as i32)
        }
        (None, Some(nice)) => {
            check(
                (-20..=19).contains(&nice),
                format!("realtime.{thread}_nice is {nice}; it goes from -20 (first) to 19"),
            )?;
            Priority::Nice(nice as i32)
        }
        (None, None) => Priority::Usual,
    };
    let cores = cores.unwrap_or_default();
    let highest = MOST_CORES - 1;
    check(
        cores.iter().all(|&core| core <= highest),
        format!("realtime.{thread}_cores has a core above {highest}; they count from 0"),
    )?;
    Ok(Scheduling { priority, cores })
}
