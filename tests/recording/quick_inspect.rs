//! `info` by the index tells what reading all of the file tells.

use common::bag_writer::{ALL_PACKINGS, Color, Spec, write_bag};
use common::kinds;
use common::recording::File;
use depthcast::recording::{RecordingInfo, inspect, quick_inspect};

common::with_data! { the_samples_are_told_alike }

fn assert_alike(path: &std::path::Path, what: &str) {
    let (by_index, by_all) = (
        quick_inspect(path, &Default::default()).unwrap(),
        inspect(path, &Default::default()).unwrap(),
    );
    assert!(by_all.checked && by_all.complete, "{what}: {:?}", by_all.damage);
    assert!(!by_index.checked, "{what}: all of it was read");
    assert_eq!(RecordingInfo { checked: true, ..by_index }, by_all, "{what}");
}

#[test]
fn the_index_and_the_ends_tell_what_all_of_the_file_tells() {
    let file = File::new();
    for kind in kinds::all() {
        assert_alike(&file.put(&kind.bytes), kind.name);
    }
    for packing in ALL_PACKINGS {
        // Many frames, of which one stream ends long before the other; numbers that begin again;
        // chunks of their own.
        let stamps_ns: Vec<u64> = (0..60).map(|i| 5_000_000_000 + i * 33_333_333).collect();
        for (has_own_chunks, images, restart_after) in
            [(true, 60, 1000), (false, 7, 1000), (true, 20, 50)]
        {
            let image_stamps_ns = stamps_ns[..images].to_vec();
            let color = Color { has_own_chunks, stamps_ns: image_stamps_ns, ..Color::default() };
            let spec = Spec { packing, has_color: true, color, restart_after, ..Spec::default() };
            let path = file.put(&write_bag(&Spec { stamps_ns: stamps_ns.clone(), ..spec }).bytes);
            assert_alike(&path, &format!("{packing:?} {has_own_chunks} {images}"));
        }
    }
}

fn the_samples_are_told_alike(folder: &std::path::Path) {
    for name in ["single_depth_color_640x480", "room_640x480_20f"] {
        for format in ["bag", "db3"] {
            let name = format!("{name}.{format}");
            assert_alike(&folder.join(&name), &name);
        }
    }
}

#[test]
fn what_has_no_intact_index_is_read_whole() {
    let file = File::new();
    let open = Spec { is_closed: false, ..Spec::default() };
    let path = file.put(&write_bag(&open).bytes);
    let info = quick_inspect(&path, &Default::default()).unwrap();
    assert!(info.checked && !info.complete);
    assert_eq!(info, inspect(&path, &Default::default()).unwrap());
    let whole = write_bag(&Spec::default());
    let path = file.put(&whole.bytes[..whole.bytes.len() / 2]);
    assert_eq!(
        quick_inspect(&path, &Default::default()).unwrap(),
        inspect(&path, &Default::default()).unwrap()
    );
}

#[test]
fn damage_between_the_ends_is_found_where_all_is_read() {
    let file = File::new();
    let bag = write_bag(&Spec::default());
    let mut bytes = bag.bytes.clone();
    bytes[bag.chunks[5].data.clone()].fill(0x55);
    let path = file.put(&bytes);
    let (by_index, by_all) = (
        quick_inspect(&path, &Default::default()).unwrap(),
        inspect(&path, &Default::default()).unwrap(),
    );
    assert!(by_index.complete && !by_index.checked && by_index.streams[0].frames == 10);
    assert!(!by_all.complete && by_all.checked && by_all.damage.frames_lost == 1);
    // Where it is met with, all is read.
    let mut bytes = bag.bytes.clone();
    bytes[bag.chunks[9].data.clone()].fill(0x55);
    let path = file.put(&bytes);
    assert_eq!(
        quick_inspect(&path, &Default::default()).unwrap(),
        inspect(&path, &Default::default()).unwrap()
    );
}

#[test]
fn stamps_that_go_back_take_no_time_away() {
    let file = File::new();
    let duration_s = |stamps_ms: &[u64]| {
        let stamps_ns = stamps_ms.iter().map(|ms| ms * 1_000_000).collect();
        let path = file.put(&write_bag(&Spec { stamps_ns, ..Spec::default() }).bytes);
        (
            quick_inspect(&path, &Default::default()).unwrap().duration_s,
            inspect(&path, &Default::default()).unwrap().duration_s,
        )
    };
    // A camera that was unplugged, and began again at nothing.
    assert_eq!(duration_s(&[9000, 9100, 9200, 9500, 10, 110, 310]), (0.8, 0.8));
    // Only by reading all can one know of this.
    assert_eq!(duration_s(&[9000, 9100, 9500, 8000, 9500, 9700]), (0.7, 2.2));
}
