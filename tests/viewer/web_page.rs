//! The web viewer in a real browser: headless Chromium, rendering in software. What it shows is
//! kept in `target/web-page/`.

use std::path::Path;
use std::time::{Duration, Instant};

use common::bag_writer::{self, Spec, write_bag};
use common::browser::{Browser, CLEARLY, Image};
use serde_json::Value;

use super::{Run, WEB, depthcast};

common::with_chromium! {
    a_browser_shows_the_moving_cloud_and_the_plots_also_in_a_late_tab_and_after_a_reload,
    what_a_page_says_that_it_has_drawn_is_what_is_seen,
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

/// An image that carries its number: between two red ends 14 bits of it and two to check them by,
/// white for 1.
const CELLS: u32 = 18;
const CELL_PX: u32 = 2;
const BITS: u32 = 14;

fn coded(number: u32) -> u32 {
    number | (0..BITS / 2).fold(0, |check, i| check ^ (number >> (2 * i) & 3)) << BITS
}

fn code_image(spec: &Spec, image: usize) -> Vec<u8> {
    let code = coded(image as u32);
    let pixel = |x: u32| match x / CELL_PX {
        cell if cell == 0 || cell == CELLS - 1 => [255, 0, 0],
        cell => [u8::from(code >> (cell - 1) & 1 == 1) * 255; 3],
    };
    (0..spec.width * spec.height).flat_map(|i| pixel(i % spec.width)).collect()
}

/// The number that is seen in a picture of the page, from below.
fn seen_number(image: &Image) -> Option<u32> {
    let is_red = |x: usize, y: usize| matches!(image.at(x, y), [200..=255, 0..60, 0..60]);
    (8..image.height).rev().find_map(|y| {
        let start = (0..image.width).find(|&x| is_red(x, y))?;
        let end = (0..image.width).rev().find(|&x| is_red(x, y))? + 1;
        let cell = (end - start) as f32 / CELLS as f32;
        // Not on the edge of the image.
        let is_bit = |bit: u32| {
            let x = start + ((bit as f32 + 1.5) * cell) as usize;
            image.at(x, y - 3)[1] > 128
        };
        let is_code = cell > 3.0 && is_red(start + 1, y - 3) && is_red(end - 2, y - 3);
        let code: u32 = (0..BITS + 2).map(|bit| u32::from(is_code && is_bit(bit)) << bit).sum();
        let number = code & ((1 << BITS) - 1);
        (is_code && coded(number) == code).then_some(number)
    })
}

/// Keeps when the page says that each frame was on the screen, in seconds of the wall clock, and
/// when it had animation frames.
const LISTEN: &str = "(() => {
    const { eye } = depthcast, wall_ms = Date.now() - performance.now(), frames = {};
    Object.assign(window, { drawn: [], ticks: [] });
    const { lookAtLastFrame, presented, tick } = eye;
    const newest = () => {
        const recording = eye.viewer.get_active_recording_id();
        return Number(eye.viewer.get_timeline_time_range(recording, 'frame')?.max ?? -1);
    };
    eye.lookAtLastFrame = function () {
        lookAtLastFrame.call(eye);
        frames[eye.read] = newest();
    };
    eye.presented = function (frame, at) {
        if (frame.cloud in frames) drawn.push([(wall_ms + at) / 1e3, frames[frame.cloud]]);
        presented.call(eye, frame, at);
    };
    eye.tick = (now) => { ticks.push(performance.now() / 1e3); tick(now); };
})()";

/// Numbers of the depth frames start here.
const FIRST: u32 = 100;

fn what_a_page_says_that_it_has_drawn_is_what_is_seen(chromium: &Path) {
    let seconds = std::env::var("DEPTHCAST_PIXEL_SECONDS").ok().and_then(|s| s.parse().ok());
    let seconds: u64 = seconds.unwrap_or(15);
    let dir = tempfile::tempdir().unwrap();
    let [bag, config] = ["x.bag", "x.toml"].map(|name| dir.path().join(name));
    let frames = ((seconds + 60) * 30).min(1 << BITS);
    let color = bag_writer::Color { pixels: code_image, ..Default::default() };
    let spec = Spec {
        width: CELLS * CELL_PX,
        height: 12,
        stamps_ns: (0..frames).map(|i| 5_000_000_000 + i * 33_333_333).collect(),
        has_color: true,
        color,
        frames_a_chunk: 30,
        ..Spec::default()
    };
    std::fs::write(&bag, write_bag(&spec).bytes).unwrap();
    std::fs::write(&config, "[camera]\ncolor = \"any\"\n[viewer]\nlayout = \"live\"\n").unwrap();
    let replay = format!("replay --speed 1 --policy newest --json {WEB} --config");
    let run = Run::start(depthcast(&replay, &[]).arg(&config).arg(&bag));

    let mut browser = Browser::start(chromium, 300, 220);
    let page = browser.open(&run.address());
    let start = Instant::now();
    while browser.evaluate(&page, "window.depthcast?.eye.drawn > 0") != true {
        assert!(start.elapsed() < Duration::from_secs(60), "the page draws nothing");
        std::thread::sleep(Duration::from_millis(300));
    }
    browser.evaluate(&page, LISTEN);
    let images = browser.watch(&page, Duration::from_secs(seconds));
    let drawn = browser.evaluate(&page, "drawn");
    let ticks_s: Vec<f64> = serde_json::from_value(browser.evaluate(&page, "ticks")).unwrap();
    let drawn: Vec<(f64, u32)> = serde_json::from_value(drawn).unwrap();
    browser.close(page);
    run.process.signal("INT");
    let report: Value = super::parse_report(&run.end().1);

    let seen: Vec<(f64, u32)> =
        images.iter().filter_map(|(at_s, image)| Some((*at_s, seen_number(image)?))).collect();
    // While the layout is sent anew there may be no image.
    assert!(seen.len() * 10 >= images.len() * 9, "{} of {} read", seen.len(), images.len());
    assert!(seen.iter().all(|(_, number)| u64::from(*number) < frames));
    assert!(seen.is_sorted_by_key(|(_, number)| *number), "out of order: {seen:?}");
    // From when the page says it was on the screen to the first picture with it, or a newer one.
    let mut late_s: Vec<f64> = Vec::new();
    for (at_s, frame) in &drawn {
        let first = seen.iter().find(|(_, number)| number + FIRST >= *frame);
        late_s.extend(first.map(|(seen_s, _)| seen_s - at_s));
    }
    let steps = |times: Vec<f64>| median(times.windows(2).map(|pair| pair[1] - pair[0]).collect());
    let allowed_s = steps(ticks_s) + steps(seen.iter().map(|(at_s, _)| *at_s).collect());
    let within = late_s.iter().filter(|late_s| late_s.abs() <= allowed_s).count();
    eprintln!(
        "{} pictures, {} clouds, of which {within} within {allowed_s:.3} s; median {:.3} s",
        seen.len(),
        late_s.len(),
        median(late_s.clone())
    );
    assert!(late_s.len() >= 5, "{drawn:?}");
    // How long a busy machine takes for a picture is no fault of the page.
    assert!(median(late_s.clone()).abs() <= 2.0 * allowed_s, "{late_s:?}, allowed {allowed_s}");
    let figure = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert!(figure("/latency_us/arrival_to_eye/p50") > figure("/latency_us/total/p50"), "{report}");
    assert!(figure("/sinks/0/eye_uncertainty_us") < 100_000.0, "{report}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
