//! The files of a profiling session.

use std::fmt::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;

use super::report::{ProfileReport, SCHEMA, names};
use super::{Measured, html, markdown, trace};

/// Frames of a trace: what Perfetto opens at once.
const TRACE_FRAMES: usize = 20_000;

/// Makes sure, before anything is measured, that a folder can be made and written to.
///
/// # Errors
/// If not.
pub fn ensure_place(folder: &Path) -> anyhow::Result<()> {
    let name = folder.display();
    let path = std::path::absolute(folder)?;
    let there = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .with_context(|| format!("{name}: there is no such place"))?;
    ensure!(there.is_dir(), "{}: this is a file; give a folder", there.display());
    tempfile::tempfile_in(there)
        .with_context(|| format!("{name}: nothing can be written there; choose another folder"))?;
    Ok(())
}

/// Files of a session that are not written anew each time, such as `total-2.hgrm` and `trace.json`.
fn is_of_a_session(file: &str) -> bool {
    let Some((name, extension)) = file.rsplit_once('.') else { return false };
    let name = name
        .rsplit_once('-')
        .filter(|(_, cell)| cell.parse::<u32>().is_ok())
        .map_or(name, |(name, _)| name);
    (extension == "json" && name == "trace")
        || (extension == "hgrm" && names().any(|figure| figure == name))
}

/// Writes `report.json`, `report.md`, `report.html`, a `.hgrm` for each stage, and a trace of the
/// last repetition of each cell.
///
/// Those of a session before are removed. The `report.json` comes last, so that where it is, all
/// is.
///
/// # Errors
/// If one can't be written.
pub fn write(folder: &Path, report: &ProfileReport, measured: &[Measured]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: cannot be made", folder.display()))?;
    for entry in std::fs::read_dir(folder)?.filter_map(Result::ok) {
        let file = entry.file_name();
        if file == "report.json" || is_of_a_session(&file.to_string_lossy()) {
            std::fs::remove_file(entry.path())
                .with_context(|| format!("{}: cannot be replaced", entry.path().display()))?;
        }
    }
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("{}: cannot be written", path.display()))
    };
    write("report.md", markdown::text(report))?;
    write("report.html", html::page(report, measured))?;
    for (cell, measured) in report.cells.iter().zip(measured) {
        let suffix = match report.cells.len() {
            1 => String::new(),
            _ => format!("-{}", measured.index + 1),
        };
        for (name, samples) in &measured.together.samples {
            if !samples.histogram_ns.is_empty() {
                let mut text = String::new();
                write_hgrm(&mut text, &samples.histogram_ns)?;
                write(&format!("{name}{suffix}.hgrm"), text)?;
            }
        }
        if let Some(frames) = measured.repetitions.last() {
            let newest = &frames[frames.len().saturating_sub(TRACE_FRAMES)..];
            write(&format!("trace{suffix}.json"), trace::trace(newest, &cell.name).to_string())?;
        }
    }
    write("report.json", serde_json::to_string_pretty(report)? + "\n")
}

/// Reads the report of a session: its folder, or its `report.json`.
///
/// # Errors
/// If there is none, or it is something else.
pub fn read(path: &Path) -> anyhow::Result<ProfileReport> {
    let file = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
    let name = file.display();
    let text = std::fs::read_to_string(&file).with_context(|| format!("{name}: cannot be read"))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{name}: is no JSON"))?;
    match value["schema"].as_str() {
        Some(SCHEMA) => serde_json::from_value(value)
            .with_context(|| format!("{name}: is not a whole {SCHEMA}")),
        Some(other) => {
            bail!("{name}: is a {other}; the report.json of `depthcast profile` is a {SCHEMA}")
        }
        None => bail!("{name}: is not the report.json of `depthcast profile`"),
    }
}

/// Steps for each halving of the distance to 100 %.
const TICKS: u32 = 5;

/// The percentiles in microseconds, as HdrHistogram's `outputPercentileDistribution` writes them
/// and its plotter reads them (`.hgrm`).
fn write_hgrm(out: &mut String, histogram_ns: &Histogram<u64>) -> fmt::Result {
    let us = |ns: f64| ns / 1e3;
    writeln!(out, "       Value     Percentile TotalCount 1/(1-Percentile)\n")?;
    let mut total = 0;
    for step in histogram_ns.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (us(step.value_iterated_to() as f64), step.quantile_iterated_to());
        write!(out, "{value:>12.3} {quantile:>2.12} {total:>10}")?;
        if quantile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (us(histogram_ns.mean()), us(histogram_ns.stdev()));
    let (max, count) = (us(histogram_ns.max() as f64), histogram_ns.len());
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    writeln!(out, "#[Max     = {max:>12.3}, Total count    = {count:>12}]")?;
    writeln!(out, "#[Buckets = {:>12}, SubBuckets     = {:>12}]", histogram_ns.buckets(), 2048)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Samples;

    #[test]
    fn files_of_a_session_are_known_and_others_are_not() {
        let known = [
            "total.hgrm",
            "arrival_to_cloud-12.hgrm",
            "shown_jitter-1.hgrm",
            "trace.json",
            "trace-3.json",
        ];
        assert!(known.into_iter().all(is_of_a_session));
        for file in [
            "mine.hgrm",
            "total.json",
            "trace-mine.json",
            "package.json",
            "total",
            "total-.hgrm",
            "notes.md",
        ] {
            assert!(!is_of_a_session(file), "{file}");
        }
    }

    #[test]
    fn percentiles_are_written_as_hdrhistogram_does() {
        let mut samples = Samples::default();
        (1..=1000).for_each(|us| samples.record(us * 1000));
        let mut text = String::new();
        write_hgrm(&mut text, &samples.histogram_ns).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [head, "", rows @ .., mean, total, _] = &lines[..] else { panic!("{text}") };
        assert_eq!(*head, "       Value     Percentile TotalCount 1/(1-Percentile)");
        let row = |line: &&str| line.split_whitespace().map(|v| v.parse().unwrap()).collect();
        let rows: Vec<Vec<f64>> = rows.iter().map(row).collect();
        assert!(
            rows.windows(2).all(|pair| (0..3).all(|column| pair[0][column] <= pair[1][column]))
        );
        let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!((median[0] - 500.0).abs() < 1.0 && median[2..] == [500.0, 2.0], "{median:?}");
        assert_eq!(rows.last().unwrap()[1..], [1.0, 1000.0]);
        assert!(mean.starts_with("#[Mean    =      500.5"), "{mean}");
        assert!(total.ends_with("Total count    =         1000]"), "{total}");
    }
}
