//! The viewer and the file that the flags ask for, and what stays of them when the run has ended.

use std::io::IsTerminal as _;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flags::{Linger, RunArgs, View, ViewArgs};
use super::run::Shown;
use crate::access::Access;
use crate::clock::Clock;
use crate::color::{ColorRange, Coloring, Colormap};
use crate::config::Settings;
use crate::pipeline::{Policy, Sinks, Stop};
use crate::sink::rerun::{
    Feeding, PointRadius, RerunSink, Session, WebOptions, WebServer, find_native_viewer,
};
use crate::sink::{CameraView, CloudSink, Images};
use crate::source::SourceInfo;

/// The longest that a browser which reloads its page is disconnected.
const RELOAD: Duration = Duration::from_secs(10);
/// How often a server that lingers looks whether it is to end.
const LOOK: Duration = Duration::from_millis(200);

/// The sinks of each source that the flags ask for, the viewer first, since the report's `shown`
/// speaks of the first; and what outlives them.
pub(super) fn open(
    args: &RunArgs,
    settings: &Settings,
    sources: &[Shown<'_>],
    access: &Access,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(Vec<Sinks>, Stays)> {
    let sessions: Vec<_> =
        sources.iter().map(|source| session(args, settings, source, clock)).collect();
    let view = &args.view;
    let is_web = view.wants_web()?;
    // The file first: a path that can't be written should not leave a viewer's window behind.
    let saved =
        |session: &Session| Session { max_rate_hz: settings.save_rate_hz, ..session.clone() };
    let saved: Vec<_> = sessions.iter().map(saved).collect();
    let files =
        args.output.save.as_deref().map(|path| RerunSink::save(path, &saved)).transpose()?;
    let mut server = None;
    let viewers = match &view.view {
        View::None => None,
        View::Connect(url) => Some(RerunSink::connect(url, &sessions)?),
        View::Native => {
            let viewer = find_native_viewer()
                .map_err(|e| anyhow::anyhow!("--view native: {e}, or use --view web"))?;
            Some(RerunSink::spawn_native(&viewer, &sessions)?)
        }
        View::Auto | View::Web => match (!is_web).then(|| native(&sessions)).flatten() {
            Some(viewers) => Some(viewers),
            None => {
                let server = server.insert(serve(view, access, clock, settings)?);
                Some(RerunSink::serve_web(server, &sessions)?)
            }
        },
    };
    let mut sinks: Vec<Vec<Box<dyn CloudSink>>> = sources.iter().map(|_| Vec::new()).collect();
    for made in [viewers, files].into_iter().flatten() {
        sinks.iter_mut().zip(made).for_each(|(sinks, sink)| sinks.push(Box::new(sink)));
    }
    let sinks = sinks.into_iter().map(Sinks::from).collect();
    Ok((sinks, Stays { server, linger: view.linger }))
}

fn session(
    args: &RunArgs,
    settings: &Settings,
    source: &Shown<'_>,
    clock: &Arc<dyn Clock>,
) -> Session {
    let Shown { info, is_watched, motion, camera } = source;
    Session {
        camera: camera.clone(),
        layout: settings.layout,
        show: settings.show,
        images: Images { color: settings.shows_color(), infrared: settings.camera.infrared },
        motion: motion.clone(),
        coloring: coloring(settings, camera.as_ref()),
        depth_colors: settings.depth_colors,
        point_radius: point_radius(settings, info),
        max_points: settings.max_points,
        max_rate_hz: settings.show_rate_hz,
        stream: info.stream.clone(),
        is_watched: *is_watched,
        duration: duration(args, info),
        facts: facts(settings, info),
        name: info.name.clone(),
        clock: Arc::clone(clock),
    }
}

/// Of several cameras, each has a hue if nothing else was asked for.
fn coloring(settings: &Settings, camera: Option<&CameraView>) -> Coloring {
    match (settings.coloring, camera) {
        (Coloring::ByDepth(range), Some(camera)) if settings.hues => {
            Coloring::ByDepth(ColorRange { colormap: Colormap::Hue(camera.hue), ..range })
        }
        (coloring, _) => coloring,
    }
}

/// The native viewer, where there is a display for it; says why if it cannot be started.
fn native(sessions: &[Session]) -> Option<Vec<RerunSink>> {
    if !has_display() {
        return None;
    }
    let opened = find_native_viewer().and_then(|viewer| RerunSink::spawn_native(&viewer, sessions));
    opened.inspect_err(|error| eprintln!("viewer: the web viewer, since {error:#}")).ok()
}

/// Serves the web viewer and says where.
fn serve(
    view: &ViewArgs,
    access: &Access,
    clock: &Arc<dyn Clock>,
    settings: &Settings,
) -> anyhow::Result<WebServer> {
    let bind_ip = view.bind.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let options = WebOptions { bind_ip, web_port: view.web_port, data_port: view.data_port };
    let options = if view.view == View::Web { options.or_usual_ports() } else { options };
    let feeding = Feeding {
        is_lossless: settings.policy == Policy::Lossless,
        adapts_points: settings.adapts_points,
    };
    let server = WebServer::start(options, access, Arc::clone(clock), feeding)?;
    if !bind_ip.is_loopback() {
        let who = if view.no_token {
            "everybody who reaches this machine's network can watch; there is no token"
        } else {
            "everybody who has the address with its token can watch; native viewers only on this \
             machine"
        };
        eprintln!("viewer: --bind {bind_ip}: {who}, and no encryption");
    }
    eprintln!("viewer: open {}", server.address());
    eprintln!("viewer: or `rerun {}`", server.native_address());
    if view.open {
        open_browser(server.address());
    }
    Ok(server)
}

fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|v| std::env::var_os(v).is_some_and(|v| !v.is_empty()))
}

/// Opens a page in the user's browser: the one that `BROWSER` names, or the desktop's.
fn open_browser(address: &str) {
    let named = std::env::var("BROWSER").ok().filter(|name| !name.is_empty());
    let program = match &named {
        Some(names) => names.split(':').next().unwrap_or_default(),
        None if !has_display() && cfg!(target_os = "linux") => {
            return eprintln!("viewer: --open: there is no display here to open a browser on");
        }
        None if cfg!(target_os = "macos") => "open",
        None => "xdg-open",
    };
    let started = Command::new(program)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in the terminal is meant for us alone.
        .process_group(0)
        .spawn();
    if let Err(error) = started {
        eprintln!("viewer: --open: cannot start `{program}` ({error}); open the address by hand");
    }
}

/// What outlives a run's sinks.
pub(super) struct Stays {
    server: Option<WebServer>,
    linger: Option<Linger>,
}

impl Stays {
    /// Keeps serving the web viewer when the run has ended by itself, as long as somebody wants
    /// it, or until `stop` is asked.
    pub(super) fn linger(self, stop: &Stop) {
        let Some(server) = self.server else { return };
        server.set_ended();
        let started = Instant::now();
        let mut seen_at = None;
        let mut is_announced = false;
        loop {
            if server.pages() > 0 {
                seen_at = Some(Instant::now());
            }
            let continues = match self.linger {
                Some(Linger::Forever) => true,
                Some(Linger::For(time)) => started.elapsed() < time,
                None => {
                    std::io::stderr().is_terminal()
                        && seen_at.is_some_and(|at| at.elapsed() < RELOAD)
                }
            };
            if !continues || stop.is_asked() {
                return;
            }
            if !is_announced {
                let until = match self.linger {
                    Some(Linger::Forever) => "Ctrl-C".into(),
                    Some(Linger::For(time)) => {
                        format!("{:.0} s have passed, or Ctrl-C", time.as_secs_f64())
                    }
                    None => "it is closed, or Ctrl-C".into(),
                };
                eprintln!("viewer: {} is served until {until}", server.address());
                is_announced = true;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Points that touch their neighbours: gaps would look like holes of the depth image, and larger
/// ones hide edges.
fn point_radius(settings: &Settings, info: &SourceInfo) -> PointRadius {
    /// Focal length, in points, of a view that fills most of a laptop's screen.
    const SCREEN_FOCAL_UI: f32 = 720.0;
    let reduction = &settings.project.reduction;
    let decimation = reduction.decimate.map_or(1, |decimate| decimate.factor) as f32;
    match (settings.point_size_ui, reduction.voxel_m) {
        (Some(points), _) => PointRadius::Ui(points),
        (None, Some(voxel_m)) => PointRadius::Meters(0.6 * voxel_m),
        (None, None) => {
            PointRadius::Ui(0.9 * decimation * SCREEN_FOCAL_UI / info.stream.intrinsics.fx)
        }
    }
}

/// How long the run will be, as far as it is known.
fn duration(args: &RunArgs, info: &SourceInfo) -> Option<Duration> {
    let seconds =
        |frames: u64| Duration::from_secs_f64(frames as f64 / info.stream.nominal_fps.max(1.0));
    [args.duration, args.frames.map(seconds), info.expected_frames.map(seconds)]
        .into_iter()
        .flatten()
        .min()
}

/// What the text panel beside the cloud says.
fn facts(settings: &Settings, info: &SourceInfo) -> Vec<(&'static str, String)> {
    let stream = &info.stream;
    let i = &stream.intrinsics;
    let source = Path::new(&info.name)
        .file_name()
        .map_or(info.name.clone(), |f| f.to_string_lossy().into_owned());
    let policy = match settings.policy {
        Policy::Newest => "newest frame wins",
        Policy::Lossless => "lossless",
    };
    let mut facts = vec![
        ("source", source),
        ("profile", format!("{}x{} at {:.0} fps", i.width, i.height, stream.nominal_fps)),
        ("units", format!("{} m per step", stream.depth_units_m)),
        ("device clock", stream.timestamp_domain.as_str().replace('_', " ")),
        ("policy", policy.into()),
        ("colours", coloring_text(settings)),
    ];
    facts.extend(info.facts.iter().cloned());
    facts.push(("depthcast", env!("CARGO_PKG_VERSION").into()));
    facts
}

fn coloring_text(settings: &Settings) -> String {
    let range = |of: &str, ColorRange { first_m, last_m, .. }: ColorRange| {
        format!("by {of}, {} m to {} m", first_m.min(last_m), first_m.max(last_m))
    };
    match settings.coloring {
        Coloring::ByDepth(by_depth) => range("depth", by_depth),
        Coloring::ByHeight(by_height) => range("height", by_height),
        Coloring::ByTexture => "of the colour camera".into(),
        Coloring::Uniform(_) => "one".into(),
    }
}
