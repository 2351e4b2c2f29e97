//! Which lens depth is projected by.

use super::*;

#[test]
fn lenses_are_what_image_geometry_makes_of_camera_infos() {
    let bent = vec![0.1, -0.2, 0.001, -0.002, 0.05];
    let (k, p) = ([20.0, 21.0, 7.5, 5.5], [18.0, 19.0, 8.0, 6.0]);
    let of = |d: &[f64]| CameraInfo { d: d.to_vec(), p: Some(p), ..Default::default() };
    let large = CameraInfo { width: 32, height: 24, k: k.map(|v| 2.0 * v), ..Default::default() };
    let roi = CameraInfo { width: 64, height: 48, roi: [10, 6, 16, 12], ..Default::default() };
    let both = CameraInfo { roi: [8, 4, 32, 24], binning: 2, ..roi.clone() };
    let none = CameraInfo { k: [0.0; 4], d: vec![], ..of(&[]) };
    let without_p = CameraInfo { p: Some([0.0; 4]), ..of(&bent) };
    let (rect, raw, beside) = ("/d/image_rect", "/d/image_raw", "/d/camera_info");
    let same = CameraInfo::default();
    for (topic, infos, want, by) in [
        (rect, vec![(beside, of(&bent))], p, "by P, without the distortion D"),
        (rect, vec![(beside, of(&[0.0; 5]))], p, ""),
        (raw, vec![(beside, of(&bent))], k, ""),
        ("/d/rectified/image", vec![("/d/rectified/camera_info", without_p)], k, "by K, without"),
        ("/d/image", vec![(beside, none)], p, "by P, since K is zeros"),
        (raw, vec![(beside, CameraInfo { binning: 2, ..large.clone() })], k, ""),
        (raw, vec![(beside, roi)], [20.0, 21.0, -2.5, -0.5], ""),
        (raw, vec![(beside, both)], [10.0, 10.5, -0.25, 0.75], ""),
        ("/d/hw/image_raw", vec![(beside, of(&[]))], k, ""),
        (raw, vec![("/a/camera_info", same.clone()), ("/b/camera_info", same)], k, ""),
    ] {
        let file = File::new();
        let path = file.put(&bag(topic, &infos));
        let (source, frames, remarks) = replay(&path, at_once());
        let lens = source.info().stream.intrinsics;
        assert_eq!([lens.fx, lens.fy, lens.ppx, lens.ppy].map(f64::from), want, "{infos:?}");
        let is_bent = topic == raw && infos[0].1.d == bent;
        assert_eq!(lens.is_distorted(), is_bent, "{infos:?}");
        assert!(remarks.contains(by), "{remarks}");
        assert_eq!(remarks.is_empty(), by.is_empty(), "{remarks}");
        if !is_bent {
            let metres: Vec<f64> = depth(2).iter().map(|&d| f64::from(d) * 0.001).collect();
            assert_near(&cloud(&source, &frames[2]), &expected(&metres, want));
        }
        let info = inspect(&path, &Default::default()).unwrap();
        assert_eq!(info.streams[0].fx.map(f64::from), Some(want[0]));
    }
}

#[test]
fn a_rational_lens_is_opencvs() {
    let d = [0.4, -0.6, 0.001, -0.002, 0.05, 0.3, -0.4, 0.02];
    let info = CameraInfo { model: "rational_polynomial", d: d.to_vec(), ..Default::default() };
    let file = File::new();
    let (source, ..) =
        replay(&file.put(&bag("/d/image_raw", &[("/d/camera_info", info)])), at_once());
    let lens = source.info().stream.intrinsics;
    assert!(matches!(lens.distortion, Distortion::RationalPolynomial(_)));
    for (u, v) in [(0.0, 0.0), (15.0, 0.0), (3.0, 11.0), (8.0, 6.0), (15.0, 11.0)] {
        let [x, y] = lens.ray(u, v).map(f64::from);
        // OpenCV's projectPoints.
        let r2 = x * x + y * y;
        let radial = (1.0 + ((d[4] * r2 + d[1]) * r2 + d[0]) * r2)
            / (1.0 + ((d[7] * r2 + d[6]) * r2 + d[5]) * r2);
        let bent_x = x * radial + 2.0 * d[2] * x * y + d[3] * (r2 + 2.0 * x * x);
        let bent_y = y * radial + d[2] * (r2 + 2.0 * y * y) + 2.0 * d[3] * x * y;
        let back = [20.0 * bent_x + 7.5, 21.0 * bent_y + 5.5];
        let off = (back[0] - f64::from(u)).hypot(back[1] - f64::from(v));
        assert!(off < 1e-4, "{u} {v}: {back:?}");
    }
}

#[test]
fn the_user_says_what_a_recording_does_not() {
    let file = File::new();
    let path = file.put(&bag("/d/image_raw", &[]));
    let error = open(&path, at_once()).err().unwrap().to_string();
    assert!(error.contains("are missing") && error.contains("--intrinsics"), "{error}");
    let intrinsics = Some([20.0, 21.0, 7.5, 5.5]);
    let (intrinsics, depth_units_m) = (intrinsics, Some(0.000_125));
    let overrides = Overrides { intrinsics, depth_units_m, ..Default::default() };
    let (source, frames, _) = replay(&path, reading(overrides.clone()));
    let metres: Vec<f64> = depth(0).iter().map(|&d| f64::from(d) * 0.000_125).collect();
    let lens = [20.0, 21.0, 7.5, 5.5];
    assert_near(&cloud(&source, &frames[0]), &expected(&metres, lens));
    let info = inspect(&path, &ReadOptions { overrides, ..Default::default() }).unwrap();
    assert_eq!((info.streams[0].fx, info.streams[0].depth_units_m), (Some(20.0), Some(0.000_125)));
    // Depth alone needs no lens.
    let read = ReadOptions { without_lens: true, ..Default::default() };
    let (_, frames, _) = replay(&path, ReplayOptions { read, ..at_once() });
    assert_eq!(frames[1].depth, depth(1));

    let other = CameraInfo { k: [30.0; 4], ..Default::default() };
    let infos = [("/a/camera_info", CameraInfo::default()), ("/b/camera_info", other)];
    let path = file.put(&bag("/d/image_raw", &infos));
    let error = open(&path, at_once()).err().unwrap().to_string();
    assert!(error.contains("--camera-info: /a/camera_info, /b/camera_info"), "{error}");
    let camera_info = Some("b/camera_info".to_owned());
    let (source, ..) = replay(&path, reading(Overrides { camera_info, ..Default::default() }));
    assert_eq!(source.info().stream.intrinsics.fx, 30.0);
}

#[test]
fn a_lens_that_changes_counts_from_its_frame_on_wherever_its_camera_infos_are() {
    let other = [18.0, 0.0, 7.0, 0.0, 19.0, 5.0, 0.0, 0.0, 1.0];
    let at = |i: usize| S + i as u64 * S / 30;
    let images = || (0..6).map(|i| (DEPTH, at(i), ros2_frame(i, at(i))[0].clone()));
    // Of each frame, or of those alone that have a new one; later than its image, or without a stamp.
    let infos = |frames: &[usize], stamp: &dyn Fn(usize) -> u64| -> Vec<Message> {
        let info = |&i: &usize| {
            let k = if i < 3 { K } else { other };
            let message = ros2_camera_info(stamp(i), SIZE, "plumb_bob", &[], k);
            ("/d/camera_info", at(i), message)
        };
        frames.iter().map(info).collect()
    };
    let paired = |infos: Vec<Message>| images().zip(infos).flat_map(|(a, b)| [a, b]).collect();
    let all = [0, 1, 2, 3, 4, 5];
    let images: Vec<Message> = images().collect();
    let sparse = infos(&[0, 3], &at);
    for messages in [
        paired(infos(&all, &at)),
        paired(infos(&all, &|i| at(i) + 1_000_000)),
        paired(infos(&all, &|_| 0)),
        [infos(&all, &at), images.clone()].concat(),
        [images.clone(), infos(&all, &at)].concat(),
        [&sparse[..1], &images[..3], &sparse[1..], &images[3..]].concat(),
    ] {
        let messages: Vec<Message> = messages;
        let file = File::new();
        let path = file.put(&write_mcap(&[messages], false));
        let (source, frames, _) = replay(&path, at_once());
        let fx: Vec<Option<f32>> = frames.iter().map(|f| f.intrinsics.map(|i| i.fx)).collect();
        assert_eq!(fx, [None, None, None, Some(18.0), Some(18.0), Some(18.0)]);
        let metres: Vec<f64> = depth(4).iter().map(|&d| f64::from(d) * 0.001).collect();
        assert_near(&cloud(&source, &frames[4]), &expected(&metres, [18.0, 19.0, 7.0, 5.0]));
    }
}
