//! Cameras made by librealsense's software device, which need no hardware.

use super::super::software::{
    SoftwareDevice, SoftwareFacts, SoftwareOption, SoftwareSensor, SoftwareStream, StreamKind,
};
use super::{is_older, report, reset_among};
use crate::camera::{Distortion, Intrinsics};
use crate::source::SourceError;

/// A stereo camera with these depth modes, two options, and what `facts` say.
fn camera(modes: &[(u32, u32, i32)], facts: SoftwareFacts) -> SoftwareDevice {
    let stream = |kind, &(width, height, fps): &(u32, u32, i32)| {
        let (fx, fy, ppx, ppy) = (400.0, 400.0, width as f32 / 2.0, height as f32 / 2.0);
        let intrinsics = Intrinsics {
            width,
            height,
            fx,
            fy,
            ppx,
            ppy,
            distortion: Distortion::None,
            coeffs: [0.0; 5],
        };
        SoftwareStream { kind, fps, intrinsics: Some(intrinsics), from_depth: None }
    };
    let kinds = |mode| [StreamKind::Depth, StreamKind::Infrared(1)].map(|kind| stream(kind, mode));
    let option = |name: &str, [min, max, step, default]: [f32; 4], is_writable| SoftwareOption {
        name: name.into(),
        min,
        max,
        step,
        default,
        is_writable,
    };
    let options = vec![
        option("Laser Power", [0.0, 360.0, 30.0, 150.0], true),
        option("Stereo Baseline", [50.0, 50.0, 0.0, 50.0], false),
    ];
    let sensor = SoftwareSensor {
        name: "Stereo Module".into(),
        streams: modes.iter().flat_map(kinds).collect(),
        options,
    };
    SoftwareDevice::new(&facts, &[sensor]).unwrap()
}

fn facts(usb: &str) -> SoftwareFacts {
    let text = |text: &str| Some(text.to_owned());
    SoftwareFacts {
        name: text("Software D400"),
        serial: text("0123456789"),
        firmware: text("5.9.14.0"),
        recommended_firmware: text("5.17.0.9"),
        usb: text(usb),
    }
}

#[test]
fn a_camera_is_listed_with_facts_profiles_and_options() {
    let report =
        report(camera(&[(848, 480, 90), (848, 480, 90), (1280, 720, 30)], facts("3.2")).device());
    assert_eq!(report.name.as_deref(), Some("Software D400"));
    assert_eq!(
        (report.serial.as_deref(), report.usb.as_deref()),
        (Some("0123456789"), Some("3.2"))
    );
    assert_eq!(report.recommended_firmware.as_deref(), Some("5.17.0.9"));
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.contains("firmware 5.9.14.0 is older than 5.17.0.9"), "{warning}");
    let [sensor] = &report.sensors[..] else { panic!("{report:?}") };
    assert_eq!(sensor.name.as_deref(), Some("Stereo Module"));
    let mut profiles = sensor.profiles.clone();
    profiles.sort();
    let expected = [
        "depth 1280x720@30 z16",
        "depth 848x480@90 z16",
        "infrared 1 1280x720@30 y8",
        "infrared 1 848x480@90 y8",
    ];
    assert_eq!(profiles, expected);

    let option = |name: &str| {
        sensor
            .options
            .iter()
            .find(|option| option.name == name)
            .unwrap_or_else(|| panic!("{sensor:?}"))
    };
    let laser = option("Laser Power");
    assert_eq!(
        (laser.min, laser.max, laser.step, laser.default),
        (Some(0.0), Some(360.0), Some(30.0), Some(150.0))
    );
    assert_eq!((laser.value, laser.read_only), (Some(150.0), false));
    assert!(option("Stereo Baseline").read_only);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["sensors"][0]["options"].as_array().unwrap().len(), sensor.options.len());
}

#[test]
fn a_usb_2_link_is_warned_about_with_the_modes_that_it_costs() {
    let report = report(
        camera(&[(640, 480, 30), (480, 270, 90)], SoftwareFacts { firmware: None, ..facts("2.1") })
            .device(),
    );
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(
        warning.contains("USB 2.1")
            && warning.contains("848x480@90")
            && warning.contains("1280x720@30"),
        "{warning}"
    );
    assert!(!warning.contains("480x270@90"), "it has this one: {warning}");
}

#[test]
fn a_camera_that_tells_nothing_of_itself_is_listed_all_the_same() {
    let report = report(camera(&[], SoftwareFacts::default()).device());
    assert_eq!((report.serial, report.usb, report.firmware), (None, None, None));
    assert_eq!(report.sensors[0].profiles, Vec::<String>::new());
}

#[test]
fn only_the_camera_with_the_serial_number_is_reset() {
    let devices = [camera(&[], SoftwareFacts::default()), camera(&[], facts("3.2"))];
    let devices = devices.each_ref().map(SoftwareDevice::device);
    let error = reset_among(&devices, "999").unwrap_err();
    assert!(
        matches!(&error, SourceError::NoCamera(text) if text.contains("999") && text.contains("0123456789")),
        "{error}"
    );
    // A software device has nothing to reset, and says so: the call has reached it.
    let error = reset_among(&devices, "0123456789").unwrap_err();
    assert!(matches!(&error, SourceError::Sdk { what: "hardware reset", .. }), "{error}");
}

#[test]
fn versions_are_compared_number_by_number() {
    assert!(is_older("5.9.14.0", "5.10.0.0"));
    assert!(!is_older("5.17.0.9", "5.17.0.9") && !is_older("5.17.0.10", "5.17.0.9"));
    assert!(!is_older("unknown", "5.17.0.9"));
}
