//! Exports: each format is read back by a reader of its own, and no half-written file is
//! ever left.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::bag_writer::{Spec, depth_of, write_bag};
use common::export_readers::{Read, bits, read_csv, read_npy, read_pcd, read_ply, read_png};
use common::recording::{at_once, open};
use depthcast::clock::ManualClock;
use depthcast::export::{Export, ExportSettings, Format, formats};
use depthcast::frame::Points;
use depthcast::pipeline::Stop;
use depthcast::project::naive;
use depthcast::source::FrameSource;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{DEPTHCAST, Folder, Ran};

common::with_data! { npy_and_png_hold_what_librealsense_gives }

impl Folder {
    fn export(&self, format: &str, more: &str) -> Ran {
        self.run(&format!("export made.bag --out out --format {format} {more}"))
    }

    /// Exports, and expects that it is whole. Returns the names of the files.
    #[track_caller]
    fn export_all(&self, format: &str, more: &str) -> Vec<String> {
        let ran = self.export(format, more).ended(0);
        assert!(ran.err.is_empty(), "{ran:?}");
        self.names("out")
    }
}

type Reader = fn(&[u8]) -> Read;

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn npy_and_png_hold_what_librealsense_gives(data: &Path) {
    let folder = Folder::with_data(data);
    let expected: Value = serde_json::from_slice(&folder.read("data/expected.json")).unwrap();
    let name = "single_depth_color_640x480";
    for format in ["npy", "png"] {
        folder.run(&format!("export data/{name}.bag --out out --format {format}")).ended(0);
    }
    for number in ["169", "170"] {
        let expected = &expected[name]["frames"][number];
        let file = |ext: &str| format!("out/{name}_000{number}.{ext}");
        let npy = folder.read(&file("npy"));
        let points = expected["valid"].as_u64().unwrap() as usize;
        assert_eq!(read_npy(&npy).positions.len(), points * 3);
        assert_eq!(hex(&npy[npy.len() - points * 12..]), expected["valid_vertices_sha256"]);
        let (width, height, depth) = read_png(&folder.path(&file("png")));
        assert_eq!((width, height), (640, 480));
        let depth: Vec<u8> = depth.iter().flat_map(|d| d.to_le_bytes()).collect();
        assert_eq!(hex(&depth), expected["depth_sha256"]);
    }
}

#[test]
fn every_format_holds_every_frame_bit_for_bit() {
    let spec = Spec { width: 37, height: 23, ..Spec::default() };
    let folder = Folder::with_bag(&spec);
    let stream = open(&folder.path("made.bag"), at_once()).unwrap().info().stream.clone();
    for format in ["ply", "pcd", "npy", "csv", "png"] {
        folder.export_all(format, "");
    }
    assert_eq!(folder.names("out").len(), 5 * 10);
    for i in 0..10 {
        let depth = depth_of(&spec, i);
        let positions = bits(&naive::valid(&depth, &stream.intrinsics, stream.depth_units_m));
        let want = Read { positions, colors: None };
        let file = |ext: &str| format!("out/made_{:06}.{ext}", 100 + i);
        let readers: [(&str, Reader); 4] =
            [("ply", read_ply), ("pcd", read_pcd), ("npy", read_npy), ("csv", read_csv)];
        for (ext, read) in readers {
            assert!(read(&folder.read(&file(ext))) == want, "{ext} {i}");
        }
        assert!(read_png(&folder.path(&file("png"))) == (37, 23, depth), "png {i}");
    }
}

type Write = fn(&mut Vec<u8>, &Points) -> std::io::Result<()>;

fn written(write: Write, points: &Points) -> Vec<u8> {
    let mut out = vec![];
    write(&mut out, points).unwrap();
    out
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
        assert_eq!(read_ply(&written(formats::write_ply, &points)), want);
        assert_eq!(read_pcd(&written(formats::write_pcd, &points)), want);
        assert_eq!(read_csv(&written(formats::write_csv, &points)), want);
        assert_eq!(read_npy(&written(formats::write_npy, &points)).positions, want.positions);
    }
}

#[test]
fn headers_fit_any_number_of_points() {
    for n in [0, 1, 9, 10, 999, 1000, 123_456] {
        let points = Points { positions_m: vec![[1.0, 2.0, 3.0]; n], colors_rgba: vec![] };
        let formats: [(Write, Reader); 3] = [
            (formats::write_npy, read_npy),
            (formats::write_pcd, read_pcd),
            (formats::write_ply, read_ply),
        ];
        for (write, read) in formats {
            assert_eq!(read(&written(write, &points)).positions.len(), 3 * n);
        }
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
    let positions_m = (0..20_000).map(|_| [next(), next(), next()]).collect();
    let points = Points { positions_m, colors_rgba: vec![] };
    let read = read_csv(&written(formats::write_csv, &points));
    assert!(read.positions == bits(&points.positions_m));
}

#[test]
fn sections_and_every_choose_frames() {
    let folder = Folder::with_bag(&Spec::default());
    for (flags, want) in [
        ("--every 4", &[100, 104, 108][..]),
        ("--every 100", &[100]),
        ("--from 100ms --to 200ms", &[104, 105, 106]),
        ("--from 100ms --every 3", &[104, 107]),
    ] {
        let want: Vec<_> = want.iter().map(|number| format!("made_000{number}.png")).collect();
        assert_eq!(folder.export_all("png", flags), want, "{flags}");
        fs::remove_dir_all(folder.path("out")).unwrap();
    }
    folder.export("png", "--from 9s").refused(1, &["made.bag", "--from 9s", "0.300 s"]);
    let between = folder.export("png", "--from 1ms --to 2ms");
    between.refused(1, &["between --from 1ms and --to 2ms"]);
    assert_eq!(folder.names("."), ["made.bag"]);
}

#[test]
fn the_summary_says_what_was_written() {
    let folder = Folder::with_bag(&Spec::default());
    let summary = folder.export("ply", "--json --every 2").ended(0).json("export");
    assert_eq!(summary["format"], "ply");
    let names = folder.names("out");
    let files: Vec<_> = names.iter().map(|name| folder.read(&format!("out/{name}"))).collect();
    let bytes = files.iter().map(Vec::len).sum::<usize>();
    let points = files.iter().map(|file| read_ply(file).positions.len() / 3).sum::<usize>();
    let told = ["files", "frames", "bytes", "points"].map(|name| &summary[name]);
    assert_eq!(told, [5, 10, bytes, points]);
    assert_eq!(summary["damage"]["frames_lost"], 0);
}

#[test]
fn existing_files_are_refused_before_anything_is_written() {
    let folder = Folder::with_bag(&Spec::default());
    fs::create_dir(folder.path("out")).unwrap();
    let last = "out/made_000109.ply";
    folder.write(last, "precious");
    folder.export("ply", "").refused(1, &[last, "exists", "--force"]);
    assert_eq!((folder.names("out").len(), folder.read(last)), (1, b"precious".to_vec()));

    // It is in nobody's way here.
    let names = ["made_000100.ply", "made_000101.ply", "made_000109.ply"];
    assert_eq!(folder.export_all("ply", "--to 50ms"), names);
    assert_eq!(folder.export_all("ply", "--force").len(), 10);
    let points = depth_of(&Spec::default(), 9).iter().filter(|&&d| d != 0).count();
    assert_eq!(read_ply(&folder.read(last)).positions.len(), 3 * points);
}

#[test]
fn what_fails_says_where_and_leaves_nothing_half_written() {
    let folder = Folder::with_bag(&Spec::default());
    let in_the_way = "made_000100.pcd";
    fs::create_dir_all(folder.path("out").join(in_the_way).join("full")).unwrap();
    folder.export("pcd", "--force").refused(1, &["out/made_000100.pcd", "directory"]);
    for name in folder.names("out").iter().filter(|&name| name != in_the_way) {
        assert!(name.starts_with("made_"), "{name}");
        read_pcd(&folder.read(&format!("out/{name}")));
    }

    fs::remove_dir_all(folder.path("out")).unwrap();
    folder.write("out", "a file");
    folder.export("ply", "").refused(1, &["out", "file", "folder"]);
    assert_eq!(folder.read("out"), b"a file");
}

#[test]
fn a_write_that_fails_half_way_leaves_no_file() {
    let folder = Folder::with_bag(&Spec { width: 128, height: 96, ..Spec::default() });
    // No file may grow beyond a few kilobytes, as if the disk were full.
    let export = format!("{DEPTHCAST} export made.bag --out out --format npy");
    let script = format!("trap '' XFSZ; ulimit -f 8; exec {export}");
    let limited = Ran::of(Command::new("sh").args(["-c", &script]).current_dir(&folder.0));
    let words = ["made_0001", "cannot be written", "too large", "files written: 0"];
    limited.refused(1, &words);
    assert_eq!(folder.names("."), ["made.bag"]);
}

#[test]
fn a_stop_leaves_whole_files_only() {
    let folder = Folder::with_bag(&Spec::default());
    let settings = ExportSettings {
        recording: folder.path("made.bag"),
        dir: folder.path("out"),
        format: Format::Ply,
        from: None,
        to: None,
        every: 1.try_into().unwrap(),
        read: Default::default(),
        color: false,
        force: false,
    };
    let stop = Stop::default();
    let export = Export::open(settings, Arc::new(ManualClock::new())).unwrap();
    assert_eq!(export.expected_files(), Some(10));
    let mut reported = vec![];
    let mut on_file = |files| {
        reported.push(files);
        stop.ask();
    };
    let error = export.run(&stop, &mut on_file).unwrap_err();
    assert!(format!("{error:#}").contains("interrupted"), "{error:#}");
    let names = folder.names("out");
    assert_eq!(reported, (1..=names.len() as u64).collect::<Vec<_>>());
    assert!(names.len() < 10, "{names:?}");
    names.iter().for_each(|name| drop(read_ply(&folder.read(&format!("out/{name}")))));
}

#[test]
fn frames_of_one_number_get_files_of_their_own() {
    let spec = Spec { restart_after: 4, ..Spec::default() };
    let folder = Folder::with_bag(&spec);
    let ran = folder.export("png", "");
    ran.says(0, &["6 frames", "made_000100_2.png"]);
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    let names = "100 101 102 103 100_2 101_2 102_2 103_2 100_3 101_3";
    for (i, name) in names.split(' ').enumerate() {
        let (_, _, depth) = read_png(&folder.path(&format!("out/made_000{name}.png")));
        assert!(depth == depth_of(&spec, i), "{name}");
    }
    assert_eq!(folder.names("out").len(), 10);
    // The same names are found in the way.
    fs::remove_file(folder.path("out/made_000100.png")).unwrap();
    folder.export("png", "--from 130ms").refused(1, &["made_000101.png"]);
}

#[test]
fn of_a_damaged_recording_the_readable_frames_are_exported() {
    let mut bag = write_bag(&Spec::default());
    let chunk = bag.chunks[3].data.clone();
    bag.bytes[chunk.start + chunk.len() / 2] ^= 0x10;
    let folder = Folder::new();
    folder.write("made.bag", &bag.bytes);
    let ran = folder.export("ply", "--json");
    let summary = ran.json("export");
    assert_eq!([&summary["files"], &summary["damage"]["frames_lost"]], [9, 1]);
    ran.says(3, &["damaged", summary["damage"]["notes"][0].as_str().unwrap()]);
    let names = folder.names("out");
    assert!(names.len() == 9 && !names.contains(&"made_000103.ply".to_owned()), "{names:?}");
}

#[test]
fn mistakes_in_flags_and_recordings_write_nothing() {
    let distortion = ("Unheard Of", [0.1, 0.0, 0.0, 0.0, 0.0]);
    let folder = Folder::with_bag(&Spec { distortion, ..Spec::default() });
    folder.export("obj", "").refused(2, &["obj", "ply"]);
    folder.export("ply", "--every 0").refused(2, &["--every"]);
    folder.export("ply", "--from 2s --to 1s").refused(2, &["--from"]);
    folder.export("ply", "").refused(1, &["made.bag", "distortion model", "Unheard Of"]);
    folder.write("made.bag", b"no recording at all");
    folder.export("ply", "").refused(1, &["made.bag"]);
    assert_eq!(folder.names("."), ["made.bag"]);
}
