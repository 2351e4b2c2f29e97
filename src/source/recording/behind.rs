//! How [`ImageReader`] delivers images that wait for their metadata.

use std::ops::Range;

use super::hold::{Found, Released};
use super::images::{ColorFacts, DepthFacts, ImageReader, Step};
use super::messages::text::FrameText;
use crate::camera::Intrinsics;

impl ImageReader {
    /// A depth image came; a step if another one waited for its metadata in vain.
    pub(super) fn hold_depth(&mut self, channel: u32, body: &Range<usize>) -> Option<Step> {
        let Self { held: Some(held), reader, stream, .. } = self else { return None };
        let Intrinsics { width, height, .. } = stream.intrinsics;
        let recorded_ns = reader.recorded_ns();
        let (before, taken) = held.take(reader.topic(channel)?, reader.bytes(body), (width, height), recorded_ns, |image| {
            image.check_depth(width, height)
        });
        if let Err(what) = taken {
            self.reader.note_here(&format!("a depth image cannot be read: {what}"));
            self.ledger.bad_frame();
        }
        before.map(|released| self.release_depth(released))
    }

    /// The same for colour.
    pub(super) fn hold_color(&mut self, channel: u32, body: &Range<usize>) -> Option<Step> {
        let Self { held_color: Some(held), color: Some(color), reader, .. } = self else { return None };
        let topic = reader.topic(channel).filter(|topic| topic.name == color.topic)?;
        let Intrinsics { width, height, .. } = color.stream.intrinsics;
        let recorded_ns = reader.recorded_ns();
        let (before, taken) =
            held.take(topic, reader.bytes(body), (width, height), recorded_ns, |image| color.shape().check(image));
        if let Err(what) = taken {
            self.reader.note_here(&format!("a colour image cannot be read: {what}"));
        }
        before.map(|released| self.release_color(released))
    }

    /// Whether a channel has the metadata of held images.
    pub(super) fn is_behind(&self, channel: u32) -> bool {
        let Some(topic) = self.reader.topic(channel) else { return false };
        self.held.iter().chain(&self.held_color).any(|held| held.metadata_topic == topic.name)
    }

    /// Metadata came.
    pub(super) fn look_behind(&mut self, channel: u32, body: &Range<usize>) -> Option<Step> {
        let topic = self.reader.topic(channel)?;
        let is_depth = self.held.as_ref().is_some_and(|held| held.metadata_topic == topic.name);
        let text = match FrameText::parse(topic.wire, self.reader.bytes(body)) {
            Ok(text) => text,
            Err(e) => {
                self.reader.note_here(&format!("the metadata of an image cannot be read: {e}"));
                return None;
            }
        };
        let recorded_ns = self.reader.recorded_ns();
        let held = if is_depth { self.held.as_mut() } else { self.held_color.as_mut() };
        match (held?.metadata(text, recorded_ns), is_depth) {
            (Found::Image(released), true) => Some(self.release_depth(released)),
            (Found::Image(released), false) => Some(self.release_color(released)),
            (Found::ImageIsLost, true) => {
                self.ledger.bad_frame();
                self.reader.note_here(&format!("the image of depth frame {} is missing", text.number));
                None
            }
            (Found::ImageIsLost, false) => {
                self.reader.note_here(&format!("the image of colour frame {} is missing", text.number));
                None
            }
            (Found::Nothing, _) => None,
        }
    }

    pub(super) fn release_depth(&mut self, released: Released) -> Step {
        let Released { number, stamp_ns, depth_units_m, is_guess } = released;
        self.ledger.good_frame();
        if is_guess {
            self.reader.note_here(&format!("the metadata of a depth image are missing: it is taken for number {number}"));
        }
        let depth_units_m = depth_units_m.filter(|&u| u.is_finite() && u > 0.0).unwrap_or(self.stream.depth_units_m);
        Step::Depth(DepthFacts { number, stamp_ns, depth_units_m })
    }

    pub(super) fn release_color(&mut self, released: Released) -> Step {
        let Released { number, stamp_ns, is_guess, .. } = released;
        if is_guess {
            self.reader.note_here(&format!("the metadata of a colour image are missing: it is taken for number {number}"));
        }
        Step::Color(ColorFacts { number, stamp_ns })
    }
}
