//! `live`: opens a camera, or several, or recordings that librealsense plays as if they were
//! cameras.

use std::sync::Arc;

use super::LiveArgs;
use super::record::Recording;
use super::run::Opened;
use crate::clock::Clock;
use crate::config::{Config, Preset, Settings};
use crate::source::several;

/// Several sources, each by what messages call it until its serial number is known.
pub(super) struct Several {
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub cameras: Vec<(String, several::Opened)>,
}

fn settings(args: &LiveArgs, usual: Preset) -> anyhow::Result<Settings> {
    args.run.settings(usual, Config { camera: args.camera.to_config(), ..Default::default() })
}

#[cfg(feature = "realsense")]
pub(super) fn open(
    args: &LiveArgs,
    usual: Preset,
    recording: Option<&Recording>,
) -> anyhow::Result<Opened> {
    let settings = settings(args, usual)?;
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::MonotonicClock::new());
    let source = match args.from_file.first() {
        Some(file) => play(file, &settings, recording, &clock),
        None => watch(settings.camera.serial.clone(), &settings, recording, &clock),
    };
    Ok(Opened { source: source.map_err(super::run::as_usage)?, remote: None, settings, clock })
}

/// Opens all that are asked for, at the same time.
#[cfg(feature = "realsense")]
pub(super) fn open_several(args: &LiveArgs) -> anyhow::Result<Several> {
    use std::time::Duration;

    use crate::source::realsense::connected_serials;
    use several::{Opener, open_all};
    /// As long as a camera takes that is silent at first, and is started again.
    const PATIENCE: Duration = Duration::from_secs(15);

    let settings = settings(args, Preset::LiveDemo)?;
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::MonotonicClock::new());
    let (mut names, mut openers): (Vec<String>, Vec<Opener>) = Default::default();
    for file in &args.from_file {
        let (file, settings, clock) = (file.clone(), settings.clone(), Arc::clone(&clock));
        names.push(file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned());
        openers.push(Box::new(move || play(&file, &settings, None, &clock)));
    }
    let asked = &args.camera.serial;
    if let Some(twice) = asked
        .iter()
        .enumerate()
        .find_map(|(i, serial)| asked[..i].contains(serial).then_some(serial))
    {
        return Err(crate::config::UsageError(format!("--serial {twice} is there twice")).into());
    }
    let serials = if args.camera.all { connected_serials()? } else { asked.clone() };
    for serial in serials {
        let (settings, clock) = (settings.clone(), Arc::clone(&clock));
        names.push(serial.clone());
        openers.push(Box::new(move || watch(Some(serial), &settings, None, &clock)));
    }
    Ok(Several {
        settings,
        clock,
        cameras: names.into_iter().zip(open_all(openers, PATIENCE)).collect(),
    })
}

#[cfg(feature = "realsense")]
fn play(
    file: &std::path::Path,
    settings: &Settings,
    recording: Option<&Recording>,
    clock: &Arc<dyn Clock>,
) -> several::Opened {
    use crate::source::realsense::{Input, RealsenseSource};
    let real_time = settings.policy == crate::pipeline::Policy::Newest;
    let input = Input::File {
        path: file.into(),
        real_time,
        color: super::run::wants_color(settings, recording),
    };
    Ok(Box::new(RealsenseSource::open(input, &settings.filters, Arc::clone(clock))?))
}

#[cfg(feature = "realsense")]
fn watch(
    serial: Option<String>,
    settings: &Settings,
    recording: Option<&Recording>,
    clock: &Arc<dyn Clock>,
) -> several::Opened {
    use crate::realtime;
    use crate::source::realsense::{CameraInput, RealsenseCamera};
    use crate::source::watch::Watched;
    let color = super::run::wants_color(settings, recording);
    let record_to = recording.filter(|r| r.by_librealsense).map(|r| r.path.clone());
    let input = CameraInput { settings: settings.camera.clone(), color, motion: None, record_to };
    let driver = RealsenseCamera::new(input, settings.filters.clone(), Arc::clone(clock));
    let open = || Watched::open(driver, serial, settings.reconnect, Arc::clone(clock));
    Ok(Box::new(realtime::with_threads(&settings.realtime.capture, open)?))
}

#[cfg(not(feature = "realsense"))]
pub(super) fn open(
    args: &LiveArgs,
    usual: Preset,
    _: Option<&Recording>,
) -> anyhow::Result<Opened> {
    settings(args, usual)?;
    anyhow::bail!(
        "`live` needs librealsense, and this depthcast was built without it; `depthcast demo` and `replay` work"
    )
}

#[cfg(not(feature = "realsense"))]
pub(super) fn open_several(args: &LiveArgs) -> anyhow::Result<Several> {
    open(args, Preset::LiveDemo, None).map(|_| unreachable!("it is not built in"))
}
