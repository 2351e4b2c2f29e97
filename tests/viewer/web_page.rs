//! The web viewer in a real browser: headless Chromium, rendering in software. What it shows is
//! kept in `target/web-page/`.
#![cfg(feature = "viewer")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::browser::{Browser, CLEARLY, Picture};

const WIDTH: u32 = 1000;
const HEIGHT: u32 = 620;

struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A demo that a browser without a GPU can follow, and the address of its page.
fn serve() -> (Run, String) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_depthcast"))
        .args(["demo", "--depth", "212x120@30", "--show-rate", "2"])
        .args(["--view", "web", "--web-port", "0", "--data-port", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address =
        lines.find_map(|line| line.find("http://").map(|at| line[at..].trim().to_owned()));
    std::thread::spawn(move || lines.for_each(drop));
    (Run(run), address.expect("the run ended without an address"))
}

fn kept(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("web-page");
    std::fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

/// Where the cloud's view is in the layout for an audience, and its plots without their legends.
const CLOUD: [[f32; 2]; 2] = [[0.02, 0.68], [0.12, 0.9]];
const PLOTS: [[f32; 2]; 2] = [[0.76, 0.87], [0.09, 0.6]];

fn shows_a_cloud(picture: &Picture) -> bool {
    picture.is_filled(CLOUD)
}

/// Saturated colours there are those of lines: axes, texts and grids are grey.
fn shows_lines(picture: &Picture) -> bool {
    let is_line = |x: usize, y: usize| {
        let [least, most] =
            [u8::min, u8::max].map(|f| picture.at(x, y).into_iter().reduce(f).unwrap());
        most - least > CLEARLY
    };
    picture.share(PLOTS, is_line) > 0.004
}

fn differ(a: &Picture, b: &Picture) -> f32 {
    let differs =
        |x, y| a.at(x, y).into_iter().zip(b.at(x, y)).any(|(a, b)| a.abs_diff(b) >= CLEARLY);
    a.share(CLOUD, differs)
}

common::with_chromium! {
    a_browser_shows_the_moving_cloud_and_the_plots_also_in_a_late_tab_and_after_a_reload
}

fn a_browser_shows_the_moving_cloud_and_the_plots_also_in_a_late_tab_and_after_a_reload(
    chromium: &Path,
) {
    let mut browser = Browser::start(chromium, WIDTH, HEIGHT);
    let (mut run, address) = serve();
    let start = Instant::now();
    let note = |what: &str| eprintln!("{:5.1} s: {what}", start.elapsed().as_secs_f64());

    let first = browser.open(&address);
    let before =
        browser.look_until(&first, &kept("first.png"), |p| shows_a_cloud(p) && shows_lines(p));
    note("the first tab shows a cloud and lines");
    browser
        .look_until(&first, &kept("moved.png"), |p| shows_a_cloud(p) && differ(&before, p) > 0.01);
    note("the cloud has moved");

    let late = browser.open(&address);
    browser.close(first);
    browser.look_until(&late, &kept("late.png"), |p| shows_a_cloud(p) && shows_lines(p));
    note("a late tab shows them too");

    browser.reload(&late);
    let before =
        browser.look_until(&late, &kept("reloaded.png"), |p| shows_a_cloud(p) && shows_lines(p));
    note("so does a reloaded one");
    browser
        .look_until(&late, &kept("goes_on.png"), |p| shows_a_cloud(p) && differ(&before, p) > 0.01);
    note("and goes on");

    browser.close(late);
    std::thread::sleep(Duration::from_secs(1));
    assert!(run.0.try_wait().unwrap().is_none(), "the run goes on without anybody watching");
}
