//! Takes the README's pictures of the web viewer, in headless Chromium: `make screenshots`.
//!
//! A software renderer shows a few clouds a second, so cameras and recordings run slowly here.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::browser::Browser;

const DEPTHCAST: &str = "target/release/depthcast";
const WIDTH: u32 = 1440;
const HEIGHT: u32 = 810;
/// Until the plots have something to show.
const PLOTS: Duration = Duration::from_secs(25);
const WEB: [&str; 6] = ["--view", "web", "--web-port", "0", "--data-port", "0"];
/// Where the cloud is in the layouts for an audience.
const CLOUD: [[f32; 2]; 2] = [[0.05, 0.65], [0.1, 0.9]];

fn main() -> Result<(), Box<dyn Error>> {
    let recording = "target/screenshots.mcap";
    let mode = ["--depth", "848x480@30"];
    record(recording, &mode, "90")?;
    let mut browser = Browser::start(common::needs::chromium(), WIDTH, HEIGHT);
    let demo = |preset| depthcast(&["demo", "--preset", preset, "--show-rate", "2"]);
    picture(&mut browser, "demo", CLOUD, demo("live-demo").args(mode))?;
    picture(&mut browser, "profiling", [[0.75, 0.95], [0.06, 0.2]], demo("profiling").args(mode))?;
    let replay = ["replay", recording, "--color-by", "texture", "--speed", "0.05"];
    picture(&mut browser, "replay", CLOUD, &mut depthcast(&replay))?;
    Ok(())
}

fn record(recording: &str, mode: &[&str], frames: &str) -> Result<(), Box<dyn Error>> {
    let record = [
        "record", recording, "--force", "--color", "--", "demo", "--view", "none", "--frames",
        frames,
    ];
    match depthcast(&record).args(mode).stdout(Stdio::null()).status()?.success() {
        true => Ok(()),
        false => Err("depthcast record failed".into()),
    }
}

fn depthcast(args: &[&str]) -> Command {
    let mut command = Command::new(DEPTHCAST);
    command.args(args);
    command
}

/// Saves `docs/<name>.png`: what a run shows, with its cloud in this region.
fn picture(
    browser: &mut Browser,
    name: &str,
    cloud: [[f32; 2]; 2],
    run: &mut Command,
) -> Result<(), Box<dyn Error>> {
    let mut run = run.args(WEB).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines =
        BufReader::new(run.stderr.take().ok_or("no standard error")?).lines().map_while(Result::ok);
    let address =
        lines.find_map(|line| line.find("http://").map(|at| line[at..].trim().to_owned()));
    std::thread::spawn(move || lines.for_each(drop));
    let file = Path::new("docs").join(name).with_extension("png");
    let page = browser.open(&address.ok_or("the run ended without an address")?);
    browser.look_until(&page, &file, |picture| picture.is_filled(cloud));
    std::thread::sleep(PLOTS);
    let picture = browser.look_until(&page, &file, |picture| picture.is_filled(cloud));
    println!("{}: {}x{}", file.display(), picture.width, picture.height);
    browser.close(page);
    run.kill()?;
    run.wait()?;
    Ok(())
}
