//! In which order frames come, with which numbers and which colour image.

use super::*;

#[test]
fn frames_come_in_the_order_of_time_whatever_that_of_the_file() {
    let chunks = [frame_messages(8..12), frame_messages(0..4), frame_messages(4..8)];
    let mixed = [5, 0, 9, 1, 11, 2, 3, 8, 4, 7, 6, 10];
    let mixed_chunks: Vec<_> = mixed.map(|i| frame_messages(i..i + 1)).to_vec();
    let file = File::new();
    for chunks in [&chunks[..], &[mixed_chunks.concat()], &mixed_chunks] {
        let path = file.put(&write_mcap(chunks, false));
        let (_, frames, remarks) = replay(&path, at_once());
        assert_eq!(depths(&frames), (0..12).collect::<Vec<_>>());
        assert!(remarks.contains("not in the order of time"), "{remarks}");
        let from = Some(Duration::from_millis(230));
        let mut source = open(&path, ReplayOptions { from, ..at_once() }).unwrap();
        assert_eq!(depths(&drain(&mut source)), [7, 8, 9, 10, 11]);
        let info = inspect(&path, &Default::default()).unwrap();
        assert!((info.duration_s - 11.0 / 30.0).abs() < 1e-6, "{}", info.duration_s);
    }
    // Where no index tells of it, that is said.
    let path = file.put(&unclosed(write_mcap(&mixed_chunks, false)));
    let mut source = open(&path, at_once()).unwrap();
    assert_eq!(depths(&drain(&mut source)), mixed);
    let remarks = source.damage().remarks.join("; ");
    assert!(remarks.contains("5 depth images with an earlier time stamp"), "{remarks}");

    // The same in SQLite, where a single message may have a wrong time.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db3");
    let mut writer = db3_writer::Writer::new(&path, 4096, false);
    for (topic, at, body) in chunks.concat() {
        let schema =
            if topic == DEPTH { "sensor_msgs/msg/Image" } else { "sensor_msgs/msg/CameraInfo" };
        writer.message(topic, schema, at as i64, &body);
    }
    writer.finish();
    let (_, frames, remarks) = replay(&path, at_once());
    assert_eq!(depths(&frames), (0..12).collect::<Vec<_>>());
    assert!(remarks.contains("not in the order of time"), "{remarks}");
}

#[test]
fn colour_is_the_nearest_in_time_wherever_it_is_in_the_file() {
    let n = 40;
    let (depth, color) = (frame_messages(0..n), color_messages(0..n));
    let together = [&depth[..], &color[..]].concat();
    let one_by_one = |messages: &[Message]| -> Vec<Vec<Message>> {
        messages.chunks(8).map(<[Message]>::to_vec).collect()
    };
    for chunks in [
        one_by_one(&together),
        one_by_one(&[&color[..], &depth[..]].concat()),
        vec![together.clone()],
        // Chunks of many images: those of depth and colour overlap in time.
        [&color[..], &depth[..]].concat().chunks(26).map(<[Message]>::to_vec).collect(),
        vec![[color, depth].concat()],
    ] {
        let file = File::new();
        let path = file.put(&write_mcap(&chunks, false));
        let (_, frames, _) = replay(&path, with_color());
        let colors: Vec<usize> =
            frames.iter().map(|frame| frame.color.as_ref().unwrap().bytes[0].into()).collect();
        assert_eq!((depths(&frames), colors), ((0..n).collect(), (0..n).collect()));
        let from = Some(Duration::from_millis(500));
        let mut source = open(&path, ReplayOptions { from, ..with_color() }).unwrap();
        let first = &drain(&mut source)[0];
        assert_eq!(usize::from(first.color.as_ref().unwrap().bytes[0]), 15);
    }
}

#[test]
fn colour_without_stamps_is_paired_by_the_times_of_recording() {
    let at = |i: usize| S + i as u64 * S / 30;
    let colors = (0..6).map(|i| (COLOR, at(i), ros2_color(i, 0)));
    let infos = color_messages(0..1).into_iter().skip(1);
    let messages: Vec<Message> =
        frame_messages(0..6).into_iter().chain(infos).chain(colors).collect();
    let file = File::new();
    let (_, frames, remarks) = replay(&file.put(&write_mcap(&[messages], false)), with_color());
    let colors = frames.iter().map(|frame| frame.color.as_ref().unwrap().bytes[0]);
    assert_eq!(colors.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert!(remarks.contains("6 colour images without a time stamp"), "{remarks}");
}

#[test]
fn stamps_of_zero_become_times_of_recording() {
    for (zeros, says) in
        [(0..10, "10 depth images"), (3..5, "2 depth images"), (0..1, "1 depth image")]
    {
        let stamp = |i: usize| if zeros.contains(&i) { 0 } else { S * 1000 + i as u64 * S / 5 };
        // Recorded by another clock than the stamps are of.
        let recorded = |i: usize| S + i as u64 * S / 5;
        let messages = (0..10).flat_map(|i| {
            let [image, info] = ros2_frame(i, stamp(i));
            [(DEPTH, recorded(i), image), ("/d/camera_info", recorded(i), info)]
        });
        let file = File::new();
        let path = file.put(&write_mcap(&[messages.collect()], false));
        let (_, frames, remarks) = replay(&path, at_once());
        let ms: Vec<f64> = frames.iter().map(|f| f.meta.device_time.unwrap().ms).collect();
        assert!((ms[9] - ms[0] - 1800.0).abs() < 1e-6, "{zeros:?}: {ms:?}");
        assert!(remarks.contains(says), "{remarks}");
        let info = inspect(&path, &Default::default()).unwrap();
        let is_known = zeros.start > 0 || zeros.end == 10;
        assert!(!is_known || (info.duration_s - 1.8).abs() < 1e-6, "{}", info.duration_s);
        assert!(info.damage.remarks[0].contains(says), "{:?}", info.damage);
    }
}

#[test]
fn librealsenses_numbers_that_are_constant_are_counted_here() {
    let spec = common::bag_writer::Spec { restart_after: 1, ..Default::default() };
    let file = File::new();
    let path = file.put(&common::bag_writer::write_bag(&spec).bytes);
    let (_, frames, _) = replay(&path, at_once());
    let n = frames.len() as u64;
    assert_eq!(numbers(&frames), (1..=n).collect::<Vec<_>>());
    let info = inspect(&path, &Default::default()).unwrap();
    let depth = common::recording::stream(&info, "depth");
    assert_eq!(common::recording::counts(depth), (n, Some(1), Some(n)));
}
