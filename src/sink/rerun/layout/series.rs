//! What is plotted: entities, names and colours of series.

use rerun::components::{AggregationPolicy, InterpolationMode};
use rerun::{BarChart, RecordingStream, RecordingStreamResult, Scalars, SeriesLines};

use crate::stats::{Distribution, Snapshot};

type Color = [u8; 3];
const BLUE: Color = [108, 160, 220];
const GREEN: Color = [110, 206, 88];
const VIOLET: Color = [178, 132, 214];
const ORANGE: Color = [251, 159, 58];
const WHITE: Color = [240, 240, 240];
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
    StageSeries { name: "total", color: WHITE },
];
const FPS: [(&str, Color); 3] = [("captured fps", BLUE), ("projected fps", GREEN), ("shown fps", ORANGE)];
/// In the order of [`Snapshot::lost`].
const LOST: [(&str, Color); 4] = [("source", RED), ("capture queue", BLUE), ("cloud queue", VIOLET), ("viewer", ORANGE)];

impl StageSeries {
    pub fn entity(&self) -> String {
        format!("stats/latency_ms/{}", self.name)
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

/// Values of hidden lines that keep zero in sight, and where zero is all there may be, a plot of zeros from being centred on it.
const ZERO: [f64; 1] = [0.0];
const ZERO_AND_ONE: [f64; 2] = [0.0, 1.0];

/// Lines of one plot, and hidden ones without a width. These have the last line's name and colour, so the legend does not list them.
fn lines(series: &[(&str, Color)], hidden: &[f64]) -> SeriesLines {
    let all = || series.iter().chain(std::iter::repeat_n(&series[series.len() - 1], hidden.len()));
    let widths = std::iter::repeat_n(1.75, series.len()).chain(std::iter::repeat_n(0.0, hidden.len()));
    SeriesLines::new().with_names(all().map(|s| s.0)).with_colors(all().map(|s| s.1)).with_widths(widths)
}

/// Names and colours of the plotted series.
pub fn log_series(rec: &RecordingStream) -> RecordingStreamResult<()> {
    // `captured` is drawn wider, since `projected` mostly lies on it.
    rec.log_static("stats/fps", &lines(&FPS, &ZERO).with_widths([4.0, 1.75, 1.75, 0.0]))?;
    let lost = lines(&LOST, &ZERO_AND_ONE).with_interpolation_mode(InterpolationMode::StepAfter);
    // A count that is averaged with its neighbours is none.
    rec.log_static("stats/lost_frames", &lost.with_aggregation_policy(AggregationPolicy::Off))?;
    for stage in &STAGES {
        let names = ["p50", "p99"].map(|quantile| format!("{} {quantile} ms", stage.spoken()));
        let series = [(names[0].as_str(), stage.color.map(|c| c / 2 + 20)), (names[1].as_str(), stage.color)];
        rec.log_static(stage.entity(), &lines(&series, &ZERO))?;
    }
    Ok(())
}

/// Logs one point of each series.
pub fn log_figures(rec: &RecordingStream, snapshot: &Snapshot) -> RecordingStreamResult<()> {
    let scalars = |values: &[f64], hidden: &[f64]| Scalars::new(values.iter().chain(hidden).copied());
    let fps = &snapshot.fps;
    rec.log("stats/fps", &scalars(&[fps.captured, fps.projected, fps.shown], &ZERO))?;
    rec.log("stats/lost_frames", &scalars(&snapshot.lost().map(|(_, frames)| frames as f64), &ZERO_AND_ONE))?;
    for stage in &STAGES {
        let Some(quantiles) = snapshot.last_second(stage.name) else { continue };
        rec.log(stage.entity(), &scalars(&[quantiles.p50_ms, quantiles.p99_ms], &ZERO))?;
    }
    Ok(())
}

/// Logs the distribution of the total latency, where there is one.
pub fn log_distribution(rec: &RecordingStream, snapshot: &Snapshot) -> RecordingStreamResult<()> {
    let Some(Distribution { step_ms, frames }) = &snapshot.total else { return Ok(()) };
    let starts_ms: Vec<f64> = (0..frames.len()).map(|bar| bar as f64 * step_ms).collect();
    let widths_ms = frames.map(|_| *step_ms as f32);
    let bars = BarChart::new(frames.as_slice()).with_abscissa(starts_ms.as_slice()).with_widths(widths_ms).with_color(BLUE);
    rec.log("stats/total_ms_histogram", &bars)
}
