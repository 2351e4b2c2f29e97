//! What the text messages of a recording tell about the device and its streams: librealsense from
//! 2.58 on writes such.

use crate::recording::ros;
use crate::recording::ros::text;
use crate::recording::streams::catalogue::{Catalogue, Part, Place};

impl Catalogue {
    /// Takes in the text of a message.
    pub(crate) fn learn_text(&mut self, topic: &str, text: &str) {
        match Place::parse(topic) {
            Some(Place::DeviceInfo) => {
                let value = |key| text::value_of(text, key).map(str::to_owned);
                self.device = self.device.take().or_else(|| value("name"));
                self.serial = self.serial.take().or_else(|| value("serial number"));
                self.firmware = self.firmware.take().or_else(|| value("firmware version"));
            }
            Some(Place::Option { sensor, name }) if ros::spelling(name) == "depth units" => {
                self.learn_units(sensor, text.parse().ok());
            }
            Some(Place::Extrinsics { stream, group }) => {
                if let Ok(place) = text::parse_transform(text) {
                    self.facts_of(stream).place.get_or_insert_with(|| (group.to_owned(), place));
                }
            }
            Some(Place::Stream { stream, part: Part::Info }) => {
                let fps = text::value_of(text, "fps").and_then(|fps| fps.parse().ok());
                let encoding = text::value_of(text, "encoding").map(str::to_owned);
                let facts = self.facts_of(stream);
                facts.nominal_fps = fps.filter(|&fps: &f64| fps > 0.0 && fps.is_finite());
                facts.encoding = facts.encoding.take().or(encoding);
            }
            Some(Place::Stream { stream, part: Part::CameraInfo }) => {
                if let Ok(info) = text::parse_camera_info(text) {
                    self.learn_camera(stream, &info);
                }
            }
            Some(Place::Stream { stream, part: Part::Metadata }) => {
                let facts = self.facts_of(stream);
                text::pairs(text).for_each(|(name, value)| facts.learn_metadata(name, value));
            }
            _ => {}
        }
    }
}
