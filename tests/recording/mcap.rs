//! Recordings as MCAP files: librealsense's messages in them (`mcap convert` makes such files of
//! bags) are replayed like bags.

use std::path::PathBuf;

use common::bag_writer::{Spec, depth_of, messages_of, write_bag};
use common::kinds::converted;
use common::mcap_writer::{ALL_PACKINGS, Layout, Packing, records, unclosed};
use common::recording::{self, File, at_once, drain, numbers, open, read};
use depthcast::frame::DepthFrame;
use depthcast::recording::inspect;
use depthcast::source::FrameSource;
use depthcast::source::recording::ReplayOptions;

fn assert_genuine(spec: &Spec, frames: &[DepthFrame]) {
    recording::assert_genuine(frames, |i| depth_of(spec, i as usize));
}

#[test]
fn an_mcap_file_replays_as_the_bag_does() {
    let (bag_file, file) = (File::new(), File::new());
    let spec = Spec { has_color: true, row_padding: 4, ..Spec::default() };
    let bag_path = bag_file.put(&write_bag(&spec).bytes);
    let bag_frames =
        drain(&mut open(&bag_path, ReplayOptions { color: true, ..at_once() }).unwrap());
    for packing in ALL_PACKINGS {
        for has_summary in [true, false] {
            let layout = Layout { packing, has_summary, messages_a_chunk: 9, ..Layout::default() };
            let path = file.put(&converted(messages_of(&spec), &layout));
            let mut source = open(&path, ReplayOptions { color: true, ..at_once() }).unwrap();
            assert_eq!(source.info().expected_frames, has_summary.then_some(10));
            let frames = drain(&mut source);
            assert_eq!(frames.len(), bag_frames.len());
            for (frame, bag_frame) in frames.iter().zip(&bag_frames) {
                assert_eq!((&frame.depth, &frame.color), (&bag_frame.depth, &bag_frame.color));
                assert_eq!(
                    (frame.meta.number, frame.meta.device_time),
                    (bag_frame.meta.number, bag_frame.meta.device_time)
                );
            }
            assert!(source.damage().is_none(), "{:?}", source.damage());

            let (info, bag_info) = (inspect(&path).unwrap(), inspect(&bag_path).unwrap());
            assert!(info.complete);
            assert_eq!(
                (info.format, info.streams, info.duration_s),
                ("mcap", bag_info.streams, bag_info.duration_s)
            );
            assert_eq!(info.serial, bag_info.serial);
        }
    }
}

#[test]
fn a_recording_that_was_not_closed_is_read_whole_and_said_to_be() {
    let file = File::new();
    let spec = Spec::default();
    for packing in ALL_PACKINGS {
        let bytes =
            unclosed(converted(messages_of(&spec), &Layout { packing, ..Layout::default() }));
        let (frames, damage) = read(&file, &bytes).unwrap();
        assert_eq!(frames.len(), 10);
        assert_genuine(&spec, &frames);
        assert_eq!((damage.frames_lost, damage.bytes_skipped, damage.chunks_skipped), (0, 0, 0));
        assert!(damage.notes[0].contains("not closed"), "{damage:?}");
        assert!(!inspect(&file.put(&bytes)).unwrap().complete);
    }
}

#[test]
fn a_damaged_chunk_costs_its_own_frames_and_they_are_counted() {
    let file = File::new();
    let spec = Spec { domain: None, ..Spec::default() };
    for packing in [Packing::None, Packing::Lz4, Packing::Zstd] {
        for has_summary in [true, false] {
            let bytes = converted(
                messages_of(&spec),
                &Layout { packing, messages_a_chunk: 4, has_summary, ..Layout::default() },
            );
            let chunks: Vec<_> = records(&bytes)
                .into_iter()
                .filter(|(op, _)| *op == 6)
                .map(|(_, place)| place)
                .collect();
            for (i, place) in chunks.iter().enumerate().skip(3) {
                let mut bytes = bytes.clone();
                bytes[place.end - 30] ^= 0x10;
                let (frames, damage) = read(&file, &bytes).unwrap();
                assert_genuine(&spec, &frames);
                assert!(frames.len() < 10, "{packing:?} {i}");
                assert_eq!(
                    (damage.chunks_skipped, damage.frames_lost),
                    (1, 10 - frames.len() as u64),
                    "{packing:?} {i}: {damage:?}"
                );
                assert_eq!(inspect(&file.put(&bytes)).unwrap().damage, damage);
            }
        }
    }
}

#[test]
fn a_section_begins_at_the_frame_that_was_asked_for() {
    let file = File::new();
    let spec = Spec {
        stamps_ns: (0..40).map(|i| 5_000_000_000 + i * 100_000_000).collect(),
        ..Spec::default()
    };
    for packing in ALL_PACKINGS {
        let path: PathBuf =
            file.put(&converted(messages_of(&spec), &Layout { packing, ..Layout::default() }));
        for first in [1, 17, 38] {
            let from = Some(std::time::Duration::from_millis(first * 100));
            let mut source = open(&path, ReplayOptions { from, ..at_once() }).unwrap();
            assert_eq!(numbers(&drain(&mut source)), (100 + first..140).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_recorders_notes_tell_the_device_where_no_message_does() {
    let file = File::new();
    let mut messages = messages_of(&Spec::default());
    messages.retain(|(topic, _)| topic != "/device_0/info");
    let path = file.put(&converted(messages, &Layout::default()));
    let info = inspect(&path).unwrap();
    assert_eq!(
        (info.device.as_deref(), info.serial.as_deref(), info.firmware),
        (Some("Test camera"), Some("0815"), None)
    );
    let source = open(&path, at_once()).unwrap();
    assert!(source.info().facts.contains(&("serial", "0815".to_owned())));
}
