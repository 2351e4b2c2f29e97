//! What is told of images behind them: how [`ImageReader`] lets images wait for it.

use crate::recording::container::{Item, Message, Topic};
use crate::recording::reader::images::{ColorFacts, DepthFacts, ImageReader, Step};
use crate::recording::reader::metadata_join::{
    Before, Found, Hold, Released, metadata_name, metadata_topic,
};
use crate::recording::ros::Encoding;
use crate::recording::ros::text::FrameText;
use crate::recording::ros::{self, Stamp};
use crate::recording::streams::catalogue::Place;
use crate::recording::streams::driver;

/// What is told of the images of a stream behind them.
pub enum Behind {
    Nothing,
    /// All of it in one text, without which an image has no number.
    Text {
        topic: String,
        hold: Hold,
    },
    /// Names and values, in one message each or in one of a driver's that has the image's stamp, up
    /// to the first message of another topic.
    Pairs {
        topic: String,
        is_of_driver: bool,
        waiting: Option<DepthFacts>,
    },
}

impl Behind {
    /// Of the depth images on a topic. `first` is what is taken to be before the first image of
    /// all.
    pub fn depth(images: &Topic, topics: &[&Topic], first: Before) -> Self {
        if let Some(topic) = metadata_topic(topics, images) {
            return Self::Text { topic, hold: Hold::new(first) };
        }
        let is_of_driver = Place::parse(&images.name).is_none();
        let name = match is_of_driver {
            true => Some(driver::metadata_of(&images.name)),
            false => metadata_name(&images.name).filter(|_| images.encoding == Encoding::Ros1),
        };
        match name.filter(|name| topics.iter().any(|topic| topic.name == *name)) {
            Some(topic) => Self::Pairs { topic, is_of_driver, waiting: None },
            None => Self::Nothing,
        }
    }

    /// Of colour images, of which only the number and the stamp are asked for.
    pub fn color(images: &Topic, topics: &[&Topic]) -> Self {
        match metadata_topic(topics, images) {
            Some(topic) => Self::Text { topic, hold: Hold::new(Before::default()) },
            None => Self::Nothing,
        }
    }

    /// The name of the topic with it.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Text { topic, .. } | Self::Pairs { topic, .. } => Some(topic),
        }
    }

    /// An image came that cannot be read.
    pub fn lost_image(&mut self) {
        if let Self::Text { hold, .. } = self {
            hold.lost_image();
        }
    }

    pub fn begin_pass(&mut self, is_whole: bool) {
        match self {
            Self::Nothing => {}
            Self::Text { hold, .. } => hold.begin_pass(is_whole),
            Self::Pairs { waiting, .. } => *waiting = None,
        }
    }
}

impl ImageReader {
    /// A depth image was read; it is ready if nothing comes behind it.
    pub(crate) fn depth_image(&mut self, stamp: Stamp, facts: DepthFacts) -> Option<Step> {
        if let Behind::Text { hold, .. } = &mut self.behind {
            hold.image(stamp, self.reader.recorded_ns());
            return None;
        }
        self.ledger.good_frame();
        match &mut self.behind {
            Behind::Pairs { waiting, .. } => {
                *waiting = Some(facts);
                None
            }
            _ => Some(Step::Depth(facts)),
        }
    }

    /// The same for colour.
    pub(crate) fn color_image(&mut self, stamp: Stamp, facts: ColorFacts) -> Option<Step> {
        if let Behind::Text { hold, .. } = &mut self.behind_color {
            hold.image(stamp, self.reader.recorded_ns());
            return None;
        }
        Some(Step::Color(facts))
    }

    /// The image that has waited long enough where this item comes next, or where nothing does.
    pub(crate) fn end_of_wait(&mut self, next: Option<&Item>) -> Option<Step> {
        let channel = match next {
            Some(Item::Chunk | Item::ChunkIndex { .. }) => return None,
            Some(Item::Message(Message { channel, .. }) | Item::CutMessage { channel }) => {
                Some(*channel)
            }
            None => None,
        };
        let ends_depth = channel.is_none_or(|channel| self.is_depth(channel));
        let ends_color = channel.is_none_or(|channel| self.is_color(channel));
        match &mut self.behind {
            Behind::Text { hold, .. } if ends_depth => {
                if let Some(released) = hold.release() {
                    return Some(self.release_depth(released));
                }
            }
            Behind::Pairs { topic, waiting: waiting @ Some(_), .. } => {
                let name =
                    channel.and_then(|channel| self.reader.topic(channel)).map(|topic| &topic.name);
                if name != Some(topic) {
                    return waiting.take().map(Step::Depth);
                }
            }
            _ => {}
        }
        match &mut self.behind_color {
            Behind::Text { hold, .. } if ends_color => {
                hold.release().map(|released| self.release_color(released))
            }
            _ => None,
        }
    }

    /// Takes in a message that may tell of images before it.
    pub(crate) fn look_behind(&mut self, Message { channel, body, .. }: &Message) -> Option<Step> {
        let Self { reader, behind, behind_color, .. } = self;
        let topic = reader.topic(*channel)?;
        let is_of = |behind: &Behind| behind.topic() == Some(&topic.name);
        let (is_depth, behind) = match (is_of(behind), is_of(behind_color)) {
            (true, _) => (true, behind),
            (_, true) => (false, behind_color),
            _ => return None,
        };
        let hold = match behind {
            Behind::Text { hold, .. } => hold,
            Behind::Pairs { waiting: Some(facts), is_of_driver: true, .. } => {
                if let Some((stamp, told)) =
                    driver::frame_metadata(topic.encoding, reader.bytes(body))
                    && stamp.stamp_ns == facts.stamp_ns
                {
                    told.iter().for_each(|(name, value)| {
                        facts.note(name, value.as_str().unwrap_or(&value.to_string()))
                    });
                }
                return None;
            }
            Behind::Pairs { waiting: Some(facts), .. } => {
                if let Ok((name, value)) = ros::parse_key_value(topic.encoding, reader.bytes(body))
                {
                    facts.note(name, value);
                }
                return None;
            }
            _ => return None,
        };
        let text = match FrameText::parse(topic.encoding, reader.bytes(body)) {
            Ok(text) => text,
            Err(e) => {
                reader.note_here(&format!("the metadata of an image cannot be read: {e}"));
                return None;
            }
        };
        match (hold.metadata(text, reader.recorded_ns()), is_depth) {
            (Found::Image(released), true) => Some(self.release_depth(released)),
            (Found::Image(released), false) => Some(self.release_color(released)),
            (Found::ImageIsLost, true) => {
                self.ledger.bad_frame();
                reader.note_here(&format!("the image of depth frame {} is missing", text.number));
                None
            }
            (Found::ImageIsLost, false) => {
                reader.note_here(&format!("the image of colour frame {} is missing", text.number));
                None
            }
            (Found::Nothing, _) => None,
        }
    }

    fn release_depth(&mut self, released: Released) -> Step {
        let Released { number, stamp_ns, domain, depth_units_m, metadata, is_guess } = released;
        self.ledger.good_frame();
        if is_guess {
            self.reader.note_here(&format!(
                "the metadata of a depth image are missing: it is taken for number {number}"
            ));
        }
        let depth_units_m = depth_units_m
            .filter(|&u| u.is_finite() && u > 0.0)
            .unwrap_or(self.stream.depth_units_m);
        Step::Depth(DepthFacts { number, stamp_ns, domain, depth_units_m, metadata })
    }

    fn release_color(&mut self, released: Released) -> Step {
        let Released { number, stamp_ns, is_guess, .. } = released;
        if is_guess {
            self.reader.note_here(&format!(
                "the metadata of a colour image are missing: it is taken for number {number}"
            ));
        }
        Step::Color(ColorFacts { number, stamp_ns })
    }
}

impl DepthFacts {
    /// Takes in what is told under a name.
    fn note(&mut self, name: &str, value: &str) {
        // realsense2_camera has another name for it.
        if matches!(name, "timestamp_domain" | "clock_domain") {
            self.domain = Some(ros::timestamp_domain(value));
        }
        ros::note_metadata(&mut self.metadata, name, value);
    }
}
