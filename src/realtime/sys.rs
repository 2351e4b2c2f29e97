//! The system calls, for the calling thread, which on Linux is what 0 stands for.

use std::io;

/// Cores that a set of the kernel's has room for.
pub const MOST_CORES: usize = libc::CPU_SETSIZE as usize;

/// First in, first out: before all threads without real-time priority and those with a lower one,
/// until it waits for something. The threads that it starts are usual ones.
pub(super) fn set_fifo(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameters outlive the call.
    done(unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &parameters)
    })
}

pub(super) fn set_nice(nice: i32) -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, nice)?)
}

/// Cores from [`MOST_CORES`] on are left out.
pub(super) fn set_cores(cores: &[usize]) -> io::Result<()> {
    // SAFETY: a set of no cores is one of zeros.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores.iter().filter(|&&core| core < MOST_CORES) {
        // SAFETY: the core is within the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the set outlives the call, and is as large as is said.
    done(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })
}

/// Pages stay in memory once they are there, also those of later. None is fetched for it: buffers
/// that are never used take no memory.
pub(super) fn lock_memory() -> io::Result<()> {
    // SAFETY: no memory is changed by it.
    done(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })
}

fn done(returned: libc::c_int) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
