//! Rows that are read ahead, so that other threads unpack the images in them ([`Ahead`]).

use std::collections::{HashMap, VecDeque};

use crate::recording::container::Wire;
use crate::recording::container::ahead::{Ahead, MAX_AHEAD_BYTES};
use crate::recording::container::db3::sqlite::{RowHead, Sqlite};
use crate::recording::container::zstd_bytes;
use crate::recording::image_codec::{Shape, Unpacker};
use crate::recording::ros::compressed::CompressedImage;

/// Rows that are read ahead, at most: between two images of a stream there are a few.
const MAX_ROWS: usize = 64;
/// Images that are read one after the other before the next ones are taken for certain to be read
/// as well.
const IMAGES_IN_A_ROW: u32 = 2;
/// The most that a pixel takes.
const BYTES_PER_PIXEL: u64 = 4;

/// A message with an image, and what becomes of it.
struct Image {
    message: Vec<u8>,
    size_px: (u32, u32),
    rows: Vec<u8>,
    shape: Result<Shape, String>,
}

#[derive(Default)]
pub struct RowsAhead {
    /// By topic, the size of those that are to be unpacked.
    images: HashMap<u32, (u32, u32)>,
    in_a_row: u32,
    /// What SQLite has given, in order; without the bytes where a thread has them.
    rows: VecDeque<(RowHead, Vec<u8>)>,
    unpack: Option<Ahead<i64, Image, Image>>,
    /// The image of the last row.
    made: Option<Image>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl RowsAhead {
    /// The images of a topic are to be unpacked ahead, if they have this size.
    pub fn expect(&mut self, topic: u32, size_px: (u32, u32)) {
        self.images.insert(topic, size_px);
    }

    /// Reading goes on elsewhere.
    pub fn forget(&mut self) {
        self.in_a_row = 0;
        self.rows.clear();
        self.made = None;
        self.unpack.iter_mut().for_each(Ahead::forget);
    }

    /// The first row behind the one with this id, as [`Sqlite::next_behind`] gives it.
    pub fn next(
        &mut self,
        sqlite: &Sqlite,
        id: i64,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<Option<RowHead>> {
        self.made = None;
        if self.in_a_row >= IMAGES_IN_A_ROW {
            self.read_ahead(sqlite, id);
        }
        let row = match self.rows.pop_front() {
            Some((head, bytes)) => {
                match self.unpack.as_mut().and_then(|unpack| unpack.take(&head.id)) {
                    Some(mut image) => {
                        std::mem::swap(out, &mut image.message);
                        self.made = Some(image);
                        Some(head)
                    }
                    // A thread may have failed with the bytes.
                    None if bytes.is_empty() => sqlite.next_behind(id, out)?,
                    None => {
                        self.spare.push(std::mem::replace(out, bytes));
                        Some(head)
                    }
                }
            }
            None => sqlite.next_behind(id, out)?,
        };
        let is_image =
            row.and_then(|head| head.topic).is_some_and(|topic| self.images.contains_key(&topic));
        self.in_a_row = self.in_a_row.saturating_add(is_image.into());
        Ok(row)
    }

    /// What is wrong ahead is found when reading comes to it.
    fn read_ahead(&mut self, sqlite: &Sqlite, id: i64) {
        if self.unpack.is_none() {
            self.unpack = Ahead::start("unpack", || {
                let mut unpacker = Unpacker::default();
                move |mut image: Image| {
                    let Image { message, size_px, rows, .. } = &mut image;
                    let packed =
                        CompressedImage::parse(Wire::Cdr, message).map_err(|e| e.to_string());
                    image.shape =
                        packed.and_then(|packed| unpacker.unpack(&packed, *size_px, rows));
                    image
                }
            });
        }
        let Some(unpack) = &mut self.unpack else { return };
        while self.rows.len() < MAX_ROWS && unpack.has_room() {
            let behind = self.rows.back().map_or(id, |(head, _)| head.id);
            let mut bytes = self.spare.pop().unwrap_or_default();
            let head = match sqlite.next_behind(behind, &mut bytes) {
                Ok(Some(head)) if head.id > behind => head,
                _ => return,
            };
            let size_px =
                head.topic.and_then(|topic| self.images.get(&topic)).copied().unwrap_or_default();
            let takes =
                bytes.len() as u64 + BYTES_PER_PIXEL * u64::from(size_px.0) * u64::from(size_px.1);
            let is_fit = size_px != (0, 0) && takes <= MAX_AHEAD_BYTES as u64;
            if is_fit && head.has_data && !bytes.starts_with(&zstd_bytes::MAGIC) {
                let message = std::mem::take(&mut bytes);
                let (rows, takes) = (self.spare.pop().unwrap_or_default(), takes as usize);
                unpack.begin(
                    head.id,
                    takes,
                    Image { message, size_px, rows, shape: Err(String::new()) },
                );
            }
            self.rows.push_back((head, bytes));
        }
    }

    /// The image of the row that came last, if it was unpacked ahead. Its rows are put into `rows`.
    pub fn unpacked(&mut self, rows: &mut Vec<u8>) -> Option<Result<Shape, String>> {
        let mut image = self.made.take()?;
        std::mem::swap(rows, &mut image.rows);
        self.spare.extend([image.message, image.rows]);
        Some(image.shape)
    }
}
