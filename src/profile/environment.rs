//! The machine that was measured on, as far as it says something about latency.

use std::fs::read_to_string;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::realtime::RealtimeReport;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub cpu: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// The processor says that it runs under a hypervisor: its cores may be shared with others.
    pub virtual_machine: bool,
    /// Frequency governors of the processors; empty where there are none.
    pub governors: Vec<String>,
    /// The clock behind `CLOCK_MONOTONIC`.
    pub clock_source: Option<String>,
    pub kernel: String,
    pub realtime_kernel: bool,
    pub operating_system: Option<String>,
    pub memory_mib: u64,
    /// What the threads of the runs were granted, where they asked the system for more than is
    /// usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realtime: Option<RealtimeReport>,
    /// Instruction set of the projection.
    pub instruction_set: String,
    pub versions: Vec<(String, String)>,
}

impl Environment {
    pub fn capture() -> Self {
        let mut versions = vec![("depthcast".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
        let build = if cfg!(debug_assertions) {
            "with debug assertions: not for measuring"
        } else {
            "release"
        };
        versions.push(("build".into(), build.into()));
        #[cfg(feature = "viewer")]
        versions.push(("rerun".into(), rerun_version()));
        Self {
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            instruction_set: crate::project::kernel::Kernel::best().name().to_owned(),
            versions,
            ..Self::read(Path::new("/"))
        }
    }

    /// What the files of `/proc`, `/sys` and `/etc` below `root` tell.
    fn read(root: &Path) -> Self {
        let text = |path: &str| read_to_string(root.join(path)).ok();
        let line = |path: &str| text(path).map(|text| text.trim().to_owned());
        let cpuinfo = text("proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let named = cpuinfo
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.trim() == name);
            named.map(|(_, value)| value.trim().to_owned())
        };
        let mut governors: Vec<String> = (0..1024)
            .map_while(|n| {
                root.join(format!("sys/devices/system/cpu/cpu{n}")).is_dir().then_some(n)
            })
            .filter_map(|n| {
                line(&format!("sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor"))
            })
            .collect();
        governors.sort();
        governors.dedup();
        let os_release = text("etc/os-release").unwrap_or_default();
        let meminfo = text("proc/meminfo").unwrap_or_default();
        let memory_kib = meminfo.lines().find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse().ok()
        });
        Self {
            cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            virtual_machine: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            governors,
            clock_source: line("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            kernel: line("proc/sys/kernel/osrelease").unwrap_or_default(),
            realtime_kernel: line("sys/kernel/realtime").as_deref() == Some("1"),
            operating_system: os_release
                .lines()
                .find_map(|line| line.strip_prefix("PRETTY_NAME="))
                .map(|name| name.trim_matches('"').to_owned()),
            memory_mib: memory_kib.unwrap_or(0u64) / 1024,
            ..Self::default()
        }
    }

    /// Name and value of each fact, for people.
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut facts: Vec<(String, String)> = Vec::new();
        let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
        let virtual_machine =
            if self.virtual_machine { ", virtual: may be shared with others" } else { "" };
        fact("processor", format!("{} ({} usable{virtual_machine})", self.cpu, self.processors));
        let governors =
            if self.governors.is_empty() { "not told".into() } else { self.governors.join(", ") };
        fact("frequency governor", governors);
        let realtime = if self.realtime_kernel { ", real time" } else { "" };
        fact("kernel", format!("{}{realtime}", self.kernel));
        if let Some(name) = &self.operating_system {
            fact("operating system", name.clone());
        }
        fact("clock source", self.clock_source.clone().unwrap_or_else(|| "not told".into()));
        fact("memory", format!("{} MiB", self.memory_mib));
        fact(
            "real time",
            self.realtime.as_ref().map_or_else(|| "not asked for".into(), ToString::to_string),
        );
        fact("instruction set", self.instruction_set.clone());
        facts.extend(self.versions.iter().cloned());
        facts
    }
}

#[cfg(feature = "viewer")]
fn rerun_version() -> String {
    crate::sink::rerun_program::VERSION.into()
}

/// The system's load averages over 1, 5 and 15 minutes; this process is part of them.
pub fn load_averages() -> [f64; 3] {
    parse_load(&read_to_string("/proc/loadavg").unwrap_or_default())
}

fn parse_load(text: &str) -> [f64; 3] {
    let mut values = text.split(' ').map(|value| value.parse().unwrap_or(0.0));
    [0; 3].map(|_| values.next().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_files_are_read_where_they_are() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Fast One\nflags\t\t: fpu hypervisor avx2\n",
        );
        for (cpu, governor) in [(0, "powersave\n"), (1, "performance\n"), (2, "powersave\n")] {
            write(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"), governor);
        }
        write("proc/sys/kernel/osrelease", "6.1.0-rt\n");
        write("sys/kernel/realtime", "1\n");
        write("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian 12\"\n");
        write("proc/meminfo", "MemTotal:       2097152 kB\nMemFree: 1 kB\n");
        let got = Environment::read(root.path());
        assert_eq!(
            (got.cpu.as_str(), got.virtual_machine, got.realtime_kernel),
            ("Fast One", true, true)
        );
        assert_eq!(got.governors, ["performance", "powersave"]);
        assert_eq!(
            (got.kernel.as_str(), got.operating_system.as_deref(), got.memory_mib),
            ("6.1.0-rt", Some("Debian 12"), 2048)
        );
        let empty = Environment::read(Path::new("/nowhere"));
        assert_eq!(
            (empty.cpu.as_str(), empty.governors.len(), empty.clock_source),
            (std::env::consts::ARCH, 0, None)
        );
        assert!(
            Environment::capture().processors > 0 && !Environment::capture().facts().is_empty()
        );
    }

    #[test]
    fn load_is_three_numbers() {
        assert_eq!(parse_load("0.52 1.5 2.00 1/345 678\n"), [0.52, 1.5, 2.0]);
        assert_eq!(parse_load(""), [0.0; 3]);
    }
}
