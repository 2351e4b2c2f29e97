//! The pages of an SQLite file, as far as the rows of a recording stand in them. No I/O: bytes in,
//! rows out.
//!
//! Format: <https://www.sqlite.org/fileformat2.html>. Pages are taken one by one, without the tree
//! that leads to them, so that damage to one page costs what stands on it and no more. No byte at
//! the end of pages is taken to be reserved: no recorder asks for that.

use std::ops::Range;

/// The header at the begin of the file, on the first page.
pub const HEADER_BYTES: usize = 100;
const INDEX_INTERIOR: u8 = 2;
const TABLE_INTERIOR: u8 = 5;
const INDEX_LEAF: u8 = 10;
const TABLE_LEAF: u8 = 13;
/// Blobs and texts have types from here on: even for blobs, odd for texts.
const FIRST_BLOB_TYPE: u64 = 12;

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at + 2)?.try_into().ok().map(|b| usize::from(u16::from_be_bytes(b)))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// The length of a page in bytes, by the file's header; nothing if no file has such pages.
pub fn page_bytes(header: &[u8]) -> Option<usize> {
    match u16_at(header, 16)? {
        1 => Some(1 << 16),
        n if n.is_power_of_two() && n >= 512 => Some(n),
        _ => None,
    }
}

/// How many pages the file has to have, by its header, if that was kept up to date.
pub fn announced_pages(header: &[u8]) -> Option<u64> {
    let (changes, valid_for) = (u32_at(header, 24)?, u32_at(header, 92)?);
    u32_at(header, 28).filter(|&pages| changes == valid_for && pages > 0).map(u64::from)
}

/// A number of one to nine bytes, and how many they are.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(9).enumerate() {
        if i == 8 {
            return Some((value << 8 | u64::from(byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// A row on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub rowid: i64,
    pub payload_bytes: u64,
    /// What of the payload stands on the page.
    pub local: Range<usize>,
    /// The page where it goes on.
    pub next_page: Option<u32>,
}

/// Where on the page its cells stand, if it is one with rows of tables (or, with `kind`, one that
/// leads to such).
fn cell_offsets(page: &[u8], is_first: bool, kind: u8) -> impl Iterator<Item = usize> {
    let at = if is_first { HEADER_BYTES } else { 0 };
    let is_right = page.get(at) == Some(&kind);
    let header_bytes = if matches!(kind, TABLE_LEAF | INDEX_LEAF) { 8 } else { 12 };
    // Each cell takes two bytes in the list and at least four elsewhere.
    let count = u16_at(page, at + 3).filter(|_| is_right).unwrap_or(0).min(page.len() / 6);
    (0..count).filter_map(move |i| u16_at(page, at + header_bytes + 2 * i))
}

/// The rows on a page, each with where it stands.
pub fn cells(page: &[u8], is_first: bool) -> impl Iterator<Item = (usize, Cell)> {
    cell_offsets(page, is_first, TABLE_LEAF).filter_map(|at| Some((at, cell_at(page, at)?)))
}

/// The highest row that a page without rows tells of: one that leads to pages with rows (but for
/// its last branch), or one of the index of record times.
pub fn highest_key(page: &[u8], is_first: bool) -> Option<i64> {
    let keys =
        cell_offsets(page, is_first, TABLE_INTERIOR).filter_map(|at| varint(page.get(at + 4..)?));
    let in_index = |at: usize| {
        let (payload_bytes, n) = varint(page.get(at..)?)?;
        let start = at + n;
        let payload = page.get(start..start.checked_add(usize::try_from(payload_bytes).ok()?)?)?;
        let columns =
            Columns::parse(payload, payload_bytes).filter(|columns| columns.count == 2)?;
        columns.integer(0).and(columns.integer(1))
    };
    let indexed = cell_offsets(page, is_first, INDEX_LEAF).filter_map(in_index);
    let indexed = indexed
        .chain(cell_offsets(page, is_first, INDEX_INTERIOR).filter_map(|at| in_index(at + 4)));
    keys.map(|(key, _)| key as i64).chain(indexed).max()
}

/// The row that stands at `at` on a page.
pub fn cell_at(page: &[u8], at: usize) -> Option<Cell> {
    let (payload_bytes, n) = varint(page.get(at..)?)?;
    let (rowid, m) = varint(page.get(at + n..)?)?;
    let start = at + n + m;
    let local_bytes = local_bytes(page.len(), payload_bytes);
    let local = start..start + local_bytes;
    page.get(local.clone())?;
    let next_page = match local_bytes as u64 == payload_bytes {
        true => None,
        false => Some(u32_at(page, local.end)?),
    };
    Some(Cell { rowid: rowid as i64, payload_bytes, local, next_page })
}

/// How much of a payload stands on a page with rows.
fn local_bytes(page_bytes: usize, payload_bytes: u64) -> usize {
    let most = page_bytes as u64 - 35;
    if payload_bytes <= most {
        return payload_bytes as usize;
    }
    let least = (page_bytes as u64 - 12) * 32 / 255 - 23;
    let local = least + (payload_bytes - least) % (page_bytes as u64 - 4);
    (if local <= most { local } else { least }) as usize
}

/// What a row is, as far as the begin of its payload tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row<'a> {
    Topic {
        name: &'a str,
        schema: &'a str,
    },
    Message {
        topic: u32,
        recorded_ns: i64,
        /// Where in the payload its data begin; they go on to its end.
        data_start: usize,
    },
}

/// The columns of a row: types and where each stands.
struct Columns<'a> {
    payload: &'a [u8],
    types: [u64; 6],
    places: [usize; 6],
    count: usize,
}

impl<'a> Columns<'a> {
    fn parse(payload: &'a [u8], payload_bytes: u64) -> Option<Self> {
        let (header_bytes, mut at) = varint(payload)?;
        let header_bytes = usize::try_from(header_bytes).ok().filter(|&n| n <= payload.len())?;
        let (mut types, mut places, mut count) = ([0; 6], [0; 6], 0);
        let mut end = header_bytes as u64;
        while at < header_bytes {
            let (kind, n) = varint(&payload[at..header_bytes])?;
            *types.get_mut(count)? = kind;
            places[count] = usize::try_from(end).ok()?;
            end = end.checked_add(match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                10 | 11 => return None,
                _ => (kind - FIRST_BLOB_TYPE) / 2,
            })?;
            (at, count) = (at + n, count + 1);
        }
        // What does not add up is no row.
        (end == payload_bytes).then_some(Self { payload, types, places, count })
    }

    fn integer(&self, column: usize) -> Option<i64> {
        let len = match self.types[column] {
            8 => return Some(0),
            9 => return Some(1),
            kind @ 1..=4 => kind as usize,
            5 => 6,
            6 => 8,
            _ => return None,
        };
        let bytes = self.payload.get(self.places[column]..self.places[column] + len)?;
        let sign = if bytes[0] >= 0x80 { -1 } else { 0 };
        Some(bytes.iter().fold(sign, |value, &byte| value << 8 | i64::from(byte)))
    }

    fn text(&self, column: usize) -> Option<&'a str> {
        let len =
            self.types[column].checked_sub(FIRST_BLOB_TYPE + 1).filter(|n| n.is_multiple_of(2))?
                / 2;
        let len = usize::try_from(len).ok()?;
        std::str::from_utf8(
            self.payload.get(self.places[column]..self.places[column].checked_add(len)?)?,
        )
        .ok()
    }
}

/// Tells what a row is by its columns: those of `messages` and of `topics` in rosbag2's files look
/// like no others there.
pub fn parse_row(payload: &[u8], payload_bytes: u64) -> Option<Row<'_>> {
    let columns = Columns::parse(payload, payload_bytes)?;
    let is_blob = |kind: u64| kind >= FIRST_BLOB_TYPE && kind.is_multiple_of(2);
    if columns.count == 4 && is_blob(columns.types[3]) {
        let topic = u32::try_from(columns.integer(1)?).ok()?;
        return Some(Row::Message {
            topic,
            recorded_ns: columns.integer(2)?,
            data_start: columns.places[3],
        });
    }
    if columns.count < 4 {
        return None;
    }
    let (name, schema) = (columns.text(1)?, columns.text(2)?);
    (name.starts_with('/') && schema.contains('/')).then_some(Row::Topic { name, schema })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_one_to_nine_bytes() {
        assert_eq!(varint(&[0x7f]), Some((127, 1)));
        assert_eq!(varint(&[0x81, 0x00]), Some((128, 2)));
        assert_eq!(varint(&[0xff; 9]), Some((u64::MAX, 9)));
        assert_eq!(varint(&[0x81]), None);
    }

    #[test]
    fn a_message_is_known_by_its_columns() {
        // Five bytes of header; id (NULL), topic 7, time -2 in two bytes, a blob of three.
        let payload = [5, 0, 1, 2, 18, 7, 0xff, 0xfe, 1, 2, 3];
        let want = Row::Message { topic: 7, recorded_ns: -2, data_start: 8 };
        assert_eq!(parse_row(&payload, 11), Some(want));
        assert_eq!(parse_row(&payload, 12), None, "one byte too many");
        assert_eq!(parse_row(&[5, 0, 1, 2, 19, 7, 0xff, 0xfe, 1, 2, 3], 11), None, "a text");
        let topic = [&[5u8, 0, 17, 19, 13][..], b"/a", b"b/c"].concat();
        assert_eq!(parse_row(&topic, 10), Some(Row::Topic { name: "/a", schema: "b/c" }));
    }

    /// Pages that look more like such than chance would have it.
    fn page() -> impl Strategy<Value = Vec<u8>> {
        (
            prop::collection::vec(any::<u8>(), 512),
            prop::sample::select(vec![2u8, 5, 10, 13]),
            0u8..40,
        )
            .prop_map(|(mut page, kind, n)| {
                page[0] = kind;
                (page[3], page[4]) = (0, n);
                for i in 0..usize::from(n) {
                    page[8 + 2 * i] &= 1;
                }
                page
            })
    }

    proptest! {
        #[test]
        fn no_page_makes_the_parser_panic(page in page(), is_first: bool) {
            for (_, cell) in cells(&page, is_first) {
                prop_assert!(cell.local.end <= page.len());
                let _ = parse_row(&page[cell.local.clone()], cell.payload_bytes);
            }
            let _ = highest_key(&page, is_first);
        }

        #[test]
        fn no_payload_makes_the_parser_panic(payload: Vec<u8>) {
            let _ = parse_row(&payload, payload.len() as u64);
        }

        #[test]
        fn a_page_holds_what_it_has_room_for(payload in 0u64..1 << 40, exponent in 9usize..=16) {
            let local = local_bytes(1 << exponent, payload);
            prop_assert!(local as u64 <= payload && local <= (1 << exponent) - 35);
        }
    }
}
