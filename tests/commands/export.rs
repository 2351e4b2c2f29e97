//! Exports: each format is read back by a reader of its own, and no half-written file is
//! ever left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::bag_writer::{Spec, depth_of, write_bag};
use common::export_readers::{Read, bits, read_csv, read_npy, read_pcd, read_ply, read_png};
use common::recording::{at_once, open};
use depthcast::clock::ManualClock;
use depthcast::cloud::Points;
use depthcast::export::{Export, ExportSettings, Format, formats};
use depthcast::pipeline::Stop;
use depthcast::project::naive;
use depthcast::source::FrameSource;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

common::with_data! { npy_and_png_hold_what_librealsense_gives }

/// A folder with a recording, `made.bag`, and a place for its export.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new(spec: &Spec) -> Self {
        Self::with(&write_bag(spec).bytes)
    }

    fn with(bag: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("made.bag"), bag).unwrap();
        Self { dir }
    }

    fn bag(&self) -> PathBuf {
        self.dir.path().join("made.bag")
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn args(&self, format: &str, more: &[&str]) -> Vec<String> {
        let (bag, out) = (self.bag(), self.out());
        let args =
            ["export", bag.to_str().unwrap(), "--out", out.to_str().unwrap(), "--format", format];
        args.iter().chain(more).map(|&arg| arg.to_owned()).collect()
    }

    fn export(&self, format: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_depthcast"))
            .args(self.args(format, more))
            .output()
            .unwrap()
    }

    /// Exports, and expects that it is whole. Returns the names of the files.
    fn export_all(&self, format: &str, more: &[&str]) -> Vec<String> {
        let output = self.export(format, more);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        names(&self.out())
    }

    /// Exports, and expects one line that says all of `words`.
    fn refused(&self, format: &str, more: &[&str], code: i32, words: &[&str]) {
        fails(&self.export(format, more), code, words);
    }
}

fn fails(output: &Output, code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(words.iter().all(|word| message.contains(word)), "should say {words:?}: {message}");
    // clap adds its usage below the line that says it.
    assert!(message.split("\n\n").next().unwrap().trim().lines().count() <= 2, "{message}");
}

/// All that is in a folder, also what is hidden.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn npy_and_png_hold_what_librealsense_gives(data: &Path) {
    let expected: Value =
        serde_json::from_slice(&fs::read(data.join("expected.json")).unwrap()).unwrap();
    let bag = fs::read(data.join("single_depth_color_640x480.bag")).unwrap();
    let desk = Desk::with(&bag);
    for format in ["npy", "png"] {
        desk.export_all(format, &[]);
    }
    for number in ["169", "170"] {
        let expected = &expected["single_depth_color_640x480"]["frames"][number];
        let file = |ext: &str| desk.out().join(format!("made_000{number}.{ext}"));
        let npy = fs::read(file("npy")).unwrap();
        let points = expected["valid"].as_u64().unwrap() as usize;
        assert_eq!(read_npy(&npy).positions.len(), points * 3);
        assert_eq!(hex(&npy[npy.len() - points * 12..]), expected["valid_vertices_sha256"]);
        let (width, height, depth) = read_png(&file("png"));
        assert_eq!((width, height), (640, 480));
        let depth: Vec<u8> = depth.iter().flat_map(|d| d.to_le_bytes()).collect();
        assert_eq!(hex(&depth), expected["depth_sha256"]);
    }
}

#[test]
fn every_format_holds_every_frame_bit_for_bit() {
    let spec = Spec { width: 37, height: 23, ..Spec::default() };
    let desk = Desk::new(&spec);
    let stream = open(&desk.bag(), at_once()).unwrap().info().stream.clone();
    for format in ["ply", "pcd", "npy", "csv", "png"] {
        desk.export_all(format, &[]);
    }
    assert_eq!(names(&desk.out()).len(), 5 * 10);
    for i in 0..10 {
        let depth = depth_of(&spec, i);
        let want = Read {
            positions: bits(&naive::valid(&depth, &stream.intrinsics, stream.depth_units_m)),
            colors: None,
        };
        let file = |ext: &str| desk.out().join(format!("made_{:06}.{ext}", 100 + i));
        let readers = [
            ("ply", read_ply as fn(&[u8]) -> Read),
            ("pcd", read_pcd),
            ("npy", read_npy),
            ("csv", read_csv),
        ];
        for (ext, read) in readers {
            assert!(read(&fs::read(file(ext)).unwrap()) == want, "{ext} {i}");
        }
        assert!(read_png(&file("png")) == (37, 23, depth), "png {i}");
    }
}

#[test]
fn writers_know_no_color_and_a_color_for_each_point() {
    let positions_m =
        vec![[0.5, -0.25, 1.0], [f32::MIN_POSITIVE, -0.0, 3.25], [1e-42, 0.1, f32::MAX]];
    let each = vec![0x0102_03ff, 0xfffe_fd00, 0x1020_3040];
    let [a, b, c] = [[1, 2, 3], [255, 254, 253], [16, 32, 48]];
    for (colors_rgba, want) in [(vec![], None), (each, Some(vec![a, b, c]))] {
        let points = Points { positions_m: positions_m.clone(), colors_rgba };
        let want = Read { positions: bits(&positions_m), colors: want };
        let written = |write: fn(&mut Vec<u8>, &Points) -> std::io::Result<()>| {
            let mut out = vec![];
            write(&mut out, &points).unwrap();
            out
        };
        assert_eq!(read_ply(&written(formats::write_ply)), want);
        assert_eq!(read_pcd(&written(formats::write_pcd)), want);
        assert_eq!(read_csv(&written(formats::write_csv)), want);
        assert_eq!(read_npy(&written(formats::write_npy)).positions, want.positions);
    }
}

#[test]
fn headers_fit_any_number_of_points() {
    for n in [0, 1, 9, 10, 999, 1000, 123_456] {
        let points = Points { positions_m: vec![[1.0, 2.0, 3.0]; n], colors_rgba: vec![] };
        let mut out = vec![];
        formats::write_npy(&mut out, &points).unwrap();
        assert_eq!(read_npy(&out).positions.len(), 3 * n);
        out.clear();
        formats::write_pcd(&mut out, &points).unwrap();
        assert_eq!(read_pcd(&out).positions.len(), 3 * n);
        out.clear();
        formats::write_ply(&mut out, &points).unwrap();
        assert_eq!(read_ply(&out).positions.len(), 3 * n);
    }
}

#[test]
fn text_reads_back_as_the_same_bits() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let value = f32::from_bits(random as u32);
        if value.is_finite() {
            return value;
        }
    };
    let points = Points {
        positions_m: (0..20_000).map(|_| [next(), next(), next()]).collect(),
        colors_rgba: vec![],
    };
    let mut out = vec![];
    formats::write_csv(&mut out, &points).unwrap();
    assert!(read_csv(&out).positions == bits(&points.positions_m));
}

#[test]
fn sections_and_every_choose_frames() {
    let desk = Desk::new(&Spec::default());
    let numbers = |more: &[&str]| -> Vec<u64> {
        let _ = fs::remove_dir_all(desk.out());
        let names = desk.export_all("png", more);
        let number = |name: &String| name.strip_prefix("made_")?.strip_suffix(".png")?.parse().ok();
        names.iter().map(|name| number(name).unwrap_or_else(|| panic!("{name}"))).collect()
    };
    assert_eq!(numbers(&["--every", "4"]), [100, 104, 108]);
    assert_eq!(numbers(&["--every", "100"]), [100]);
    assert_eq!(numbers(&["--from", "100ms", "--to", "200ms"]), [104, 105, 106]);
    assert_eq!(numbers(&["--from", "100ms", "--every", "3"]), [104, 107]);

    fs::remove_dir_all(desk.out()).unwrap();
    desk.refused("png", &["--from", "9s"], 1, &["made.bag", "--from 9s", "0.300 s"]);
    desk.refused("png", &["--from", "1ms", "--to", "2ms"], 1, &["between --from 1ms and --to 2ms"]);
    assert!(!desk.out().exists());
}

#[test]
fn the_summary_says_what_was_written() {
    let desk = Desk::new(&Spec::default());
    let output = desk.export("ply", &["--json", "--every", "2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&summary["schema"], &summary["format"]),
        (&"depthcast.export.v1".into(), &"ply".into())
    );
    assert_eq!((&summary["files"], &summary["frames"]), (&5.into(), &10.into()));
    let files: Vec<_> =
        names(&desk.out()).iter().map(|name| fs::read(desk.out().join(name)).unwrap()).collect();
    assert_eq!(summary["bytes"], files.iter().map(Vec::len).sum::<usize>());
    assert_eq!(
        summary["points"],
        files.iter().map(|file| read_ply(file).positions.len() / 3).sum::<usize>()
    );
    assert_eq!(summary["damage"]["frames_lost"], 0);
}

#[test]
fn existing_files_are_refused_before_anything_is_written() {
    let desk = Desk::new(&Spec::default());
    fs::create_dir(desk.out()).unwrap();
    let last = desk.out().join("made_000109.ply");
    fs::write(&last, "precious").unwrap();
    desk.refused("ply", &[], 1, &[last.to_str().unwrap(), "exists", "--force"]);
    assert_eq!(
        (names(&desk.out()), fs::read(&last).unwrap()),
        (vec!["made_000109.ply".to_owned()], b"precious".to_vec())
    );

    // It is in nobody's way here.
    assert_eq!(
        desk.export_all("ply", &["--to", "50ms"]),
        ["made_000100.ply", "made_000101.ply", "made_000109.ply"]
    );
    assert_eq!(desk.export_all("ply", &["--force"]).len(), 10);
    assert_eq!(
        read_ply(&fs::read(&last).unwrap()).positions.len(),
        3 * depth_of(&Spec::default(), 9).iter().filter(|&&d| d != 0).count()
    );
}

#[test]
fn what_fails_says_where_and_leaves_nothing_half_written() {
    let desk = Desk::new(&Spec::default());
    let in_the_way = desk.out().join("made_000100.pcd");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    desk.refused("pcd", &["--force"], 1, &[in_the_way.to_str().unwrap(), "directory"]);
    for name in names(&desk.out()).iter().filter(|&name| name != "made_000100.pcd") {
        assert!(name.starts_with("made_"), "{name}");
        read_pcd(&fs::read(desk.out().join(name)).unwrap());
    }

    fs::remove_dir_all(desk.out()).unwrap();
    fs::write(desk.out(), "a file").unwrap();
    desk.refused("ply", &[], 1, &[desk.out().to_str().unwrap(), "file", "folder"]);
    assert_eq!(fs::read(desk.out()).unwrap(), b"a file");
}

#[test]
fn a_write_that_fails_half_way_leaves_no_file() {
    let desk = Desk::new(&Spec { width: 128, height: 96, ..Spec::default() });
    // No file may grow beyond a few kilobytes, as if the disk were full.
    let limited = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 8; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_depthcast"),
        ])
        .args(desk.args("npy", &[]))
        .output()
        .unwrap();
    fails(&limited, 1, &["made_0001", "cannot be written", "too large", "files written: 0"]);
    assert!(!desk.out().exists(), "{:?}", names(&desk.out()));
}

#[test]
fn a_stop_leaves_whole_files_only() {
    let desk = Desk::new(&Spec::default());
    let settings = ExportSettings {
        recording: desk.bag(),
        dir: desk.out(),
        format: Format::Ply,
        from: None,
        to: None,
        every: 1.try_into().unwrap(),
        topic: None,
        color: false,
        force: false,
    };
    let stop = Stop::default();
    let export = Export::open(settings, Arc::new(ManualClock::new())).unwrap();
    assert_eq!(export.expected_files(), Some(10));
    let mut reported = vec![];
    let error = export
        .run(&stop, &mut |files| {
            reported.push(files);
            stop.ask();
        })
        .unwrap_err();
    assert!(format!("{error:#}").contains("interrupted"), "{error:#}");
    let names = names(&desk.out());
    assert_eq!(reported, (1..=names.len() as u64).collect::<Vec<_>>());
    assert!(names.len() < 10, "{names:?}");
    names.iter().for_each(|name| drop(read_ply(&fs::read(desk.out().join(name)).unwrap())));
}

#[test]
fn frames_of_one_number_get_files_of_their_own() {
    let spec = Spec { restart_after: 4, ..Spec::default() };
    let desk = Desk::new(&spec);
    let output = desk.export("png", &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let warning = String::from_utf8_lossy(&output.stderr);
    assert_eq!(warning.lines().count(), 1, "{warning}");
    assert!(warning.contains("6 frames") && warning.contains("made_000100_2.png"), "{warning}");
    for (i, name) in
        ["100", "101", "102", "103", "100_2", "101_2", "102_2", "103_2", "100_3", "101_3"]
            .iter()
            .enumerate()
    {
        let (_, _, depth) = read_png(&desk.out().join(format!("made_000{name}.png")));
        assert!(depth == depth_of(&spec, i), "{name}");
    }
    assert_eq!(names(&desk.out()).len(), 10);
    // The same names are found in the way.
    fs::remove_file(desk.out().join("made_000100.png")).unwrap();
    desk.refused("png", &["--from", "130ms"], 1, &["made_000101.png"]);
}

#[test]
fn of_a_damaged_recording_the_readable_frames_are_exported() {
    let mut bag = write_bag(&Spec::default());
    let chunk = bag.chunks[3].data.clone();
    bag.bytes[chunk.start + chunk.len() / 2] ^= 0x10;
    let desk = Desk::with(&bag.bytes);
    let output = desk.export("ply", &["--json"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["files"], &summary["damage"]["frames_lost"]), (&9.into(), &1.into()));
    let note = summary["damage"]["notes"][0].as_str().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(messages.contains("damaged") && messages.contains(note), "{messages}");
    let names = names(&desk.out());
    assert!(names.len() == 9 && !names.contains(&"made_000103.ply".to_owned()), "{names:?}");
}

#[test]
fn mistakes_in_flags_and_recordings_write_nothing() {
    let desk = Desk::new(&Spec::default());
    desk.refused("obj", &[], 2, &["obj", "ply"]);
    desk.refused("ply", &["--every", "0"], 2, &["--every"]);
    desk.refused("ply", &["--from", "2s", "--to", "1s"], 2, &["--from"]);
    let bent = Desk::new(&Spec {
        distortion: ("Unheard Of", [0.1, 0.0, 0.0, 0.0, 0.0]),
        ..Spec::default()
    });
    bent.refused("ply", &[], 1, &["made.bag", "distortion model", "Unheard Of"]);
    assert!(!desk.out().exists() && !bent.out().exists());
    Desk::with(b"no recording at all").refused("ply", &[], 1, &["made.bag"]);
}
