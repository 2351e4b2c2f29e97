//! The files of a profiling session.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::report::{ProfileReport, SCHEMA};
use super::{Measured, hgrm, html, markdown, trace};

/// Frames of a trace: what Perfetto opens at once.
const TRACE_FRAMES: usize = 20_000;

/// Writes `report.json`, `report.md`, `report.html`, a `.hgrm` for each stage, and a trace of the last repetition of each cell.
///
/// # Errors
/// If one can't be written.
pub fn write(folder: &Path, report: &ProfileReport, measured: &[Measured]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))
    };
    write("report.json", serde_json::to_string_pretty(report)? + "\n")?;
    write("report.md", markdown::text(report))?;
    write("report.html", html::page(report, measured))?;
    for (cell, measured) in report.cells.iter().zip(measured) {
        // A session of one cell has plain names.
        let suffix = if report.cells.len() == 1 { String::new() } else { format!("-{}", measured.index + 1) };
        for (name, samples) in measured.together.samples.iter().filter(|(_, samples)| !samples.histogram_ns.is_empty()) {
            write(&format!("{name}{suffix}.hgrm"), hgrm::text(&samples.histogram_ns))?;
        }
        if let Some(frames) = measured.repetitions.last() {
            let newest = &frames[frames.len().saturating_sub(TRACE_FRAMES)..];
            write(&format!("trace{suffix}.json"), trace::trace(newest, &cell.name).to_string())?;
        }
    }
    Ok(())
}

/// Reads the report of a session: its folder, or its `report.json`.
///
/// # Errors
/// If there is none, or it is something else.
pub fn read(path: &Path) -> anyhow::Result<ProfileReport> {
    let file = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
    let name = file.display();
    let text = std::fs::read_to_string(&file).with_context(|| format!("{name}: cannot be read"))?;
    let value: serde_json::Value = serde_json::from_str(&text).with_context(|| format!("{name}: is no JSON"))?;
    match value["schema"].as_str() {
        Some(SCHEMA) => serde_json::from_value(value).with_context(|| format!("{name}: is not a whole {SCHEMA}")),
        Some(other) => bail!("{name}: is a {other}; the report.json of `depthcast profile` is a {SCHEMA}"),
        None => bail!("{name}: is not the report.json of `depthcast profile`"),
    }
}
