//! What is plotted: entities, names and colours of series.

use rerun::components::{AggregationPolicy, InterpolationMode};
use rerun::{BarChart, RecordingStream, RecordingStreamResult, Scalars, SeriesLines};

use super::super::Entities;
use crate::stats::{Distribution, Snapshot};

type Color = [u8; 3];
const BLUE: Color = [108, 160, 220];
const GREEN: Color = [110, 206, 88];
const VIOLET: Color = [178, 132, 214];
const ORANGE: Color = [251, 159, 58];
/// As the others, to be told from a dark ground and from a light one: the viewer follows the system
/// in that.
const PINK: Color = [232, 104, 160];
const RED: Color = [225, 87, 89];

/// A stage with a plot.
pub struct StageSeries {
    /// As in the report.
    pub name: &'static str,
    color: Color,
}

/// In the order of a frame's road.
pub const STAGES: [StageSeries; 5] = [
    StageSeries { name: "capture_queue", color: BLUE },
    StageSeries { name: "project", color: GREEN },
    StageSeries { name: "cloud_queue", color: VIOLET },
    StageSeries { name: "log", color: ORANGE },
    StageSeries { name: "total", color: PINK },
];
const FPS: [(&str, Color); 3] =
    [("captured fps", BLUE), ("projected fps", GREEN), ("shown fps", ORANGE)];
/// In the order of [`Snapshot::lost`].
const LOST: [(&str, Color); 4] =
    [("source", RED), ("capture queue", BLUE), ("cloud queue", VIOLET), ("viewer", ORANGE)];

impl StageSeries {
    pub fn entity(&self, camera: &Entities) -> String {
        format!("{}/latency_ms/{}", camera.stats, self.name)
    }

    fn spoken(&self) -> String {
        self.name.replace('_', " ")
    }

    pub fn title(&self) -> String {
        let spoken = self.spoken();
        let (first, rest) = spoken.split_at(1);
        format!("{}{rest}, ms", first.to_uppercase())
    }
}

/// Values of hidden lines that keep zero in sight, and where zero is all there may be, a plot of
/// zeros from being centred on it.
const ZERO: [f64; 1] = [0.0];
const ZERO_AND_ONE: [f64; 2] = [0.0, 1.0];

/// Lines of one plot, and hidden ones without a width. These have the last line's name and colour,
/// so the legend does not list them.
fn lines(series: &[(&str, Color)], hidden: &[f64]) -> SeriesLines {
    let all = || series.iter().chain(std::iter::repeat_n(&series[series.len() - 1], hidden.len()));
    let widths =
        std::iter::repeat_n(1.75, series.len()).chain(std::iter::repeat_n(0.0, hidden.len()));
    SeriesLines::new()
        .with_names(all().map(|s| s.0))
        .with_colors(all().map(|s| s.1))
        .with_widths(widths)
}

/// Names and colours of the plotted series. Those of one of several cameras have its name and hue,
/// and are fewer.
pub fn log_series(rec: &RecordingStream, camera: &Entities) -> RecordingStreamResult<()> {
    let stats = &camera.stats;
    let dim = |color: Color| color.map(|c| c / 2 + 20);
    // Lines that have a name and a colour in common are one in the legend, which would else cover
    // them.
    let of_camera = |unit: &str, count: usize, hidden: &[f64]| {
        camera.of.as_ref().map(|(name, hue)| {
            lines(&vec![(format!("{name}{unit}").as_str(), *hue); count], hidden)
        })
    };
    // `captured` is drawn wider, since `projected` mostly lies on it.
    let fps = of_camera(" fps", FPS.len(), &ZERO).unwrap_or_else(|| lines(&FPS, &ZERO));
    rec.log_static(format!("{stats}/fps"), &fps.with_widths([4.0, 1.75, 1.75, 0.0]))?;
    let lost = of_camera(" lost", 1, &ZERO_AND_ONE).unwrap_or_else(|| lines(&LOST, &ZERO_AND_ONE));
    let lost = lost.with_interpolation_mode(InterpolationMode::StepAfter);
    // A count that is averaged with its neighbours is none.
    rec.log_static(
        format!("{stats}/lost_frames"),
        &lost.with_aggregation_policy(AggregationPolicy::Off),
    )?;
    for stage in &STAGES {
        let names = ["p50", "p99"].map(|quantile| format!("{} {quantile} ms", stage.spoken()));
        let series = [(names[0].as_str(), dim(stage.color)), (names[1].as_str(), stage.color)];
        let quantiles =
            of_camera(" p50, p99 ms", series.len(), &ZERO).unwrap_or_else(|| lines(&series, &ZERO));
        rec.log_static(stage.entity(camera), &quantiles)?;
    }
    Ok(())
}

/// Logs one point of each series.
pub fn log_figures(
    rec: &RecordingStream,
    camera: &Entities,
    snapshot: &Snapshot,
) -> RecordingStreamResult<()> {
    let stats = &camera.stats;
    let scalars =
        |values: &[f64], hidden: &[f64]| Scalars::new(values.iter().chain(hidden).copied());
    let fps = &snapshot.fps;
    rec.log(format!("{stats}/fps"), &scalars(&[fps.captured, fps.projected, fps.shown], &ZERO))?;
    let lost = snapshot.lost().map(|(_, frames)| frames as f64);
    let lost = if camera.of.is_some() { vec![lost.iter().sum()] } else { lost.to_vec() };
    rec.log(format!("{stats}/lost_frames"), &scalars(&lost, &ZERO_AND_ONE))?;
    for stage in &STAGES {
        let Some(quantiles) = snapshot.last_second(stage.name) else { continue };
        rec.log(stage.entity(camera), &scalars(&[quantiles.p50_ms, quantiles.p99_ms], &ZERO))?;
    }
    Ok(())
}

/// Logs the distribution of the total latency, where there is one.
pub fn log_distribution(
    rec: &RecordingStream,
    camera: &Entities,
    snapshot: &Snapshot,
) -> RecordingStreamResult<()> {
    let Some(Distribution { step_ms, frames }) = &snapshot.total else { return Ok(()) };
    let starts_ms: Vec<f64> = (0..frames.len()).map(|bar| bar as f64 * step_ms).collect();
    let widths_ms = frames.map(|_| *step_ms as f32);
    let color = camera.of.as_ref().map_or(BLUE, |of| of.1);
    let bars = BarChart::new(frames.as_slice())
        .with_abscissa(starts_ms.as_slice())
        .with_widths(widths_ms)
        .with_color(color);
    rec.log(format!("{}/total_ms_histogram", camera.stats), &bars)
}
