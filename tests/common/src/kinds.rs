//! Small recordings of each kind, and where in them stands what each frame is made of: for tests of
//! damage.

use std::collections::BTreeMap;
use std::ops::Range;

use rusqlite::Connection;

use super::bag_writer::{self, Bag, messages_of, write_bag};
use super::db3_writer::{self, Pixels, write_db3};
use super::mcap_writer::{self, Channel, Layout, write_mcap};

/// A recording of librealsense's messages with depth and colour.
pub struct Kind {
    /// Its format and what packs it.
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// Where that stands without which it need not open: what is told of streams before the first
    /// frame.
    pub vital: Vec<Range<usize>>,
    /// Where the bytes of each depth frame stand, with all that they are packed with.
    pub frames: Vec<Vec<Range<usize>>>,
    /// No damage to a frame's bytes goes unnoticed. SQLite has no checksums; even where images
    /// have, their metadata are mere text.
    pub has_checksums: bool,
}

const FRAMES: usize = 12;
const FRAMES_A_CHUNK: usize = 2;

pub fn all() -> Vec<Kind> {
    [bags(), db3s(), mcaps()].into_iter().flatten().collect()
}

fn spec() -> bag_writer::Spec {
    let stamps_ns = (0..FRAMES as u64).map(|i| 5_000_000_000 + i * 33_333_333).collect();
    bag_writer::Spec {
        width: 32,
        height: 24,
        stamps_ns,
        has_color: true,
        frames_a_chunk: FRAMES_A_CHUNK,
        ..Default::default()
    }
}

fn bags() -> Vec<Kind> {
    use bag_writer::Packing::{Bz2, Lz4, None};
    let kind = |(name, packing)| {
        let Bag { bytes, chunks } = write_bag(&bag_writer::Spec { packing, ..spec() });
        let chunk_of = |frame: usize| {
            chunks.iter().find(|chunk| frame < chunk.frames_up_to_here).unwrap().record.clone()
        };
        let frames = (0..FRAMES).map(|frame| vec![chunk_of(frame)]).collect();
        let vital = vec![0..13, chunk_of(0)];
        Kind { name, bytes, vital, frames, has_checksums: packing != None }
    };
    [("bag none", None), ("bag lz4", Lz4), ("bag bz2", Bz2)].map(kind).into()
}

fn mcaps() -> Vec<Kind> {
    use mcap_writer::Packing::{Lz4, None, Zstd};
    const MESSAGES_A_CHUNK: usize = 9;
    let messages = messages_of(&spec());
    let is_depth = |&i: &usize| messages[i].0.ends_with("Depth_0/image/data");
    let depth = (0..messages.len()).filter(is_depth);
    let chunks_of_frames: Vec<usize> = depth.map(|i| i / MESSAGES_A_CHUNK).collect();
    let kind = |(name, packing)| {
        let layout = Layout { packing, messages_a_chunk: MESSAGES_A_CHUNK, ..Layout::default() };
        let bytes = converted(messages.clone(), &layout);
        let chunks = mcap_writer::chunks(&bytes);
        // What comes before the first frame may fill chunks of its own.
        let vital =
            std::iter::once(0..8).chain(chunks[..=chunks_of_frames[0]].iter().cloned()).collect();
        let frames = chunks_of_frames.iter().map(|&chunk| vec![chunks[chunk].clone()]).collect();
        Kind { name, bytes, vital, frames, has_checksums: true }
    };
    [("mcap none", None), ("mcap lz4", Lz4), ("mcap zstd", Zstd)].map(kind).into()
}

/// Topics and messages of a bag as an MCAP file, as `mcap convert` makes one.
pub fn converted(messages: Vec<(String, Vec<u8>)>, layout: &Layout) -> Vec<u8> {
    let mut topics: Vec<&str> = vec![];
    let indexed = messages.iter().map(|(topic, body)| {
        let channel = topics.iter().position(|known| known == topic).unwrap_or(topics.len());
        if channel == topics.len() {
            topics.push(topic);
        }
        (channel, body.clone())
    });
    let indexed: Vec<_> = indexed.collect();
    let channel = |topic| Channel { topic, schema: "any/Type", encoding: "ros1", notes: &[] };
    let channels: Vec<_> = topics.into_iter().map(channel).collect();
    write_mcap(layout, &channels, &indexed)
}

fn db3s() -> Vec<Kind> {
    let kind = |(name, pixels)| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.db3");
        let spec = db3_writer::Spec { width: 32, height: 24, pixels, ..Default::default() };
        write_db3(&path, &db3_writer::Spec { frames: FRAMES as u64, has_color: true, ..spec });
        let pages = Pages::of(&Connection::open(&path).unwrap());
        let [images, metadata] =
            ["/image/data", "/image/metadata"].map(|part| pages.rows_of(&format!("Depth_0{part}")));
        let rows = images.iter().zip(&metadata);
        let frames = rows.map(|(&image, &text)| pages.of_rows([image, text])).collect();
        // The start of the header, the topics, and the rows before the first image.
        let vital = std::iter::once(0..100)
            .chain(pages.topics.clone())
            .chain(pages.of_rows(0..images[0]))
            .collect();
        Kind { name, bytes: std::fs::read(path).unwrap(), vital, frames, has_checksums: false }
    };
    let kinds = [("db3 raw", Pixels::Raw), ("db3 PNG", Pixels::Png), ("db3 zstd", Pixels::Zstd)];
    kinds.map(kind).into()
}

/// On which pages of an SQLite file the rows of a recording are, by SQLite itself.
struct Pages {
    /// The name of each row's topic, its pages, and those that lead to it.
    rows: Vec<(String, Vec<Range<usize>>)>,
    /// Those with the names of topics and tables.
    topics: Vec<Range<usize>>,
}

impl Pages {
    fn of(connection: &Connection) -> Self {
        let pages = "SELECT name, path, pageno, pgsize, ncell, pagetype FROM dbstat \
                     ORDER BY name, path";
        let mut statement = connection.prepare(pages).unwrap();
        let mut stat = statement.query([]).unwrap();
        // The path of a leaf, and for each of its cells the pages where it goes on: `/000/` and
        // `/000/002+000000`.
        let mut leaves: BTreeMap<String, Vec<Vec<Range<usize>>>> = BTreeMap::new();
        let (mut topics, mut inner) = (vec![], vec![]);
        while let Some(row) = stat.next().unwrap() {
            let (table, path): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            let [number, size, cells] =
                [2, 3, 4].map(|column| row.get::<_, u32>(column).unwrap() as usize);
            let place = (number - 1) * size..number * size;
            let is_inner = row.get::<_, String>(5).unwrap() == "internal";
            match (table.as_str(), path.split_once('+')) {
                ("messages", _) if is_inner => inner.push((path, place)),
                ("messages", None) => drop(leaves.insert(path, vec![vec![place]; cells])),
                ("messages", Some((cell, _))) => {
                    let (leaf, cell) = cell.split_at(cell.len() - 3);
                    leaves.get_mut(leaf).unwrap()[usize::from_str_radix(cell, 16).unwrap()]
                        .push(place);
                }
                ("topics" | "sqlite_schema", _) => topics.push(place),
                _ => {}
            }
        }
        let names = "SELECT topics.name FROM messages JOIN topics ON topics.id = topic_id \
                     ORDER BY messages.id";
        let mut statement = connection.prepare(names).unwrap();
        let names: Vec<String> =
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        // SQLite finds a row by the pages that lead to it.
        let with_inner = |(path, rows): (String, Vec<Vec<Range<usize>>>)| {
            let above = inner.iter().filter(move |(inner, _)| path.starts_with(inner.as_str()));
            let above: Vec<_> = above.map(|(_, place)| place.clone()).collect();
            rows.into_iter().map(move |row| [row, above.clone()].concat())
        };
        let places: Vec<_> = leaves.into_iter().flat_map(with_inner).collect();
        assert_eq!(names.len(), places.len());
        Self { rows: names.into_iter().zip(places).collect(), topics }
    }

    /// The rows with messages of topics whose names have this part.
    fn rows_of(&self, part: &str) -> Vec<usize> {
        (0..self.rows.len()).filter(|&row| self.rows[row].0.contains(part)).collect()
    }

    fn of_rows(&self, rows: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
        rows.into_iter().flat_map(|row| self.rows[row].1.clone()).collect()
    }
}
