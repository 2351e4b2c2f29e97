//! ROS 2 recordings in SQLite files: librealsense's own against their twins as bags, and small ones
//! of our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::db3_writer::{Pixels, Spec, Writer, color_of, depth_of, number_of, png_of, write_db3};
use common::mcap_writer::Cdr;
use common::recording::{self, at_once, counts, drain, numbers, open, stream, with_color};
use depthcast::clock::TimestampDomain;
use depthcast::frame::{DepthFrame, FrameMeta};
use depthcast::recording::{Damage, StreamInfo, inspect};
use depthcast::source::FrameSource;
use depthcast::source::recording::ReplayOptions;
use tempfile::TempDir;

common::with_data! { librealsenses_files_give_what_their_twins_give, raw_sums_are_librealsenses }

fn written(dir: &TempDir, spec: &Spec) -> PathBuf {
    let path = dir.path().join("some.db3");
    let _ = std::fs::remove_file(&path);
    write_db3(&path, spec);
    path
}

fn read(path: &Path, options: ReplayOptions) -> Result<(Vec<DepthFrame>, Damage), String> {
    let mut source = open(path, options).map_err(|e| e.to_string())?;
    let frames = drain(&mut source);
    Ok((frames, source.damage()))
}

fn assert_genuine(spec: &Spec, frames: &[DepthFrame]) {
    recording::assert_genuine(frames, |i| depth_of(spec, i));
}

const INSERT_DEPTH: &str = "INSERT INTO messages(topic_id, timestamp, data) \
                            SELECT id, 77, ?1 FROM topics WHERE name LIKE '%compressedDepth'";

fn librealsenses_files_give_what_their_twins_give(data: &Path) {
    for (name, count) in [("single_depth_color_640x480", 2), ("room_640x480_20f", 20)] {
        let [bag, db3] = ["bag", "db3"].map(|ending| data.join(name).with_extension(ending));
        let mut sources = [&bag, &db3].map(|path| open(path, with_color()).unwrap());
        let [a, b] = [0, 1].map(|i| sources[i].info().clone());
        assert_eq!(a.stream, b.stream);
        assert_eq!([a.expected_frames, b.expected_frames], [Some(count); 2]);
        let (from_a, from_b) = (a.color.unwrap(), b.color.unwrap());
        assert_eq!((from_a.intrinsics, from_a.format), (from_b.intrinsics, from_b.format));
        // The text has six digits.
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 3e-6);
        let (a, b) = (from_a.from_depth, from_b.from_depth);
        let is_near = near(&a.rotation, &b.rotation) && near(&a.translation_m, &b.translation_m);
        assert!(is_near, "{a:?} {b:?}");

        let [frames_a, frames_b] = [0, 1].map(|i| drain(&mut sources[i]));
        assert_eq!(frames_a.len() as u64, count);
        assert_eq!(numbers(&frames_a), numbers(&frames_b));
        for (a, b) in frames_a.iter().zip(&frames_b) {
            assert!(a.depth == b.depth, "frame {}", a.meta.number);
            let facts = |meta: &FrameMeta| (meta.depth_units_m, meta.metadata);
            assert_eq!(facts(&a.meta), facts(&b.meta));
            let [at_a, at_b] = [a, b].map(|frame| frame.meta.device_time.unwrap());
            let is_near = (at_a.ms - at_b.ms).abs() < 2e-6 && at_a.domain == at_b.domain;
            assert!(is_near, "{at_a:?} {at_b:?}");
            let (color_a, color_b) = (a.color.as_ref().unwrap(), b.color.as_ref().unwrap());
            assert_eq!(color_a.number, color_b.number);
            assert!(color_a.bytes == color_b.bytes, "colour of frame {}", a.meta.number);
        }
        for source in &sources {
            assert!(source.damage().is_none(), "{:?}", source.damage());
        }

        let [a, b] = [&bag, &db3].map(|path| inspect(path, &Default::default()).unwrap());
        assert!(b.complete && b.format == "db3", "{b:?}");
        assert_eq!((&a.device, &a.serial, &a.firmware), (&b.device, &b.serial, &b.firmware));
        assert_eq!((a.timestamp_domain, a.streams.len()), (b.timestamp_domain, b.streams.len()));
        assert!((a.duration_s - b.duration_s).abs() < 1e-8);
        for (a, b) in a.streams.iter().zip(&b.streams) {
            assert_eq!(a.from_depth.is_some(), b.from_depth.is_some());
            let encoding = a.encoding.clone();
            let from_depth = a.from_depth;
            assert_eq!(*a, StreamInfo { encoding, from_depth, ..b.clone() });
        }
    }
}

fn raw_sums_are_librealsenses(data: &Path) {
    let expected: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(data.join("expected.json")).unwrap())
            .unwrap();
    let (frames, _) = read(&data.join("room_640x480_20f.db3"), at_once()).unwrap();
    let sum = |frame: &DepthFrame| frame.depth.iter().map(|&v| u64::from(v)).sum::<u64>();
    let sums = serde_json::json!(frames.iter().map(sum).collect::<Vec<u64>>());
    assert_eq!(sums, expected["room_640x480_20f"]["raw_sums"]);
    let (frames, _) = read(&data.join("single_depth_color_640x480.db3"), at_once()).unwrap();
    assert_eq!(frames[0].meta.device_time.unwrap().ms, 360_815.089);
    for frame in frames {
        let want = &expected["single_depth_color_640x480"]["frames"][frame.meta.number.to_string()];
        assert_eq!(want["raw_sum"], sum(&frame));
    }
}

#[test]
fn every_way_to_pack_gives_every_frame_once() {
    for pixels in [Pixels::Raw, Pixels::Png, Pixels::Zstd] {
        for (has_color, is_packed, page_bytes) in
            [(false, false, 4096), (true, false, 512), (true, true, 65536)]
        {
            let first_ms = 1_534_232_519_732;
            let spec =
                Spec { pixels, has_color, is_packed, page_bytes, first_ms, ..Spec::default() };
            let dir = TempDir::new().unwrap();
            let path = written(&dir, &spec);
            let mut source = open(&path, ReplayOptions { color: has_color, ..at_once() }).unwrap();
            assert_eq!(source.info().expected_frames, Some(10));
            assert_eq!(source.info().stream.depth_units_m, 0.002);
            let frames = drain(&mut source);
            assert_eq!(numbers(&frames), (100..110).collect::<Vec<u64>>());
            assert_genuine(&spec, &frames);
            for (i, frame) in frames.iter().enumerate() {
                assert_eq!(frame.meta.depth_units_m, 0.001, "a frame's own units come first");
                let time = frame.meta.device_time.unwrap();
                let ms = 1_534_232_519_732.25 + 33.0 * i as f64;
                assert_eq!((time.ms, time.domain), (ms, TimestampDomain::HardwareClock));
                assert_eq!(frame.color.is_some(), has_color);
                if let Some(color) = &frame.color {
                    assert_eq!(color.number, frame.meta.number);
                    assert!(color.bytes == color_of(&spec, i as u64));
                }
            }
            assert!(source.damage().is_none(), "{pixels:?} {:?}", source.damage());
            let info = inspect(&path, &Default::default()).unwrap();
            assert!(info.complete, "{:?}", info.damage);
            assert_eq!(info.compression, is_packed.then_some("zstd"));
            let device = (info.device.as_deref(), info.serial.as_deref());
            assert_eq!(device, (Some("Test camera"), Some("1234")));
            assert_eq!(counts(stream(&info, "depth")), (10, Some(100), Some(109)));
        }
    }
}

#[test]
fn a_section_starts_and_ends_at_its_frames() {
    let dir = TempDir::new().unwrap();
    let spec = Spec { frames: 200, width: 16, height: 12, has_color: true, ..Spec::default() };
    let path = written(&dir, &spec);
    for color in [false, true] {
        for from in [0, 1, 20, 21, 22, 99, 150, 199] {
            let at_ms = |i: u64| Some(Duration::from_millis(33 * i));
            let options =
                ReplayOptions { from: at_ms(from), to: at_ms(from + 7), color, ..at_once() };
            let (frames, damage) = read(&path, options).unwrap();
            let want: Vec<u64> = (from..(from + 7).min(200)).map(number_of).collect();
            assert_eq!(numbers(&frames), want);
            let is_its_own =
                |f: &DepthFrame| f.color.as_ref().is_none_or(|c| c.number == f.meta.number);
            assert!(frames.iter().all(is_its_own));
            assert!(damage.is_none(), "{damage:?}");
        }
    }
}

#[test]
fn what_is_without_its_other_half_or_broken_costs_itself() {
    let base = Spec::default;
    let dir = TempDir::new().unwrap();
    // The frames that are lost, and the number of notes.
    for (spec, lost, notes) in [
        (Spec { no_metadata: vec![3], ..base() }, &[][..], Some(1)),
        (Spec { no_metadata: vec![9], ..base() }, &[], Some(1)),
        (Spec { no_metadata: vec![4, 5], ..base() }, &[], Some(2)),
        (Spec { no_image: vec![0, 3, 9], ..base() }, &[0, 3, 9], None),
        // Metadata that come when another image waits for its own are not taken for that image's.
        (Spec { no_metadata: vec![3], no_image: vec![4], ..base() }, &[4], None),
        (Spec { bad_image: vec![0, 4], ..base() }, &[0, 4], None),
    ] {
        let path = written(&dir, &spec);
        let (frames, damage) = read(&path, at_once()).unwrap();
        let want: Vec<u64> = (0..10).filter(|i| !lost.contains(i)).map(number_of).collect();
        assert_eq!(numbers(&frames), want);
        assert_genuine(&spec, &frames);
        assert!(frames.is_sorted_by_key(|frame| frame.meta.device_time.unwrap().ms));
        assert_eq!(damage.frames_lost, lost.len() as u64, "{damage:?}");
        if let Some(notes) = notes {
            assert_eq!(damage.notes.len(), notes, "{damage:?}");
            assert!(damage.notes[0].contains("metadata"), "{damage:?}");
        } else {
            let info = inspect(&path, &Default::default()).unwrap();
            assert_eq!((info.damage.frames_lost, info.complete), (damage.frames_lost, false));
        }
    }
    // The bit that breaks it may be a pixel's.
    let spec = Spec { bad_image: vec![0, 4], pixels: Pixels::Zstd, ..base() };
    let (frames, damage) = read(&written(&dir, &spec), at_once()).unwrap();
    assert_eq!(frames.len() as u64 + damage.frames_lost, 10);
}

/// The pages of a file that lead to others: the schema, the topics, and inner pages of the table.
fn leading_pages(path: &Path) -> Vec<usize> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT pageno - 1 FROM dbstat \
               WHERE name <> 'messages' OR pagetype = 'internal'";
    let mut statement = connection.prepare(sql).unwrap();
    let pages = statement.query_map([], |row| row.get::<_, u32>(0)).unwrap();
    pages.map(|page| page.unwrap() as usize).collect()
}

#[test]
fn a_torn_page_costs_what_is_on_it() {
    let dir = TempDir::new().unwrap();
    for (page_bytes, pixels) in [(1024, Pixels::Png), (4096, Pixels::Raw)] {
        let spec = Spec { page_bytes, pixels, ..Spec::default() };
        let path = written(&dir, &spec);
        let bytes = std::fs::read(&path).unwrap();
        let pages = bytes.len() / page_bytes as usize;
        let leading = leading_pages(&path);
        let (mut whole, mut reported) = (0, 0);
        for page in 0..pages {
            for fill in [0, 0xff] {
                let mut torn = bytes.clone();
                let place = page * page_bytes as usize..(page + 1) * page_bytes as usize;
                // The start of the file has to say that it is one.
                let place = place.start.max(16)..place.end;
                torn[place].fill(fill);
                std::fs::write(&path, &torn).unwrap();
                let Ok((frames, damage)) = read(&path, at_once()) else { continue };
                // Nothing protects the pixels of a raw image.
                if pixels == Pixels::Png {
                    assert_genuine(&spec, &frames);
                }
                whole += usize::from(frames.len() == 10);
                reported += usize::from(!damage.is_none());
                let what =
                    format!("page {page} of {pages}, {fill}: {:?} {damage:?}", numbers(&frames));
                // A page that leads to others costs those too.
                if leading.contains(&page) {
                    assert!(frames.len() == 10 || !damage.is_none(), "{what}");
                } else {
                    assert!(frames.len() >= 5, "{what}");
                    assert_eq!(frames.len() as u64 + damage.frames_lost, 10, "{what}");
                }
            }
        }
        // Of raw images only those on more than one page beside that of their row can be seen to be
        // torn.
        assert!(
            reported > if pixels == Pixels::Png { pages } else { 10 },
            "{whole} of {} whole, {reported} reported",
            2 * pages
        );
    }
}

#[test]
fn tables_that_are_missing_or_wrong_are_reported() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("some.db3");
    let spoiled = |sql: &str| {
        written(&dir, &Spec::default());
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        read(&path, at_once())
    };
    let endless = "ALTER TABLE messages RENAME TO old; CREATE VIEW messages AS \
                   WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT i AS id, 1 AS topic_id, 0 AS timestamp, x'00' AS data FROM n";
    for (sql, table) in [
        ("DROP TABLE messages", "messages"),
        ("DROP TABLE topics", "topics"),
        // A view without end in the place of the table.
        (endless, "messages"),
    ] {
        let error = spoiled(sql).unwrap_err();
        assert!(error.contains("is an SQLite file, but no message"), "{error}");
        assert!(error.contains(&format!("no table '{table}'")), "{error}");
    }
    assert!(spoiled("DELETE FROM messages").is_err());
    let (frames, damage) =
        spoiled("UPDATE messages SET data = 'text' WHERE id = 5 + (SELECT min(id) FROM messages)")
            .unwrap();
    assert_eq!(frames.len() as u64 + damage.frames_lost, 10, "{damage:?}");
    assert!(damage.notes[0].contains("types"), "{damage:?}");
}

#[test]
fn lengths_that_are_too_big_are_not_believed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("some.db3");
    write_db3(&path, &Spec { frames: 2, ..Spec::default() });
    // A frame of zstd that says it holds four gigabytes, and an image that holds more than it says.
    let huge =
        [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1u64 << 32).to_le_bytes(), &[0; 20]].concat();
    let (grey, one_bit) = (png::ColorType::Grayscale, png::BitDepth::One);
    let wide = png_of(grey, one_bit, 16384, 16384, &vec![0; 2048 * 16384]);
    let wide = Cdr::stamped(0, "Depth").string("16UC1; png").bytes(&wide).0;
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute(INSERT_DEPTH, [huge]).unwrap();
    connection.execute(INSERT_DEPTH, [wide]).unwrap();
    drop(connection);
    let (frames, damage) = read(&path, at_once()).unwrap();
    assert_eq!((numbers(&frames), damage.frames_lost), (vec![100, 101], 2), "{damage:?}");
    let is_reported = ["4294967296", "more than"].iter().any(|word| damage.notes[0].contains(word));
    assert!(is_reported, "{damage:?}");
}

#[test]
fn messages_that_are_still_in_the_wal_are_read() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("killed #1 100%.db3");
    let spec = Spec { frames: 5, ..Spec::default() };
    write_db3(&path, &spec);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    let depth = "SELECT data FROM messages JOIN topics t ON t.id = topic_id \
                 WHERE t.name LIKE '%compressedDepth' LIMIT 1";
    let depth: Vec<u8> = connection.query_row(depth, [], |row| row.get(0)).unwrap();
    connection.execute(INSERT_DEPTH, [depth]).unwrap();
    // As if it were killed here: the files stay as they are.
    let killed = dir.path().join("copy #1 100%.db3");
    let ending = |path: &Path, ending: &str| PathBuf::from(format!("{}{ending}", path.display()));
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(ending(&path, "-wal"), ending(&killed, "-wal")).unwrap();
    let contents = || ["", "-wal"].map(|end| std::fs::read(ending(&killed, end)).unwrap());
    let before = contents();
    let (frames, damage) = read(&killed, at_once()).unwrap();
    assert_eq!(numbers(&frames), [100, 101, 102, 103, 104, 105]);
    assert_eq!(damage.frames_lost, 0, "{damage:?}");
    assert!(damage.notes[0].contains("metadata"), "{damage:?}");
    assert!(before == contents(), "the recording is not changed");
    assert!(!ending(&killed, "-shm").exists(), "nothing is written beside it");
}

#[test]
fn a_journal_beside_it_is_told_and_stays() {
    let dir = TempDir::new().unwrap();
    let path = written(&dir, &Spec::default());
    let journal = PathBuf::from(format!("{}-journal", path.display()));
    std::fs::write(&journal, [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0, 0, 1]).unwrap();
    let (frames, damage) = read(&path, at_once()).unwrap();
    assert_eq!((frames.len(), damage.frames_lost, damage.notes.len()), (10, 0, 1), "{damage:?}");
    assert!(damage.notes[0].contains("a -journal file lies beside it"), "{damage:?}");
    assert!(journal.exists());
}

#[test]
fn an_empty_recording_is_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("some.db3");
    drop(Writer::new(&path, 4096, false).finish());
    let error = open(&path, at_once()).err().unwrap().to_string();
    assert!(error.contains("without any messages"), "{error}");
}
