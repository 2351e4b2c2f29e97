//! Recordings as MCAP files: librealsense's messages in them (`mcap convert` makes such files of
//! bags) are replayed like bags.

use common::bag_writer::{Spec, depth_of, messages_of, write_bag};
use common::kinds::converted;
use common::mcap_writer::{ALL_PACKINGS, CHUNKED, Layout, chunks, unclosed};
use common::recording::{self, File, at_once, drain, open, read, with_color};
use depthcast::frame::DepthFrame;
use depthcast::recording::inspect;
use depthcast::source::FrameSource;

fn assert_genuine(spec: &Spec, frames: &[DepthFrame]) {
    recording::assert_genuine(frames, |i| depth_of(spec, i as usize));
}

#[test]
fn an_mcap_file_replays_as_the_bag_does() {
    let (bag_file, file) = (File::new(), File::new());
    let spec = Spec { has_color: true, row_padding: 4, ..Spec::default() };
    let bag_path = bag_file.put(&write_bag(&spec).bytes);
    let bag_frames = drain(&mut open(&bag_path, with_color()).unwrap());
    for packing in ALL_PACKINGS {
        for has_summary in [true, false] {
            let layout = Layout { packing, has_summary, messages_a_chunk: 9, ..Layout::default() };
            let path = file.put(&converted(messages_of(&spec), &layout));
            let mut source = open(&path, with_color()).unwrap();
            assert_eq!(source.info().expected_frames, has_summary.then_some(10));
            assert!(drain(&mut source) == bag_frames);
            assert!(source.damage().is_none(), "{:?}", source.damage());

            let (info, bag_info) = (
                inspect(&path, &Default::default()).unwrap(),
                inspect(&bag_path, &Default::default()).unwrap(),
            );
            assert!(info.complete && info.format == "mcap" && info.serial == bag_info.serial);
            assert_eq!((info.streams, info.duration_s), (bag_info.streams, bag_info.duration_s));
        }
    }
}

#[test]
fn a_recording_that_was_not_closed_is_read_whole_and_said_to_be() {
    let file = File::new();
    let spec = Spec { is_closed: false, ..Spec::default() };
    let mcap =
        |packing| unclosed(converted(messages_of(&spec), &Layout { packing, ..Layout::default() }));
    for bytes in ALL_PACKINGS.map(mcap).into_iter().chain([write_bag(&spec).bytes]) {
        let path = file.put(&bytes);
        let mut source = open(&path, at_once()).unwrap();
        assert_eq!(source.info().expected_frames, None);
        let frames = drain(&mut source);
        assert_eq!(frames.len(), 10);
        assert_genuine(&spec, &frames);
        let damage = source.damage();
        assert_eq!((damage.frames_lost, damage.bytes_skipped, damage.chunks_skipped), (0, 0, 0));
        assert!(damage.notes[0].contains("not closed"), "{damage:?}");
        assert!(!inspect(&path, &Default::default()).unwrap().complete);
    }
}

#[test]
fn a_damaged_chunk_costs_its_own_frames_and_they_are_counted() {
    let file = File::new();
    let spec = Spec { domain: None, ..Spec::default() };
    for packing in CHUNKED {
        for has_summary in [true, false] {
            let layout = Layout { packing, messages_a_chunk: 4, has_summary, ..Layout::default() };
            let bytes = converted(messages_of(&spec), &layout);
            for (i, place) in chunks(&bytes).iter().enumerate().skip(3) {
                let mut bytes = bytes.clone();
                bytes[place.end - 30] ^= 0x10;
                let (frames, damage) = read(&file, &bytes).unwrap();
                assert_genuine(&spec, &frames);
                assert!(frames.len() < 10, "{packing:?} {i}");
                let lost = (damage.chunks_skipped, damage.frames_lost);
                assert_eq!(lost, (1, 10 - frames.len() as u64), "{packing:?} {i}: {damage:?}");
                assert_eq!(inspect(&file.put(&bytes), &Default::default()).unwrap().damage, damage);
            }
        }
    }
}

#[test]
fn the_recorders_notes_tell_the_device_where_no_message_does() {
    let file = File::new();
    let mut messages = messages_of(&Spec::default());
    messages.retain(|(topic, _)| topic != "/device_0/info");
    let path = file.put(&converted(messages, &Layout::default()));
    let info = inspect(&path, &Default::default()).unwrap();
    let facts = (info.device.as_deref(), info.serial.as_deref(), info.firmware);
    assert_eq!(facts, (Some("Test camera"), Some("0815"), None));
    let source = open(&path, at_once()).unwrap();
    assert!(source.info().facts.contains(&("serial", "0815".to_owned())));
}
