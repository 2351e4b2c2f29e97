//! Files and folders of other tools.

use super::*;

#[test]
fn messages_that_rosbag2_has_compressed_one_by_one_are_read() {
    let file = File::new();
    let path = file.put(&write_mcap(&[frame_messages(0..4)], true));
    assert_eq!(depths(&replay(&path, at_once()).1), [0, 1, 2, 3]);
}

#[test]
fn a_recording_in_several_files_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["x_0.mcap", "x_1.mcap", "x_2.mcap"];
    for (i, name) in names.iter().enumerate() {
        // The lens is in the first one alone.
        let mut messages = frame_messages(4 * i..4 * i + 4);
        messages.retain(|(topic, ..)| *topic == DEPTH || i == 0);
        std::fs::write(dir.path().join(name), write_mcap(&[messages], false)).unwrap();
    }
    let paths = names.map(|name| dir.path().join(name));
    let read = ReadOptions { more_parts: paths[1..].to_vec(), ..Default::default() };
    let with_parts = ReplayOptions { read, ..at_once() };
    let whole: Vec<usize> = (0..12).collect();
    assert_eq!(depths(&replay(&paths[0], with_parts.clone()).1), whole);
    let from = Some(Duration::from_millis(330));
    let mut source = open(&paths[0], ReplayOptions { from, ..with_parts }).unwrap();
    assert_eq!(depths(&drain(&mut source)), [10, 11]);

    // A recorder that was killed has written no list; the names tell.
    assert_eq!(depths(&replay(dir.path(), at_once()).1), whole);
    let other = dir.path().join("other.mcap");
    std::fs::copy(&paths[0], &other).unwrap();
    let error = open(dir.path(), at_once()).err().unwrap().to_string();
    assert!(error.contains("4 recordings and no metadata.yaml"), "{error}");
    std::fs::remove_file(other).unwrap();
    // In the wrong order.
    let read = ReadOptions { more_parts: paths[..2].to_vec(), ..Default::default() };
    let (_, frames, remarks) = replay(&paths[2], ReplayOptions { read, ..at_once() });
    assert_eq!(depths(&frames), whole);
    assert!(remarks.contains("not in the order of time"), "{remarks}");
    let metadata = dir.path().join("metadata.yaml");
    let list = |names: &[&str]| {
        let files: String = names.iter().map(|name| format!("    - {name}\n")).collect();
        format!(
            "rosbag2_bagfile_information:\n  version: 5\n  relative_file_paths:\n{files}  x: 1\n"
        )
    };
    std::fs::write(&metadata, list(&names)).unwrap();
    for path in [dir.path(), &metadata] {
        assert_eq!(depths(&replay(path, at_once()).1), whole);
        let info = inspect(path, &Default::default()).unwrap();
        assert_eq!((info.streams[0].frames, info.complete), (12, true));
    }
    std::fs::write(&metadata, list(&["gone.db3"])).unwrap();
    let error = open(dir.path(), at_once()).err().unwrap().to_string();
    assert!(error.contains("lists gone.db3, which is missing"), "{error}");
}

#[test]
fn a_bag_of_librealsense_that_was_converted_to_ros_2_is_whole() {
    const STREAM: &str = "/device_0/sensor_0/Depth_0";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db3");
    let mut writer = db3_writer::Writer::new(&path, 4096, false);
    let key_value = |key: &str, value: &str| Cdr::new().string(key).string(value).0;
    let typed = "diagnostic_msgs/msg/KeyValue";
    let info = ros2_camera_info(0, SIZE, "Brown Conrady", &[0.0; 5], K);
    writer.message(&format!("{STREAM}/info/camera_info"), "sensor_msgs/msg/CamInfo", 1, &info);
    writer.message("/device_0/sensor_0/property", typed, 1, &key_value("Depth Units", "0.002"));
    for i in 0..3 {
        let [image, _] = ros2_frame(i, S + i as u64);
        writer.message(&format!("{STREAM}/image/data"), "sensor_msgs/msg/Image", 2, &image);
        let domain = key_value("timestamp_domain", "System Time");
        writer.message(&format!("{STREAM}/image/metadata"), typed, 2, &domain);
    }
    writer.finish();
    let (source, frames, _) = replay(&path, at_once());
    assert_eq!((numbers(&frames), source.info().stream.depth_units_m), (vec![1, 2, 3], 0.002));
    assert!(inspect(&path, &Default::default()).unwrap().complete);
}

#[test]
fn names_in_another_encoding_than_utf_8_cost_nothing() {
    let mut bytes = bag("/d/image_raw", &[("/d/camera_info", CameraInfo::default())]);
    let name = Image::DEPTH.frame_id.as_bytes();
    while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
        bytes[at + 3] = 0xe9;
    }
    let file = File::new();
    assert_eq!(replay(&file.put(&bytes), at_once()).1.len(), 3);
}

#[test]
fn foreign_files_are_named_with_what_to_do() {
    let file = File::new();
    for (start, words) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"[..], "git lfs pull"),
        (b"\x28\xb5\x2f\xfd\0\x58\xbd\x91", "zstd -d "),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gunzip "),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81", "Matroska"),
        (b"NI10\0\0\0\0", ".oni"),
        (&[&[b'x'; 257][..], b"ustar\0"].concat(), "tar archive"),
        (b"RRF2\0\0\0\0", ".rrd"),
        (b"PK\x03\x04\x14\0\0\0", "ZIP"),
        (b"\n<!DOCTYPE html><html><head>", "web page"),
    ] {
        let error = sniff(&file.put(start)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_recording_without_depth_lists_its_topics_and_why_it_is_refused() {
    let mut writer = writer();
    for i in 0..3 {
        let header = common::driver_messages::header(i, S, "imu");
        writer.typed("/imu", "sensor_msgs/Imu", &header);
        writer.typed("/points", "foo_msgs/DepthVideo", &header);
    }
    let file = File::new();
    let path = file.put(&writer.finish(true).bytes);
    let info = inspect(&path, &Default::default()).unwrap();
    let topics: Vec<_> = info.topics.iter().map(|t| (&*t.name, &*t.schema, t.messages)).collect();
    assert_eq!(topics, [("/imu", "sensor_msgs/Imu", 3), ("/points", "foo_msgs/DepthVideo", 3)]);
    let refusal = info.refusal.unwrap();
    let says = "images of a type that depthcast does not read: /points (foo_msgs/DepthVideo)";
    assert!(refusal.contains(says), "{refusal}");
}
