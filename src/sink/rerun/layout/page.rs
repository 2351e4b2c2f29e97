//! A viewer's page in Rerun's terms: views, containers of them, and panels, each an entity of a
//! stream of its own, the blueprint.

use std::time::Duration;

use rerun::datatypes::{TimeInt, TimeRange, TimeRangeBoundary, VisibleTimeRange};
use rerun::external::re_log_types::BlueprintActivationCommand;
use rerun::external::re_sdk_types::blueprint::{archetypes as bp, components as bpc};
use rerun::external::uuid::Uuid;
use rerun::sink::MemorySinkStorage;
use rerun::{RecordingStream, RecordingStreamResult};

use super::eye::Eye;

/// What a plot spans before the cursor, at least and at most.
const PLOT_S: [f64; 2] = [2.0, 30.0];
/// By that, the empty space behind the cursor, where the legend covers no line.
const BEHIND: f64 = 0.55;
/// The timelines that figures are logged on.
const FIGURES_ON: [&str; 2] = ["capture", "device"];
/// Nearly black: what has no depth, and what lies beyond, recedes.
const GROUND: [u8; 3] = [12, 14, 20];

/// A page that is being put together.
pub struct Page {
    stream: RecordingStream,
    storage: MemorySinkStorage,
    is_file: bool,
    plot_s: f64,
}

/// A view, or a container of parts.
pub struct Part {
    path: String,
    share: f32,
}

impl Part {
    /// Its part of the container's width or height, compared with the other parts; 1 if nothing is
    /// said.
    pub fn share(self, share: f32) -> Self {
        Self { share, ..self }
    }
}

pub struct View<'a> {
    pub title: &'a str,
    /// As Rerun names it.
    pub class: &'a str,
    pub origin: &'a str,
    pub contents: &'a [&'a str],
}

pub struct Plot<'a> {
    pub title: &'a str,
    pub origin: &'a str,
    pub contents: &'a [&'a str],
}

pub struct TimePanel {
    pub timeline: &'static str,
    /// From the start, over and over; or it follows the newest data.
    pub plays: bool,
}

impl Page {
    /// Of a session that will last so long, as far as that is known.
    pub fn new(is_file: bool, duration: Option<Duration>) -> RecordingStreamResult<Self> {
        let plot_s = duration.map_or(PLOT_S[1], |d| d.as_secs_f64()).clamp(PLOT_S[0], PLOT_S[1]);
        let (stream, storage) =
            rerun::RecordingStreamBuilder::new("depthcast").blueprint().enabled(true).memory()?;
        // The viewer knows blueprint data by this timeline.
        stream.set_time_sequence("blueprint", 0);
        Ok(Self { stream, storage, is_file, plot_s })
    }

    pub fn view(&self, view: &View) -> anyhow::Result<Part> {
        let path = format!("view/{}", Uuid::new_v4());
        let archetype = bp::ViewBlueprint::new(view.class)
            .with_display_name(view.title)
            .with_space_origin(view.origin);
        self.stream.log(path.as_str(), &archetype)?;
        self.stream.log(
            format!("{path}/ViewContents"),
            &bp::ViewContents::new(view.contents.iter().copied()),
        )?;
        Ok(Part { path, share: 1.0 })
    }

    /// A view in three dimensions of all below `origin`.
    pub fn cloud(&self, title: &str, origin: &str, eye: &Eye) -> anyhow::Result<Part> {
        let part = self.view(&View { title, class: "3D", origin, contents: &["$origin/**"] })?;
        let controls = bp::EyeControls3D::new()
            .with_kind(bpc::Eye3DKind::Orbital)
            .with_position(eye.position_m)
            .with_look_target(eye.target_m)
            .with_eye_up([0.0, -1.0, 0.0]);
        self.stream.log(format!("{}/EyeControls3D", part.path), &controls)?;
        let ground = bp::Background::new(bpc::BackgroundKind::SolidColor).with_color(GROUND);
        self.stream.log(format!("{}/Background", part.path), &ground)?;
        self.stream
            .log(format!("{}/LineGrid3D", part.path), &bp::LineGrid3D::new().with_visible(false))?;
        Ok(part)
    }

    /// Lines over time that end at the cursor, and their legend in the empty space behind it.
    pub fn plot(&self, plot: &Plot) -> anyhow::Result<Part> {
        let part = self.view(&View {
            title: plot.title,
            class: "TimeSeries",
            origin: plot.origin,
            contents: plot.contents,
        })?;
        let seconds = |s: f64| TimeRangeBoundary::CursorRelative(TimeInt((s * 1e9) as i64));
        let legend = bp::PlotLegend::new().with_corner(bpc::Corner2D::RightTop);
        self.stream.log(format!("{}/PlotLegend", part.path), &legend)?;
        let axis = TimeRange { start: seconds(-self.plot_s), end: seconds(BEHIND * self.plot_s) };
        self.stream
            .log(format!("{}/TimeAxis", part.path), &bp::TimeAxis::new().with_view_range(axis))?;
        // In a file, who moves the axis finds all that was before.
        let start = if self.is_file { TimeRangeBoundary::Infinite } else { seconds(-self.plot_s) };
        let range = TimeRange { start, end: seconds(0.0) };
        let visible =
            FIGURES_ON.map(|timeline| VisibleTimeRange { timeline: timeline.into(), range });
        self.stream.log(
            format!("{}/VisibleTimeRanges", part.path),
            &bp::VisibleTimeRanges::new(visible),
        )?;
        Ok(part)
    }

    /// Bars, with nothing to explain by a legend.
    pub fn bars(&self, title: &str, origin: &str, contents: &[String]) -> anyhow::Result<Part> {
        let contents: Vec<_> = contents.iter().map(String::as_str).collect();
        let part = self.view(&View { title, class: "BarChart", origin, contents: &contents })?;
        self.stream
            .log(format!("{}/PlotLegend", part.path), &bp::PlotLegend::new().with_visible(false))?;
        Ok(part)
    }

    pub fn column(&self, parts: Vec<Part>) -> anyhow::Result<Part> {
        let (path, _) = self.container(bpc::ContainerKind::Vertical, &parts)?;
        Ok(Part { path, share: 1.0 })
    }

    pub fn row(&self, parts: Vec<Part>) -> anyhow::Result<Part> {
        let (path, _) = self.container(bpc::ContainerKind::Horizontal, &parts)?;
        Ok(Part { path, share: 1.0 })
    }

    fn container(
        &self,
        kind: bpc::ContainerKind,
        parts: &[Part],
    ) -> RecordingStreamResult<(String, Uuid)> {
        let id = Uuid::new_v4();
        let path = format!("container/{id}");
        let container = bp::ContainerBlueprint::new(kind)
            .with_contents(parts.iter().map(|part| part.path.as_str()));
        let shares = parts.iter().map(|part| part.share);
        let container = match kind {
            bpc::ContainerKind::Horizontal => container.with_col_shares(shares),
            _ => container.with_row_shares(shares),
        };
        self.stream.log(path.as_str(), &container)?;
        Ok((path, id))
    }

    /// Sends the page, with the parts beside each other.
    pub fn send(
        self,
        rec: &RecordingStream,
        parts: Vec<Part>,
        time: TimePanel,
    ) -> anyhow::Result<()> {
        let (_, root) = self.container(bpc::ContainerKind::Horizontal, &parts)?;
        let viewport = bp::ViewportBlueprint::new()
            .with_root_container(root)
            .with_auto_layout(false)
            .with_auto_views(false);
        self.stream.log("viewport", &viewport)?;
        for panel in ["blueprint_panel", "selection_panel"] {
            self.stream
                .log(panel, &bp::PanelBlueprint::new().with_state(bpc::PanelState::Hidden))?;
        }
        let panel = bp::TimePanelBlueprint::new()
            .with_state(bpc::PanelState::Collapsed)
            .with_timeline(time.timeline);
        let panel = if time.plays {
            panel.with_play_state(bpc::PlayState::Playing).with_loop_mode(bpc::LoopMode::All)
        } else {
            panel.with_play_state(bpc::PlayState::Following)
        };
        self.stream.log("time_panel", &panel)?;
        let info = self.stream.store_info().ok_or_else(|| anyhow::anyhow!("no blueprint store"))?;
        let activation = BlueprintActivationCommand {
            blueprint_id: info.store_id,
            make_active: true,
            make_default: true,
        };
        rec.send_blueprint(self.storage.take(), activation);
        Ok(())
    }
}
