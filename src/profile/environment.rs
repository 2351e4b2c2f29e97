//! The machine that was measured on, as far as it matters for latency, and what measuring itself
//! costs there.

use std::fs::read_to_string;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, DeviceTime, MonotonicClock, TimestampDomain};
use crate::frame::{FrameMeta, FrameMetadata};
use crate::realtime::RealtimeReport;
use crate::stats::RunStats;
use crate::stats::continuity::Continuity;
use crate::stats::journal::{Event, Journal};
use crate::stats::time::SourceTime;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub cpu: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// The processor says that it runs under a hypervisor: its cores may be shared with others.
    pub virtual_machine: bool,
    /// Frequency governors of the processors; empty where there are none.
    pub governors: Vec<String>,
    /// The hardware clock of `CLOCK_MONOTONIC`.
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

    /// What the files of `/proc`, `/sys` and `/etc` below `root` say.
    fn read(root: &Path) -> Self {
        let text = |path: &str| read_to_string(root.join(path)).unwrap_or_default();
        let line = |path: &str| Some(text(path).trim().to_owned()).filter(|line| !line.is_empty());
        // The first value of this name in a file of `name: value` or `NAME=value`.
        let field = |path: &str, separator: char, name: &str| {
            let text = text(path);
            let mut fields = text.lines().filter_map(|line| line.split_once(separator));
            let (_, value) = fields.find(|(key, _)| key.trim() == name)?;
            Some(value.trim().trim_matches('"').to_owned())
        };
        let cpu = |n: u32| format!("sys/devices/system/cpu/cpu{n}");
        let mut governors: Vec<String> = (0..1024)
            .take_while(|n| root.join(cpu(*n)).is_dir())
            .filter_map(|n| line(&format!("{}/cpufreq/scaling_governor", cpu(n))))
            .collect();
        governors.sort();
        governors.dedup();
        let memory = field("proc/meminfo", ':', "MemTotal").unwrap_or_default();
        let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let flags = field("proc/cpuinfo", ':', "flags").unwrap_or_default();
        Self {
            cpu: field("proc/cpuinfo", ':', "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            virtual_machine: flags.split(' ').any(|flag| flag == "hypervisor"),
            governors,
            clock_source: line("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            kernel: line("proc/sys/kernel/osrelease").unwrap_or_default(),
            realtime_kernel: line("sys/kernel/realtime").as_deref() == Some("1"),
            operating_system: field("etc/os-release", '=', "PRETTY_NAME"),
            memory_mib: memory_kib / 1024,
            ..Self::default()
        }
    }

    /// Name and value of each fact, for people.
    pub fn facts(&self) -> Vec<(String, String)> {
        let if_known = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
        let virtual_machine =
            if self.virtual_machine { ", virtual: may be shared with others" } else { "" };
        let governors = Some(self.governors.join(", ")).filter(|text| !text.is_empty());
        let realtime = self.realtime.as_ref().map(ToString::to_string);
        let facts = [
            ("processor", format!("{} ({} usable{virtual_machine})", self.cpu, self.processors)),
            ("frequency governor", if_known(governors)),
            (
                "kernel",
                format!("{}{}", self.kernel, if self.realtime_kernel { ", real time" } else { "" }),
            ),
            ("operating system", self.operating_system.clone().unwrap_or_default()),
            ("clock source", if_known(self.clock_source.clone())),
            ("memory", format!("{} MiB", self.memory_mib)),
            ("real time", realtime.unwrap_or_else(|| "not asked for".into())),
            ("instruction set", self.instruction_set.clone()),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value)).into_iter();
        let known = facts.filter(|(_, value)| !value.is_empty());
        known.chain(self.versions.iter().cloned()).collect()
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

const FRAMES: u64 = 2_000;
const ROUNDS: usize = 15;

/// The time that measuring one frame takes in a run without a viewer, on all its threads together:
/// the readings of the clock, what is recorded of numbers, timestamps and metadata, of the stages,
/// and the journals. The frames are those that cost most: a camera's, with a timestamp whose age is
/// known, and all metadata. The median of several rounds.
pub fn cost_per_frame() -> Duration {
    let (clock, stats, mut continuity) = all_that_measures();
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let mut journals = [(); 3].map(|()| Journal::new(FRAMES as usize));
            let started = Instant::now();
            for number in 0..FRAMES {
                measure_frame(&clock, &stats, &mut continuity, &mut journals, black_box(number));
            }
            started.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2] / u32::try_from(FRAMES).unwrap_or(u32::MAX)
}

fn all_that_measures() -> (MonotonicClock, RunStats, Continuity) {
    let stats = RunStats { time: SourceTime::new(true), ..RunStats::new(["none".to_owned()]) };
    (MonotonicClock::new(), stats, Continuity::new(90.0))
}

fn measure_frame(
    clock: &dyn Clock,
    stats: &RunStats,
    continuity: &mut Continuity,
    [capture, project, sink]: &mut [Journal; 3],
    number: u64,
) {
    let sink_stats = &stats.sinks[0];
    let meta = FrameMeta {
        number,
        arrived_at: clock.now(),
        device_time: Some(DeviceTime { ms: number as f64, domain: TimestampDomain::GlobalTime }),
        metadata: FrameMetadata {
            frame_counter: Some(number),
            sensor_timestamp_us: Some(number),
            frame_timestamp_us: Some(number),
            backend_timestamp_ms: Some(number),
            exposure_us: Some(number),
            gain: Some(number),
        },
        ..FrameMeta::default()
    };
    stats.captured.record(meta.arrived_at);
    let found = continuity.judge(&meta);
    let frames_missing = found.frames_missing;
    stats.continuity.add(found);
    stats.time.note(&meta, clock);
    capture.write(&meta, Event::Captured { frames_missing }, meta.arrived_at, clock.now());
    let taken_at = clock.now();
    let projected_at = clock.now();
    stats.capture_queue.record(meta.arrived_at, taken_at);
    stats.project.record(taken_at, projected_at);
    stats.arrival_to_cloud.record(meta.arrived_at, projected_at);
    stats.projected.record(projected_at);
    stats.points.add(1);
    project.write(&meta, Event::Projected, taken_at, projected_at);
    let (sink_at, _, handed_over_at) = (clock.now(), clock.now(), clock.now());
    sink_stats.cloud_queue.record(projected_at, sink_at);
    sink_stats.log.record(sink_at, handed_over_at);
    sink_stats.total.record(meta.arrived_at, handed_over_at);
    sink_stats.deadline_misses.add(0);
    sink_stats.shown.record(handed_over_at);
    sink.write(&meta, Event::HandedOver, sink_at, handed_over_at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::time::Age;

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

    #[test]
    fn it_measures_what_a_run_records() {
        let (clock, stats, mut continuity) = all_that_measures();
        let mut journals = [(); 3].map(|()| Journal::new(10));
        (0..10).for_each(|number| {
            measure_frame(&clock, &stats, &mut continuity, &mut journals, number)
        });
        let later = ["release", "viewer", "arrival_to_eye"];
        let recorded = stats.stages().into_iter().filter(|(name, _)| !later.contains(name));
        assert!(recorded.into_iter().all(|(_, stage)| stage.count() == 10));
        let time = stats.time.report();
        assert!(matches!(time.sensor_to_host_age, Age::Estimate { .. }), "{time:?}");
        assert_eq!(time.metadata.len(), FrameMetadata::COUNT);
        assert!(journals.iter().all(|journal| journal.entries().len() == 10));
        assert!(cost_per_frame() > Duration::ZERO);
    }
}
