//! Reads the rows of a recording from the pages of a damaged SQLite file, wherever they stand,
//! where SQLite gives up.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::recording::container::Topic;
use crate::recording::container::db3::page::{self, HEADER_BYTES, Row};
use crate::recording::ros::Encoding;

/// The length of SQLite's pages where the file's header does not tell it: the usual one first.
const PAGE_BYTES: [usize; 8] = [4096, 1024, 8192, 16384, 32768, 65536, 2048, 512];
const WINDOW_BYTES: usize = 1 << 20;
/// No camera makes a message this long.
const MAX_MESSAGE_BYTES: u64 = 1 << 28;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    id: i64,
    topic: u32,
    page: u32,
    at: u32,
    /// Its id is not next to that of a row beside it on the page, and so may be damaged.
    is_doubtful: bool,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Message {
        id: i64,
        topic: u32,
        recorded_ns: i64,
    },
    /// It cannot be read to its end.
    Torn {
        id: i64,
        topic: u32,
        read_bytes: u64,
        payload_bytes: u64,
    },
    /// Messages from the first to the last of these are missing.
    Gap {
        first: i64,
        last: i64,
    },
    /// One of them; the topic is the one that usually comes here.
    Missing {
        topic: u32,
    },
}

pub struct Salvage {
    file: File,
    page_bytes: usize,
    /// Whole pages of the file.
    pages: u64,
    places: Vec<Place>,
    pub topics: HashMap<u32, Topic>,
    /// The highest id that the pages tell of, whether its row was found or not.
    highest_id: i64,
    /// Which topic comes behind which.
    successors: HashMap<u32, u32>,
    next: usize,
    /// The last message that was found or is missing.
    last: Option<(i64, u32)>,
    /// Up to here messages are missing.
    missing_to: i64,
    /// More missing ones are not told of: wrong ids make gaps of any length.
    missing_left: i64,
    page: Vec<u8>,
}

impl Salvage {
    /// Looks through all pages.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        let by_header = match file.read_exact_at(&mut header, 0) {
            Ok(()) => page::page_bytes(&header),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => return Err(e),
        };
        let mut salvage = Self {
            file,
            page_bytes: 0,
            pages: 0,
            places: vec![],
            topics: HashMap::new(),
            highest_id: i64::MIN,
            successors: HashMap::new(),
            next: 0,
            last: None,
            missing_to: i64::MIN,
            missing_left: 0,
            page: vec![],
        };
        for page_bytes in by_header.into_iter().chain(PAGE_BYTES) {
            (salvage.page_bytes, salvage.pages) = (page_bytes, len / page_bytes as u64);
            salvage.scan()?;
            if !salvage.places.is_empty() {
                break;
            }
        }
        salvage.sort();
        salvage.go_behind(i64::MIN);
        Ok(salvage)
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.topics.is_empty()
    }

    fn scan(&mut self) -> io::Result<()> {
        let window_pages = WINDOW_BYTES / self.page_bytes;
        let mut window = vec![0; WINDOW_BYTES];
        let mut first = 0;
        while first < self.pages {
            let n = (self.pages - first).min(window_pages as u64) as usize;
            let window = &mut window[..n * self.page_bytes];
            self.file.read_exact_at(window, first * self.page_bytes as u64)?;
            for (i, page) in window.chunks_exact(self.page_bytes).enumerate() {
                self.look_at(page, first + i as u64);
            }
            first += n as u64;
        }
        Ok(())
    }

    /// Takes in the rows of the page that has `index` pages before it.
    fn look_at(&mut self, page: &[u8], index: u64) {
        let is_first = index == 0;
        let Ok(number) = u32::try_from(index + 1) else { return };
        if let Some(key) = page::highest_key(page, is_first) {
            self.highest_id = self.highest_id.max(key);
        }
        let first_here = self.places.len();
        for (at, cell) in page::cells(page, is_first) {
            match page::parse_row(&page[cell.local.clone()], cell.payload_bytes) {
                Some(Row::Message { topic, .. }) => {
                    let place = Place {
                        id: cell.rowid,
                        topic,
                        page: number,
                        at: at as u32,
                        is_doubtful: false,
                    };
                    self.places.push(place);
                }
                Some(Row::Topic { name, schema }) => {
                    if let Ok(id) = u32::try_from(cell.rowid) {
                        self.topics
                            .entry(id)
                            .or_insert_with(|| Topic::new(name, schema, Encoding::Cdr));
                    }
                }
                None => {}
            }
        }
        let here = &mut self.places[first_here..];
        for i in 0..here.len() {
            let follows = |i: usize| {
                here.get(i)
                    .zip(here.get(i + 1))
                    .is_some_and(|(a, b)| a.id.checked_add(1) == Some(b.id))
            };
            here[i].is_doubtful = here.len() > 1 && !follows(i) && !(i > 0 && follows(i - 1));
        }
    }

    /// In the order in which they were written, which is that of their ids.
    fn sort(&mut self) {
        // Of two rows with one id, one is damaged, or was left behind on a page that is no longer
        // used.
        self.places.sort_unstable_by_key(|place| (place.id, place.is_doubtful, place.page));
        self.places.dedup_by_key(|place| place.id);
        let mut counts: HashMap<(u32, u32), u32> = HashMap::new();
        for pair in self.places.windows(2).filter(|pair| pair[1].id - 1 == pair[0].id) {
            *counts.entry((pair[0].topic, pair[1].topic)).or_default() += 1;
        }
        let mut counts: Vec<_> =
            counts.into_iter().map(|((from, to), count)| (count, from, to)).collect();
        counts.sort_unstable();
        // The most frequent one comes last and stays.
        self.successors = counts.into_iter().map(|(_, from, to)| (from, to)).collect();
        if self.places.last().is_none_or(|place| self.highest_id < place.id) {
            self.highest_id = i64::MIN;
        }
    }

    /// Goes to the first message behind the one with this id.
    pub fn go_behind(&mut self, id: i64) {
        self.next = self.places.partition_point(|place| place.id <= id);
        self.last = self
            .next
            .checked_sub(1)
            .map(|i| (self.places[i].id, self.places[i].topic))
            .filter(|_| id > i64::MIN);
        self.missing_to = i64::MIN;
        self.missing_left = 1000 + 16 * self.places.len() as i64;
    }

    /// Where in the file the page stands that has the message which comes next, or the last one.
    pub fn offset(&self) -> u64 {
        let place = self.places.get(self.next).or(self.places.last());
        place.map_or(0, |place| u64::from(place.page - 1) * self.page_bytes as u64)
    }

    /// The next message, whose bytes are written into `out`; nothing at the end.
    pub fn next(&mut self, out: &mut Vec<u8>) -> io::Result<Option<Next>> {
        if let Some((id, topic)) = self.last {
            if id < self.missing_to {
                let topic = self.successors.get(&topic).copied().unwrap_or(topic);
                self.last = Some((id + 1, topic));
                return Ok(Some(Next::Missing { topic }));
            }
            let end = self
                .places
                .get(self.next)
                .map_or(self.highest_id.saturating_add(1), |place| place.id);
            let count = end.saturating_sub(id).saturating_sub(1);
            if count > 0 && count <= self.missing_left {
                self.missing_left -= count;
                self.missing_to = end - 1;
                return Ok(Some(Next::Gap { first: id + 1, last: end - 1 }));
            }
        }
        let Some(&place) = self.places.get(self.next) else { return Ok(None) };
        self.next += 1;
        self.last = Some((place.id, place.topic));
        self.read(place, out).map(Some)
    }

    fn read(
        &mut self,
        Place { id, topic, page: number, at, .. }: Place,
        out: &mut Vec<u8>,
    ) -> io::Result<Next> {
        let mut page = std::mem::take(&mut self.page);
        page.resize(self.page_bytes, 0);
        let next = self.read_into(&mut page, number, at as usize, out);
        self.page = page;
        Ok(match next? {
            Ok(recorded_ns) => Next::Message { id, topic, recorded_ns },
            Err(payload_bytes) => {
                Next::Torn { id, topic, read_bytes: out.len() as u64, payload_bytes }
            }
        })
    }

    /// Tells the record time; if the message is torn, how long it should be.
    fn read_into(
        &self,
        page: &mut [u8],
        number: u32,
        at: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<Result<i64, u64>> {
        out.clear();
        if !self.read_page(number, page)? {
            return Ok(Err(0));
        }
        let Some(cell) = page::cell_at(page, at) else { return Ok(Err(0)) };
        let local = &page[cell.local.clone()];
        let Some(Row::Message { recorded_ns, data_start, .. }) =
            page::parse_row(local, cell.payload_bytes)
        else {
            return Ok(Err(cell.payload_bytes));
        };
        let torn = Ok(Err(cell.payload_bytes));
        if data_start > local.len() || cell.payload_bytes > MAX_MESSAGE_BYTES {
            return torn;
        }
        out.extend_from_slice(&local[data_start..]);
        let mut left = cell.payload_bytes as usize - local.len();
        let mut next_page = cell.next_page.unwrap_or(0);
        // A chain that comes back to a page it was at would never end honestly; the page to compare
        // with moves on in ever longer steps.
        let (mut marked, mut steps, mut until_mark) = (0, 0u64, 1);
        while left > 0 {
            if next_page == marked || !self.read_page(next_page, page)? {
                return torn;
            }
            steps += 1;
            if steps == until_mark {
                (marked, until_mark) = (next_page, 2 * until_mark);
            }
            let n = left.min(self.page_bytes - 4);
            out.extend_from_slice(&page[4..4 + n]);
            left -= n;
            next_page = page::u32_at(page, 0).unwrap_or(0);
        }
        // The last page of a chain leads nowhere; otherwise this is the chain of another row.
        if next_page != 0 && cell.next_page.is_some() {
            return torn;
        }
        Ok(Ok(recorded_ns))
    }

    /// False if the file has no such page.
    fn read_page(&self, number: u32, page: &mut [u8]) -> io::Result<bool> {
        if number == 0 || u64::from(number) > self.pages {
            return Ok(false);
        }
        self.file.read_exact_at(page, u64::from(number - 1) * self.page_bytes as u64).map(|()| true)
    }
}
