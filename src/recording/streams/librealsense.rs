//! The topics of librealsense's recordings, recognised by their names.

/// What a topic of librealsense holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsTopic<'a> {
    /// `/device_0/info`
    DeviceInfo,
    /// `/device_0/sensor_0/option/Depth Units/value`
    Option { sensor: &'a str, name: &'a str },
    /// `/device_0/sensor_0/property`, which held the options up to file version 2.
    Property { sensor: &'a str },
    /// `/device_0/sensor_0/Depth_0/...`
    Stream { stream: &'a str, part: Part },
    /// `/device_0/sensor_0/Depth_0/tf/0`: from the origin of a group of streams to this stream.
    Extrinsics { stream: &'a str, group: &'a str },
    /// Written by librealsense, and not needed here.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Info,
    CameraInfo,
    /// The same, repeated after each frame, and without librealsense's name of the lens model.
    FrameCameraInfo,
    /// A frame.
    Data,
    Metadata,
}

impl<'a> RsTopic<'a> {
    /// `None` if librealsense does not name topics so.
    pub fn parse(topic: &'a str) -> Option<Self> {
        if topic == "/file_version" {
            return Some(Self::Other);
        }
        let (device, rest) = topic.strip_prefix('/')?.split_once('/')?;
        if !device.starts_with("device_") {
            return None;
        }
        if rest == "info" {
            return Some(Self::DeviceInfo);
        }
        let Some((_, rest)) = rest.split_once('/').filter(|(name, _)| name.starts_with("sensor_"))
        else {
            return Some(Self::Other);
        };
        let sensor = &topic[..topic.len() - rest.len() - 1];
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let stream = &topic[..sensor.len() + 1 + name.len()];
        let single = |rest: Option<&'a str>| rest.filter(|rest| !rest.contains('/'));
        match name {
            "option" => {
                return Some(match single(rest.strip_suffix("/value")) {
                    Some(name) => Self::Option { sensor, name },
                    None => Self::Other,
                });
            }
            "property" if rest.is_empty() => return Some(Self::Property { sensor }),
            _ if !is_stream(name) => return Some(Self::Other),
            _ => {}
        }
        if let Some(group) = single(rest.strip_prefix("tf/")) {
            return Some(Self::Extrinsics { stream, group });
        }
        let part = match rest {
            "info" => Part::Info,
            "info/camera_info" | "camera_info" => Part::CameraInfo,
            "image/camera_info" => Part::FrameCameraInfo,
            "image/data" | "image/data/compressed" | "image/data/compressedDepth" => Part::Data,
            "imu/data" | "pose/transform/data" => Part::Data,
            _ if single(rest.strip_suffix("/metadata")).is_some() => Part::Metadata,
            _ => return Some(Self::Other),
        };
        Some(Self::Stream { stream, part })
    }
}

/// `Depth_0`
fn is_stream(name: &str) -> bool {
    name.rsplit_once('_')
        .is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether librealsense names topics so; all others are a driver's.
pub fn is_librealsense(topic: &str) -> bool {
    RsTopic::parse(topic).is_some()
}

/// The kind of a stream, `Depth` of `/device_0/sensor_0/Depth_0`.
pub fn kind_of(stream: &str) -> &str {
    let name = stream.rsplit('/').next().unwrap_or(stream);
    name.rsplit_once('_').map_or(name, |(kind, _)| kind)
}

/// `/device_0/sensor_0/Depth_0/image/metadata` for
/// `/device_0/sensor_0/Depth_0/image/data/compressedDepth`.
pub fn metadata_topic(images: &str) -> Option<String> {
    let Some(RsTopic::Stream { part: Part::Data, stream }) = RsTopic::parse(images) else {
        return None;
    };
    let message = images.get(stream.len() + 1..)?.split('/').next()?;
    Some(format!("{stream}/{message}/metadata"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_topics_hold() {
        let sensor = "/device_0/sensor_0";
        let stream = "/device_0/sensor_0/Depth_0";
        let of_stream = |part| Some(RsTopic::Stream { stream, part });
        let extrinsics = |group| Some(RsTopic::Extrinsics { stream, group });
        for (topic, want) in [
            ("/file_version", Some(RsTopic::Other)),
            ("/camera/depth/image_raw", None),
            ("device_0/info", None),
            ("/device_0", None),
            ("/device_0/info", Some(RsTopic::DeviceInfo)),
            ("/device_0/sensor_0/info", Some(RsTopic::Other)),
            (
                "/device_0/sensor_0/option/Depth Units/value",
                Some(RsTopic::Option { sensor, name: "Depth Units" }),
            ),
            ("/device_0/sensor_0/option/Depth_Units/description", Some(RsTopic::Other)),
            ("/device_0/sensor_0/property", Some(RsTopic::Property { sensor })),
            ("/device_0/sensor_0/Depth_0/info", of_stream(Part::Info)),
            ("/device_0/sensor_0/Depth_0/info/camera_info", of_stream(Part::CameraInfo)),
            ("/device_0/sensor_0/Depth_0/camera_info", of_stream(Part::CameraInfo)),
            ("/device_0/sensor_0/Depth_0/image/camera_info", of_stream(Part::FrameCameraInfo)),
            ("/device_0/sensor_0/Depth_0/image/data", of_stream(Part::Data)),
            ("/device_0/sensor_0/Depth_0/image/data/compressedDepth", of_stream(Part::Data)),
            ("/device_0/sensor_0/Depth_0/image/metadata", of_stream(Part::Metadata)),
            ("/device_0/sensor_0/Depth_0/tf/ref_1", extrinsics("ref_1")),
            ("/device_0/sensor_0/Depth_0/tf/0", extrinsics("0")),
            ("/device_0/sensor_0/Depth_0/tf", Some(RsTopic::Other)),
            ("/device_0/sensor_0/Depth_/image/data", Some(RsTopic::Other)),
        ] {
            assert_eq!(RsTopic::parse(topic), want, "{topic}");
        }
        assert_eq!(kind_of("/device_0/sensor_1/Infrared_2"), "Infrared");
    }
}
