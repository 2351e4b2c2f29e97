//! What a viewer shows at first, by what it is for: the cloud large on a dark ground with plots beside it, or the plots large.
//!
//! | file | duty |
//! | --- | --- |
//! | `eye` | from where the cloud is seen |
//! | `series` | what is plotted: entities, names, colours |
//! | `page` | views and containers in Rerun's terms |

mod eye;
mod page;
mod series;

use std::time::Duration;

use rerun::RecordingStream;

pub(super) use eye::{Eye, Sample};
pub(super) use series::{log_distribution, log_figures, log_series};

use self::page::{Page, Part, Plot, TimePanel, View};
use super::super::{Layout, Show};

/// What decides a layout.
pub(super) struct Scene<'a> {
    pub layout: Layout,
    pub show: Show,
    /// A file plays from its start, a live view follows the newest data.
    pub is_file: bool,
    /// Of the session, as far as it is known.
    pub duration: Option<Duration>,
    pub eye: &'a Eye,
}

/// Sends the layout. The last one that is sent holds.
pub(super) fn send(rec: &RecordingStream, scene: &Scene) -> anyhow::Result<()> {
    let page = Page::new(scene.is_file, scene.duration)?;
    let parts = match scene.layout {
        Layout::Live => live(&page, scene)?,
        Layout::Profiling => profiling(&page, scene)?,
        Layout::Replay => replay(&page, scene)?,
    };
    let timeline = if scene.layout == Layout::Replay { "device" } else { "capture" };
    page.send(rec, parts, TimePanel { timeline, plays: scene.is_file })
}

/// For an audience: the cloud, and beside it how well it goes.
fn live(page: &Page, scene: &Scene) -> anyhow::Result<Vec<Part>> {
    let mut side = vec![rates(page)?.share(1.0), latency(page)?.share(1.2), losses(page)?.share(1.2)];
    side.extend(images(page, scene)?.map(|image| image.share(1.3)));
    side.push(facts(page)?.share(1.9));
    Ok(vec![cloud(page, scene)?.share(2.6), page.column(side)?.share(1.0)])
}

/// For measuring: a plot for each stage, and how the total is distributed.
fn profiling(page: &Page, scene: &Scene) -> anyhow::Result<Vec<Part>> {
    let [capture_queue, project, cloud_queue, log, total] =
        series::STAGES.map(|stage| page.plot(&Plot { title: &stage.title(), origin: &stage.entity(), contents: &["$origin"] }));
    let first = page.column(vec![capture_queue?, project?, cloud_queue?])?;
    let second = page.column(vec![log?, total?, distribution(page)?])?;
    let mut third = vec![cloud(page, scene)?.share(1.5)];
    third.extend(images(page, scene)?);
    third.extend([rates(page)?, losses(page)?, facts(page)?.share(1.6)]);
    Ok(vec![first, second, page.column(third)?.share(0.9)])
}

/// For a recording: what it shows and what it is; whether it played as it should.
fn replay(page: &Page, scene: &Scene) -> anyhow::Result<Vec<Part>> {
    let mut side: Vec<_> = images(page, scene)?.map(|image| image.share(1.5)).into_iter().collect();
    side.extend([facts(page)?.share(2.2), rates(page)?.share(1.0), losses(page)?.share(1.0)]);
    Ok(vec![cloud(page, scene)?.share(2.6), page.column(side)?.share(1.0)])
}

/// The document of the text panel: names and values, and how the session stands.
pub(super) fn document(facts: &[(&'static str, String)], state: &str) -> rerun::TextDocument {
    // The state as the table's head: an empty one would take the room of a fact.
    let rows: String = facts.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
    rerun::TextDocument::from_markdown(format!("| state | {state} |\n| --- | --- |\n{rows}"))
}

/// All cameras in one view.
fn cloud(page: &Page, scene: &Scene) -> anyhow::Result<Part> {
    page.cloud("Point cloud", "/camera", scene.eye)
}

/// The depth image, where it is sent beside the cloud. Where it is sent alone, the cloud's view projects it.
fn images(page: &Page, scene: &Scene) -> anyhow::Result<Option<Part>> {
    let image = View { title: "Depth image", class: "2D", origin: "/camera/image", contents: &["/camera/image/**"] };
    (scene.show == Show::Both).then(|| page.view(&image)).transpose()
}

fn rates(page: &Page) -> anyhow::Result<Part> {
    page.plot(&Plot { title: "Frame rate, fps", origin: "/stats/fps", contents: &["$origin"] })
}

fn latency(page: &Page) -> anyhow::Result<Part> {
    let contents = ["$origin/project", "$origin/total"];
    page.plot(&Plot { title: "Latency of the last second, ms", origin: "/stats/latency_ms", contents: &contents })
}

fn losses(page: &Page) -> anyhow::Result<Part> {
    page.plot(&Plot { title: "Frames lost since the start", origin: "/stats/lost_frames", contents: &["$origin"] })
}

fn distribution(page: &Page) -> anyhow::Result<Part> {
    page.bars("Total latency since the start, frames by ms", "/stats/total_ms_histogram")
}

fn facts(page: &Page) -> anyhow::Result<Part> {
    page.view(&View { title: "Session", class: "TextDocument", origin: "/session", contents: &["$origin"] })
}
