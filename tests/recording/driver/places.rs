//! Where cameras stand, and which colour belongs to which depth.

use super::*;

#[test]
fn the_colour_camera_stands_where_the_frames_say() {
    // What turns optical axes into those of a robot: x forward, y left, z up.
    const OPTICAL: [f64; 4] = [-0.5, 0.5, -0.5, 0.5];
    let links = [
        ("camera_link", "camera_depth_frame", [0.0; 3], STRAIGHT),
        ("camera_depth_frame", "camera_depth_optical_frame", [0.0; 3], OPTICAL),
        ("camera_link", "camera_color_frame", [0.001, 0.015, 0.002], STRAIGHT),
        ("camera_color_frame", "camera_color_optical_frame", [0.0; 3], OPTICAL),
    ];
    let near = |place: &Extrinsics, want: [f32; 3]| {
        let rotations = place.rotation.iter().zip(Extrinsics::IDENTITY.rotation);
        let mut pairs = rotations.chain(place.translation_m.iter().zip(want));
        pairs.all(|(a, b)| (a - b).abs() < 1e-6)
    };
    for is_closed in [true, false] {
        // In one message, or one by one on both topics and behind the first images.
        for is_late in [false, true] {
            let mut writer = writer();
            if !is_late {
                writer.typed("/tf_static", TF, &transforms(&links));
            }
            depth_and_color(&mut writer, 3);
            if is_late {
                for (i, link) in links.into_iter().enumerate() {
                    let (topic, kind) =
                        if i % 2 == 0 { ("/tf", "tf/tfMessage") } else { ("/tf_static", TF) };
                    writer.typed(topic, kind, &transforms(&[link]));
                }
            }
            depth_and_color(&mut writer, 9);
            let (info, frames) = replay(&writer.finish(is_closed).bytes, with_color()).unwrap();
            let color = info.color.unwrap();
            assert!(near(&color.from_depth, [0.015, 0.002, -0.001]), "{:?}", color.from_depth);
            assert_eq!((color.intrinsics.fx, color.format), (30.0, ColorFormat::Rgb8));
            let plumb_bob = Distortion::RationalPolynomial([0.0; 7]);
            assert_eq!(color.intrinsics.distortion, plumb_bob);
            let image = frames[1].color.as_ref().unwrap();
            assert_eq!((image.number, image.bytes.as_slice()), (8, color_of(1).as_slice()));
        }
        let mut writer = writer();
        // The driver's own extrinsics are the exact ones.
        put_extrinsics(&mut writer);
        writer.typed("/tf_static", TF, &transforms(&links));
        depth_and_color(&mut writer, 3);
        let (info, _) = replay(&writer.finish(is_closed).bytes, with_color()).unwrap();
        assert!(near(&info.color.unwrap().from_depth, [0.014, 0.5, 0.25]));
    }
    let mut writer = writer();
    depth_and_color(&mut writer, 3);
    let bytes = writer.finish(true).bytes;
    let frames = "from the frame 'camera_depth_optical_frame' to 'camera_color_optical_frame'";
    refused(&bytes, with_color(), &["where its colour camera is (/tf_static or /tf", frames]);
    assert_eq!(replay(&bytes, at_once()).unwrap().1.len(), 3, "and nobody needs it without colour");
}

#[test]
fn depth_that_was_aligned_to_colour_stands_where_colour_does() {
    let mut writer = writer();
    let aligned = Image { frame_id: Image::COLOR.frame_id, ..Image::DEPTH };
    for i in 0..2 {
        put_depth(&mut writer, "/camera/aligned_depth_to_color/image_raw", &aligned, 1, i);
        put_info(&mut writer, "/camera/aligned_depth_to_color/camera_info", &color_info());
        writer.typed(COLOR, IMAGE, &Image::COLOR.message(1, stamp_ns(i), &color_of(i)));
        put_info(&mut writer, COLOR_INFO, &color_info());
    }
    let (info, frames) = replay(&writer.finish(true).bytes, with_color()).unwrap();
    assert_eq!(info.color.unwrap().from_depth, Extrinsics::IDENTITY);
    assert_eq!(numbers(&frames), [1, 2], "headers that do not count are not asked");
}

#[test]
fn the_colour_beside_the_depth_is_taken() {
    let mut writer = writer();
    let same_place = Image { frame_id: Image::DEPTH.frame_id, ..Image::COLOR };
    for topic in
        ["/another/color/image_raw", "/camera/color/image_raw", "/camera/color/image_rotated"]
    {
        let info = CameraInfo { k: [topic.len() as f64; 4], ..Default::default() };
        let info_topic = format!("{}/camera_info", topic.rsplit_once('/').unwrap().0);
        put_info(&mut writer, &info_topic, &info);
        writer.typed(topic, IMAGE, &same_place.message(1, stamp_ns(0), &color_of(topic.len())));
    }
    let jpeg =
        compressed_image(1, 5, Image::DEPTH.frame_id, "rgb8; jpeg compressed bgr8", packed::JPEG);
    writer.typed("/camera/color/image_raw/compressed", COMPRESSED, &jpeg);
    depth_frames(&mut writer, 2);
    let bytes = writer.finish(true).bytes;
    let (_, frames) = replay(&bytes, with_color()).unwrap();
    assert_eq!(frames[0].color.as_ref().unwrap().bytes, color_of("/camera/color/image_raw".len()));
    let info = inspect(&File::new().put(&bytes), &Default::default()).unwrap();
    let jpeg = info.streams.iter().find(|s| s.topic.ends_with("/compressed")).unwrap();
    let facts = (jpeg.kind.as_str(), jpeg.encoding.as_deref(), jpeg.frames);
    assert_eq!(facts, ("color", Some("rgb8; jpeg compressed bgr8"), 1));
    assert_eq!((jpeg.width, jpeg.fx), (Some(16), Some(23.0)), "its lens is that of the raw images");
}
