//! Cameras made by librealsense's software device, which need no hardware.

use std::ffi::{CStr, c_char, c_int};

use realsense_sys as sys;

use super::super::handle::Device;
use super::super::sdk::{call, make};
use super::super::software::{
    Error, VideoStream, rs2_create_software_device, rs2_software_device_add_sensor, rs2_software_sensor_add_video_stream, to_sdk,
};
use super::{is_older, report, reset_among};
use crate::camera::{Distortion, Intrinsics};
use crate::source::SourceError;

unsafe extern "C" {
    fn rs2_software_device_register_info(
        device: *mut sys::rs2_device,
        info: sys::rs2_camera_info,
        value: *const c_char,
        error: Error,
    );
    fn rs2_software_sensor_add_option(
        sensor: *mut sys::rs2_sensor,
        option: sys::rs2_option,
        min: f32,
        max: f32,
        step: f32,
        default: f32,
        is_writable: c_int,
        error: Error,
    );
}

/// A stereo camera with these depth modes, two options, and what `info` says.
fn camera(modes: &[(u32, u32, c_int)], info: &[(sys::rs2_camera_info, &CStr)]) -> Device {
    // SAFETY: the device is ours; so is the sensor, which is deleted below; its profiles are its own; all texts are valid.
    unsafe {
        let device = Device::from_raw(|error| rs2_create_software_device(error)).unwrap();
        for (what, text) in info {
            call("info", |error| rs2_software_device_register_info(device.as_ptr(), *what, text.as_ptr(), error)).unwrap();
        }
        let add = |error: Error| rs2_software_device_add_sensor(device.as_ptr(), c"Stereo Module".as_ptr(), error);
        let sensor = make("sensor", add).unwrap();
        for (uid, &(width, height, fps)) in modes.iter().enumerate() {
            let (fx, fy, ppx, ppy) = (400.0, 400.0, width as f32 / 2.0, height as f32 / 2.0);
            let intrinsics = Intrinsics { width, height, fx, fy, ppx, ppy, distortion: Distortion::None, coeffs: [0.0; 5] };
            for (kind, index, format) in [
                (sys::rs2_stream_RS2_STREAM_DEPTH, 0, sys::rs2_format_RS2_FORMAT_Z16),
                (sys::rs2_stream_RS2_STREAM_INFRARED, 1, sys::rs2_format_RS2_FORMAT_Y8),
            ] {
                let stream = VideoStream {
                    kind,
                    index,
                    uid: uid as c_int * 2 + index,
                    width: width as c_int,
                    height: height as c_int,
                    fps,
                    bytes_per_pixel: 2,
                    format,
                    intrinsics: to_sdk(&intrinsics),
                };
                make("stream", |error| rs2_software_sensor_add_video_stream(sensor.as_ptr(), stream, error)).unwrap();
            }
        }
        for (option, range, is_writable) in [
            (sys::rs2_option_RS2_OPTION_LASER_POWER, [0.0, 360.0, 30.0, 150.0], 1),
            (sys::rs2_option_RS2_OPTION_STEREO_BASELINE, [50.0, 50.0, 0.0, 50.0], 0),
        ] {
            let [min, max, step, default] = range;
            let add = |error: Error| {
                rs2_software_sensor_add_option(sensor.as_ptr(), option, min, max, step, default, is_writable, error);
            };
            call("option", add).unwrap();
        }
        sys::rs2_delete_sensor(sensor.as_ptr());
        device
    }
}

const FACTS: [(sys::rs2_camera_info, &CStr); 4] = [
    (sys::rs2_camera_info_RS2_CAMERA_INFO_NAME, c"Software D400"),
    (sys::rs2_camera_info_RS2_CAMERA_INFO_SERIAL_NUMBER, c"0123456789"),
    (sys::rs2_camera_info_RS2_CAMERA_INFO_FIRMWARE_VERSION, c"5.9.14.0"),
    (sys::rs2_camera_info_RS2_CAMERA_INFO_RECOMMENDED_FIRMWARE_VERSION, c"5.17.0.9"),
];

fn usb(version: &CStr) -> (sys::rs2_camera_info, &CStr) {
    (sys::rs2_camera_info_RS2_CAMERA_INFO_USB_TYPE_DESCRIPTOR, version)
}

#[test]
fn a_camera_is_listed_with_facts_profiles_and_options() {
    let facts = [&FACTS[..], &[usb(c"3.2")]].concat();
    let report = report(&camera(&[(848, 480, 90), (848, 480, 90), (1280, 720, 30)], &facts));
    assert_eq!(report.name.as_deref(), Some("Software D400"));
    assert_eq!((report.serial.as_deref(), report.usb.as_deref()), (Some("0123456789"), Some("3.2")));
    assert_eq!(report.recommended_firmware.as_deref(), Some("5.17.0.9"));
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.contains("firmware 5.9.14.0 is older than 5.17.0.9"), "{warning}");
    let [sensor] = &report.sensors[..] else { panic!("{report:?}") };
    assert_eq!(sensor.name.as_deref(), Some("Stereo Module"));
    let mut profiles = sensor.profiles.clone();
    profiles.sort();
    let expected = ["depth 1280x720@30 z16", "depth 848x480@90 z16", "infrared 1 1280x720@30 y8", "infrared 1 848x480@90 y8"];
    assert_eq!(profiles, expected);

    let option = |name: &str| sensor.options.iter().find(|option| option.name == name).unwrap_or_else(|| panic!("{sensor:?}"));
    let laser = option("Laser Power");
    assert_eq!((laser.min, laser.max, laser.step, laser.default), (Some(0.0), Some(360.0), Some(30.0), Some(150.0)));
    assert_eq!((laser.value, laser.read_only), (Some(150.0), false));
    assert!(option("Stereo Baseline").read_only);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["sensors"][0]["options"].as_array().unwrap().len(), sensor.options.len());
}

#[test]
fn a_usb_2_link_is_warned_about_with_the_modes_that_it_costs() {
    let report = report(&camera(&[(640, 480, 30), (480, 270, 90)], &[&FACTS[..1], &[usb(c"2.1")]].concat()));
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.contains("USB 2.1") && warning.contains("848x480@90") && warning.contains("1280x720@30"), "{warning}");
    assert!(!warning.contains("480x270@90"), "it has this one: {warning}");
}

#[test]
fn a_camera_that_tells_nothing_of_itself_is_listed_all_the_same() {
    let report = report(&camera(&[], &[]));
    assert_eq!((report.serial, report.usb, report.firmware), (None, None, None));
    assert_eq!(report.sensors[0].profiles, Vec::<String>::new());
}

#[test]
fn only_the_camera_with_the_serial_number_is_reset() {
    let devices = [camera(&[], &[]), camera(&[], &FACTS)];
    let error = reset_among(&devices, "999").unwrap_err();
    assert!(matches!(&error, SourceError::NoCamera(text) if text.contains("999") && text.contains("0123456789")), "{error}");
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
