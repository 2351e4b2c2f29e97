//! Threads that do not wait for other programs, and memory that is not swapped out, as far as the
//! system permits it.
//!
//! Nothing of it happens unless it is asked for. What is not permitted costs one line that says
//! what to do ([`Realtime::refused`]), and the run goes on without it. What was granted is read
//! back from the system, and is in the report ([`RealtimeLog`]).
//!
//! Threads inherit niceness and cores from the one that starts them. So do librealsense's, which
//! deliver a camera's frames: the thread that opens a camera has those of capture
//! ([`with_threads`]). They do not get its real-time priority: when librealsense starts, its
//! threads wait for one another by spinning, and with real-time priority on one core that never
//! ends.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getpriority_process, getrlimit, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// Cores that a set of the kernel's has room for.
pub const MOST_CORES: usize = CpuSet::MAX_CPU;

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

impl Realtime {
    /// Locks memory, tries out how threads are to be scheduled, and returns what is refused, a line
    /// each: for whoever starts one run or many, to report once.
    pub fn refused(&self) -> Vec<String> {
        let locked = if self.lock_memory { lock_memory() } else { Ok(()) };
        let mut refused: Vec<_> = locked.err().into_iter().collect();
        for (group, scheduling) in [("capture", &self.capture), ("project", &self.project)] {
            if *scheduling != Scheduling::default() {
                refused.extend(on_thread("try", || scheduling.ask(group)));
            }
        }
        refused
    }
}

/// Keeps what the threads of a run were granted.
#[derive(Debug, Default)]
pub struct RealtimeLog(Mutex<RealtimeReport>);

impl RealtimeLog {
    /// Schedules the calling thread, one of those named `group`.
    pub fn schedule(&self, group: &str, scheduling: &Scheduling) {
        if *scheduling == Scheduling::default() {
            return;
        }
        let refused = scheduling.ask(group);
        let mut thread = ThreadReport::here();
        thread.name = thread::current().name().unwrap_or(group).to_owned();
        let mut report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        report.threads.push(thread);
        report.threads.sort_by(|a, b| a.name.cmp(&b.name));
        refused.into_iter().for_each(|line| report.refuse(line));
    }

    /// Keeps all memory of this process from being swapped out.
    pub fn lock_memory(&self) {
        let locked = lock_memory();
        let mut report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match locked {
            Ok(()) => report.memory_locked = true,
            Err(line) => report.refuse(line),
        }
    }

    /// `None` if nothing was asked for.
    pub fn report(&self) -> Option<RealtimeReport> {
        let report = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (report != RealtimeReport::default()).then_some(report)
    }
}

impl RealtimeReport {
    /// Threads that are refused the same are one line.
    fn refuse(&mut self, line: String) {
        if !self.refused.contains(&line) {
            self.refused.push(line);
        }
    }
}

/// Does something on a thread with this niceness and these cores, as all threads are that it
/// starts. What is refused is not reported: the thread that works with them asks for the same.
///
/// # Panics
/// If `f` does, or the system has no thread to give.
pub fn with_threads<T: Send>(scheduling: &Scheduling, f: impl FnOnce() -> T + Send) -> T {
    let mut scheduling = scheduling.clone();
    if let Priority::Fifo(_) = scheduling.priority {
        scheduling.priority = Priority::Usual;
    }
    if scheduling == Scheduling::default() {
        return f();
    }
    on_thread("open", || {
        scheduling.ask("open");
        f()
    })
}

fn on_thread<T: Send>(name: &str, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.into()).spawn_scoped(scope, f);
        let result = thread.expect("a thread can be started").join();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Scheduling {
    /// Asks the system for it, for the calling thread. Returns what is refused, a line each.
    fn ask(&self, group: &str) -> Vec<String> {
        let mut refused = Vec::new();
        // Cores first: a thread with real-time priority may keep a core from others.
        if !self.cores.is_empty() {
            let mut set = CpuSet::new();
            self.cores.iter().filter(|core| **core < MOST_CORES).for_each(|&core| set.set(core));
            let asked = sched_setaffinity(None, &set);
            let (wanted, given) = (list(&self.cores), ThreadReport::here().cores);
            if asked.is_err() || given != wanted {
                refused.push(format!(
                    "{group}: cores {wanted} cannot all be used; it runs on {given}"
                ));
            }
        }
        let priority = match self.priority {
            Priority::Usual => Ok(()),
            Priority::Fifo(fifo) => set_fifo(fifo).map_err(|error| fifo_refused(fifo, &error)),
            // On Linux that is the calling thread alone.
            Priority::Nice(nice) => setpriority_process(None, nice).map_err(|error| {
                let advice = limit(&format!("nice {nice}"));
                format!("nice {nice} is not permitted ({}): {advice}", io::Error::from(error))
            }),
        };
        refused.extend(priority.err().map(|line| format!("{group}: {line}")));
        refused
    }
}

/// First in, first out: before all threads without real-time priority and those with a lower one,
/// until it waits for something. The threads that it starts are usual ones.
fn set_fifo(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameters outlive the call. 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn fifo_refused(priority: i32, error: &io::Error) -> String {
    let limit = getrlimit(Resource::Rtprio).current;
    if may(CAP_SYS_NICE) || limit.is_none_or(|limit| limit >= priority as u64) {
        // A kernel that shares real-time time out among control groups has none for this one.
        return format!(
            "real-time priority {priority} is refused by the kernel ({error}): take a nice value, \
             such as -10, instead"
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
    // Pages stay in memory once they are there, later ones too. None is fetched for it: buffers
    // that are never used take no memory.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| format!("memory is not locked: {}", io::Error::from(error)))
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
        "echo \"$USER - {what}\" | sudo tee -a /etc/security/limits.d/90-depthcast.conf, \
         then log in again"
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
        let mut parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: it changes nothing. 0 is the calling thread.
        let policy = unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK;
        // SAFETY: it writes to the parameters alone.
        unsafe { libc::sched_getparam(0, &mut parameters) };
        Self {
            name: String::new(),
            policy: match policy {
                libc::SCHED_OTHER => "other".into(),
                libc::SCHED_FIFO => "fifo".into(),
                other => other.to_string(),
            },
            priority: parameters.sched_priority,
            nice: getpriority_process(None).unwrap_or_default(),
            cores: sched_getaffinity(None).map_or(String::new(), |set| {
                list(&(0..MOST_CORES).filter(|&core| set.is_set(core)).collect::<Vec<_>>())
            }),
        }
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
    fn what_is_refused_is_one_line_and_the_rest_is_granted() {
        thread::spawn(|| {
            let log = RealtimeLog::default();
            log.schedule("capture", &Scheduling::default());
            assert_eq!(log.report(), None);
            // More niceness is never refused, and there is no such core.
            let wish = Scheduling { priority: Priority::Nice(19), cores: vec![MOST_CORES - 1] };
            log.schedule("capture", &wish);
            log.schedule("capture", &wish);
            let report = log.report().unwrap();
            assert_eq!((report.threads.len(), report.threads[0].nice), (2, 19));
            let [line] = &report.refused[..] else { panic!("{report:?}") };
            let want = "capture: cores 1023 cannot all be used; it runs on 0";
            assert!(line.starts_with(want), "{line}");
            assert!(report.to_string().ends_with(", 1 refused"), "{report}");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn threads_inherit_what_the_one_that_starts_them_has() {
        let nice_of_child = || thread::spawn(|| ThreadReport::here().nice).join().unwrap();
        let before = ThreadReport::here().nice;
        let wish = Scheduling { priority: Priority::Nice(19), cores: vec![MOST_CORES - 1] };
        let realtime = Realtime { capture: wish.clone(), ..Realtime::default() };
        assert_eq!(realtime.refused().len(), 1, "only tried out");
        assert_eq!((with_threads(&wish, nice_of_child), nice_of_child()), (19, before));
    }
}
