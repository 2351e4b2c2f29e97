//! What the channels of a file are: their topics, and what their messages hold.

use std::collections::HashMap;

use crate::recording::container::Topic;
use crate::recording::container::mcap::fields::{parse_channel, parse_map, parse_schema};
use crate::recording::ros::Encoding;

/// Channels by number. The first description of a number holds, but one from a sound place outdoes
/// one from a damaged chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channels {
    /// Names of schemas.
    schemas: HashMap<u16, (String, Origin)>,
    channels: HashMap<u16, Channel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Sound,
    /// A damaged chunk.
    Doubtful,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Channel {
    topic: Topic,
    schema_id: u16,
    encoding: String,
    origin: Origin,
}

impl Channels {
    /// Takes in the body of a schema's record, if it can be read.
    pub fn add_schema(&mut self, body: &[u8], origin: Origin) {
        let Ok((id, name)) = parse_schema(body) else { return };
        if self
            .schemas
            .get(&id)
            .is_some_and(|(_, known)| *known == Origin::Sound || *known == origin)
        {
            return;
        }
        self.schemas.insert(id, (name.to_owned(), origin));
        for channel in self.channels.values_mut().filter(|channel| channel.schema_id == id) {
            channel.topic.schema = schema(name, &channel.encoding);
        }
    }

    /// Takes in the body of a channel's record, if it can be read.
    pub fn add_channel(&mut self, body: &[u8], origin: Origin) {
        let Ok(found) = parse_channel(body) else { return };
        if self
            .channels
            .get(&found.id)
            .is_some_and(|known| known.origin == Origin::Sound || known.origin == origin)
        {
            return;
        }
        let wire = if found.encoding == "ros1" { Encoding::Ros1 } else { Encoding::Cdr };
        let mut topic = Topic::new(found.topic, "", wire);
        topic.notes = parse_map(found.notes);
        if let Some((name, _)) = self.schemas.get(&found.schema_id) {
            topic.schema = schema(name, found.encoding);
        }
        let (schema_id, encoding) = (found.schema_id, found.encoding.to_owned());
        self.channels.insert(found.id, Channel { topic, schema_id, encoding, origin });
    }

    pub fn topic(&self, id: u16) -> Option<&Topic> {
        self.channels.get(&id).map(|channel| &channel.topic)
    }

    pub fn topics(&self) -> impl Iterator<Item = (u16, &Topic)> {
        self.channels.iter().map(|(id, channel)| (*id, &channel.topic))
    }

    /// Whether there may be messages of a channel. Where no channel is known, of any.
    pub fn may_have(&self, id: u16) -> bool {
        self.channels.is_empty() || self.channels.contains_key(&id)
    }
}

/// Messages in a writing that depthcast does not read must not look as if it did.
fn schema(name: &str, encoding: &str) -> String {
    match encoding {
        "ros1" | "cdr" | "" => Topic::new("", name, Encoding::Cdr).schema,
        _ => format!("{name} ({encoding})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Vec<u8> {
        [&(s.len() as u32).to_le_bytes()[..], s.as_bytes()].concat()
    }

    fn channel(id: u8, schema: u8, topic: &str, encoding: &str) -> Vec<u8> {
        [vec![id, 0, schema, 0], text(topic), text(encoding), vec![0; 4]].concat()
    }

    #[test]
    fn the_first_sound_description_holds() {
        let mut channels = Channels::default();
        channels.add_channel(&channel(1, 5, "/dopth", "cdr"), Origin::Doubtful);
        channels.add_channel(&channel(1, 5, "/depth", "cdr"), Origin::Sound);
        channels.add_channel(&channel(1, 5, "/other", "cdr"), Origin::Sound);
        channels.add_channel(&channel(2, 5, "/depth", "json"), Origin::Sound);
        let want = Topic::new("/depth", "", Encoding::Cdr);
        assert_eq!(channels.topic(1), Some(&want), "no schema yet");
        channels.add_schema(
            &[vec![5, 0], text("sensor_msgs/msg/Image"), text("ros2msg")].concat(),
            Origin::Sound,
        );
        channels.add_schema(
            &[vec![5, 0], text("sensor_msgs/msg/Imu"), text("ros2msg")].concat(),
            Origin::Sound,
        );
        assert_eq!(channels.topic(1).unwrap().schema, "sensor_msgs/Image");
        assert_eq!(channels.topic(2).unwrap().schema, "sensor_msgs/msg/Image (json)");
        assert!(channels.may_have(2) && !channels.may_have(3));
    }

    #[test]
    fn ros_1_messages_are_known_by_their_encoding() {
        let mut channels = Channels::default();
        channels.add_channel(&channel(1, 0, "/depth", "ros1"), Origin::Sound);
        assert_eq!(channels.topic(1), Some(&Topic::new("/depth", "", Encoding::Ros1)));
    }
}
