//! Rows that are read ahead, so that other threads work on the messages in them ([`Ahead`]).

use std::any::Any;
use std::collections::{HashMap, VecDeque};

use super::sqlite::{RowHead, Sqlite};
use crate::recording::container::ahead::{Ahead, Job, MAX_AHEAD_BYTES, NewJob};
use crate::recording::container::decompress::ZSTD_MAGIC;

/// Rows that are read ahead, at most: between two images of a stream there are a few.
const MAX_ROWS: usize = 64;
/// Messages to work on that are read one after the other before the next ones are taken for certain
/// to be read as well.
const MESSAGES_IN_A_ROW: u32 = 2;

type Work = (Vec<u8>, Box<dyn Job>);

/// The jobs for the messages of a topic.
struct Jobs {
    outcome_bytes: usize,
    new_job: NewJob,
    spare: Vec<Box<dyn Job>>,
}

#[derive(Default)]
pub struct RowsAhead {
    jobs: Vec<Jobs>,
    /// By topic, which of the jobs its messages need.
    by_topic: HashMap<u32, usize>,
    in_a_row: u32,
    /// What SQLite has given, in order; without the bytes where a thread has them.
    rows: VecDeque<(RowHead, Vec<u8>)>,
    ahead: Option<Ahead<i64, Work, Work>>,
    /// The job of the last row, and which one it is.
    finished: Option<(usize, Box<dyn Job>)>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl RowsAhead {
    /// The messages of these topics are to be worked on.
    pub fn expect(&mut self, topics: &[u32], outcome_bytes: usize, new_job: NewJob) {
        let index = self.jobs.len();
        self.by_topic.extend(topics.iter().map(|&topic| (topic, index)));
        self.jobs.push(Jobs { outcome_bytes, new_job, spare: vec![] });
    }

    /// Reading goes on elsewhere.
    pub fn forget(&mut self) {
        self.in_a_row = 0;
        self.rows.clear();
        self.release();
        self.ahead.iter_mut().for_each(Ahead::forget);
    }

    fn release(&mut self) {
        if let Some((index, job)) = self.finished.take() {
            self.jobs[index].spare.push(job);
        }
    }

    fn jobs_of(&self, head: &RowHead) -> Option<usize> {
        self.by_topic.get(&head.topic?).copied()
    }

    /// The first row after the one with this id, as [`Sqlite::next_after`] gives it.
    pub fn next(
        &mut self,
        sqlite: &Sqlite,
        id: i64,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<Option<RowHead>> {
        self.release();
        if self.in_a_row >= MESSAGES_IN_A_ROW {
            self.read_ahead(sqlite, id);
        }
        let row = match self.rows.pop_front() {
            Some((head, bytes)) => {
                let done = self.ahead.as_mut().and_then(|ahead| ahead.take(&head.id));
                match (done, self.jobs_of(&head)) {
                    (Some((message, job)), Some(index)) => {
                        self.spare.push(std::mem::replace(out, message));
                        self.finished = Some((index, job));
                        Some(head)
                    }
                    // A thread may have failed with the bytes.
                    _ if bytes.is_empty() => sqlite.next_after(id, out)?,
                    _ => {
                        self.spare.push(std::mem::replace(out, bytes));
                        Some(head)
                    }
                }
            }
            None => sqlite.next_after(id, out)?,
        };
        let is_worked_on = row.is_some_and(|head| self.jobs_of(&head).is_some());
        self.in_a_row = self.in_a_row.saturating_add(is_worked_on.into());
        Ok(row)
    }

    /// What is wrong ahead is found when reading comes to it.
    fn read_ahead(&mut self, sqlite: &Sqlite, id: i64) {
        if self.ahead.is_none() {
            self.ahead = Ahead::start("decode", || {
                |(message, mut job): Work| {
                    job.run(&message);
                    (message, job)
                }
            });
        }
        let Some(ahead) = &mut self.ahead else { return };
        while self.rows.len() < MAX_ROWS && ahead.has_room() {
            let last = self.rows.back().map_or(id, |(head, _)| head.id);
            let mut bytes = self.spare.pop().unwrap_or_default();
            let head = match sqlite.next_after(last, &mut bytes) {
                Ok(Some(head)) if head.id > last => head,
                _ => return,
            };
            let index = head.topic.and_then(|topic| self.by_topic.get(&topic));
            if let Some(jobs) = index.map(|&index| &mut self.jobs[index])
                && bytes.len().saturating_add(jobs.outcome_bytes) <= MAX_AHEAD_BYTES
                && head.has_data
                && !bytes.starts_with(&ZSTD_MAGIC)
            {
                let takes = bytes.len() + jobs.outcome_bytes;
                let job = jobs.spare.pop().unwrap_or_else(|| (jobs.new_job)());
                ahead.start_task(head.id, takes, (std::mem::take(&mut bytes), job));
            }
            self.rows.push_back((head, bytes));
        }
    }

    /// The job of the last row, if that was worked on ahead.
    pub fn finished_job(&mut self) -> Option<&mut dyn Any> {
        self.finished.as_mut().map(|(_, job)| &mut **job as &mut dyn Any)
    }
}
