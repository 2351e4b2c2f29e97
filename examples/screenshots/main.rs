//! Takes the README's pictures of the web viewer, in headless Chromium: `make screenshots`.
//!
//! A software renderer shows a few clouds a second, so cameras and recordings run slowly here. The moving picture is taken of a recording
//! that goes on by one frame when the one before has been seen.

#[path = "../../tests/common/browser.rs"]
mod browser;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/common/terminal.rs"]
mod terminal;
mod webp;

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use browser::Browser;
use terminal::Terminal;

const DEPTHCAST: &str = "target/release/depthcast";
const WIDTH: u32 = 1440;
const HEIGHT: u32 = 810;
/// Until the plots have something to show.
const PLOTS: Duration = Duration::from_secs(25);
const WEB: [&str; 6] = ["--view", "web", "--web-port", "0", "--data-port", "0"];
/// Where the cloud is in the layouts for an audience.
const CLOUD: [[f32; 2]; 2] = [[0.05, 0.65], [0.1, 0.9]];

/// For one frame of the moving picture, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the moving picture: the scene goes round in six seconds.
const FILM_FPS: u32 = 10;
const FILM_FRAMES: usize = 60;
const FILM_PAGE: [u32; 2] = [1080, 620];
/// Where the cloud is on that page: x, y, width, height.
const FILM_PART: [u32; 4] = [0, 54, 778, 534];
const FILM_QUALITY: u32 = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let recording = "target/screenshots.mcap";
    let mode = ["--depth", "848x480@30"];
    record(recording, &mode, "90")?;
    let mut browser = Browser::start(WIDTH, HEIGHT).ok_or("chromium is not on the PATH")?;
    let demo = |preset| depthcast(&["demo", "--preset", preset, "--show-rate", "2"]);
    picture(&mut browser, "demo", CLOUD, demo("live-demo").args(mode))?;
    picture(&mut browser, "profiling", [[0.75, 0.95], [0.06, 0.2]], demo("profiling").args(mode))?;
    let replay = ["replay", recording, "--color-by", "texture", "--speed", "0.05"];
    picture(&mut browser, "replay", CLOUD, &mut depthcast(&replay))?;
    drop(browser);
    film()
}

/// Saves `docs/demo.webp`: once round the room, in its colours.
fn film() -> Result<(), Box<dyn Error>> {
    let recording = "target/film.mcap";
    record(recording, &["--depth", &format!("424x240@{FILM_FPS}")], &FILM_FRAMES.to_string())?;
    let mut terminal = Terminal::new();
    let replay = ["replay", recording, "--loop", "--speed", "0.05", "--color-by", "texture"];
    let mut run = terminal.start(DEPTHCAST, &[&replay[..], &WEB].concat());
    let stills = stills(&mut terminal);
    let _ = run.kill();
    run.wait()?;
    let stills = stills?;
    let [_, _, width, height] = FILM_PART;
    let film = webp::moving([width, height], &stills, Duration::from_secs(1) / FILM_FPS);
    let file = Path::new("docs/demo.webp");
    println!("{}: {}x{}, {} frames, {} KB", file.display(), width, height, stills.len(), film.len() / 1000);
    Ok(std::fs::write(file, film)?)
}

/// Of one frame after the other of the replay on this terminal, once each is seen.
fn stills(terminal: &mut Terminal) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let shown = terminal.wait_for("%2Fproxy");
    let address = shown.split_whitespace().find(|word| word.starts_with("http://")).ok_or("no address")?.to_owned();
    let mut browser = Browser::start(FILM_PAGE[0], FILM_PAGE[1]).ok_or("chromium is not on the PATH")?;
    let page = browser.open(&address);
    let file = Path::new("target/film.png");
    browser.look_until(&page, file, |picture| picture.is_filled(CLOUD));
    terminal.press(" ");
    // What is on its way arrives.
    std::thread::sleep(Duration::from_secs(10));
    let mut stills = vec![browser.part_of(&page, FILM_PART, FILM_QUALITY)];
    while stills.len() < FILM_FRAMES {
        terminal.press(".");
        let since = Instant::now();
        let still = loop {
            let still = browser.part_of(&page, FILM_PART, FILM_QUALITY);
            if stills.last() != Some(&still) {
                break still;
            }
            if since.elapsed() > PATIENCE {
                return Err("the viewer does not show the next frame".into());
            }
        };
        stills.push(still);
    }
    browser.close(page);
    Ok(stills)
}

fn record(recording: &str, mode: &[&str], frames: &str) -> Result<(), Box<dyn Error>> {
    let record = ["record", recording, "--force", "--color", "--", "demo", "--view", "none", "--frames", frames];
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
fn picture(browser: &mut Browser, name: &str, cloud: [[f32; 2]; 2], run: &mut Command) -> Result<(), Box<dyn Error>> {
    let mut run = run.args(WEB).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(run.stderr.take().ok_or("no standard error")?).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.find("http://").map(|at| line[at..].trim().to_owned()));
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
