//! Files in all layouts, whole and damaged, read message by message.

use std::path::Path;

use common::mcap_writer::{
    ALL_PACKINGS, CHUNKED, Channel, Layout, Packing, records, ros2, unclosed, write_mcap,
};
use proptest::prelude::{ProptestConfig, proptest};
use tempfile::TempDir;

use super::{McapReader, op};
use crate::recording::container::{Container, Damage, Item};
use crate::recording::ros::Encoding;

const IMAGE: &str = "sensor_msgs/msg/Image";
const CHANNELS: [Channel<'_>; 4] = [
    ros2("/depth", IMAGE),
    ros2("/color", IMAGE),
    Channel { notes: &[("offered_qos_profiles", "none")], ..ros2("/depth", IMAGE) },
    Channel { topic: "/old", schema: "std_msgs/String", encoding: "ros1", notes: &[] },
];

/// Bodies of all lengths, with zeros and with what looks like records in them.
fn messages() -> Vec<(usize, Vec<u8>)> {
    let like_a_record = [op::MESSAGE, 40, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    (0..20usize)
        .map(|i| {
            let noise = (0..i * 61)
                .map(|k| (k as u32).wrapping_mul(2_654_435_761 + i as u32).to_le_bytes()[3]);
            (i % 4, noise.chain(like_a_record).chain([0; 90]).chain([i as u8; 7]).collect())
        })
        .collect()
}

/// A message as it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    topic: Option<String>,
    sequence: Option<u64>,
    body: Vec<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pass {
    messages: Vec<Got>,
    chunks: usize,
    /// By the indexes after chunks.
    announced: u64,
    cut: usize,
    damage: Damage,
}

impl Pass {
    /// How many of [`messages`] were delivered as they were written.
    fn whole(&self) -> usize {
        let all = messages();
        self.messages.iter().filter(|got| all.iter().any(|(_, body)| *body == got.body)).count()
    }

    /// Which of [`messages`] were delivered; there must be no others.
    fn genuine(&self) -> Vec<usize> {
        let all = messages();
        let place = |got: &Got| {
            all.iter().position(|(_, body)| *body == got.body).unwrap_or_else(|| {
                panic!("a message that is none of the file's: {got:?} {:?}", self.damage)
            })
        };
        self.messages.iter().map(place).collect()
    }
}

fn read_on(reader: &mut McapReader) -> Pass {
    let mut pass = Pass::default();
    let mut offset = reader.offset();
    while let Some(item) = reader.next().unwrap() {
        assert!(reader.offset() >= offset, "it must not go back");
        offset = reader.offset();
        match item {
            Item::Chunk => pass.chunks += 1,
            Item::Message(message) => pass.messages.push(Got {
                topic: reader.topic(message.channel).map(|topic| topic.name.clone()),
                sequence: message.sequence,
                body: reader.bytes(&message.body).to_vec(),
            }),
            Item::ChunkIndex { count, .. } => pass.announced += u64::from(count),
            Item::CutMessage { .. } => pass.cut += 1,
        }
    }
    pass.damage = reader.damage().clone();
    pass
}

struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn open(&self, bytes: &[u8]) -> McapReader {
        let path = Path::new(self.0.path()).join("some.mcap");
        std::fs::write(&path, bytes).unwrap();
        McapReader::open(&path).unwrap()
    }

    fn read(&self, bytes: &[u8]) -> Pass {
        read_on(&mut self.open(bytes))
    }
}

/// How many messages there are up to the end of each chunk, and where its record is.
fn chunks(layout: &Layout, bytes: &[u8]) -> Vec<(usize, std::ops::Range<usize>)> {
    let chunks = records(bytes).into_iter().filter(|(op, _)| *op == op::CHUNK);
    chunks
        .enumerate()
        .map(|(i, (_, place))| (((i + 1) * layout.messages_a_chunk).min(20), place))
        .collect()
}

/// Where the data are in a chunk.
fn data_of(chunk: &std::ops::Range<usize>, packing: Packing) -> std::ops::Range<usize> {
    let name = match packing {
        Packing::Lz4 => 3,
        Packing::Zstd => 4,
        Packing::None | Packing::Loose => 0,
    };
    chunk.start + 9 + 40 + name..chunk.end
}

#[test]
fn an_intact_file_gives_all_its_messages() {
    let file = File::new();
    for packing in ALL_PACKINGS {
        for has_checksums in [true, false] {
            for has_extras in [true, false] {
                let layout = Layout { packing, has_checksums, has_extras, ..Layout::default() };
                let mut reader = file.open(&write_mcap(&layout, &CHANNELS, &messages()));
                assert!(reader.has_index());
                assert_eq!(reader.indexed("/depth"), Some(10), "of two channels");
                assert_eq!((reader.indexed("/old"), reader.indexed("/none")), (Some(5), Some(0)));
                assert_eq!(reader.notes()["depthcast/serial"], "0815");
                assert_eq!(reader.topics().len(), 4);
                let pass = read_on(&mut reader);
                assert!(pass.damage.is_none(), "{layout:?} {:?}", pass.damage);
                assert_eq!(pass.genuine(), (0..20).collect::<Vec<_>>());
                for (i, got) in pass.messages.iter().enumerate() {
                    assert_eq!(got.topic.as_deref(), Some(CHANNELS[i % 4].topic));
                    assert_eq!(got.sequence, Some(i as u64 / 4 + 1));
                }
                let is_loose = packing == Packing::Loose;
                assert_eq!(pass.announced, if is_loose { 0 } else { 20 });
                assert_eq!((pass.chunks, pass.cut), (if is_loose { 1 } else { 7 }, 0));
                let name = ["none", "none", "lz4", "zstd"][packing as usize];
                assert_eq!(reader.compression(), Some(name).filter(|_| !is_loose));
                reader.rewind();
                assert_eq!(read_on(&mut reader), pass, "the same again");
            }
        }
    }
}

#[test]
fn topics_are_described_as_the_file_describes_them() {
    let file = File::new();
    for has_summary in [true, false] {
        let mut reader = file.open(&write_mcap(
            &Layout { has_summary, ..Layout::default() },
            &CHANNELS,
            &messages(),
        ));
        read_on(&mut reader);
        let mut topics = reader.topics();
        topics.sort_by_key(|topic| (topic.name.clone(), topic.notes.len()));
        assert_eq!(
            topics.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
            ["/color", "/depth", "/depth", "/old"]
        );
        assert_eq!(
            (topics[0].schema.as_str(), topics[0].encoding),
            ("sensor_msgs/Image", Encoding::Cdr)
        );
        assert_eq!(topics[2].notes["offered_qos_profiles"], "none");
        assert_eq!(
            (topics[3].schema.as_str(), topics[3].encoding),
            ("std_msgs/String", Encoding::Ros1)
        );
    }
}

#[test]
fn a_file_without_a_summary_is_whole_and_one_that_was_not_closed_is_not() {
    let file = File::new();
    for packing in ALL_PACKINGS {
        let layout =
            Layout { packing, has_summary: false, has_message_indexes: false, ..Layout::default() };
        let mut reader = file.open(&write_mcap(&layout, &CHANNELS, &messages()));
        assert!(!reader.has_index());
        assert_eq!((reader.indexed("/depth"), reader.places()), (None, 0));
        let pass = read_on(&mut reader);
        assert!(pass.damage.is_none(), "{:?}", pass.damage);
        assert_eq!(pass.genuine().len(), 20);

        let mut reader = file.open(&unclosed(write_mcap(
            &Layout { packing, ..Layout::default() },
            &CHANNELS,
            &messages(),
        )));
        let pass = read_on(&mut reader);
        assert_eq!(pass.genuine().len(), 20);
        assert_eq!(pass.damage.notes.len(), 1);
        assert!(pass.damage.notes[0].contains("not closed"), "{:?}", pass.damage);
        assert_eq!((pass.damage.bytes_skipped, pass.damage.chunks_skipped), (0, 0));
        assert_eq!(reader.notes()["depthcast/device"], "Test camera", "it was on the way");
    }
}

#[test]
fn messages_of_a_cut_chunk_are_read_as_far_as_they_are_whole() {
    let file = File::new();
    let layout = Layout { packing: Packing::None, messages_a_chunk: 20, ..Layout::default() };
    let bytes = write_mcap(&layout, &CHANNELS, &messages());
    let place = chunks(&layout, &bytes)[0].1.clone();
    let pass = file.read(&bytes[..place.end - 9]);
    assert_eq!(pass.genuine(), (0..19).collect::<Vec<_>>());
    assert_eq!(pass.cut, 1);
    assert!(pass.damage.bytes_skipped > 0);
}

#[test]
fn a_chunk_that_fails_its_checksum_is_skipped_and_counted() {
    let file = File::new();
    for packing in CHUNKED {
        for has_summary in [true, false] {
            let layout = Layout { packing, has_summary, ..Layout::default() };
            let mut bytes = write_mcap(&layout, &CHANNELS, &messages());
            let place = chunks(&layout, &bytes)[2].1.clone();
            let data = data_of(&place, packing);
            bytes[data.end - 20] ^= 0x10;
            let pass = file.read(&bytes);
            assert_eq!(pass.genuine(), (0..6).chain(9..20).collect::<Vec<_>>());
            let counted = (pass.damage.chunks_skipped, pass.damage.bytes_skipped);
            assert_eq!(counted, (1, data.len() as u64));
            assert_eq!(pass.damage.notes.len(), 1, "{:?}", pass.damage);
            assert!(pass.damage.notes[0].contains(&data.start.to_string()));
            assert_eq!(pass.announced, 20);
        }
    }
}

#[test]
fn a_broken_first_chunk_of_an_unclosed_file_still_describes_its_channels() {
    let file = File::new();
    let layout = Layout { packing: Packing::Lz4, ..Layout::default() };
    let whole = write_mcap(&layout, &CHANNELS, &messages());
    let place = chunks(&layout, &whole)[0].1.clone();
    let mut bytes = unclosed(whole);
    // The last byte of its checksum, after the record's head and three fields of eight bytes.
    bytes[place.start + 9 + 27] ^= 1;
    let pass = file.read(&bytes);
    assert_eq!(pass.genuine(), (3..20).collect::<Vec<_>>());
    assert!(pass.messages.iter().all(|got| got.topic.is_some()), "{:?}", pass.damage);
    assert_eq!(pass.damage.chunks_skipped, 1);
}

#[test]
fn a_wrong_length_costs_no_chunk_that_the_summary_knows() {
    let file = File::new();
    for packing in CHUNKED {
        for has_summary in [true, false] {
            let layout = Layout { packing, has_summary, ..Layout::default() };
            let bytes = write_mcap(&layout, &CHANNELS, &messages());
            let place = chunks(&layout, &bytes)[3].1.clone();
            let data = data_of(&place, packing);
            for at in [place.start + 1, data.start - 8] {
                let right = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
                for wrong in
                    [right + 9, right - 9, right + 500, 0, 1 << 20, u64::MAX, u64::MAX - 60]
                {
                    let mut bytes = bytes.clone();
                    bytes[at..at + 8].copy_from_slice(&wrong.to_le_bytes());
                    let pass = file.read(&bytes);
                    let is_there =
                        |i: usize| pass.messages.iter().any(|got| got.body == messages()[i].1);
                    let others =
                        if has_summary { (0..9).chain(12..20) } else { (0..9).chain(0..0) };
                    let mut others = others;
                    assert!(others.all(is_there), "{packing:?} {at} {wrong}: {:?}", pass.damage);
                    // Where one of the two lengths is right, nothing need be lost.
                    assert!(
                        !pass.damage.is_none() || pass.whole() == 20,
                        "{packing:?} {at} {wrong}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_comes_after_a_wrong_length_of_a_message_outside_of_chunks_is_given_up() {
    let file = File::new();
    let layout = Layout { packing: Packing::Loose, ..Layout::default() };
    let bytes = write_mcap(&layout, &CHANNELS, &messages());
    let place = records(&bytes).into_iter().filter(|(op, _)| *op == op::MESSAGE).nth(7).unwrap().1;
    let right = (place.len() - 9) as u64;
    for wrong in [right + 9, right - 9, right + 500, 0, 22, 1 << 20, 1 << 40, u64::MAX] {
        let mut bytes = bytes.clone();
        bytes[place.start + 1..place.start + 9].copy_from_slice(&wrong.to_le_bytes());
        let pass = file.read(&bytes);
        assert!((0..7).all(|i| pass.messages[i].body == messages()[i].1), "{wrong}");
        assert!(!pass.damage.is_none());
    }
}

#[test]
fn a_damaged_summary_costs_no_message() {
    let file = File::new();
    for packing in ALL_PACKINGS {
        let bytes = write_mcap(&Layout { packing, ..Layout::default() }, &CHANNELS, &messages());
        let end = unclosed(bytes.clone()).len();
        for at in (end + 13..bytes.len()).step_by(7) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x04;
            let mut reader = file.open(&bytes);
            let pass = read_on(&mut reader);
            assert_eq!(pass.genuine().len(), 20, "{packing:?} {at}: {:?}", pass.damage);
            assert!(!reader.has_index() && !pass.damage.is_none(), "{packing:?} {at}");
        }
    }
}

#[test]
fn channels_and_schemas_that_are_missing_are_reported() {
    let file = File::new();
    let layout = Layout { packing: Packing::Loose, has_summary: false, ..Layout::default() };
    let bytes = write_mcap(&layout, &CHANNELS, &messages());
    let without = |op: u8| {
        let mut bytes = bytes.clone();
        let place = records(&bytes).into_iter().find(|(found, _)| *found == op).unwrap().1;
        bytes.drain(place);
        bytes
    };
    let pass = file.read(&without(op::CHANNEL));
    assert_eq!(pass.genuine().len(), 20);
    assert_eq!(pass.messages.iter().filter(|got| got.topic.is_none()).count(), 5);
    assert_eq!(pass.damage.notes.len(), 1, "{:?}", pass.damage);
    assert!(pass.damage.notes[0].contains("describes"));

    let mut reader = file.open(&without(op::SCHEMA));
    assert_eq!(read_on(&mut reader).genuine().len(), 20);
    let mut schemas: Vec<&str> =
        reader.topics().iter().map(|topic| topic.schema.as_str()).collect();
    schemas.sort_unstable();
    assert_eq!(schemas, ["", "", "", "std_msgs/String"]);
}

#[test]
fn reading_starts_at_any_place() {
    let file = File::new();
    for packing in CHUNKED {
        let mut reader = file.open(&write_mcap(
            &Layout { packing, ..Layout::default() },
            &CHANNELS,
            &messages(),
        ));
        assert_eq!(reader.places(), 7);
        for place in [6, 0, 3, 99] {
            reader.enter(place);
            let pass = read_on(&mut reader);
            assert_eq!(pass.genuine(), (place * 3..20).collect::<Vec<_>>());
            assert!(pass.damage.is_none());
            assert!(pass.messages.iter().all(|got| got.topic.is_some()));
        }
    }
}

#[test]
fn what_comes_after_the_end_is_not_read_and_reported() {
    let file = File::new();
    let bytes = write_mcap(&Layout::default(), &CHANNELS, &messages());
    let pass = file.read(&[&bytes[..], &vec![0; 5000]].concat());
    assert_eq!(pass.genuine().len(), 20);
    assert_eq!(pass.damage.bytes_skipped, 5000, "{:?}", pass.damage);
}

#[test]
fn files_made_of_traps_come_to_an_end() {
    let file = File::new();
    let record = |op: u8, len: u64| [&[op][..], &len.to_le_bytes()].concat();
    let traps = [
        record(0x10, 0),
        record(0x90, 3),
        record(op::ATTACHMENT, 1 << 19),
        [record(op::MESSAGE, 1 << 19), vec![0; 22]].concat(),
        [record(op::CHUNK, 100), vec![0; 28], vec![0; 4], (1u64 << 19).to_le_bytes().to_vec()]
            .concat(),
        [
            record(op::CHUNK, 40 + (1 << 29)),
            vec![0; 28],
            vec![0; 4],
            (1u64 << 29).to_le_bytes().to_vec(),
        ]
        .concat(),
    ];
    for trap in traps {
        let bytes = [super::MAGIC, &trap.repeat((1 << 20) / trap.len())[..]].concat();
        let pass = file.read(&bytes);
        assert!(!pass.damage.is_none());
        assert!(pass.damage.notes.len() <= 51);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, at in 0..2000usize, packing in 0..4usize) {
        let layout = Layout { packing: ALL_PACKINGS[packing], ..Layout::default() };
        let mut whole = write_mcap(&layout, &CHANNELS, &messages());
        let at = 8 + at % (whole.len() - 8);
        let end = whole.len().min(at + bytes.len());
        whole.splice(at..end, bytes);
        File::new().read(&whole);
    }
}
