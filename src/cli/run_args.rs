//! The flags of everything that runs a pipeline.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::view::ViewArgs;
use super::{number, one_of, whole_number};
use crate::config::{self, ColorBy, Config, Preset, Settings};
use crate::pipeline::Policy;
use crate::project::{DecimateBy, Roi};
use crate::sink::{Layout, Show};
use crate::words::parse_duration;

/// What demo, live and replay have in common.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub view: ViewArgs,
    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Stop after this many frames
    #[arg(long, value_name = "N", value_parser = whole_number::<u64>)]
    pub frames: Option<u64>,
    /// When a stage is slow: the newest frame wins, or the others wait and none is lost
    #[arg(long, value_parser = one_of::<Policy>(&["newest", "lossless"]))]
    pub policy: Option<Policy>,
    /// Start from this built-in configuration
    #[arg(long, value_parser = one_of::<Preset>(&["live-demo", "profiling", "replay"]))]
    pub preset: Option<Preset>,
    /// Change what this TOML file says (see the presets in config/)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the report as JSON (depthcast.report.v1)
    #[arg(long)]
    pub json: bool,
    /// What the viewer is arranged for: an audience, a measurement, or a recording
    #[arg(long, value_parser = one_of::<Layout>(&["live", "profiling", "replay"]))]
    pub layout: Option<Layout>,
    /// What the viewer is sent
    #[arg(long, value_parser = one_of::<Show>(&["cloud", "depth", "both"]))]
    pub show: Option<Show>,
    /// The most clouds a second that are shown, where the newest frame wins; 0 for all
    #[arg(long, value_name = "HZ", value_parser = number::<f64>)]
    pub show_rate: Option<f64>,
    /// The most points of a cloud that viewer and --save get, spread evenly over it; 0 for all
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>)]
    pub max_points: Option<usize>,
    /// The most clouds a second that --save writes, where the newest frame wins; 0 for all
    #[arg(long, value_name = "HZ", value_parser = number::<f64>)]
    pub save_rate: Option<f64>,
    /// What decides the colours of points
    #[arg(long, value_name = "BY", value_parser = one_of::<ColorBy>(&["depth", "height", "texture", "uniform"]))]
    pub color_by: Option<ColorBy>,
    #[command(flatten)]
    pub reduce: ReduceArgs,
    /// Threads that the projection may use; 0 chooses
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>)]
    pub threads: Option<usize>,
    /// Let capture and projection go before other programs, and keep memory from being swapped out,
    /// as far as this user may; [realtime] in the configuration says more
    #[arg(long)]
    pub realtime: bool,
    /// Let capture run on these cores alone, such as 2,3
    #[arg(long, value_name = "CORES", value_delimiter = ',', value_parser = parse_core)]
    pub capture_cores: Option<Vec<usize>>,
    #[command(flatten)]
    pub monitor: MonitorArgs,
}

/// Where other programs find the figures while a run goes on.
#[derive(Debug, Clone, Args)]
pub(super) struct MonitorArgs {
    /// Write a line of JSON with the figures (depthcast.stats.v1) to this file for each
    /// --stats-interval
    #[arg(long, value_name = "FILE.jsonl")]
    pub stats_out: Option<PathBuf>,
    /// The time from one line to the next, at least 200ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub stats_interval: Duration,
    /// Serve the figures for Prometheus at http://ADDRESS/metrics; a port alone is one of this
    /// machine alone, such as 9100
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    pub metrics: Option<SocketAddr>,
}

/// What makes clouds smaller before anybody pays for them.
#[derive(Debug, Clone, Args)]
pub(super) struct ReduceArgs {
    /// Leave out depths nearer than this, in metres
    #[arg(long, value_name = "M", value_parser = number::<f32>)]
    pub min_m: Option<f32>,
    /// Leave out depths farther than this, in metres
    #[arg(long, value_name = "M", value_parser = number::<f32>)]
    pub max_m: Option<f32>,
    /// Take this region of the depth image: left, top, size, in pixels
    #[arg(long, value_name = "X,Y,WxH")]
    pub roi: Option<Roi>,
    /// Make one pixel of each block of N x N: 2, 3 or 4; 1 leaves all
    #[arg(long, value_name = "N", value_parser = whole_number::<u32>)]
    pub decimate: Option<u32>,
    /// What a block becomes
    #[arg(long, value_parser = one_of::<DecimateBy>(&["median", "min"]))]
    pub decimate_by: Option<DecimateBy>,
    /// Make one point of all within each cube with edges of so many metres
    #[arg(long, value_name = "M", value_parser = number::<f32>)]
    pub voxel_m: Option<f32>,
}

impl RunArgs {
    /// The flags of all runs, and those `of_source`.
    pub(super) fn settings(&self, usual: Preset, of_source: Config) -> anyhow::Result<Settings> {
        let flags = Config {
            pipeline: config::Pipeline {
                policy: self.policy,
                threads: self.threads,
                ..Default::default()
            },
            viewer: config::Viewer {
                layout: self.layout,
                show: self.show,
                show_rate_hz: self.show_rate,
                save_rate_hz: self.save_rate,
                max_points: self.max_points,
                ..Default::default()
            },
            color: config::Color { by: self.color_by, ..Default::default() },
            reduce: config::Reduce {
                min_m: self.reduce.min_m,
                max_m: self.reduce.max_m,
                roi: self.reduce.roi,
                decimate: self.reduce.decimate,
                decimate_by: self.reduce.decimate_by,
                voxel_m: self.reduce.voxel_m,
            },
            realtime: config::Realtime {
                on: self.realtime.then_some(true),
                capture_cores: self.capture_cores.clone(),
                ..Default::default()
            },
            ..of_source
        };
        config::settings(self.preset.unwrap_or(usual), self.config.as_deref(), flags)
    }
}

fn parse_core(text: &str) -> Result<usize, &'static str> {
    text.trim().parse().map_err(|_| "cores are numbers from 0 on, separated by commas, such as 2,3")
}

/// Figures are made five times a second.
fn parse_interval(text: &str) -> anyhow::Result<Duration> {
    let interval = parse_duration(text)?;
    anyhow::ensure!(interval >= Duration::from_millis(200), "an interval has at least 200ms");
    Ok(interval)
}

/// `127.0.0.1:9100`, `[::1]:9100`, `0.0.0.0:9100`; or `9100` or `:9100` on this machine alone.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "an address looks like 127.0.0.1:9100, or 9100 for a port on this machine alone".into()
    })
}
