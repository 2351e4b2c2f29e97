//! One session out of several that measured the same: where two builds take turns, each repetition
//! is a process and has a report of its own.

use anyhow::{Context as _, ensure};

use super::report::{self, FiguresReport, ProfileReport};
use super::{Figures, Measured};

/// Joins the repetitions of reports of the same combinations. Of the rest the first report counts.
/// Frames are in none of them, so plots of frames are not in what comes of it.
///
/// # Errors
/// If there are no reports, or they are of other combinations.
pub fn join(mut reports: Vec<ProfileReport>) -> anyhow::Result<(ProfileReport, Vec<Measured>)> {
    ensure!(!reports.is_empty(), "there is no report to join");
    let others = reports.split_off(1);
    let mut whole = reports.remove(0);
    for other in others {
        ensure!(
            other.cells.len() == whole.cells.len(),
            "turns differ: {} combinations, then {}",
            whole.cells.len(),
            other.cells.len()
        );
        for cell in &mut whole.cells {
            let same = other.cells.iter().find(|other| other.name == cell.name);
            let same = same
                .with_context(|| format!("turns differ: only the first measured {}", cell.name))?;
            cell.repetitions.extend(same.repetitions.iter().cloned());
            cell.warnings.extend(same.warnings.iter().cloned());
        }
    }
    let mut measured = Vec::new();
    for (index, cell) in whole.cells.iter_mut().enumerate() {
        let figures: Vec<Figures> =
            cell.repetitions.iter().map(report::Repetition::figures).collect();
        let together = report::together(&figures);
        cell.all = FiguresReport::new(&together);
        cell.warnings.sort();
        cell.warnings.dedup();
        measured.push(Measured { index, realtime: None, repetitions: Vec::new(), together });
    }
    Ok((whole, measured))
}
