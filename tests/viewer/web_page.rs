//! The web viewer in a real browser: headless Chromium, rendering in software. What it shows is
//! kept in `target/web-page/`.

use std::path::Path;
use std::time::{Duration, Instant};

use common::browser::{Browser, CLEARLY, Image};

use super::{Run, WEB, depthcast};

common::with_chromium! {
    a_browser_shows_the_moving_cloud_and_the_plots_also_in_a_late_tab_and_after_a_reload
}

/// Where the cloud's view is in the layout for an audience, and its plots without their legends.
const CLOUD: [[f32; 2]; 2] = [[0.02, 0.68], [0.12, 0.9]];
const PLOTS: [[f32; 2]; 2] = [[0.76, 0.87], [0.09, 0.6]];

/// Saturated colours there are those of lines: axes, texts and grids are grey.
fn shows_cloud_and_lines(image: &Image) -> bool {
    let is_line = |x: usize, y: usize| {
        let [least, most] =
            [u8::min, u8::max].map(|f| image.at(x, y).into_iter().reduce(f).unwrap());
        most - least > CLEARLY
    };
    image.is_filled(CLOUD) && image.share(PLOTS, is_line) > 0.004
}

fn has_moved(a: &Image, b: &Image) -> bool {
    let differs =
        |x, y| a.at(x, y).into_iter().zip(b.at(x, y)).any(|(a, b)| a.abs_diff(b) >= CLEARLY);
    b.is_filled(CLOUD) && a.share(CLOUD, differs) > 0.01
}

fn a_browser_shows_the_moving_cloud_and_the_plots_also_in_a_late_tab_and_after_a_reload(
    chromium: &Path,
) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("web-page");
    std::fs::create_dir_all(&dir).unwrap();
    let kept = |name: &str| dir.join(name).with_extension("png");
    let mut browser = Browser::start(chromium, 1000, 620);
    // What a browser without a GPU can follow.
    let demo = format!("demo --depth 212x120@30 --show-rate 2 {WEB}");
    let mut run = Run::start(&mut depthcast(&demo, &[]));
    let address = run.address();
    let start = Instant::now();
    let note = |what: &str| eprintln!("{:5.1} s: {what}", start.elapsed().as_secs_f64());

    let first = browser.open(&address);
    let before = browser.wait_for(&first, &kept("first"), shows_cloud_and_lines);
    note("the first tab shows a cloud and lines");
    browser.wait_for(&first, &kept("moved"), |image| has_moved(&before, image));
    note("the cloud has moved");

    let late = browser.open(&address);
    browser.close(first);
    browser.wait_for(&late, &kept("late"), shows_cloud_and_lines);
    note("a late tab shows them too");

    browser.reload(&late);
    let before = browser.wait_for(&late, &kept("reloaded"), shows_cloud_and_lines);
    note("so does a reloaded one");
    browser.wait_for(&late, &kept("goes_on"), |image| has_moved(&before, image));
    note("and goes on");

    browser.close(late);
    std::thread::sleep(Duration::from_secs(1));
    assert!(run.process.is_running(), "the run goes on without anybody watching");
}
