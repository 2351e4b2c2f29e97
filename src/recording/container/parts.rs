//! A recording in several files, as rosbag2 splits it: one after the other, they are read as if they
//! were one. What the first says once, such as static transforms, counts for all.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::by_time::TimeSpans;
use super::{Container, Damage, Item, Message, Topic};

pub struct Parts {
    parts: Vec<Box<dyn Container>>,
    /// The one that is being read.
    current: usize,
    /// The numbers of channels here, by part and the number there, and back.
    channels: BTreeMap<(usize, u32), u32>,
    known: Vec<(usize, u32)>,
    /// Of all parts, up to the current one.
    damage: Damage,
    offset_before: Vec<u64>,
}

impl Parts {
    /// Of at least one file; `bytes` are their lengths.
    pub fn new(parts: Vec<Box<dyn Container>>, bytes: &[u64]) -> Self {
        let before = |end: &mut u64, bytes: &u64| {
            let start = *end;
            *end += bytes;
            Some(start)
        };
        let offset_before = bytes.iter().scan(0, before).collect();
        let (channels, known) = (BTreeMap::new(), Vec::new());
        let mut parts =
            Self { parts, current: 0, channels, known, damage: Damage::default(), offset_before };
        parts.sum_damage();
        parts
    }

    fn here(&self) -> &dyn Container {
        &*self.parts[self.current]
    }

    fn here_mut(&mut self) -> &mut dyn Container {
        &mut *self.parts[self.current]
    }

    fn channel(&mut self, of_part: u32) -> u32 {
        let key = (self.current, of_part);
        *self.channels.entry(key).or_insert_with(|| {
            self.known.push(key);
            self.known.len() as u32 - 1
        })
    }

    fn sum_damage(&mut self) {
        let mut sum = Damage::default();
        for part in &self.parts[..=self.current] {
            let found = part.damage();
            sum.bytes_skipped += found.bytes_skipped;
            sum.chunks_skipped += found.chunks_skipped;
            sum.notes.extend(found.notes.iter().cloned());
        }
        self.damage = sum;
    }

    /// Goes to a part, whose reader has been sent to a place of it.
    fn go_to(&mut self, part: usize) {
        self.current = part;
        for later in &mut self.parts[part + 1..] {
            later.rewind();
        }
        self.sum_damage();
    }
}

impl Container for Parts {
    fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            let item = self.here_mut().next()?;
            if !self.here().damage().is_none() {
                self.sum_damage();
            }
            let item = match item {
                Some(item) => item,
                None if self.current + 1 < self.parts.len() => {
                    self.current += 1;
                    self.here_mut().rewind();
                    self.sum_damage();
                    continue;
                }
                None => return Ok(None),
            };
            return Ok(Some(match item {
                Item::Chunk => Item::Chunk,
                Item::Message(message) => {
                    let channel = self.channel(message.channel);
                    Item::Message(Message { channel, ..message })
                }
                Item::CutMessage { channel } => Item::CutMessage { channel: self.channel(channel) },
                Item::ChunkIndex { channel, count } => {
                    Item::ChunkIndex { channel: self.channel(channel), count }
                }
            }));
        }
    }

    fn bytes(&self, body: &Range<usize>) -> &[u8] {
        self.here().bytes(body)
    }

    fn topic(&self, channel: u32) -> Option<&Topic> {
        let &(part, channel) = self.known.get(channel as usize)?;
        self.parts[part].topic(channel)
    }

    fn topics(&self) -> Vec<&Topic> {
        self.parts.iter().flat_map(|part| part.topics()).collect()
    }

    fn has_index(&self) -> bool {
        self.parts.iter().all(|part| part.has_index())
    }

    fn recorded_ns(&self) -> Option<i64> {
        self.here().recorded_ns()
    }

    fn indexed(&self, topic: &str) -> Option<u64> {
        self.parts.iter().map(|part| part.indexed(topic)).sum()
    }

    fn compression(&self) -> Option<&'static str> {
        self.parts.iter().find_map(|part| part.compression())
    }

    fn offset(&self) -> u64 {
        self.offset_before[self.current] + self.here().offset()
    }

    fn notes(&self) -> BTreeMap<String, String> {
        self.parts[0].notes()
    }

    fn damage(&self) -> &Damage {
        &self.damage
    }

    fn note_here(&mut self, what: &str) {
        self.here_mut().note_here(what);
        self.sum_damage();
    }

    fn note_for_good(&mut self, what: &str) {
        self.parts[0].note_for_good(what);
    }

    fn expect(&mut self, topics: Option<&[&str]>) {
        self.parts.iter_mut().for_each(|part| part.expect(topics));
    }

    fn time_spans(&mut self, topics: &[&str]) -> Option<TimeSpans> {
        let mut all = TimeSpans { last_ns: vec![None; topics.len()], ..TimeSpans::default() };
        let mut end_ns = i64::MIN;
        for part in &mut self.parts {
            let spans = part.time_spans(topics)?;
            let start_ns = spans.of_places_ns.iter().map(|span| span[0]).min();
            all.is_disordered |= spans.is_disordered || start_ns.is_some_and(|ns| ns < end_ns);
            all.is_sorted |= spans.is_sorted;
            end_ns = spans.of_places_ns.iter().map(|span| span[1]).max().unwrap_or(end_ns);
            all.of_places_ns.extend(spans.of_places_ns);
            for (last_ns, of_part_ns) in all.last_ns.iter_mut().zip(spans.last_ns) {
                *last_ns = (*last_ns).max(of_part_ns);
            }
        }
        Some(all)
    }

    fn rewind(&mut self) {
        self.parts[0].rewind();
        self.go_to(0);
    }

    fn places(&self) -> usize {
        self.parts.iter().map(|part| part.places()).sum()
    }

    fn enter(&mut self, mut place: usize) {
        for part in 0..self.parts.len() {
            let places = self.parts[part].places();
            if place < places || part + 1 == self.parts.len() {
                self.parts[part].enter(place);
                return self.go_to(part);
            }
            place -= places;
        }
    }

    fn enter_last(&mut self, topic: &str) -> bool {
        let last = (0..self.parts.len()).rev().find(|&part| self.parts[part].enter_last(topic));
        last.inspect(|&part| self.go_to(part)).is_some()
    }
}
