//! The seeds of the fuzz targets: small recordings of every kind. Written to the folder that
//! `DEPTHCAST_WRITE_SEEDS` names.

use std::path::PathBuf;

use common::bag_writer::{self, ALL_PACKINGS, Color, messages_of, write_bag};
use common::db3_writer::{self, Pixels, write_db3};
use common::driver_messages::{Image, metadata, transforms};
use common::kinds::{self, converted};
use common::mcap_writer::{
    self, Channel, Layout, ros2, ros2_camera_info, ros2_image, unclosed, write_mcap,
};
use common::recording::{File, read};

use crate::driver::{self, DEPTH, DEPTH_INFO, Transport};

const FRAMES: usize = 4;
/// Images as small as they can be, so that most bytes mean something.
const WIDTH: u32 = 4;
const HEIGHT: u32 = 3;

fn small() -> bag_writer::Spec {
    let stamps_ns = (0..FRAMES as u64).map(|i| 1_000_000_000 + i * 33_000_000).collect();
    bag_writer::Spec { width: WIDTH, height: HEIGHT, stamps_ns, ..Default::default() }
}

fn depth(frame: usize) -> Vec<u8> {
    bag_writer::depth_of(&small(), frame).into_iter().flat_map(u16::to_le_bytes).collect()
}

fn bags() -> Vec<Vec<u8>> {
    let color = Color { encoding: "yuyv", bytes_per_pixel: 2, ..Color::default() };
    let odd = bag_writer::Spec {
        color,
        has_color: true,
        is_closed: false,
        units_in_frames: Some(0.001),
        row_padding: 2,
        is_bigendian: true,
        domain: None,
        ..small()
    };
    let transports = [Transport::Raw, Transport::Png, Transport::RvlAndJpeg];
    let drivers = ALL_PACKINGS.into_iter().zip(transports);
    let drivers = drivers.map(|(packing, transport)| driver_bag(packing, transport));
    drivers.chain([write_bag(&odd).bytes]).collect()
}

/// Four frames of a ROS 1 driver, with raw or compressed images.
fn driver_bag(packing: bag_writer::Packing, transport: Transport) -> Vec<u8> {
    let mut writer = bag_writer::Writer::new(packing);
    let links = [("camera", Image::DEPTH.frame_id, [0.0; 3], driver::STRAIGHT)];
    writer.typed("/tf_static", driver::TF, &transforms(&links));
    driver::put_extrinsics(&mut writer);
    for i in 0..FRAMES {
        driver::put_frame(&mut writer, i, transport);
        let clock = metadata(r#"{"clock_domain":"global_time"}"#);
        writer.typed("/camera/depth/metadata", "realsense2_camera/Metadata", &clock);
        writer.end_chunk();
    }
    writer.finish(true).bytes
}

fn mcaps() -> Vec<Vec<u8>> {
    let of_packing = |packing| {
        let layout = Layout { packing, messages_a_chunk: 5, ..Layout::default() };
        let bare = Layout {
            has_summary: false,
            has_message_indexes: false,
            has_checksums: false,
            has_extras: true,
            ..layout
        };
        let bare = converted(messages_of(&small()), &bare);
        [bare, driver_mcap(&layout), unclosed(driver_mcap(&layout))]
    };
    mcap_writer::ALL_PACKINGS.into_iter().flat_map(of_packing).collect()
}

const CHANNELS: [Channel<'_>; 2] =
    [ros2(DEPTH_INFO, "sensor_msgs/msg/CameraInfo"), ros2(DEPTH, "sensor_msgs/msg/Image")];

/// Channel and message, as ROS 2 has them.
fn driver_messages() -> Vec<(usize, Vec<u8>)> {
    let (size, k) = ((WIDTH, HEIGHT), [20.0, 0.0, 1.5, 0.0, 20.0, 1.0, 0.0, 0.0, 1.0]);
    let frame = |i: usize| {
        let stamp_ns = 1_000_000_000 + i as u64 * 33_000_000;
        [
            (0, ros2_camera_info(stamp_ns, size, "plumb_bob", &[0.0; 5], k)),
            (1, ros2_image(stamp_ns, size, "16UC1", 2 * WIDTH, &depth(i))),
        ]
    };
    (0..FRAMES).flat_map(frame).collect()
}

fn driver_mcap(layout: &Layout) -> Vec<u8> {
    const NOTES: &[(&str, &str)] =
        &[("depth_units_m", "0.0001"), ("nominal_fps", "30"), ("timestamp_domain", "global_time")];
    let [info, images] = CHANNELS;
    write_mcap(layout, &[info, Channel { notes: NOTES, ..images }], &driver_messages())
}

fn db3s() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.db3");
    let taken = || {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        bytes
    };
    let (width, height, frames) = (WIDTH, HEIGHT, FRAMES as u64);
    let small = db3_writer::Spec { width, height, frames, page_bytes: 512, ..Default::default() };
    let packed = |pixels| db3_writer::Spec { pixels, is_packed: true, ..small.clone() };
    // Images that go on from page to page.
    let long = db3_writer::Spec { width: 32, height: 24, pixels: Pixels::Raw, ..small.clone() };
    let specs = [packed(Pixels::Raw), packed(Pixels::Png), packed(Pixels::Zstd), long];
    let written = |spec: &db3_writer::Spec| {
        write_db3(&path, spec);
        taken()
    };
    let mut db3s: Vec<_> = specs.iter().map(written).collect();
    let mut writer = db3_writer::Writer::new(&path, 512, false);
    for (i, (channel, message)) in driver_messages().iter().enumerate() {
        let Channel { topic, schema, .. } = CHANNELS[*channel];
        writer.message(topic, schema, i as i64, message);
    }
    drop(writer.finish());
    db3s.push(taken());
    db3s
}

#[test]
fn every_seed_is_a_recording() {
    let folder = std::env::var_os("DEPTHCAST_WRITE_SEEDS").map(PathBuf::from);
    let kinds = kinds::all().into_iter().map(|kind| {
        let target = kind.name.split(' ').next().unwrap();
        (target, kind.frames.len(), kind.bytes)
    });
    let [more_bags, more_mcaps] = crate::cases::seeds(FRAMES);
    let others = [
        ("bag", bags()),
        ("db3", db3s()),
        ("mcap", mcaps()),
        ("bag", more_bags),
        ("mcap", more_mcaps),
    ];
    let others = others
        .into_iter()
        .flat_map(|(target, seeds)| seeds.into_iter().map(move |seed| (target, FRAMES, seed)));
    for (i, (target, count, seed)) in kinds.chain(others).enumerate() {
        let (frames, _) = read(&File::new(), &seed).unwrap_or_else(|e| panic!("{target} {i}: {e}"));
        assert_eq!(frames.len(), count, "{target} {i}");
        if let Some(folder) = &folder {
            let folder = folder.join(target);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("seed{i}")), seed).unwrap();
        }
    }
}
