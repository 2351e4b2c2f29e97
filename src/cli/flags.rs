//! The flags that runs share.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::{number, one_of, or_auto, whole_number};
use crate::access::Access;
use crate::config::{self, Auto, ColorBy, Config, Preset, Settings, UsageError};
use crate::pipeline::Policy;
use crate::project::{DecimateBy, Roi};
use crate::recording::Overrides;
use crate::sink::{Layout, Show};
use crate::words::parse_duration;

/// What demo, live and replay have in common.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Stop after this many frames
    #[arg(long, value_name = "N", value_parser = whole_number::<u64>)]
    pub frames: Option<u64>,
    /// Start from this built-in configuration
    #[arg(long, value_parser = one_of::<Preset>(&["live-demo", "profiling", "replay"]))]
    pub preset: Option<Preset>,
    /// Change what this TOML file says (see the presets in config/)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Viewer")]
    pub view: ViewArgs,
    #[command(flatten, next_help_heading = "Points")]
    points: PointArgs,
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputArgs,
    #[command(flatten, next_help_heading = "Statistics")]
    pub monitor: MonitorArgs,
    #[command(flatten, next_help_heading = "Real time")]
    pub threads: ThreadArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ViewArgs {
    /// Where to show the clouds: auto (a native viewer if there is a display and `rerun` on the
    /// PATH, else web), native, web, connect=URL or none
    #[arg(long, default_value = "auto", value_name = "VIEW")]
    pub view: View,
    /// Show the web viewer, and open it in the browser
    #[arg(long)]
    pub open: bool,
    /// Serve the web viewer on this address of the machine, so that others can watch; 0.0.0.0 for
    /// all it has. Without it, on 127.0.0.1
    #[arg(long, value_name = "IP")]
    pub bind: Option<IpAddr>,
    /// Port of the web viewer's page; 0 for any free one
    #[arg(long, value_name = "PORT")]
    pub web_port: Option<u16>,
    /// Port of the web viewer's data; 0 for any free one
    #[arg(long, value_name = "PORT")]
    pub data_port: Option<u16>,
    /// Keep serving the web viewer for this long after the run, or `forever`. Without it, on a
    /// terminal, while a browser shows it
    #[arg(long, value_name = "TIME")]
    pub linger: Option<Linger>,
    /// What the viewer is arranged for: an audience, a measurement, or a recording
    #[arg(long, value_parser = one_of::<Layout>(&["live", "profiling", "replay"]))]
    layout: Option<Layout>,
    /// What the viewer is sent
    #[arg(long, value_parser = one_of::<Show>(&["cloud", "depth", "both"]))]
    show: Option<Show>,
    /// The most clouds a second that are shown, where the newest frame wins; 0 for all, auto for up
    /// to 30. The web viewer's page never gets more than it draws
    #[arg(long, value_name = "HZ", value_parser = or_auto(number::<f64>))]
    show_rate: Option<Auto<f64>>,
    /// The most points of a cloud that viewer and --save get, spread evenly over it; 0 for all, auto
    /// for as many as the web viewer's page draws quickly
    #[arg(long, value_name = "N", value_parser = or_auto(whole_number::<usize>))]
    max_points: Option<Auto<usize>>,
    /// A name of this machine, beside its addresses, under which the page and --metrics may be
    /// asked for; may be repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// With --bind, or --metrics on an address that others reach: let everybody in who reaches it,
    /// without the token that is part of the printed address
    #[arg(long)]
    pub no_token: bool,
}

/// How clouds are coloured, and made smaller before anybody pays for them.
#[derive(Debug, Clone, Args)]
struct PointArgs {
    /// What decides the colours of points
    #[arg(long, value_name = "BY",
        value_parser = one_of::<ColorBy>(&["depth", "height", "texture", "uniform"]))]
    color_by: Option<ColorBy>,
    /// Leave out depths nearer than this, in metres
    #[arg(long, value_name = "M", value_parser = number::<f32>)]
    min_m: Option<f32>,
    /// Leave out depths farther than this, in metres
    #[arg(long, value_name = "M", value_parser = number::<f32>)]
    max_m: Option<f32>,
    /// Take this region of the depth image: left, top, size, in pixels
    #[arg(long, value_name = "X,Y,WxH")]
    roi: Option<Roi>,
    /// Make one pixel of each block of N x N: 2, 3 or 4; 1 leaves all
    #[arg(long, value_name = "N", value_parser = whole_number::<u32>)]
    decimate: Option<u32>,
    /// What a block becomes
    #[arg(long, value_parser = one_of::<DecimateBy>(&["median", "min"]))]
    decimate_by: Option<DecimateBy>,
    /// Make one point of all within each cube with edges of this many metres
    #[arg(long, value_name = "M", value_parser = number::<f32>)]
    voxel_m: Option<f32>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct OutputArgs {
    /// Print the report as JSON (depthcast.report.v1)
    #[arg(long)]
    pub json: bool,
    /// Also write clouds and figures to this .rrd file, for `rerun FILE.rrd`
    #[arg(long, value_name = "FILE.rrd")]
    pub save: Option<PathBuf>,
    /// The most clouds a second that --save writes, where the newest frame wins; 0 for all
    #[arg(long, value_name = "HZ", value_parser = number::<f64>)]
    save_rate: Option<f64>,
}

/// Where other programs find the figures during a run.
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

#[derive(Debug, Clone, Args)]
pub(super) struct ThreadArgs {
    /// When a stage is slow: the newest frame wins, or the others wait and none is lost
    #[arg(long, value_parser = one_of::<Policy>(&["newest", "lossless"]))]
    pub policy: Option<Policy>,
    /// Threads that the projection may use; 0 chooses
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>)]
    pub threads: Option<usize>,
    /// Let capture and projection go before other programs, and keep memory from being swapped out,
    /// as far as this user may; [realtime] in the configuration says more
    #[arg(long)]
    realtime: bool,
    /// Let capture run on these cores alone, such as 2,3
    #[arg(long, value_name = "CORES", value_delimiter = ',', value_parser = parse_core)]
    capture_cores: Option<Vec<usize>>,
}

/// Which part of a recording is read.
#[derive(Debug, Clone, Args)]
pub(super) struct SectionArgs {
    /// Start at this time after the first frame
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub from: Option<Duration>,
    /// End before this time after the first frame
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub to: Option<Duration>,
    /// The topic with the depth, where a recording has several (`depthcast info` lists them)
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

/// What is taken instead of what a recording says.
#[derive(Debug, Clone, Args)]
pub(super) struct OverrideArgs {
    /// The topic with the depth camera's CameraInfo
    #[arg(long, value_name = "TOPIC")]
    camera_info: Option<String>,
    /// The depth camera's lens, a pinhole, in pixels
    #[arg(long, value_name = "FX,FY,CX,CY", value_parser = parse_intrinsics)]
    intrinsics: Option<[f32; 4]>,
    /// Metres per step of 16-bit depth, or per unit of depth as floats
    #[arg(long, value_name = "M", value_parser = parse_units)]
    depth_units_m: Option<f32>,
}

impl OverrideArgs {
    pub(super) fn overrides(&self) -> Overrides {
        let Self { camera_info, intrinsics, depth_units_m } = self.clone();
        Overrides { camera_info, intrinsics, depth_units_m }
    }
}

/// `615.3,615.3,320,240`
fn parse_intrinsics(text: &str) -> Result<[f32; 4], &'static str> {
    let values: Vec<f32> = text.split(',').map_while(|value| value.trim().parse().ok()).collect();
    <[f32; 4]>::try_from(values)
        .ok()
        .filter(|values| values.iter().all(|value| value.is_finite()))
        .filter(|[fx, fy, ..]| *fx > 0.0 && *fy > 0.0)
        .ok_or("four numbers: fx,fy,cx,cy in pixels, such as 615.3,615.3,320,240")
}

fn parse_units(text: &str) -> Result<f32, &'static str> {
    let units_m = text.parse().ok().filter(|units_m: &f32| units_m.is_finite() && *units_m > 0.0);
    units_m.ok_or("metres above 0, such as 0.001 for millimetres")
}

impl SectionArgs {
    /// Refuses a section that has no length.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => {
                Err(UsageError(format!("--from {from:?} --to {to:?}: nothing lies between")))
            }
            _ => Ok(()),
        }
    }
}

impl RunArgs {
    /// The flags of all runs, and those `of_source`.
    pub(super) fn settings(&self, usual: Preset, of_source: Config) -> anyhow::Result<Settings> {
        let Self { view, points, threads, .. } = self;
        let flags = Config {
            pipeline: config::Pipeline {
                policy: threads.policy,
                threads: threads.threads,
                ..Default::default()
            },
            viewer: config::Viewer {
                layout: view.layout,
                show: view.show,
                show_rate_hz: view.show_rate,
                save_rate_hz: self.output.save_rate,
                max_points: view.max_points,
                ..Default::default()
            },
            color: config::Color { by: points.color_by, ..Default::default() },
            reduce: config::Reduce {
                min_m: points.min_m,
                max_m: points.max_m,
                roi: points.roi,
                decimate: points.decimate,
                decimate_by: points.decimate_by,
                voxel_m: points.voxel_m,
            },
            realtime: config::Realtime {
                on: threads.realtime.then_some(true),
                capture_cores: threads.capture_cores.clone(),
                ..Default::default()
            },
            ..of_source
        };
        config::settings(self.preset.unwrap_or(usual), self.config.as_deref(), flags)
    }

    /// Whether clouds are shown or saved.
    pub(super) fn wants_view(&self) -> bool {
        self.view.view != View::None || self.output.save.is_some()
    }
}

impl ViewArgs {
    /// Who may read what the run serves.
    pub(super) fn access(&self) -> anyhow::Result<Access> {
        Access::new(self.allow_host.clone(), !self.no_token)
    }

    /// Whether there is no choice but the web viewer; it is an error to ask for another view at the
    /// same time.
    pub(super) fn wants_web(&self) -> Result<bool, UsageError> {
        let asked = [
            ("--open", self.open),
            ("--bind", self.bind.is_some()),
            ("--linger", self.linger.is_some()),
        ];
        match (asked.into_iter().find(|(_, asked)| *asked), &self.view) {
            (_, View::Web) => Ok(true),
            // To linger is no wish for a view: a native viewer stays anyway.
            (asked, View::Auto) => Ok(asked.is_some_and(|(flag, _)| flag != "--linger")),
            (None, _) => Ok(false),
            (Some((flag, _)), _) => Err(UsageError(format!(
                "{flag} is about the web viewer: use --view web with it, or leave it out"
            ))),
        }
    }
}

/// Where clouds are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    Auto,
    Native,
    Web,
    Connect(String),
    None,
}

impl FromStr for View {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("connect=")) {
            ("auto", _) => Ok(Self::Auto),
            ("native", _) => Ok(Self::Native),
            ("web", _) => Ok(Self::Web),
            ("none", _) => Ok(Self::None),
            (_, Some(url)) if !url.is_empty() => Ok(Self::Connect(url.into())),
            _ => Err("one of auto, native, web, connect=URL, none"),
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Native => f.write_str("native"),
            Self::Web => f.write_str("web"),
            Self::Connect(url) => write!(f, "connect={url}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// How long the web viewer is served after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linger {
    For(Duration),
    Forever,
}

impl FromStr for Linger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        parse_duration(text).map(Self::For).map_err(|error| format!("{error}; or forever"))
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
fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(
        |_| "an address looks like 127.0.0.1:9100, or 9100 for a port on this machine alone",
    )
}
