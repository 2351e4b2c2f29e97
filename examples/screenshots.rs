//! Takes the README's images of the web viewer, in headless Chromium: `make screenshots`.
//!
//! A software renderer shows a few clouds a second, so cameras and recordings run slowly here.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::browser::Browser;

const RECORDING: &str = "target/screenshots.mcap";
const MODE: &str = "--depth 848x480@30";
/// Until the plots have something to show.
const PLOTS: Duration = Duration::from_secs(25);
/// Where the cloud is in the layouts for an audience, and in the one for measuring.
const CLOUD: [[f32; 2]; 2] = [[0.05, 0.65], [0.1, 0.9]];
const SMALL_CLOUD: [[f32; 2]; 2] = [[0.75, 0.95], [0.06, 0.2]];

fn main() -> Result<(), Box<dyn Error>> {
    let record =
        format!("record {RECORDING} --force --color -- demo --view none --frames 90 {MODE}");
    if !depthcast(&record).stdout(Stdio::null()).status()?.success() {
        return Err("depthcast record failed".into());
    }
    let mut browser = Browser::start(common::needs::chromium(), 1440, 810);
    for (name, cloud, run) in [
        ("demo", CLOUD, format!("demo --preset live-demo --max-points 100000 {MODE}")),
        ("profiling", SMALL_CLOUD, format!("demo --preset profiling --show-rate 2 {MODE}")),
        ("replay", CLOUD, format!("replay {RECORDING} --color-by texture --speed 0.05")),
    ] {
        take(&mut browser, name, cloud, &run)?;
    }
    Ok(())
}

fn depthcast(args: &str) -> Command {
    let mut command = Command::new("target/release/depthcast");
    command.args(args.split_whitespace());
    command
}

/// Saves `docs/<name>.png`: what a run shows, with its cloud in this region.
fn take(
    browser: &mut Browser,
    name: &str,
    cloud: [[f32; 2]; 2],
    run: &str,
) -> Result<(), Box<dyn Error>> {
    let mut run = depthcast(run)
        .args(["--view", "web", "--web-port", "0", "--data-port", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines =
        BufReader::new(run.stderr.take().ok_or("no standard error")?).lines().map_while(Result::ok);
    let address =
        lines.find_map(|line| line.find("http://").map(|at| line[at..].trim().to_owned()));
    std::thread::spawn(move || lines.for_each(drop));
    let file = Path::new("docs").join(name).with_extension("png");
    let page = browser.open(&address.ok_or("the run ended without an address")?);
    browser.wait_for(&page, &file, |image| image.is_filled(cloud));
    std::thread::sleep(PLOTS);
    let image = browser.wait_for(&page, &file, |image| image.is_filled(cloud));
    println!("{}: {}x{}", file.display(), image.width, image.height);
    browser.close(page);
    run.kill()?;
    run.wait()?;
    Ok(())
}
