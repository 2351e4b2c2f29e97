//! Messages in the order of time, where a file has them in another one: topics one behind the
//! other, chunks or messages that are misplaced, parts that overlap.
//!
//! The index says which time each place of a file spans. A place is read when a message in it may be
//! the next one, and a message is delivered when no place that was not read can have an earlier one.
//! So the memory that this takes is that of the places which overlap in time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io;
use std::ops::Range;

use super::{Container, Damage, Item, Message, Topic};

/// What is said where messages are read in another order than the file's.
const REMARK: &str = "its messages are not in the order of time: they are read by the index";
/// Topics that are farther apart than this in the file are put in order: the images of two cameras,
/// or an image and its lens, would not find one another.
const FAR_NS: i64 = 50_000_000;
/// Messages that are held at once. Beyond that they come as they are.
const MAX_HELD_BYTES: usize = 512 << 20;

/// When the messages of a file were recorded, by its index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeSpans {
    /// Of each place, in the order of [`Container::enter`]: its first and last time.
    pub of_places_ns: Vec<[i64; 2]>,
    /// Of each topic that was asked for, the time of its last message.
    pub last_ns: Vec<Option<i64>>,
    /// The messages are not in the order of time.
    pub is_disordered: bool,
    /// The file gives them in that order already, though they are stored in another.
    pub is_sorted: bool,
}

/// Finds out whether messages come in the order of time, each topic by itself and all of them
/// together. More than one has to be misplaced: a single one is as likely to have a wrong time.
#[derive(Debug, Default)]
pub struct Disorder {
    topics: HashMap<usize, Times>,
    newest_ns: Times,
    far: u64,
}

impl Disorder {
    /// The next message of the file is on this topic and has this time.
    pub fn add(&mut self, topic: usize, ns: i64) {
        self.topics.entry(topic).or_default().add(ns);
        let newest_ns = self.newest_ns.last_ns[1];
        self.newest_ns.add(ns.max(newest_ns.saturating_sub(FAR_NS)));
        self.far += u64::from(ns < newest_ns.saturating_sub(FAR_NS));
    }

    pub fn is_found(&self) -> bool {
        self.far > 1 || self.topics.values().any(|times| times.misplaced > 1)
    }
}

/// The times of messages that come one after the other.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Of those that are in order, the last two.
    last_ns: [i64; 2],
    /// How many have to be left out for the others to be in order.
    misplaced: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { last_ns: [i64::MIN; 2], misplaced: 0 }
    }
}

impl Times {
    fn add(&mut self, ns: i64) {
        let [before, last] = self.last_ns;
        if ns >= last {
            self.last_ns = [last, ns];
        } else {
            self.misplaced += 1;
            // Either the one before was too late, or this one is too early.
            self.last_ns = if ns >= before { [before, ns] } else { [before, last] };
        }
    }
}

/// A message that was read before its turn.
struct Held {
    channel: u32,
    /// Nothing if it cannot be read.
    bytes: Option<Vec<u8>>,
    is_doubtful: bool,
    sequence: Option<u64>,
}

pub struct ByTime {
    inner: Box<dyn Container>,
    spans: TimeSpans,
    /// The topics that `spans.last_ns` is about.
    topics: Vec<String>,
    /// Places by the times at which they start.
    order: Vec<usize>,
    /// Where in `order` the next place is.
    next: usize,
    wanted: Option<Vec<String>>,
    /// By time and then by place in the file.
    heads: BinaryHeap<Reverse<(i64, usize, u64)>>,
    held: BTreeMap<(usize, u64), Held>,
    held_bytes: usize,
    read_bytes: u64,
    current: Held,
    recorded_ns: Option<i64>,
    /// Earlier messages are passed over.
    from_ns: i64,
    /// Places that are still reported as chunks.
    chunks_left: u32,
    damage: Damage,
}

impl ByTime {
    /// The recording itself, if messages of these topics are in the order of time, or nothing shows
    /// whether they are. Returns what is to be said.
    pub fn wrap(
        mut inner: Box<dyn Container>,
        topics: &[&str],
    ) -> (Box<dyn Container>, Option<&'static str>) {
        let spans = if topics.is_empty() { None } else { inner.time_spans(topics) };
        let Some(spans) = spans else { return (inner, None) };
        let remark = (spans.is_disordered || spans.is_sorted).then_some(REMARK);
        if !spans.is_disordered {
            return (inner, remark);
        }
        let mut order: Vec<usize> = (0..spans.of_places_ns.len()).collect();
        order.sort_by_key(|&place| spans.of_places_ns[place][0]);
        inner.rewind();
        let reader = Self {
            damage: inner.damage().clone(),
            inner,
            spans,
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            order,
            next: 0,
            wanted: None,
            heads: BinaryHeap::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            read_bytes: 0,
            current: Held { channel: 0, bytes: None, is_doubtful: false, sequence: None },
            recorded_ns: None,
            from_ns: i64::MIN,
            chunks_left: u32::MAX,
        };
        (Box::new(reader), remark)
    }

    fn start_at(&mut self, place: usize, from_ns: i64) {
        (self.next, self.from_ns, self.chunks_left) = (place, from_ns, u32::MAX);
        self.heads.clear();
        self.held.clear();
        (self.held_bytes, self.read_bytes) = (0, 0);
        self.inner.rewind();
        self.damage.clone_from(self.inner.damage());
    }

    /// Goes to the messages since `from_ns`.
    fn go_to(&mut self, from_ns: i64) {
        let spans = &self.spans.of_places_ns;
        let first = self.order.iter().position(|&place| spans[place][1] >= from_ns);
        self.start_at(first.unwrap_or(self.order.len()), from_ns);
    }

    /// Reads all messages of a place.
    fn read(&mut self, place: usize) -> io::Result<()> {
        self.inner.rewind();
        let before = self.inner.damage().clone();
        self.inner.enter(place);
        let mut has_started = false;
        let mut last_ns = self.spans.of_places_ns[place][0];
        let mut number = 0;
        while let Some(item) = self.inner.next()? {
            let (channel, message) = match item {
                Item::Chunk if has_started => break,
                Item::ChunkIndex { .. } => break,
                Item::Chunk => {
                    has_started = true;
                    continue;
                }
                Item::Message(message) => (message.channel, Some(message)),
                Item::CutMessage { channel } => (channel, None),
            };
            last_ns = self.inner.recorded_ns().filter(|_| message.is_some()).unwrap_or(last_ns);
            let topic = self.inner.topic(channel).map(|topic| topic.name.as_str());
            let is_wanted = |wanted: &Vec<String>| wanted.iter().any(|name| Some(&**name) == topic);
            if last_ns < self.from_ns || !self.wanted.as_ref().is_none_or(is_wanted) {
                continue;
            }
            let bytes = message.as_ref().map(|message| self.inner.bytes(&message.body).to_vec());
            let len = bytes.as_ref().map_or(0, Vec::len);
            self.held_bytes += len;
            self.read_bytes += len as u64;
            let held = Held {
                channel,
                bytes,
                is_doubtful: message.as_ref().is_some_and(|message| message.is_doubtful),
                sequence: message.and_then(|message| message.sequence),
            };
            self.heads.push(Reverse((last_ns, place, number)));
            self.held.insert((place, number), held);
            number += 1;
        }
        let found = self.inner.damage();
        self.damage.bytes_skipped += found.bytes_skipped - before.bytes_skipped;
        self.damage.chunks_skipped += found.chunks_skipped - before.chunks_skipped;
        self.damage.notes.extend(found.notes.iter().skip(before.notes.len()).cloned());
        Ok(())
    }
}

impl Container for ByTime {
    fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            let next = self.order.get(self.next).copied();
            let next_ns = next.map(|place| self.spans.of_places_ns[place][0]);
            let is_full = self.held_bytes > MAX_HELD_BYTES;
            let first = self.heads.peek().map(|Reverse(head)| *head);
            let is_due = |&(ns, ..): &(i64, usize, u64)| {
                is_full || next_ns.is_none_or(|next_ns| ns < next_ns)
            };
            if let Some((ns, place, number)) = first.filter(is_due) {
                self.heads.pop();
                let Some(held) = self.held.remove(&(place, number)) else { continue };
                self.recorded_ns = Some(ns);
                self.held_bytes -= held.bytes.as_ref().map_or(0, Vec::len);
                let Held { channel, is_doubtful, sequence, .. } = held;
                self.current = held;
                return Ok(Some(match &self.current.bytes {
                    None => Item::CutMessage { channel },
                    Some(bytes) => {
                        let body = 0..bytes.len();
                        Item::Message(Message { channel, body, is_doubtful, sequence })
                    }
                }));
            }
            let Some(place) = next else { return Ok(None) };
            self.next += 1;
            if self.spans.of_places_ns[place][1] < self.from_ns {
                continue;
            }
            self.read(place)?;
            if self.chunks_left > 0 {
                self.chunks_left -= 1;
                return Ok(Some(Item::Chunk));
            }
        }
    }

    fn bytes(&self, body: &Range<usize>) -> &[u8] {
        &self.current.bytes.as_deref().unwrap_or_default()[body.clone()]
    }

    fn topic(&self, channel: u32) -> Option<&Topic> {
        self.inner.topic(channel)
    }

    fn topics(&self) -> Vec<&Topic> {
        self.inner.topics()
    }

    fn has_index(&self) -> bool {
        self.inner.has_index()
    }

    fn recorded_ns(&self) -> Option<i64> {
        self.recorded_ns
    }

    fn indexed(&self, topic: &str) -> Option<u64> {
        self.inner.indexed(topic)
    }

    fn compression(&self) -> Option<&'static str> {
        self.inner.compression()
    }

    fn offset(&self) -> u64 {
        self.read_bytes
    }

    fn notes(&self) -> BTreeMap<String, String> {
        self.inner.notes()
    }

    fn damage(&self) -> &Damage {
        &self.damage
    }

    fn note_here(&mut self, what: &str) {
        self.damage.notes.push(what.to_owned());
    }

    fn note_for_good(&mut self, what: &str) {
        self.inner.note_for_good(what);
    }

    fn expect(&mut self, topics: Option<&[&str]>) {
        let owned = |topics: &[&str]| topics.iter().map(|&topic| topic.to_owned()).collect();
        self.wanted = topics.map(owned);
        self.inner.expect(topics);
    }

    fn rewind(&mut self) {
        self.start_at(0, i64::MIN);
    }

    fn places(&self) -> usize {
        self.order.len()
    }

    fn enter(&mut self, place: usize) {
        match self.order.get(place) {
            Some(&place) => self.go_to(self.spans.of_places_ns[place][0]),
            None => self.start_at(self.order.len(), i64::MIN),
        }
    }

    fn enter_last(&mut self, topic: &str) -> bool {
        let of_topic = self.topics.iter().position(|known| known == topic);
        let last_ns = of_topic.and_then(|topic| self.spans.last_ns.get(topic).copied().flatten());
        let Some(last_ns) = last_ns else { return false };
        self.go_to(last_ns);
        self.chunks_left = 1;
        true
    }
}
