//! What a viewer shows at first, by what it is for: the cloud large on a dark ground with plots
//! beside it, or the plots large.
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
use super::super::{Images, Layout, Show};
use super::Entities;
use super::board::Column;
use super::images as image_log;
use super::motion::SENSORS;

/// What decides a layout.
pub(super) struct Scene<'a> {
    pub layout: Layout,
    pub show: Show,
    pub images: Images,
    /// A camera's motion sensors are plotted.
    pub has_motion: bool,
    /// The source is a camera that may stall and come back.
    pub is_watched: bool,
    /// A file plays from its start, a live view follows the newest data.
    pub is_file: bool,
    /// Of the session, as far as it is known.
    pub duration: Option<Duration>,
    pub eye: &'a Eye,
    pub cameras: &'a [Entities],
}

impl Scene<'_> {
    /// The same of all cameras.
    fn of_all(&self, path: impl Fn(&Entities) -> String) -> Vec<String> {
        self.cameras.iter().map(|camera| format!("/{}", path(camera))).collect()
    }
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

/// For an audience: the cloud, below it what else the camera sees, and beside it how well it goes.
fn live(page: &Page, scene: &Scene) -> anyhow::Result<Vec<Part>> {
    let mut side = vec![
        rates(page, scene)?.share(0.95),
        latency(page, scene)?.share(1.3),
        losses(page, scene)?.share(1.3),
    ];
    side.push(facts(page)?.share(1.9));
    side.extend(events(page, scene)?.map(|events| events.share(0.8)));
    let mut beside = images(page, scene)?;
    beside.extend(motion(page, scene)?);
    let cloud = cloud(page, scene)?;
    let stage = if beside.is_empty() {
        cloud
    } else {
        page.column(vec![cloud.share(2.4), page.row(beside)?])?
    };
    Ok(vec![stage.share(2.6), page.column(side)?.share(1.0)])
}

/// For measuring: a plot for each stage, and how the total is distributed.
fn profiling(page: &Page, scene: &Scene) -> anyhow::Result<Vec<Part>> {
    let [capture_queue, project, cloud_queue, log, total] = series::STAGES
        .map(|stage| stats(page, &stage.title(), &scene.of_all(|camera| stage.entity(camera))));
    let first = page.column(vec![capture_queue?, project?, cloud_queue?])?;
    let second = page.column(vec![log?, total?, distribution(page, scene)?])?;
    let mut third = vec![cloud(page, scene)?.share(1.5)];
    third.extend(images(page, scene)?);
    third.extend(motion(page, scene)?);
    third.extend([
        rates(page, scene)?.share(0.9),
        losses(page, scene)?.share(1.3),
        facts(page)?.share(1.5),
    ]);
    third.extend(events(page, scene)?);
    Ok(vec![first, second, page.column(third)?.share(0.9)])
}

/// For a recording: what it shows and what it is; whether it played as it should.
fn replay(page: &Page, scene: &Scene) -> anyhow::Result<Vec<Part>> {
    let mut side: Vec<_> = images(page, scene)?.into_iter().map(|image| image.share(1.5)).collect();
    side.extend([
        facts(page)?.share(2.0),
        rates(page, scene)?.share(1.0),
        losses(page, scene)?.share(1.2),
    ]);
    Ok(vec![cloud(page, scene)?.share(2.6), page.column(side)?.share(1.0)])
}

/// The document of the text panel: names and values, and how the session stands.
pub(super) fn document(columns: &[Column]) -> rerun::TextDocument {
    let row = |(name, value): &(&str, String)| format!("| {name} | {value} |\n");
    let text = match columns {
        // The state as the table's head: an empty one would take the room of a fact.
        [Column { facts, state, .. }] => {
            format!(
                "| state | {state} |\n| --- | --- |\n{}",
                facts.iter().map(row).collect::<String>()
            )
        }
        // A line for each camera, and then what they have in common: columns for more than two
        // would not fit.
        _ => {
            let fact = |column: &Column, name| {
                column.facts.iter().find(|fact| fact.0 == name).map(|fact| fact.1.clone())
            };
            let line = |column: &Column| {
                let profile = fact(column, "profile").unwrap_or_default();
                format!("| {} | {} | {profile} |\n", column.name, column.state)
            };
            let is_common = |(name, value): &&(&'static str, String)| {
                *name != "profile"
                    && columns.iter().all(|column| fact(column, name).as_ref() == Some(value))
            };
            let common = columns.iter().take(1).flat_map(|column| &column.facts).filter(is_common);
            format!(
                "| camera | state | profile |\n| --- | --- | --- |\n{}\n| all | |\n| --- | --- |\n{}",
                columns.iter().map(line).collect::<String>(),
                common.map(row).collect::<String>()
            )
        }
    };
    rerun::TextDocument::from_markdown(text)
}

/// All cameras in one view.
fn cloud(page: &Page, scene: &Scene) -> anyhow::Result<Part> {
    page.cloud("Point cloud", "/camera", scene.eye)
}

/// The depth image, where it is sent beside the cloud. Where it is sent alone, the cloud's view
/// projects it.
fn images(page: &Page, scene: &Scene) -> anyhow::Result<Vec<Part>> {
    let image = |camera: &Entities| {
        let title = camera
            .of
            .as_ref()
            .map_or("Depth image".into(), |of| format!("Depth image of {}", of.0));
        let origin = format!("/{}", camera.image);
        page.view(&View { title: &title, class: "2D", origin: &origin, contents: &["$origin/**"] })
    };
    let depth = scene.cameras.iter().filter(|_| scene.show == Show::Both).map(image);
    let kinds = [
        ("Colour", image_log::COLOR, scene.images.color),
        ("Infrared", image_log::INFRARED, scene.images.infrared),
    ];
    let others = kinds.iter().filter(|kind| kind.2).flat_map(|(title, name, _)| {
        scene.cameras.iter().map(move |camera| {
            let title =
                camera.of.as_ref().map_or((*title).into(), |of| format!("{title} of {}", of.0));
            let origin = format!("/{}/{name}", camera.images);
            page.view(&View { title: &title, class: "2D", origin: &origin, contents: &["$origin"] })
        })
    });
    depth.chain(others).collect()
}

/// What motion sensors measure.
fn motion(page: &Page, scene: &Scene) -> anyhow::Result<Vec<Part>> {
    let plot = |(_, name, title): (_, &str, &str)| {
        let contents = scene.of_all(|camera| format!("{}/{name}", camera.imu));
        let contents: Vec<_> = contents.iter().map(String::as_str).collect();
        page.plot(&Plot { title, origin: "/imu", contents: &contents })
    };
    SENSORS.into_iter().filter(|_| scene.has_motion).map(plot).collect()
}

/// A plot of what cameras log below `stats`.
fn stats(page: &Page, title: &str, contents: &[String]) -> anyhow::Result<Part> {
    let contents: Vec<_> = contents.iter().map(String::as_str).collect();
    page.plot(&Plot { title, origin: "/stats", contents: &contents })
}

fn rates(page: &Page, scene: &Scene) -> anyhow::Result<Part> {
    stats(page, "Frame rate, fps", &scene.of_all(|camera| format!("{}/fps", camera.stats)))
}

fn latency(page: &Page, scene: &Scene) -> anyhow::Result<Part> {
    // Of several cameras the total alone: the plot is small.
    let stages = if scene.cameras.len() > 1 { &["total"][..] } else { &["project", "total"] };
    let contents = stages
        .iter()
        .flat_map(|stage| scene.of_all(|camera| format!("{}/latency_ms/{stage}", camera.stats)));
    stats(page, "Latency of the last second, ms", &contents.collect::<Vec<_>>())
}

fn losses(page: &Page, scene: &Scene) -> anyhow::Result<Part> {
    stats(
        page,
        "Frames lost since the start",
        &scene.of_all(|camera| format!("{}/lost_frames", camera.stats)),
    )
}

fn distribution(page: &Page, scene: &Scene) -> anyhow::Result<Part> {
    let contents = scene.of_all(|camera| format!("{}/total_ms_histogram", camera.stats));
    page.bars("Total latency since the start, frames by ms", "/stats", &contents)
}

fn facts(page: &Page) -> anyhow::Result<Part> {
    page.view(&View {
        title: "Session",
        class: "TextDocument",
        origin: "/session",
        contents: &["$origin"],
    })
}

/// What happened to a camera that is watched.
fn events(page: &Page, scene: &Scene) -> anyhow::Result<Option<Part>> {
    let log =
        View { title: "Camera", class: "TextLog", origin: "/events", contents: &["$origin/**"] };
    scene.is_watched.then(|| page.view(&log)).transpose()
}
