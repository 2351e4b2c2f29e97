//! A recording whose images are in another form than `sensor_msgs` ([`Foreign`]), as if they were
//! in that: each such message is replaced by those that it becomes.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;

use super::by_time::TimeSpans;
use super::{Container, Damage, Item, Message, Topic};
use crate::recording::ros::{Encoding, Foreign};

pub struct Translated {
    inner: Box<dyn Container>,
    /// By the name of the topic, what its messages are and become.
    foreign: BTreeMap<String, (Foreign, Vec<Topic>)>,
    /// The channels of what they become: the topic that they were on, and which of its own it is.
    channels: Vec<(String, usize)>,
    /// What a message became, and has not been delivered.
    queue: VecDeque<(u32, Vec<u8>)>,
    /// The message that was delivered last, if it is one of those.
    current: Option<Vec<u8>>,
}

/// Above the numbers of all other channels.
const FIRST_CHANNEL: u32 = 1 << 31;

impl Translated {
    /// The recording itself, if nothing in it is to be translated.
    pub fn wrap(inner: Box<dyn Container>) -> Box<dyn Container> {
        let mut foreign = BTreeMap::new();
        for topic in inner.topics() {
            if let Some(of) = Foreign::of(&topic.schema) {
                let become_topics = of.topics(&topic.name).into_iter();
                let topics: Vec<Topic> = become_topics
                    .map(|(name, schema)| Topic::new(&name, schema, Encoding::Cdr))
                    .collect();
                foreign.insert(topic.name.clone(), (of, topics));
            }
        }
        if foreign.is_empty() {
            return inner;
        }
        let channels = foreign
            .iter()
            .flat_map(|(name, (_, topics))| (0..topics.len()).map(|i| (name.clone(), i)))
            .collect();
        Box::new(Self { inner, foreign, channels, queue: VecDeque::new(), current: None })
    }

    /// The topic of the file that has the messages of a topic.
    fn origin<'a>(&'a self, topic: &'a str) -> &'a str {
        let has_it = |(_, (_, topics)): &(&String, &(Foreign, Vec<Topic>))| {
            topics.iter().any(|known| known.name == topic)
        };
        self.foreign.iter().find(has_it).map_or(topic, |(name, _)| name)
    }

    fn forget(&mut self) {
        self.queue.clear();
        self.current = None;
    }

    /// Translates a message, if it has to be.
    fn translate(&mut self, message: &Message) -> Option<()> {
        let topic = self.inner.topic(message.channel)?;
        let (foreign, _) = self.foreign.get(&topic.name)?;
        let first = self.channels.iter().position(|(name, _)| *name == topic.name)?;
        let bytes = self.inner.bytes(&message.body);
        match foreign.translate(topic.encoding, bytes) {
            Ok(messages) => {
                let channels = FIRST_CHANNEL + first as u32..;
                self.queue.extend(channels.zip(messages));
            }
            Err(error) => {
                let what = format!("a message on {} cannot be read: {error}", topic.name);
                self.inner.note_here(&what);
            }
        }
        Some(())
    }
}

impl Container for Translated {
    fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            if let Some((channel, bytes)) = self.queue.pop_front() {
                let body = 0..bytes.len();
                self.current = Some(bytes);
                let (is_doubtful, sequence) = (false, None);
                return Ok(Some(Item::Message(Message { channel, body, is_doubtful, sequence })));
            }
            self.current = None;
            let item = self.inner.next()?;
            match &item {
                Some(Item::Message(message)) if self.translate(message).is_some() => {}
                _ => return Ok(item),
            }
        }
    }

    fn bytes(&self, body: &Range<usize>) -> &[u8] {
        match &self.current {
            Some(bytes) => &bytes[body.clone()],
            None => self.inner.bytes(body),
        }
    }

    fn topic(&self, channel: u32) -> Option<&Topic> {
        match channel.checked_sub(FIRST_CHANNEL) {
            None => self.inner.topic(channel),
            Some(i) => {
                let (name, of_it) = self.channels.get(i as usize)?;
                self.foreign.get(name)?.1.get(*of_it)
            }
        }
    }

    fn topics(&self) -> Vec<&Topic> {
        let own = self.foreign.values().flat_map(|(_, topics)| topics);
        let is_other = |topic: &&Topic| !self.foreign.contains_key(&topic.name);
        self.inner.topics().into_iter().filter(is_other).chain(own).collect()
    }

    fn has_index(&self) -> bool {
        self.inner.has_index()
    }

    fn recorded_ns(&self) -> Option<i64> {
        self.inner.recorded_ns()
    }

    fn indexed(&self, topic: &str) -> Option<u64> {
        self.inner.indexed(self.origin(topic))
    }

    fn compression(&self) -> Option<&'static str> {
        self.inner.compression()
    }

    fn offset(&self) -> u64 {
        self.inner.offset()
    }

    fn notes(&self) -> BTreeMap<String, String> {
        self.inner.notes()
    }

    fn damage(&self) -> &Damage {
        self.inner.damage()
    }

    fn note_here(&mut self, what: &str) {
        self.inner.note_here(what);
    }

    fn note_for_good(&mut self, what: &str) {
        self.inner.note_for_good(what);
    }

    fn expect(&mut self, topics: Option<&[&str]>) {
        let origins = |topics: &[&str]| -> Vec<String> {
            topics.iter().map(|topic| self.origin(topic).to_owned()).collect()
        };
        let origins = topics.map(origins);
        let origins: Option<Vec<&str>> =
            origins.as_ref().map(|names| names.iter().map(String::as_str).collect());
        self.inner.expect(origins.as_deref());
    }

    fn time_spans(&mut self, topics: &[&str]) -> Option<TimeSpans> {
        let origins: Vec<String> =
            topics.iter().map(|topic| self.origin(topic).to_owned()).collect();
        let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
        self.inner.time_spans(&origins)
    }

    fn rewind(&mut self) {
        self.forget();
        self.inner.rewind();
    }

    fn places(&self) -> usize {
        self.inner.places()
    }

    fn enter(&mut self, place: usize) {
        self.forget();
        self.inner.enter(place);
    }

    fn enter_last(&mut self, topic: &str) -> bool {
        self.forget();
        let origin = self.origin(topic).to_owned();
        self.inner.enter_last(&origin)
    }
}
