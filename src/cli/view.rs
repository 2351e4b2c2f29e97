//! What the flags say about where a run's clouds go.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::config::UsageError;
use crate::sink::{CameraView, CloudSink};
use crate::source::SourceInfo;
use crate::source::motion::Motion;
use crate::words::parse_duration;

/// Those of one source; at least one.
pub(super) type Sinks = Vec<Box<dyn CloudSink>>;

/// A source that is to be shown.
#[cfg_attr(not(feature = "viewer"), expect(dead_code, reason = "there is nothing that shows it"))]
pub(super) struct Shown<'a> {
    pub info: &'a SourceInfo,
    /// It is a camera that may stall and come back.
    pub is_watched: bool,
    /// What its motion sensors measure.
    pub motion: Option<Motion>,
    /// Which one of several cameras it is.
    pub camera: Option<CameraView>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ViewArgs {
    /// Where to show the clouds: auto (a native viewer if there is a display and `rerun` on the
    /// PATH, else web), native, web, connect=URL or none
    #[arg(long, default_value = "auto", value_name = "VIEW")]
    pub view: View,
    /// Also write clouds and figures to this .rrd file, for `rerun FILE.rrd`
    #[arg(long, value_name = "FILE.rrd")]
    pub save: Option<PathBuf>,
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
    /// Go on serving the web viewer for so long when the run has ended, or `forever`. Without it,
    /// on a terminal, while a browser shows it
    #[arg(long, value_name = "TIME")]
    pub linger: Option<Linger>,
}

impl ViewArgs {
    /// Whether there is no choice but the web viewer; it is an error to ask for another view at the
    /// same time.
    pub fn wants_web(&self) -> Result<bool, UsageError> {
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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("connect", url)) if !url.is_empty() => Ok(Self::Connect(url.into())),
            None if text == "auto" => Ok(Self::Auto),
            None if text == "native" => Ok(Self::Native),
            None if text == "web" => Ok(Self::Web),
            None if text == "none" => Ok(Self::None),
            _ => Err("one of auto, native, web, connect=URL, none".into()),
        }
    }
}

impl std::fmt::Display for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        match text {
            "forever" => Ok(Self::Forever),
            _ => {
                parse_duration(text).map(Self::For).map_err(|error| format!("{error}; or forever"))
            }
        }
    }
}
