//! The seeds of the fuzz targets: small recordings of every kind. Written to the folder that
//! `DEPTHCAST_WRITE_SEEDS` names.

use std::path::{Path, PathBuf};

use common::bag_writer::{self, ALL_PACKINGS, Color, messages_of, write_bag};
use common::db3_writer::{self, Pixels, png_of, write_db3};
use common::driver_messages::{
    CameraInfo, Image, compressed_image, extrinsics, metadata, rvl_of, transforms,
};
use common::kinds::{self, converted};
use common::mcap_writer::{
    self, Channel, Layout, ros2, ros2_camera_info, ros2_image, unclosed, write_mcap,
};
use common::recording::{File, read};

const FRAMES: usize = 4;
/// Images as small as they can be, so that most bytes mean something.
const WIDTH: u32 = 4;
const HEIGHT: u32 = 3;
const DEPTH: &str = "/camera/depth/image_raw";
const DEPTH_INFO: &str = "/camera/depth/camera_info";

fn small() -> bag_writer::Spec {
    let stamps_ns = (0..FRAMES as u64).map(|i| 1_000_000_000 + i * 33_000_000).collect();
    bag_writer::Spec { width: WIDTH, height: HEIGHT, stamps_ns, ..Default::default() }
}

fn depth(frame: usize) -> Vec<u8> {
    (0..(WIDTH * HEIGHT) as usize)
        .flat_map(|i| (((i * 31) ^ (frame * 977)) as u16).to_le_bytes())
        .collect()
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

/// How the images of a driver are compressed.
#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Raw,
    Png,
    /// Depth and colour.
    RvlAndJpeg,
}

/// 16x12 pixels, written by libjpeg.
const JPEG: &[u8] = include_bytes!("../data/color_16x12.jpg");

/// What ROS 1 drivers record, with raw or compressed images.
fn driver_bag(packing: bag_writer::Packing, transport: Transport) -> Vec<u8> {
    let mut writer = bag_writer::Writer::new(packing);
    let links = [("camera", Image::DEPTH.frame_id, [0.0; 3], [0.0, 0.0, 0.0, 1.0])];
    writer.typed("/tf_static", "tf2_msgs/TFMessage", &transforms(&links));
    let place = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.014, 0.5, 0.25];
    writer.typed(
        "/camera/extrinsics/depth_to_color",
        "realsense2_camera/Extrinsics",
        &extrinsics(place),
    );
    let info = CameraInfo { width: WIDTH, height: HEIGHT, ..Default::default() };
    for i in 0..FRAMES {
        let (seq, stamp_ns) = (i as u32, 1_000_000_000 + i as u64 * 33_000_000);
        for (camera, image, rows) in [
            ("depth", Image::DEPTH, depth(i)),
            ("color", Image::COLOR, vec![9; (WIDTH * HEIGHT * 3) as usize]),
        ] {
            let is_jpeg = transport == Transport::RvlAndJpeg && camera == "color";
            let (width, height) = if is_jpeg { (16, 12) } else { (WIDTH, HEIGHT) };
            let image = Image { width, height, ..image };
            let info = CameraInfo { frame_id: image.frame_id, width, height, ..info.clone() };
            writer.typed(
                &format!("/camera/{camera}/camera_info"),
                "sensor_msgs/CameraInfo",
                &info.message(),
            );
            let topic = format!("/camera/{camera}/image_raw");
            match packed(transport, camera, &rows) {
                Some((name, format, packed)) => {
                    let message = compressed_image(seq, stamp_ns, image.frame_id, format, &packed);
                    writer.typed(
                        &format!("{topic}/{name}"),
                        "sensor_msgs/CompressedImage",
                        &message,
                    );
                }
                None => {
                    writer.typed(&topic, "sensor_msgs/Image", &image.message(seq, stamp_ns, &rows))
                }
            }
        }
        writer.typed(
            "/camera/depth/metadata",
            "realsense2_camera/Metadata",
            &metadata(r#"{"clock_domain":"global_time"}"#),
        );
        writer.end_chunk();
    }
    writer.finish(true).bytes
}

/// As image_transport packs images: the last part of the topic, the format, the bytes.
fn packed(
    transport: Transport,
    camera: &str,
    rows: &[u8],
) -> Option<(&'static str, &'static str, Vec<u8>)> {
    // The transport's own header of depth.
    let behind_header = |packed: Vec<u8>| [&[0; 12][..], &packed].concat();
    Some(match (transport, camera) {
        (Transport::Raw, _) => return None,
        (Transport::Png, "depth") => {
            let big: Vec<u8> = rows.chunks(2).flat_map(|v| [v[1], v[0]]).collect();
            let png =
                png_of(png::ColorType::Grayscale, png::BitDepth::Sixteen, WIDTH, HEIGHT, &big);
            ("compressedDepth", "16UC1; compressedDepth png", behind_header(png))
        }
        (Transport::Png, _) => {
            let png = png_of(png::ColorType::Rgb, png::BitDepth::Eight, WIDTH, HEIGHT, rows);
            ("compressed", "rgb8; png compressed bgr8", png)
        }
        (Transport::RvlAndJpeg, "depth") => {
            let values: Vec<u16> =
                rows.chunks(2).map(|v| u16::from_le_bytes([v[0], v[1]])).collect();
            (
                "compressedDepth",
                "16UC1; compressedDepth rvl",
                behind_header(rvl_of(WIDTH, HEIGHT, &values)),
            )
        }
        (Transport::RvlAndJpeg, _) => ("compressed", "rgb8; jpeg compressed bgr8", JPEG.to_vec()),
    })
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

/// Channel (the camera info's or the depth's) and message, as ROS 2 has them.
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
    let info = ros2(DEPTH_INFO, "sensor_msgs/msg/CameraInfo");
    let images = Channel { notes: NOTES, ..ros2(DEPTH, "sensor_msgs/msg/Image") };
    write_mcap(layout, &[info, images], &driver_messages())
}

fn db3s() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.db3");
    let taken = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        bytes
    };
    let mut db3s = vec![];
    let small = db3_writer::Spec {
        width: WIDTH,
        height: HEIGHT,
        frames: FRAMES as u64,
        page_bytes: 512,
        ..Default::default()
    };
    for pixels in [Pixels::Raw, Pixels::Png, Pixels::Zstd] {
        write_db3(&path, &db3_writer::Spec { pixels, is_packed: true, ..small.clone() });
        db3s.push(taken(&path));
    }
    // Images that go on from page to page.
    write_db3(&path, &db3_writer::Spec { width: 32, height: 24, pixels: Pixels::Raw, ..small });
    db3s.push(taken(&path));
    let mut writer = db3_writer::Writer::new(&path, 512, false);
    for (i, (channel, message)) in driver_messages().iter().enumerate() {
        let (topic, schema) =
            [(DEPTH_INFO, "sensor_msgs/msg/CameraInfo"), (DEPTH, "sensor_msgs/msg/Image")]
                [*channel];
        writer.message(topic, schema, i as i64, message);
    }
    drop(writer.finish());
    db3s.push(taken(&path));
    db3s
}

#[test]
fn every_seed_is_a_recording() {
    let folder = std::env::var_os("DEPTHCAST_WRITE_SEEDS").map(PathBuf::from);
    let kinds = kinds::all().into_iter().map(|kind| {
        let target = kind.name.split(' ').next().unwrap();
        (target, kind.frames.len(), kind.bytes)
    });
    let others = [("bag", bags()), ("db3", db3s()), ("mcap", mcaps())];
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
