//! What was measured, as a table, as Markdown and as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::words::count;

/// The contract that [`BenchReport`] follows when it is written as JSON.
pub const BENCH_SCHEMA: &str = "depthcast.bench.v1";

/// The rungs of the project's origin, a Python node, and its published seconds for images of
/// [`ORIGIN_SIZES`].
const ORIGIN: [(&str, [f64; 3]); 6] = [
    ("plain Python", [0.0730, 0.300, 1.22]),
    ("compiled with Cython", [0.0516, 0.218, 0.894]),
    ("typed", [0.0305, 0.137, 0.635]),
    ("preallocated", [0.0306, 0.130, 0.568]),
    ("memory views", [0.0061, 0.0229, 0.0886]),
    ("with threads", [0.00118, 0.0043, 0.0127]),
];

const ORIGIN_SIZES: [(u32, u32); 3] = [(320, 240), (640, 480), (1280, 960)];

/// A run of the benchmark.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    pub schema: &'static str,
    /// The processor's name.
    pub cpu: String,
    /// Threads of the rows that use several.
    pub threads: usize,
    /// The instruction set of the rows that do not name one.
    pub instruction_set: &'static str,
    pub rows: Vec<BenchRow>,
}

#[derive(Debug, Clone, Serialize)]
pub struct BenchRow {
    pub name: String,
    pub width: u32,
    pub height: u32,
    pub threads: usize,
    pub median_us: f64,
    pub min_us: f64,
    /// Million pixels a second, by the median.
    pub mpx_per_s: f64,
}

impl BenchRow {
    pub(super) fn new(
        name: String,
        (width, height): (u32, u32),
        threads: usize,
        mut times: Vec<Duration>,
    ) -> Self {
        times.sort_unstable();
        let us = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e6);
        let median_us = us(times.get(times.len() / 2));
        Self {
            name,
            width,
            height,
            threads,
            median_us,
            min_us: us(times.first()),
            mpx_per_s: f64::from(width * height) / median_us,
        }
    }
}

impl BenchReport {
    pub(super) fn new(threads: usize, instruction_set: &'static str) -> Self {
        Self { schema: BENCH_SCHEMA, cpu: cpu_name(), threads, instruction_set, rows: Vec::new() }
    }

    /// The sizes, in the order of the rows.
    fn sizes(&self) -> Vec<(u32, u32)> {
        let mut sizes: Vec<_> = self.rows.iter().map(|row| (row.width, row.height)).collect();
        sizes.dedup();
        sizes
    }

    fn row(&self, name: &str, threads: usize, size: (u32, u32)) -> Option<&BenchRow> {
        self.rows.iter().find(|row| {
            row.name == name && row.threads == threads && (row.width, row.height) == size
        })
    }

    fn title(&self) -> String {
        format!("{}, {}, {}", self.cpu, count(self.threads, "thread"), self.instruction_set)
    }

    /// For people: a block for each size, with how many times the floor (on as many threads) each
    /// row takes.
    pub fn table(&self) -> String {
        let mut text = self.title() + "\n";
        for size in self.sizes() {
            let (width, height) = size;
            let heading = format!("{width}x{height}");
            text += &format!(
                "\n{heading:<30}{:>8}{:>12}{:>12}{:>9}{:>9}\n",
                "threads", "median us", "min us", "Mpx/s", "x floor"
            );
            for row in self.rows.iter().filter(|row| (row.width, row.height) == size) {
                let floor =
                    self.row("floor copy", row.threads, size).map_or(String::new(), |floor| {
                        format!("{:.2}", row.median_us / floor.median_us)
                    });
                let BenchRow { name, threads, median_us, min_us, mpx_per_s, .. } = row;
                let times = format!("{median_us:>12.1}{min_us:>12.1}{mpx_per_s:>9.0}");
                text += &format!("{name:<30}{threads:>8}{times}{floor:>9}\n");
            }
        }
        text
    }

    /// For a README: medians, a column for each size, with the origin's figures on top.
    pub fn markdown(&self) -> String {
        let sizes = self.sizes();
        let mut text =
            format!("Median microseconds for one image on {}:\n\n| | threads |", self.title());
        for (width, height) in &sizes {
            text += &format!(" {width}x{height} |");
        }
        text += "\n| --- | ---: |";
        text += &" ---: |".repeat(sizes.len());
        text += "\n";
        let line =
            |text: &mut String, head: String, cell: &dyn Fn((u32, u32)) -> Option<String>| {
                let cells = sizes.iter().map(|&size| cell(size).unwrap_or_default());
                *text += &format!("| {head} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
            };
        for (rung, seconds) in ORIGIN {
            line(&mut text, format!("*origin: {rung}* |"), &|size| {
                let scale = ORIGIN_SIZES.iter().position(|s| *s == size)?;
                Some(format!("*{:.0}*", seconds[scale] * 1e6))
            });
        }
        for first in self.rows.iter().filter(|row| sizes.first() == Some(&(row.width, row.height)))
        {
            line(&mut text, format!("{} | {}", first.name, first.threads), &|size| {
                let row = self.row(&first.name, first.threads, size)?;
                Some(format!("{:.0}", row.median_us))
            });
        }
        text
    }
}

/// As the operating system names it.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info
        .lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == "model name"));
    named.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
