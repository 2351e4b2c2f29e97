//! What depth images are, whatever they call themselves.

use super::*;

#[test]
fn depth_as_floats_is_kept_near_and_far_and_millimetres_are_suspected() {
    let metres: Vec<f32> = (0..16 * 12).map(|i| 0.25 + 1.7 * i as f32 + 0.000_07).collect();
    let far: Vec<f64> = metres.iter().map(|&m| f64::from(m)).collect();
    let lens = [20.0, 21.0, 7.5, 5.5];
    let singles: Vec<u8> = metres.iter().flat_map(|m| m.to_le_bytes()).collect();
    let doubles: Vec<u8> = far.iter().flat_map(|m| m.to_le_bytes()).collect();
    let file = File::new();
    for (encoding, pixels) in [("32FC1", &singles), ("64FC1", &doubles)] {
        let path = file.put(&one_image(encoding, pixels));
        let (source, frames, remarks) = replay(&path, at_once());
        assert_near(&cloud(&source, &frames[0]), &expected(&far, lens));
        assert!(remarks.contains("likely to be in millimetres"), "{remarks}");
        let depth_units_m = Some(0.001);
        let (source, frames, _) =
            replay(&path, reading(Overrides { depth_units_m, ..Default::default() }));
        let near: Vec<f64> = far.iter().map(|m| m * 0.001).collect();
        assert_near(&cloud(&source, &frames[0]), &expected(&near, lens));
    }
    // A camera that warms up sees nothing at first.
    let mut writer = writer();
    writer.typed("/d/camera_info", INFO, &CameraInfo::default().message());
    let nothing: Vec<u8> = metres.iter().flat_map(|_| f32::NAN.to_le_bytes()).collect();
    for (i, pixels) in [(1, &nothing), (2, &singles)] {
        let image = Image { encoding: "32FC1", ..Image::DEPTH };
        writer.typed("/d/image_raw", IMAGE, &image.message(i, u64::from(i) * S, pixels));
    }
    let remarks = replay(&file.put(&writer.finish(true).bytes), at_once()).2;
    assert!(remarks.contains("likely to be in millimetres"), "{remarks}");
    let near: Vec<u8> = metres.iter().flat_map(|m| (m / 100.0).to_le_bytes()).collect();
    assert_eq!(replay(&file.put(&one_image("32FC1", &near)), at_once()).2, "");
}

#[test]
fn a_png_of_16_bits_is_depth_whatever_its_format_says() {
    for format in ["png", "rgb8; png compressed bgr8", "", "16UC1", "16UC1; compressedDepth "] {
        let mut writer = writer();
        let frame_id = "camera_color_optical_frame";
        let info = CameraInfo { frame_id, ..Default::default() };
        writer.typed("/aligned/camera_info", INFO, &info.message());
        let png = depth_png(16, 12, &depth(1));
        let image = compressed_image(1, S, frame_id, format, &png);
        writer.typed("/aligned/image_raw/compressed", "sensor_msgs/CompressedImage", &image);
        let file = File::new();
        let (_, frames, _) = replay(&file.put(&writer.finish(true).bytes), at_once());
        assert_eq!(frames[0].depth, depth(1), "{format}");
    }
}

#[test]
fn quantised_metres_are_recognised_by_their_header() {
    for format in ["32FC1; compressedDepth png", "compressedDepth png", "png", ""] {
        let mut writer = writer();
        writer.typed("/d/camera_info", INFO, &CameraInfo::default().message());
        let header = [&[0; 4][..], &10_100f32.to_le_bytes(), &(-1009f32).to_le_bytes()].concat();
        let data = [header, depth_png(16, 12, &[9091; 16 * 12])].concat();
        let image = compressed_image(1, S, Image::DEPTH.frame_id, format, &data);
        writer.typed("/d/image/compressedDepth", "sensor_msgs/CompressedImage", &image);
        let file = File::new();
        let (_, frames, _) = replay(&file.put(&writer.finish(true).bytes), at_once());
        assert_eq!(frames[0].depth_m, [1.0; 16 * 12], "{format}");
    }
}

#[test]
fn images_of_other_sizes_are_left_out_and_said_and_no_damage() {
    let empty = Image { width: 0, height: 0, ..Image::DEPTH };
    let unsaid = Image { encoding: "", ..empty };
    let small = Image { width: 8, height: 6, ..Image::DEPTH };
    for (first, last, what) in [
        (Some(&empty), None, "1 image of another size than the stream (0x0)"),
        (Some(&unsaid), None, "1 image of another size than the stream (0x0)"),
        (Some(&small), None, "1 image of another size than the stream (8x6)"),
        (None, Some(&small), "1 image of another size than the stream (8x6)"),
    ] {
        let mut writer = writer();
        let mut put = |image: &Image, i: u32, pixels: &[u8]| {
            let info =
                CameraInfo { width: image.width, height: image.height, ..Default::default() };
            let bytes = match pixels {
                // The writer has no rows to count.
                [] => [&image_head(i, image.encoding)[..], &[0; 4]].concat(),
                pixels => image.message(i, S + u64::from(i) * S / 30, pixels),
            };
            writer.typed("/d/image_raw", IMAGE, &bytes);
            writer.typed("/d/camera_info", INFO, &info.message());
        };
        let pixels = |image: &Image| vec![7; 2 * (image.width * image.height) as usize];
        first.iter().for_each(|image| put(image, 1, &pixels(image)));
        (2..5).for_each(|i| put(&Image::DEPTH, i, &bytes_of(&depth(i as usize))));
        last.iter().for_each(|image| put(image, 5, &pixels(image)));
        let file = File::new();
        let path = file.put(&writer.finish(true).bytes);
        let (_, frames, remarks) = replay(&path, at_once());
        assert_eq!((numbers(&frames), remarks.contains(what)), (vec![2, 3, 4], true), "{remarks}");
        assert_eq!(frames[0].depth, depth(2));
        let info = inspect(&path, &Default::default()).unwrap();
        assert!(info.complete && info.damage.remarks[0].contains(what), "{:?}", info.damage);
        assert_eq!((info.streams[0].frames, info.streams[0].width), (3, Some(16)));
    }
}

/// An image of no size, up to its data.
fn image_head(seq: u32, encoding: &str) -> Vec<u8> {
    let header = common::driver_messages::header(seq, S, "f");
    let string = common::bag_writer::string(encoding);
    [&header[..], &[0; 8], &string, &[0; 5]].concat()
}

/// A field of a protocol buffer: its number, and bytes with a length or of a fixed size.
fn proto(number: u8, wire_type: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | wire_type];
    if wire_type == 2 {
        let mut len = bytes.len();
        while len > 127 {
            field.push(len as u8 | 128);
            len >>= 7;
        }
        field.push(len as u8);
    }
    [&field[..], bytes].concat()
}

/// Foxglove's images and calibration, in `protobuf` or `json`.
pub fn foxglove_mcap(encoding: &str, frames: usize) -> Vec<u8> {
    let is_json = encoding == "json";
    let fixed = |v: u32| v.to_le_bytes();
    // A time stamp of 1 s; width and height.
    let start = [proto(1, 2, &[8, 1]), proto(2, 5, &fixed(16)), proto(3, 5, &fixed(12))].concat();
    let json_start = r#""timestamp":{"sec":1,"nsec":0},"frame_id":"cam","width":16,"height":12"#;
    let image = |i: usize| {
        let bytes = bytes_of(&depth(i));
        if is_json {
            let data = BASE64_STANDARD.encode(bytes);
            let text = format!(r#"{{{json_start},"encoding":"16UC1","step":32,"data":"{data}"}}"#);
            return text.into_bytes();
        }
        let rest = [proto(4, 2, b"16UC1"), proto(5, 5, &fixed(32)), proto(6, 2, &bytes)].concat();
        [start.clone(), rest, proto(7, 2, b"cam")].concat()
    };
    let k: Vec<u8> = K.iter().flat_map(|v| v.to_le_bytes()).collect();
    let proto_lens = [proto(4, 2, b"plumb_bob"), proto(6, 2, &k), proto(9, 2, b"cam")].concat();
    let json_lens =
        format!(r#"{{{json_start},"distortion_model":"plumb_bob","D":[],"K":{K:?},"P":[]}}"#);
    let lens = if is_json { json_lens.into_bytes() } else { [&start[..], &proto_lens].concat() };
    let mut writer = mcap::Writer::new(Cursor::new(Vec::new())).unwrap();
    let mut channel = |topic: &str, name: &str| {
        let schema = writer.add_schema(name, encoding, b"x").unwrap();
        writer.add_channel(schema, topic, encoding, &Default::default()).unwrap()
    };
    let images = channel("/cam/depth", "foxglove.RawImage");
    let lenses = channel("/cam/calibration", "foxglove.CameraCalibration");
    let of_frames = (0..frames).map(|i| (images, image(i)));
    for (channel_id, body) in std::iter::once((lenses, lens)).chain(of_frames) {
        let (sequence, log_time, publish_time) = (0, S, S);
        let header = mcap::records::MessageHeader { channel_id, sequence, log_time, publish_time };
        writer.write_to_known_channel(&header, &body).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().into_inner()
}

/// realsense2_camera's RGBD: header, both camera infos, color, depth.
pub fn rgbd_bag(frames: usize) -> Vec<u8> {
    let mut writer = writer();
    for i in 0..frames {
        let info = CameraInfo::default().message();
        let rgb = Image { encoding: "rgb8", ..Image::DEPTH };
        let color = rgb.message(i as u32, S, &[9; 16 * 12 * 3]);
        let image = Image::DEPTH.depth_message(i as u32, S, &depth(i));
        let header = common::driver_messages::header(i as u32, S, "cam");
        let message = [header, info.clone(), info, color, image].concat();
        writer.typed("/camera/rgbd", "realsense2_camera_msgs/RGBD", &message);
    }
    writer.finish(true).bytes
}

#[test]
fn images_of_foxglove_and_rgbd_are_read_as_those_of_ros() {
    let file = File::new();
    for encoding in ["protobuf", "json"] {
        let path = file.put(&foxglove_mcap(encoding, 2));
        let (source, frames, _) = replay(&path, at_once());
        assert_eq!((depths(&frames), source.info().stream.intrinsics.fy), (vec![0, 1], 21.0));
        assert!(inspect(&path, &Default::default()).unwrap().complete);
    }
    let (source, frames, _) = replay(&file.put(&rgbd_bag(2)), with_color());
    assert_eq!((depths(&frames), source.info().stream.intrinsics.fx), (vec![0, 1], 20.0));
    assert_eq!(frames[0].color.as_ref().unwrap().bytes[0], 9);
}
