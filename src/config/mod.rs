//! Presets, a file of the user's, and flags become validated settings.
//!
//! A preset is a whole configuration (`config/*.toml`, built into the program). A file given with
//! `--config` says only what it changes. A key that nobody knows is an error that names the key and
//! its line, in both.

mod cameras;
mod sections;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

pub use cameras::{Pose, Poses};
pub use sections::{Auto, AutoWord, Length, Rgb};

use crate::camera::Extrinsics;
use crate::color::{ColorRange, Coloring, Colormap};
use crate::pipeline::Policy;
use crate::profile::matrix::Size;
use crate::project::{DecimateBy, ProjectOptions, Roi};
use crate::sink::{Layout, Show};
use crate::source::options::{
    CameraSettings, ColorWish, Exposure, Filters, Mode, OptionValue, Options,
};
use crate::source::watch::Reconnect;

/// The user's mistake in a flag or configuration: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// What `auto` shows at most; a page gets as many as it draws.
const AUTO_SHOW_RATE_HZ: f64 = 30.0;

/// What decides a point's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorBy {
    Depth,
    Height,
    Texture,
    Uniform,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $(pub $key: Option<$type>),* }

        impl $name {
            /// What `over` says, and `self` where it says nothing.
            fn overlaid(self, over: Self) -> Self {
                Self { $($key: over.$key.or(self.$key)),* }
            }
        }
    )*};
}

tables! {
    Pipeline { policy: Policy, capture_queue: usize, cloud_queue: usize, threads: usize }
    Color { by: ColorBy, colormap: Colormap, near_m: f32, far_m: f32, low_m: f32, high_m: f32, uniform: Rgb }
    Reduce { min_m: f32, max_m: f32, roi: Roi, decimate: u32, decimate_by: DecimateBy, voxel_m: f32 }
    Viewer { layout: Layout, show: Show, show_rate_hz: Auto<f64>, save_rate_hz: f64, max_points: Auto<usize>, point_size_ui: f32 }
    Synthetic { depth: Mode, seed: u64 }
    /// Which camera `live` opens, what it streams, and how it is tuned.
    Camera {
        serial: String,
        depth: Mode,
        prefer: Mode,
        color: ColorWish,
        infrared: bool,
        imu: bool,
        json: PathBuf,
        visual_preset: OptionValue,
        emitter: OptionValue,
        laser_power_mw: f64,
        exposure_us: Exposure,
        gain: f64,
        depth_units_m: f64,
        options: Options,
        reconnect: Reconnect,
    }
    /// Which threads go before other programs, where they run, and whether memory is locked.
    Realtime {
        on: bool,
        capture_fifo: i64,
        capture_nice: i64,
        capture_cores: Vec<usize>,
        project_fifo: i64,
        project_nice: i64,
        project_cores: Vec<usize>,
        lock_memory: bool,
    }
    /// What `depthcast profile` measures. Lists span a matrix; what is not listed is as the run has
    /// it.
    Profile {
        warm_up: Length,
        repetitions: usize,
        sizes: Vec<Size>,
        rates_hz: Vec<f64>,
        threads: Vec<usize>,
        policies: Vec<Policy>,
        viewers: Vec<String>,
    }
}

/// A configuration file, or the flags for its keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub pipeline: Pipeline,
    pub color: Color,
    pub reduce: Reduce,
    pub viewer: Viewer,
    pub synthetic: Synthetic,
    pub camera: Camera,
    pub cameras: Poses,
    pub filters: Filters,
    pub realtime: Realtime,
    pub profile: Profile,
}

/// The built-in configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    LiveDemo,
    Profiling,
    Replay,
}

impl Preset {
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::LiveDemo => {
                ("config/live-demo.toml", include_str!("../../config/live-demo.toml"))
            }
            Self::Profiling => {
                ("config/profiling.toml", include_str!("../../config/profiling.toml"))
            }
            Self::Replay => ("config/replay.toml", include_str!("../../config/replay.toml")),
        }
    }
}

/// What a run is done with: every key has a value, and the values fit.
#[derive(Debug, Clone)]
pub struct Settings {
    pub policy: Policy,
    pub capture_queue: usize,
    pub cloud_queue: usize,
    pub threads: usize,
    /// What decides the colours of points, and the colour range of depth images.
    pub coloring: Coloring,
    pub depth_colors: ColorRange,
    pub project: ProjectOptions,
    pub layout: Layout,
    pub show: Show,
    /// The most clouds a second that a viewer is shown, and that a file gets; `None` for all.
    pub show_rate_hz: Option<f64>,
    pub save_rate_hz: Option<f64>,
    /// The most points of a cloud that a viewer or file gets; `None` for all.
    pub max_points: Option<usize>,
    /// A page gets fewer where it draws more too slowly.
    pub adapts_points: bool,
    /// In the viewer's points; `None` for what fits the image.
    pub point_size_ui: Option<f32>,
    pub synthetic: Mode,
    pub seed: u64,
    pub camera: CameraSettings,
    /// How long a camera that is gone is tried to be brought back.
    pub reconnect: Reconnect,
    /// Where cameras are, by serial number: from each one's frame into the one that they share.
    pub poses: BTreeMap<String, Extrinsics>,
    /// Each of several cameras is to have a hue of its own: nothing was said of what decides the
    /// colours.
    pub hues: bool,
    pub filters: Filters,
    pub realtime: crate::realtime::Realtime,
    pub profile: Profile,
}

impl Settings {
    /// Whether the colour camera's images are asked for.
    pub fn wants_color_images(&self) -> bool {
        self.coloring == Coloring::ByTexture || self.shows_color()
    }

    /// Whether they are to be shown beside the cloud.
    pub fn shows_color(&self) -> bool {
        matches!(self.camera.color, Some(ColorWish::Any | ColorWish::Mode(_)))
    }
}

/// Threads of the projection, where nobody says how many.
///
/// Capture and sinks keep a core. Where there are but two, they share the second one: together they
/// need a tenth of it, and the projection finds out by itself whether it pays to use both.
pub fn default_threads() -> usize {
    match std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
        cores @ (1 | 2) => cores,
        cores => (cores - 1).min(4),
    }
}

/// The preset, overlaid by the file, overlaid by the flags.
///
/// # Errors
/// [`UsageError`] for a file that does not exist, can't be parsed, or has unknown keys or values
/// that don't fit.
pub fn settings(preset: Preset, file: Option<&Path>, flags: Config) -> anyhow::Result<Settings> {
    let (name, text) = preset.file();
    let mut config = parse(name, text)?;
    if let Some(path) = file {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| UsageError(format!("--config {name}: {e}")))?;
        config = config.overlaid(parse(&name, &text)?);
    }
    config.overlaid(flags).validated()
}

fn parse(name: &str, text: &str) -> Result<Config, UsageError> {
    toml::from_str(text).map_err(|error| {
        let mut line = name.to_owned();
        if let Some(span) = error.span() {
            let before = &text[..span.start.min(text.len())];
            write!(line, ", line {}", before.matches('\n').count() + 1)
                .expect("a String takes all");
        }
        UsageError(format!("{line}: {}", error.message().replace('\n', " ")))
    })
}

impl Config {
    fn overlaid(self, over: Self) -> Self {
        Self {
            pipeline: self.pipeline.overlaid(over.pipeline),
            color: self.color.overlaid(over.color),
            reduce: self.reduce.overlaid(over.reduce),
            viewer: self.viewer.overlaid(over.viewer),
            synthetic: self.synthetic.overlaid(over.synthetic),
            camera: Camera {
                options: sections::merged(self.camera.options.clone(), over.camera.options.clone()),
                ..self.camera.overlaid(over.camera)
            },
            cameras: self.cameras.into_iter().chain(over.cameras).collect(),
            filters: overlaid_filters(self.filters, over.filters),
            realtime: self.realtime.overlaid(over.realtime),
            profile: self.profile.overlaid(over.profile),
        }
    }

    fn validated(self) -> anyhow::Result<Settings> {
        let Self {
            pipeline,
            color,
            reduce,
            viewer,
            synthetic,
            camera,
            cameras,
            filters,
            realtime,
            profile,
        } = self;
        let missing = || "the preset has no value for this key";
        let hues = color.by.is_none();
        let (depth_colors, coloring) = color.validated()?;
        let mode = synthetic.depth.context(missing())?;
        let show_rate_hz = viewer.show_rate_hz.context(missing())?.number();
        let show_rate_hz = show_rate_hz.unwrap_or(AUTO_SHOW_RATE_HZ);
        let save_rate_hz = viewer.save_rate_hz.context(missing())?;
        let max_points = viewer.max_points.context(missing())?.number();
        let point_size_ui = viewer.point_size_ui.context(missing())?;
        let settings = Settings {
            policy: pipeline.policy.context(missing())?,
            capture_queue: pipeline.capture_queue.context(missing())?,
            cloud_queue: pipeline.cloud_queue.context(missing())?,
            threads: match pipeline.threads.context(missing())? {
                0 => default_threads(),
                n => n,
            },
            coloring,
            depth_colors,
            project: ProjectOptions {
                texture: coloring == Coloring::ByTexture,
                reduction: reduce.validated()?,
                ..Default::default()
            },
            layout: viewer.layout.context(missing())?,
            show: viewer.show.context(missing())?,
            show_rate_hz: (show_rate_hz != 0.0).then_some(show_rate_hz),
            save_rate_hz: (save_rate_hz != 0.0).then_some(save_rate_hz),
            max_points: max_points.filter(|&max_points| max_points > 0),
            adapts_points: max_points.is_none(),
            point_size_ui: (point_size_ui != 0.0).then_some(point_size_ui),
            synthetic: mode,
            seed: synthetic.seed.context(missing())?,
            reconnect: camera.reconnect.unwrap_or_default(),
            camera: camera.validated()?,
            poses: cameras.into_iter().map(|(serial, Pose(pose))| (serial, pose)).collect(),
            hues,
            filters,
            realtime: realtime.validated()?,
            profile: profile.checked()?,
        };
        let Settings { capture_queue, cloud_queue, threads, .. } = settings;
        check(
            (1..=64).contains(&capture_queue),
            format!("pipeline.capture_queue is {capture_queue}; it goes from 1 to 64"),
        )?;
        check(
            (1..=64).contains(&cloud_queue),
            format!("pipeline.cloud_queue is {cloud_queue}; it goes from 1 to 64"),
        )?;
        check(
            threads <= 256,
            format!("--threads (pipeline.threads) is {threads}; it goes from 0 (automatic) to 256"),
        )?;
        for (key, hz) in [
            ("--show-rate (viewer.show_rate_hz)", show_rate_hz),
            ("--save-rate (viewer.save_rate_hz)", save_rate_hz),
        ] {
            let fits = hz == 0.0 || (0.1..=1000.0).contains(&hz);
            check(fits, format!("{key} is {hz}; it is 0 (all) or goes from 0.1 to 1000"))?;
        }
        check(
            point_size_ui == 0.0 || (0.1..=100.0).contains(&point_size_ui),
            format!(
                "viewer.point_size_ui is {point_size_ui}; it is 0 (what fits) or goes from 0.1 \
                 to 100"
            ),
        )?;
        Ok(settings)
    }
}

fn overlaid_filters(below: Filters, over: Filters) -> Filters {
    Filters {
        decimation: over.decimation.or(below.decimation),
        threshold: over.threshold.or(below.threshold),
        disparity: over.disparity.or(below.disparity),
        spatial: over.spatial.or(below.spatial),
        temporal: over.temporal.or(below.temporal),
        hole_filling: over.hole_filling.or(below.hole_filling),
    }
}

fn check(fits: bool, what: String) -> Result<(), UsageError> {
    if fits { Ok(()) } else { Err(UsageError(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    fn with_file(text: &str) -> anyhow::Result<Settings> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        settings(Preset::Replay, Some(file.path()), Config::default())
    }

    #[test]
    fn presets_are_whole() {
        for preset in [Preset::LiveDemo, Preset::Profiling, Preset::Replay] {
            let settings = settings(preset, None, Config::default()).unwrap();
            assert_eq!(settings.policy == Policy::Lossless, preset == Preset::Replay);
        }
    }

    #[test]
    fn a_file_changes_what_it_says_and_flags_have_the_last_word() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"[color]\nnear_m = 1.0\n[pipeline]\nthreads = 3\n").unwrap();
        let flags = Config {
            pipeline: Pipeline { threads: Some(1), ..Default::default() },
            ..Default::default()
        };
        let settings = settings(Preset::LiveDemo, Some(file.path()), flags).unwrap();
        assert_eq!(
            (settings.depth_colors.last_m, settings.depth_colors.first_m, settings.threads),
            (1.0, 6.0, 1)
        );
    }

    #[test]
    fn mistakes_name_the_key_and_the_line() {
        for (text, want) in [
            ("[pipeline]\n\npolizy = \"newest\"\n", "line 3: unknown field `polizy`"),
            ("[colour]\n", "line 1: unknown field `colour`"),
            ("[pipeline]\nthreads = \"two\"\n", "line 2: invalid type: string \"two\""),
            ("[color]\ncolormap = \"jet\"\n", "line 2: unknown variant `jet`"),
            ("[synthetic]\ndepth = \"big\"\n", "line 2: `big` is not a mode"),
            ("[filters]\ndecimation = { size = 2 }\n", "line 2: unknown field `size`"),
            (
                "[filters]\n\nspatial = { magnitude = 2.5 }\n",
                "line 3: invalid type: floating point `2.5`",
            ),
            ("[pipeline\n", "line 1: "),
            (
                "[color]\nnear_m = 9.0\n",
                "color.near_m is 9 and color.far_m 6; near_m has to be less",
            ),
            ("[color]\nlow_m = 3.0\n", "color.low_m is 3 and color.high_m 1"),
            ("[color]\nuniform = \"red\"\n", "line 2: `red` is no colour; one looks like #9fb4ff"),
            (
                "[reduce]\ndecimate = 5\n",
                "--decimate (reduce.decimate) is 5; it is 2, 3 or 4, or 1 to leave all pixels",
            ),
            ("[reduce]\nroi = \"1,2\"\n", "line 2: `1,2` is no region"),
            (
                "[reduce]\nmin_m = 2.0\nmax_m = 1.0\n",
                "--min-m (reduce.min_m) is 2 and --max-m (reduce.max_m) 1",
            ),
            (
                "[reduce]\nvoxel_m = 0.0\n",
                "--voxel-m (reduce.voxel_m) is 0; it goes from 0.001 to 10 metres",
            ),
            (
                "[camera]\nreconnect = \"soon\"\n",
                "line 2: `soon` is no length of time; write 500ms, 10s, 3m or 1h; or never, or \
                 forever",
            ),
            (
                "[cameras.123]\n\ntranslation_m = [0, nan, 0]\n",
                "line 3: translation_m is [0.0, NaN, 0.0]: x, y and z are metres",
            ),
            (
                "[cameras.123]\nrpy_deg = [0, 0, inf]\n",
                "line 2: rpy_deg is [0.0, 0.0, inf]: roll, pitch and yaw are degrees",
            ),
            ("[cameras.123]\nrpy_deg = [0, 0]\n", "line 2: invalid length 2"),
            ("[cameras.123]\nxyz = [0, 0, 0]\n", "line 2: unknown field `xyz`"),
            (
                "[cameras.123]\nquaternion_xyzw = [1, 0, 0, 1]\n",
                "line 2: quaternion_xyzw has the length 1.4142, and a rotation has 1; its order \
                 is x, y, z, w",
            ),
            (
                "[cameras.123]\nquaternion_xyzw = [0, 0, nan, 1]\n",
                "line 2: quaternion_xyzw has the length NaN",
            ),
            (
                "[cameras.1]\nrotation = [[2, 0, 0], [0, 1, 0], [0, 0, 1]]\n",
                "line 2: rotation is no rotation",
            ),
            (
                "[cameras.1]\nrotation = [[1, 0, 0], [0, 1, 0], [0, 0, -1]]\n",
                "line 2: rotation is no rotation",
            ),
            (
                "[viewer]\n[cameras.\"1\"]\nrpy_deg = [0, 0, 0]\nquaternion_xyzw = [0, 0, 0, 1]\n",
                "line 2: a camera is turned by quaternion_xyzw, by rpy_deg or by rotation; give \
                 one of them",
            ),
            (
                "[pipeline]\ncapture_queue = 0\n",
                "pipeline.capture_queue is 0; it goes from 1 to 64",
            ),
            ("[viewer]\nshow_rate_hz = nan\n", "--show-rate (viewer.show_rate_hz) is NaN"),
            (
                "[profile]\nsizes = [\"848x480\", \"big\"]\n",
                "line 2: `big` is no size; one looks like 848x480",
            ),
            ("[profile]\nwarm_up = \"2 d\"\n", "line 2: `d` is no unit of time"),
            ("[profile]\nrepetitions = 0\n", "profile.repetitions is 0; it goes from 1 to 1000"),
            (
                "[realtime]\ncapture_fifo = 100\n",
                "realtime.capture_fifo is 100; it goes from 1 to 99",
            ),
            (
                "[realtime]\nproject_nice = -21\n",
                "realtime.project_nice is -21; it goes from -20 (first) to 19",
            ),
            (
                "[realtime]\ncapture_fifo = 20\ncapture_nice = -5\n",
                "a thread has the one or the other",
            ),
            (
                "[realtime]\ncapture_cores = [2000]\n",
                "realtime.capture_cores has a core above 1023",
            ),
            ("[profile]\nrates_hz = [30.0, 0.0]\n", "profile.rates_hz has 0"),
        ] {
            let error = with_file(text).unwrap_err();
            assert!(error.is::<UsageError>(), "{error}");
            let message = error.to_string();
            assert!(
                message.contains(want) && !message.contains('\n'),
                "{message:?} should contain {want:?}"
            );
        }
    }

    #[test]
    fn nothing_is_real_time_unless_it_is_asked_for() {
        use crate::realtime::{Priority, Realtime};
        for preset in [Preset::LiveDemo, Preset::Profiling, Preset::Replay] {
            assert_eq!(
                settings(preset, None, Config::default()).unwrap().realtime,
                Realtime::default()
            );
        }
        let on = with_file("[realtime]\non = true\n").unwrap().realtime;
        assert_eq!(
            (on.capture.priority, on.project.priority, on.lock_memory),
            (Priority::Fifo(20), Priority::Fifo(10), true)
        );
        let text = "[realtime]\non = true\ncapture_nice = -5\nlock_memory = false\nproject_cores \
            = [2, 3]\n";
        let on = with_file(text).unwrap().realtime;
        assert_eq!(
            (on.capture.priority, on.project.cores, on.lock_memory),
            (Priority::Nice(-5), vec![2, 3], false)
        );
    }

    #[test]
    fn filters_are_on_by_being_there() {
        for preset in [Preset::LiveDemo, Preset::Profiling, Preset::Replay] {
            assert!(settings(preset, None, Config::default()).unwrap().filters.are_off());
        }
        assert!(with_file("[filters]\ndisparity = false\n").unwrap().filters.are_off());
        for on in [
            "decimation = {}",
            "threshold = {}",
            "disparity = true",
            "spatial = {}",
            "temporal = {}",
            "hole_filling = {}",
        ] {
            assert!(!with_file(&format!("[filters]\n{on}\n")).unwrap().filters.are_off(), "{on}");
        }
        let (_, live_demo) = Preset::LiveDemo.file();
        let (_, example) = live_demo.split_once("# [filters]\n").unwrap();
        let example: String =
            example.lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap())).collect();
        let filters = with_file(&format!("[filters]\n{example}")).unwrap().filters;
        assert!(
            filters.disparity.is_some()
                && filters.spatial.unwrap().holes_fill == Some(0)
                && filters.hole_filling.is_some()
        );
        let filters = with_file("[filters.threshold]\nmax_m = 2\n").unwrap().filters;
        let threshold = filters.threshold.unwrap();
        assert_eq!((threshold.min_m, threshold.max_m), (None, Some(2.0)));
    }
}
