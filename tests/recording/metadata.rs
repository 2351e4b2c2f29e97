//! What recordings tell of single frames beside their images: it comes with the frame that it was
//! written behind.

use std::time::Duration;

use common::bag_writer::{ALL_PACKINGS, Packing, Spec, Writer, depth_of, messages_of, string};
use common::recording::{File, at_once, drain, numbers, open, stream};
use depthcast::clock::TimestampDomain;
use depthcast::frame::{DepthFrame, FrameMetadata};
use depthcast::recording::inspect;
use depthcast::source::FrameSource as _;
use depthcast::source::recording::ReplayOptions;

const IMAGES: &str = "/device_0/sensor_0/Depth_0/image/data";
const METADATA: &str = "/device_0/sensor_0/Depth_0/image/metadata";

/// Frames 100, 101 ..., each with its metadata behind it: in the next chunk where it `is_split`, as
/// librealsense writes large images. `without` has none.
fn bag(packing: Packing, is_split: bool, is_closed: bool, without: usize) -> Vec<u8> {
    let mut writer = Writer::new(packing);
    let mut i = 0;
    for (topic, body) in messages_of(&Spec { domain: None, has_color: true, ..Spec::default() }) {
        writer.message(&topic, &body);
        if topic != IMAGES {
            continue;
        }
        if is_split {
            writer.end_chunk();
        }
        let clock = if i < 5 { "System Time" } else { "Global Time" };
        let counter = (1000 + i).to_string();
        let pairs = [
            ("timestamp_domain", clock),
            ("Frame Counter", &counter),
            ("Actual Exposure", "8500"),
            ("Gain Level", "-1"),
        ];
        for (name, value) in pairs.iter().chain(&[("Temperature", "31")]).filter(|_| i != without) {
            writer.message(METADATA, &[string(name), string(value)].concat());
        }
        i += 1;
    }
    writer.finish(is_closed).bytes
}

fn read(bytes: &[u8], options: ReplayOptions) -> Vec<DepthFrame> {
    let mut source = open(&File::new().put(bytes), options).unwrap();
    let frames = drain(&mut source);
    let is_only_open = source.damage().notes.iter().all(|note| note.contains("there is no index"));
    assert!(is_only_open && source.damage().frames_lost == 0, "{:?}", source.damage());
    frames
}

fn assert_told(frame: &DepthFrame, without: usize) {
    let i = frame.meta.number as usize - 100;
    assert_eq!(frame.depth, depth_of(&Spec::default(), i));
    let counter = Some(1000 + i as u64).filter(|_| i != without);
    let exposure_us = counter.map(|_| 8500);
    let want = FrameMetadata { frame_counter: counter, exposure_us, ..Default::default() };
    assert_eq!(frame.meta.metadata, want, "frame {i}");
    // Without a word about its clock a frame has the recording's.
    let is_system = i < 5 || i == without;
    let domain = if is_system { TimestampDomain::SystemTime } else { TimestampDomain::GlobalTime };
    assert_eq!(frame.meta.device_time.unwrap().domain, domain, "frame {i}");
}

#[test]
fn metadata_come_with_their_frames_wherever_chunks_end() {
    for packing in ALL_PACKINGS {
        for (is_split, is_closed) in [(false, true), (true, true), (true, false)] {
            for without in [usize::MAX, 3, 9] {
                let bytes = bag(packing, is_split, is_closed, without);
                for color in [false, true] {
                    let frames = read(&bytes, ReplayOptions { color, ..at_once() });
                    assert_eq!(numbers(&frames), (100..110).collect::<Vec<_>>());
                    for frame in &frames {
                        assert_told(frame, without);
                        let number = frame.color.as_ref().map(|color| color.number + 100);
                        assert_eq!(number, color.then_some(frame.meta.number));
                    }
                }
            }
        }
    }
}

#[test]
fn a_section_has_the_metadata_of_its_own_frames() {
    for is_split in [false, true] {
        let bytes = bag(Packing::Lz4, is_split, true, 5);
        let (from, to) = (Some(Duration::from_millis(120)), Some(Duration::from_millis(250)));
        let frames = read(&bytes, ReplayOptions { from, to, ..at_once() });
        assert_eq!(numbers(&frames), [104, 105, 106, 107]);
        frames.iter().for_each(|frame| assert_told(frame, 5));
    }
}

#[test]
fn info_names_what_is_told_of_frames() {
    let info =
        inspect(&File::new().put(&bag(Packing::Lz4, true, true, 0)), &Default::default()).unwrap();
    let [color, depth] = ["color", "depth"].map(|kind| stream(&info, kind));
    assert_eq!(depth.metadata, ["actual_exposure", "frame_counter", "gain_level", "temperature"]);
    assert_eq!(depth.timestamp_domain, Some(TimestampDomain::SystemTime));
    assert!(depth.from_depth.is_none() && color.metadata.is_empty());
    assert_eq!(color.from_depth.unwrap().translation_m, [0.015, 0.0, 0.0]);
    assert_eq!(depth.coeffs, Some([0.0; 5]));
    assert_eq!(color.coeffs, Some([0.1, -0.2, 0.001, 0.002, 0.3]));
}
