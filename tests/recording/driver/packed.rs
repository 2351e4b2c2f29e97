//! Images that a transport has packed.

use super::*;

/// Depth as compressed_depth_image_transport packs it: its own header, then a PNG.
fn packed_depth(depth: &[u16]) -> Vec<u8> {
    [&[0; 12][..], &depth_png(16, 12, depth)].concat()
}

/// An image of the transport `compressedDepth`, at the time of `i`.
pub fn put_depth(writer: &mut Writer, number: u32, i: usize, format: &str, data: &[u8]) {
    let image = compressed_image(number, stamp_ns(i), Image::DEPTH.frame_id, format, data);
    writer.typed(&format!("{DEPTH}/compressedDepth"), COMPRESSED, &image);
}

#[test]
fn compressed_depth_is_read_and_gives_way_to_raw_depth() {
    let compressed = format!("{DEPTH}/compressedDepth");
    let write_as = |format: &str, raw: bool, packed: &dyn Fn(usize) -> Vec<u8>| {
        let mut writer = writer();
        for i in 0..3 {
            put_depth(&mut writer, 4 + i as u32, i, format, &packed(i + 10));
        }
        if raw {
            depth_frames(&mut writer, 2);
        }
        put_info(&mut writer, DEPTH_INFO, &CameraInfo::default());
        writer.finish(true).bytes
    };
    const PNG: &str = "16UC1; compressedDepth png";
    let write = |format: &str, raw: bool| write_as(format, raw, &|i| packed_depth(&depth_of(i)));
    let (info, frames) = replay(&write(PNG, true), at_once()).unwrap();
    assert_eq!((fact(&info, "depth topic"), frames.len()), (DEPTH, 2));
    for (bytes, options) in [
        (write(PNG, true), with_topic(&compressed)),
        (write("16UC1; compressedDepth", false), at_once()),
    ] {
        let (info, frames) = replay(&bytes, options).unwrap();
        let topic = fact(&info, "depth topic");
        assert_eq!((topic, info.expected_frames), (compressed.as_str(), Some(3)));
        assert_eq!(numbers(&frames), [4, 5, 6]);
        assert!(frames.iter().enumerate().all(|(i, frame)| frame.depth == depth_of(i + 10)));
        assert_eq!(frames[0].meta.depth_units_m, 0.001);
    }
    // PNG would be read whatever the format says.
    let jpeg = include_bytes!("../../data/grey_16x12.jpg");
    for (format, bytes) in
        [("16UC1; jpeg compressed ", &jpeg[..]), ("16UC1; compressedDepth draco", b"DRACO")]
    {
        let words = [
            &format!("compressed as '{format}'"),
            "record the raw topic (/camera/depth/image_rect_raw)",
        ];
        let bytes = write_as(format, false, &|_| bytes.to_vec());
        refused(&bytes, at_once(), &words);
        let info = inspect(&File::new().put(&bytes), &Default::default()).unwrap();
        let depth = &info.streams[0];
        let facts = (depth.encoding.as_deref(), depth.frames, depth.fx, depth.width);
        assert_eq!(facts, (Some(format), 3, Some(20.0), Some(16)));
        assert_eq!(depth.kind, "depth");
        assert!(info.damage.is_none(), "{:?}", info.damage);
    }
    let mut damaged = packed_depth(&depth_of(0));
    damaged[60] ^= 1;
    let mut writer = writer();
    put_info(&mut writer, DEPTH_INFO, &CameraInfo::default());
    for (i, data) in [packed_depth(&depth_of(0)), damaged].iter().enumerate() {
        put_depth(&mut writer, i as u32, i, PNG, data);
    }
    let file = File::new();
    let path = file.put(&writer.finish(true).bytes);
    let mut source = open(&path, at_once()).unwrap();
    assert_eq!(drain(&mut source).len(), 1);
    assert_eq!(
        (
            source.damage().frames_lost,
            inspect(&path, &Default::default()).unwrap().damage.frames_lost
        ),
        (1, 1)
    );
}

/// A message of the transport `compressedDepth`, and what becomes of it.
fn replay_packed(format: &str, data: &[u8]) -> (SourceInfo, Vec<DepthFrame>) {
    let mut writer = writer();
    put_info(&mut writer, DEPTH_INFO, &CameraInfo::default());
    put_depth(&mut writer, 4, 0, format, data);
    let bytes = writer.finish(true).bytes;
    let info = inspect(&File::new().put(&bytes), &Default::default()).unwrap();
    assert!(info.damage.is_none() && info.streams[0].frames == 1, "{info:?}");
    replay(&bytes, at_once()).unwrap()
}

#[test]
fn metres_that_were_quantised_become_millimetres() {
    // What the transport takes if nobody says otherwise: 100, and 10 m.
    let (a, b) = (100.0f32 * 101.0, 1.0 - 100.0f32 * 101.0 / 10.0);
    let mut inverse = [0u16; 16 * 12];
    inverse[1..4].copy_from_slice(&[1000, 10_000, 65_535]);
    let mut data = packed_depth(&inverse);
    data[4..8].copy_from_slice(&a.to_le_bytes());
    data[8..12].copy_from_slice(&b.to_le_bytes());
    let (info, frames) = replay_packed("32FC1; compressedDepth png", &data);
    let millimetres = |inverse: f32| (1000.0 * a / (inverse - b)).round() as u16;
    let want = [1000.0, 10_000.0, 65_535.0].map(millimetres);
    assert_eq!((frames[0].depth[0], &frames[0].depth[1..4], want[0]), (0, &want[..], 5027));
    assert_eq!([info.stream.depth_units_m, frames[0].meta.depth_units_m], [0.001; 2]);
    assert!(fact(&info, "depth units").contains("as floats"), "{:?}", info.facts);
}

#[test]
fn rvl_is_unpacked() {
    let depth: Vec<u16> =
        (0..16 * 12).map(|i| if i % 7 < 2 { 0 } else { 1000 + (i * i) as u16 }).collect();
    let data = [&[0; 12][..], &rvl_of(16, 12, &depth)].concat();
    let (_, frames) = replay_packed("16UC1; compressedDepth rvl", &data);
    assert_eq!(frames[0].depth, depth);
}

/// 16x12 pixels, written by libjpeg: red is 16 x, green 20 y, blue 128; grey is 16 x.
pub const JPEG: &[u8] = include_bytes!("../../data/color_16x12.jpg");
const PROGRESSIVE_JPEG: &[u8] = include_bytes!("../../data/progressive_16x12.jpg");
const GREY_JPEG: &[u8] = include_bytes!("../../data/grey_16x12.jpg");

/// Depth and packed colour of the same place.
fn packed_color(format: &str, images: &[&[u8]]) -> Vec<u8> {
    let mut writer = writer();
    let info = CameraInfo { frame_id: Image::DEPTH.frame_id, ..color_info() };
    put_info(&mut writer, COLOR_INFO, &info);
    for (i, data) in images.iter().enumerate() {
        let image =
            compressed_image(7 + i as u32, stamp_ns(i), Image::DEPTH.frame_id, format, data);
        writer.typed(&format!("{COLOR}/compressed"), COMPRESSED, &image);
    }
    depth_frames(&mut writer, images.len());
    writer.finish(true).bytes
}

#[test]
fn colour_that_a_transport_has_packed_is_unpacked() {
    let pixels = (0..12u8).flat_map(|y| (0..16u8).map(move |x| (x, y)));
    let rgb: Vec<u8> = pixels.clone().flat_map(|(x, y)| [16 * x, 20 * y, 128]).collect();
    let grey: Vec<u8> = pixels.map(|(x, _)| 16 * x).collect();
    let png = png_of(png::ColorType::Rgb, png::BitDepth::Eight, 16, 12, &rgb);
    let grey_png = png_of(png::ColorType::Grayscale, png::BitDepth::Eight, 16, 12, &grey);
    let grey_as_rgb: Vec<u8> = grey.iter().flat_map(|&v| [v; 3]).collect();
    for (format, data, pixels, want, tolerance) in [
        ("rgb8; jpeg compressed bgr8", JPEG, ColorFormat::Rgb8, &rgb, 14),
        ("bgr8; jpeg compressed bgr8", PROGRESSIVE_JPEG, ColorFormat::Rgb8, &rgb, 14),
        ("jpeg", JPEG, ColorFormat::Rgb8, &rgb, 14),
        ("jpeg", GREY_JPEG, ColorFormat::Rgb8, &grey_as_rgb, 2),
        ("yuv422_yuy2; jpeg compressed bgr8", JPEG, ColorFormat::Rgb8, &rgb, 14),
        ("mono8; jpeg compressed ", GREY_JPEG, ColorFormat::Mono8, &grey, 2),
        ("bgr8; png compressed bgr8", &png, ColorFormat::Rgb8, &rgb, 0),
        ("png", &png, ColorFormat::Rgb8, &rgb, 0),
        ("mono8; png compressed ", &grey_png, ColorFormat::Mono8, &grey, 0),
    ] {
        let bytes = packed_color(format, &[data, data]);
        let (info, frames) = replay(&bytes, with_color()).unwrap();
        assert_eq!(info.color.unwrap().format, pixels, "{format}");
        let image = frames[1].color.as_ref().unwrap();
        assert_eq!((image.number, image.format), (8, pixels));
        let worst = image.bytes.iter().zip(want).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(image.bytes.len() == want.len() && worst <= Some(tolerance), "{format}: {worst:?}");
        let info = inspect(&File::new().put(&bytes), &Default::default()).unwrap();
        assert!(info.damage.is_none(), "{format}: {:?}", info.damage);
        let color = stream(&info, "color");
        let facts = (color.frames, color.encoding.as_deref(), color.width);
        assert_eq!(facts, (2, Some(format), Some(16)));
    }
    let bayer = packed_color("bayer_rggb8; jpeg compressed ", &[GREY_JPEG]);
    let words = "the pixel format 'bayer_rggb8; jpeg compressed ', which depthcast does not read";
    refused(&bayer, with_color(), &[words]);
}

#[test]
fn a_damaged_jpeg_costs_itself() {
    let (cut, mut broken) = (&JPEG[..JPEG.len() - 40], JPEG.to_vec());
    broken[2] = 0;
    let file = File::new();
    let images = [JPEG, cut, &broken, JPEG];
    let path = file.put(&packed_color("rgb8; jpeg compressed bgr8", &images));
    let mut source = open(&path, with_color()).unwrap();
    let frames = drain(&mut source);
    let colors: Vec<_> = frames.iter().map(|f| f.color.as_ref().unwrap().number).collect();
    assert_eq!(colors, [7, 7, 10, 10]);
    let damage = source.damage();
    assert_eq!((damage.frames_lost, damage.notes.len()), (0, 2), "{damage:?}");
    let words = "a colour image cannot be read: a damaged JPEG image";
    assert!(damage.notes[0].contains(words), "{damage:?}");
    assert_eq!(inspect(&path, &Default::default()).unwrap().damage.notes.len(), 2);
}
