//! Threads that do not wait for other programs, and memory that is not swapped out, as far as the
//! system permits it.
//!
//! Nothing of it happens unless it is asked for. What is not permitted costs one line that says
//! what to do, and the run goes on without it. What was granted is read back from the system, and
//! stands in the report.
//!
//! Threads inherit niceness and cores from the one that starts them. So do librealsense's, which
//! hand over a camera's frames: the thread that opens a camera has those of capture
//! ([`with_threads`]). They do not get its real-time priority: when librealsense starts, its
//! threads wait for one another by spinning, and with real-time priority on one core that never
//! ends.

mod sys;

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

pub use sys::MOST_CORES;

/// Bits in the effective capabilities of a process.
pub const CAP_IPC_LOCK: u64 = 1 << 14;
pub const CAP_SYS_NICE: u64 = 1 << 23;

/// What a run asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Realtime {
    pub capture: Scheduling,
    /// Of each thread that projects.
    pub project: Scheduling,
    pub lock_memory: bool,
}

/// How a thread is scheduled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scheduling {
    pub priority: Priority,
    /// Those it may run on; empty for all.
    pub cores: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    #[default]
    Usual,
    /// `SCHED_FIFO`, 1 to 99.
    Fifo(i32),
    /// -20 (first) to 19.
    Nice(i32),
}

/// What a run was granted: the report's `realtime`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RealtimeReport {
    /// The threads that asked for something, by their names.
    pub threads: Vec<ThreadReport>,
    pub memory_locked: bool,
    /// What was not permitted, a line each.
    pub refused: Vec<String>,
}

/// A thread as the system schedules it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ThreadReport {
    pub name: String,
    /// `fifo`, `other`, or a number of the kernel's.
    pub policy: String,
    /// Of `fifo`; otherwise 0.
    pub priority: i32,
    pub nice: i32,
    /// As the kernel lists them: `0-3,8`.
    pub cores: String,
}

/// What was said already in this process: a profiling session has many runs.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what the threads of a run were granted.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<RealtimeReport>);

impl Ledger {
    /// Schedules the calling thread. Threads of one `group` that are refused the same say so once.
    pub fn schedule(&self, group: &str, scheduling: &Scheduling) {
        if *scheduling == Scheduling::default() {
            return;
        }
        let refused = scheduling.ask();
        let mut thread = ThreadReport::here();
        thread.name = thread::current().name().unwrap_or(group).to_owned();
        {
            let mut report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            report.threads.push(thread);
            report.threads.sort_by(|a, b| a.name.cmp(&b.name));
        }
        refused.into_iter().for_each(|refused| self.refuse(format!("{group}: {refused}")));
    }

    /// Keeps all memory of this process from being swapped out.
    pub fn lock_memory(&self) {
        match lock_memory() {
            Ok(()) => self.0.lock().unwrap_or_else(PoisonError::into_inner).memory_locked = true,
            Err(refused) => self.refuse(refused),
        }
    }

    fn refuse(&self, line: String) {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.contains(&line) {
            tracing::warn!("{line}");
            told.push(line.clone());
        }
        let mut report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !report.refused.contains(&line) {
            report.refused.push(line);
        }
    }

    /// `None` if nothing was asked for.
    pub fn report(&self) -> Option<RealtimeReport> {
        let report = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (report != RealtimeReport::default()).then_some(report)
    }
}

/// Does something on a thread with this niceness and these cores, as all threads are that it
/// starts. What is refused is not told: the thread that works with them asks for the same.
///
/// # Panics
/// If `f` does, or the system has no thread to give.
pub fn with_threads<T: Send>(scheduling: &Scheduling, f: impl FnOnce() -> T + Send) -> T {
    let scheduling = match scheduling.priority {
        Priority::Fifo(_) => &Scheduling { priority: Priority::Usual, ..scheduling.clone() },
        _ => scheduling,
    };
    if *scheduling == Scheduling::default() {
        return f();
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("open".into()).spawn_scoped(scope, || {
            scheduling.ask();
            f()
        });
        thread
            .expect("a thread can be started")
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Scheduling {
    /// Asks the system for it, for the calling thread. What is refused, in a line each.
    fn ask(&self) -> Vec<String> {
        let mut refused = Vec::new();
        // Cores first: a thread with real-time priority may keep a core from others.
        if !self.cores.is_empty() {
            let asked = sys::set_cores(&self.cores);
            let given = ThreadReport::here().cores;
            if asked.is_err() || given != list(&self.cores) {
                refused.push(format!(
                    "cores {} cannot all be used; it runs on {given}",
                    list(&self.cores)
                ));
            }
        }
        match self.priority {
            Priority::Usual => {}
            Priority::Fifo(priority) => {
                refused.extend(
                    sys::set_fifo(priority).err().map(|error| fifo_refused(priority, &error)),
                );
            }
            Priority::Nice(nice) => {
                refused.extend(sys::set_nice(nice).err().map(|error| {
                    format!(
                        "nice {nice} is not permitted ({error}): {}",
                        limit(&format!("nice {nice}"))
                    )
                }));
            }
        }
        refused
    }
}

fn fifo_refused(priority: i32, error: &io::Error) -> String {
    let limit = getrlimit(Resource::Rtprio).current;
    if may(CAP_SYS_NICE) || limit.is_none_or(|limit| limit >= priority as u64) {
        // A kernel that shares real-time time out among control groups has none for this one.
        return format!(
            "real-time priority {priority} is refused by the kernel ({error}): take a nice value, such as -10, instead"
        );
    }
    format!(
        "real-time priority {priority} is not permitted ({error}): {}",
        allow_priority(priority)
    )
}

fn lock_memory() -> Result<(), String> {
    // With a limit, what is made later may find no room, and the run would end for it.
    if let (Some(bytes), false) = (getrlimit(Resource::Memlock).current, may(CAP_IPC_LOCK)) {
        return Err(format!(
            "memory is not locked, since no more than {} MB may be: {}",
            bytes >> 20,
            allow_locking()
        ));
    }
    sys::lock_memory().map_err(|error| format!("memory is not locked: {error}"))
}

/// What permits real-time priorities up to this one, and some others.
pub fn allow_priority(priority: i32) -> String {
    limit(&format!("rtprio {}", priority.max(50)))
}

/// What permits memory to be locked.
pub fn allow_locking() -> String {
    limit("memlock unlimited")
}

fn limit(what: &str) -> String {
    format!(
        "echo \"$USER - {what}\" | sudo tee -a /etc/security/limits.d/90-depthcast.conf, then log in again"
    )
}

/// Whether this process has the capability.
fn may(capability: u64) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    capabilities(&status).is_some_and(|all| all & capability != 0)
}

/// The effective ones, out of the text of `/proc/<pid>/status`.
pub fn capabilities(status: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok())
}

/// As the kernel writes it: `0-3,8`.
fn list(cores: &[usize]) -> String {
    let mut cores = cores.to_vec();
    cores.sort_unstable();
    cores.dedup();
    let runs = cores.chunk_by(|a, b| a + 1 == *b);
    let run = |run: &[usize]| match run {
        [one] => one.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    };
    runs.map(run).collect::<Vec<_>>().join(",")
}

impl ThreadReport {
    /// The calling thread.
    fn here() -> Self {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/thread-self/{name}")).unwrap_or_default()
        };
        Self::parse(&read("stat"), &read("status"))
    }

    /// See proc_pid_stat(5) and proc_pid_status(5).
    fn parse(stat: &str, status: &str) -> Self {
        // The name, which may have anything in it, stands in brackets; the state behind it is field
        // 3.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
        let field = |number: usize| {
            fields.get(number - 3).and_then(|text| text.parse::<i32>().ok()).unwrap_or_default()
        };
        let policy = match field(41) {
            libc::SCHED_OTHER => "other".into(),
            libc::SCHED_FIFO => "fifo".into(),
            other => other.to_string(),
        };
        let cores = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        Self { name: String::new(), policy, priority: field(40), nice: field(19), cores }
    }
}

/// Such as `capture fifo 20 on cores 1, memory locked`.
impl std::fmt::Display for RealtimeReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let thread = |thread: &ThreadReport| {
            let ThreadReport { name, policy, priority, nice, cores } = thread;
            match policy.as_str() {
                "fifo" => format!("{name} fifo {priority} on cores {cores}"),
                _ => format!("{name} nice {nice} on cores {cores}"),
            }
        };
        let mut parts: Vec<_> = self.threads.iter().map(thread).collect();
        parts.extend(self.memory_locked.then(|| "memory locked".to_owned()));
        parts.extend((!self.refused.is_empty()).then(|| format!("{} refused", self.refused.len())));
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_listed_as_the_kernel_does() {
        assert_eq!(list(&[3, 1, 2, 8, 8]), "1-3,8");
        assert_eq!(list(&[0]), "0");
    }

    #[test]
    fn a_thread_is_read_as_the_kernel_tells_it() {
        // The name has a bracket and spaces.
        let before =
            "S 1 2 3 0 -1 4194368 9 8 7 6 5 4 3 2 -21 0 12 0 100 200 300 18446744073709551615 ";
        let stat = format!("77 (a) b (c)) {before}1 1 1 1 1 0 0 0 0 0 0 0 17 1 20 1 0 0 0\n");
        let status = "Name:\ta) b (c\nCpus_allowed:\t2\nCpus_allowed_list:\t1\n";
        let want = ThreadReport {
            policy: "fifo".into(),
            priority: 20,
            nice: 0,
            cores: "1".into(),
            name: String::new(),
        };
        assert_eq!(ThreadReport::parse(&stat, status), want);
        assert_eq!(
            ThreadReport::parse("", ""),
            ThreadReport { policy: "other".into(), ..Default::default() }
        );
    }

    #[test]
    fn what_is_refused_is_told_once_and_the_rest_is_granted() {
        thread::spawn(|| {
            let ledger = Ledger::default();
            assert_eq!(ledger.report(), None);
            ledger.schedule("capture", &Scheduling::default());
            assert_eq!(ledger.report(), None);
            // More niceness is never refused, and there is no such core.
            let wish = Scheduling { priority: Priority::Nice(19), cores: vec![MOST_CORES - 1] };
            ledger.schedule("capture", &wish);
            ledger.schedule("capture", &wish);
            let report = ledger.report().unwrap();
            assert_eq!((report.threads.len(), report.threads[0].nice), (2, 19));
            let [line] = &report.refused[..] else { panic!("{report:?}") };
            assert!(
                line.starts_with("capture: cores 1023 cannot all be used; it runs on 0"),
                "{line}"
            );
            assert!(report.to_string().ends_with(", 1 refused"), "{report}");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn threads_inherit_what_the_one_that_starts_them_has() {
        let nice_of_child = || thread::spawn(|| ThreadReport::here().nice).join().unwrap();
        let before = ThreadReport::here().nice;
        let inside = with_threads(
            &Scheduling { priority: Priority::Nice(19), cores: Vec::new() },
            nice_of_child,
        );
        assert_eq!((inside, nice_of_child()), (19, before));
    }
}
