//! The files of a profiling session.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use super::frames::{INTERVALS, STAGES};
use super::report::{ProfileReport, SCHEMA};
use super::{Measured, hgrm, html, markdown, trace};

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
    let mut figures = STAGES.iter().map(|stage| stage.0).chain(INTERVALS);
    (extension == "json" && name == "trace")
        || (extension == "hgrm" && figures.any(|figure| figure == name))
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
        // A session of one cell has plain names.
        let suffix = if report.cells.len() == 1 {
            String::new()
        } else {
            format!("-{}", measured.index + 1)
        };
        for (name, samples) in
            measured.together.samples.iter().filter(|(_, samples)| !samples.histogram_ns.is_empty())
        {
            write(&format!("{name}{suffix}.hgrm"), hgrm::text(&samples.histogram_ns))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_session_are_known_and_others_are_not() {
        for file in [
            "total.hgrm",
            "arrival_to_cloud-12.hgrm",
            "shown_jitter-1.hgrm",
            "trace.json",
            "trace-3.json",
        ] {
            assert!(is_of_a_session(file), "{file}");
        }
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
}
