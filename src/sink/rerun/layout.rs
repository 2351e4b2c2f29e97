//! What a viewer shows at first: the cloud large on a dark ground, plots and the session's facts beside it.

use rerun::datatypes::{TimeInt, TimeRange, TimeRangeBoundary};
use rerun::external::re_log_types::BlueprintActivationCommand;
use rerun::external::re_sdk_types::blueprint::{archetypes as bp, components as bpc};
use rerun::external::uuid::Uuid;
use rerun::{RecordingStream, RecordingStreamResult, Scalars, SeriesLines};

use crate::stats::Snapshot;

/// What the plots of a live view span.
const PLOT_WINDOW_S: i64 = 30;

type Series<'a> = (&'a str, [u8; 3]);

/// Stages in the order of a frame's road.
const STAGES: [Series; 5] = [
    ("capture_queue", [108, 142, 191]),
    ("project", [110, 206, 88]),
    ("cloud_queue", [178, 132, 214]),
    ("log", [251, 159, 58]),
    ("total", [240, 240, 240]),
];
const FPS: [Series; 3] = [("captured", [108, 142, 191]), ("projected", [110, 206, 88]), ("shown", [251, 159, 58])];
/// In the order of [`Snapshot::lost`].
const LOST: [Series; 4] = [
    ("by the source", [214, 80, 80]),
    ("in the capture queue", [108, 142, 191]),
    ("in the cloud queue", [178, 132, 214]),
    ("at the viewer", [251, 159, 58]),
];

/// Names and colours of the plotted series.
pub(super) fn log_series(rec: &RecordingStream) -> RecordingStreamResult<()> {
    let lines = |series: &[Series]| {
        SeriesLines::new()
            .with_names(series.iter().map(|s| s.0))
            .with_colors(series.iter().map(|s| s.1))
            .with_widths(series.iter().map(|_| 1.5))
    };
    // `captured` is drawn wider, since `projected` mostly lies on it.
    rec.log_static("stats/fps", &lines(&FPS).with_widths([4.0, 1.5, 1.5]))?;
    rec.log_static("stats/lost", &lines(&LOST))?;
    for (stage, color) in STAGES {
        for (quantile, color) in [("p50", color.map(|c| c / 2 + 30)), ("p99", color)] {
            let name = format!("{} {quantile}", stage.replace('_', " "));
            rec.log_static(format!("stats/latency_ms/{quantile}/{stage}"), &lines(&[(&name, color)]))?;
        }
    }
    Ok(())
}

/// Logs one point of each series.
pub(super) fn log_figures(rec: &RecordingStream, snapshot: &Snapshot) -> RecordingStreamResult<()> {
    let fps = &snapshot.fps;
    rec.log("stats/fps", &Scalars::new([fps.captured, fps.projected, fps.shown]))?;
    rec.log("stats/lost", &Scalars::new(snapshot.lost().map(|(_, n)| n as f64)))?;
    for (stage, _) in STAGES {
        let Some(quantiles) = snapshot.last_second(stage) else { continue };
        rec.log(format!("stats/latency_ms/p50/{stage}"), &Scalars::single(quantiles.p50_ms))?;
        rec.log(format!("stats/latency_ms/p99/{stage}"), &Scalars::single(quantiles.p99_ms))?;
    }
    Ok(())
}

/// Sends the layout. A file plays from its start, a live view follows the newest data.
pub(super) fn send(rec: &RecordingStream, is_file: bool, has_events: bool) -> anyhow::Result<()> {
    let (blueprint, storage) = rerun::RecordingStreamBuilder::new("depthcast").blueprint().enabled(true).memory()?;
    // The viewer knows blueprint data by this timeline.
    blueprint.set_time_sequence("blueprint", 0);

    let cloud = View { name: "point cloud", class: "3D", origin: "/camera", contents: &["/camera/**"] }.log(&blueprint)?;
    blueprint.log(
        format!("{cloud}/EyeControls3D"),
        &bp::EyeControls3D::new()
            .with_kind(bpc::Eye3DKind::Orbital)
            .with_position([0.9, -1.2, -1.7])
            .with_look_target([0.15, 0.1, 2.3])
            .with_eye_up([0.0, -1.0, 0.0]),
    )?;
    blueprint
        .log(format!("{cloud}/Background"), &bp::Background::new(bpc::BackgroundKind::SolidColor).with_color([12, 14, 20]))?;
    blueprint.log(format!("{cloud}/LineGrid3D"), &bp::LineGrid3D::new().with_visible(false))?;

    let plots: [(&str, &str, &[&str]); 3] = [
        ("frames per second", "/stats/fps", &["$origin"]),
        ("latency of the last second, ms", "/stats/latency_ms", &["$origin/p99/**", "$origin/p50/total"]),
        ("frames lost since the start", "/stats/lost", &["$origin"]),
    ];
    let mut side = Vec::new();
    for (name, origin, contents) in plots {
        let plot = View { name, class: "TimeSeries", origin, contents }.log(&blueprint)?;
        blueprint.log(format!("{plot}/PlotLegend"), &bp::PlotLegend::new().with_corner(bpc::Corner2D::LeftTop))?;
        if !is_file {
            let ns = |s: i64| TimeRangeBoundary::CursorRelative(TimeInt(s * 1_000_000_000));
            let window = TimeRange { start: ns(-PLOT_WINDOW_S), end: ns(0) };
            blueprint.log(format!("{plot}/TimeAxis"), &bp::TimeAxis::new().with_view_range(window))?;
        }
        side.push(plot);
    }
    side.push(View { name: "session", class: "TextDocument", origin: "/session", contents: &["/session"] }.log(&blueprint)?);

    if has_events {
        side.push(View { name: "camera", class: "TextLog", origin: "/events", contents: &["/events/**"] }.log(&blueprint)?);
    }
    let shares = &[1.0, 1.1, 0.9, 1.5, 0.7][..side.len()];
    let (_, side) = container(&blueprint, bpc::ContainerKind::Vertical, &side, shares)?;
    let (root_id, _) = container(&blueprint, bpc::ContainerKind::Horizontal, &[cloud, side], &[2.5, 1.0])?;
    blueprint.log(
        "viewport",
        &bp::ViewportBlueprint::new().with_root_container(root_id).with_auto_layout(false).with_auto_views(false),
    )?;
    for panel in ["blueprint_panel", "selection_panel"] {
        blueprint.log(panel, &bp::PanelBlueprint::new().with_state(bpc::PanelState::Hidden))?;
    }
    let time_panel = bp::TimePanelBlueprint::new().with_state(bpc::PanelState::Collapsed).with_timeline("capture");
    let time_panel = if is_file {
        time_panel.with_play_state(bpc::PlayState::Playing).with_loop_mode(bpc::LoopMode::All)
    } else {
        time_panel.with_play_state(bpc::PlayState::Following)
    };
    blueprint.log("time_panel", &time_panel)?;

    let store_id = blueprint.store_info().map(|info| info.store_id).ok_or_else(|| anyhow::anyhow!("no blueprint store"))?;
    let activation = BlueprintActivationCommand { blueprint_id: store_id, make_active: true, make_default: true };
    rec.send_blueprint(storage.take(), activation);
    Ok(())
}

struct View<'a> {
    name: &'a str,
    class: &'a str,
    origin: &'a str,
    contents: &'a [&'a str],
}

impl View<'_> {
    /// Logs the view and returns its path.
    fn log(&self, blueprint: &RecordingStream) -> RecordingStreamResult<String> {
        let path = format!("view/{}", Uuid::new_v4());
        blueprint.log(
            path.as_str(),
            &bp::ViewBlueprint::new(self.class).with_display_name(self.name).with_space_origin(self.origin),
        )?;
        blueprint.log(format!("{path}/ViewContents"), &bp::ViewContents::new(self.contents.iter().copied()))?;
        Ok(path)
    }
}

/// Logs a container of views or containers, and returns its id and path.
fn container(
    blueprint: &RecordingStream,
    kind: bpc::ContainerKind,
    contents: &[String],
    shares: &[f32],
) -> RecordingStreamResult<(Uuid, String)> {
    let id = Uuid::new_v4();
    let path = format!("container/{id}");
    let archetype = bp::ContainerBlueprint::new(kind).with_contents(contents.iter().map(String::as_str));
    let archetype = match kind {
        bpc::ContainerKind::Horizontal => archetype.with_col_shares(shares.iter().copied()),
        _ => archetype.with_row_shares(shares.iter().copied()),
    };
    blueprint.log(path.as_str(), &archetype)?;
    Ok((id, path))
}
