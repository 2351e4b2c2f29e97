//! Work that other threads do ahead, in order.
//!
//! What was made ahead is only ever taken for the very key that is asked for. So a reader finds the
//! same in the same order, damage included, whether something was made ahead or not; and where it
//! goes elsewhere, what was made ahead is dropped.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{self as channel, Receiver, Sender};

/// More threads than this have nothing to do: memory is the limit.
const MAX_THREADS: usize = 8;
/// Jobs for each thread, waiting or done.
const JOBS_A_THREAD: usize = 2;
/// What all that is made ahead may take. What would take more alone is not made ahead.
pub const MAX_AHEAD_BYTES: usize = 32 << 20;

/// What is done with a message ahead of its turn. Jobs are used again and again; whoever takes the
/// outcome knows the type.
pub trait Job: Any + Send {
    fn run(&mut self, message: &[u8]);
}

/// Makes a job.
pub type NewJob = Box<dyn Fn() -> Box<dyn Job> + Send>;

/// What a thread is to do.
struct Task<In, Out> {
    input: In,
    done: Sender<Out>,
    is_dropped: Arc<AtomicBool>,
}

/// What `In` becomes, under the key that it is asked for by.
pub struct Ahead<Key, In, Out> {
    /// Dropped, it lets the threads end.
    jobs: Option<Sender<Task<In, Out>>>,
    threads: Vec<JoinHandle<()>>,
    max_jobs: usize,
    /// In the order in which they were started, with the bytes that each takes.
    queue: VecDeque<(Key, usize, Receiver<Out>)>,
    bytes: usize,
    /// Nobody waits for the queue any more.
    is_dropped: Arc<AtomicBool>,
}

impl<Key: PartialEq, In: Send + 'static, Out: Send + 'static> Ahead<Key, In, Out> {
    /// Each thread has a worker of its own. Nothing if no thread can be started: then nothing is
    /// made ahead.
    pub fn start<Work: FnMut(In) -> Out + Send + 'static>(
        name: &str,
        mut worker: impl FnMut() -> Work,
    ) -> Option<Self> {
        let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS);
        let (jobs, taken) = channel::unbounded::<Task<In, Out>>();
        let mut started = vec![];
        for n in 0..threads {
            let (taken, mut work) = (taken.clone(), worker());
            let run = move || {
                for Task { input, done, is_dropped } in taken {
                    if !is_dropped.load(Ordering::Relaxed) {
                        let _ = done.send(work(input));
                    }
                }
            };
            started.extend(thread::Builder::new().name(format!("{name}{n}")).spawn(run));
        }
        (!started.is_empty()).then(|| Self {
            jobs: Some(jobs),
            max_jobs: started.len() * JOBS_A_THREAD,
            threads: started,
            queue: VecDeque::new(),
            bytes: 0,
            is_dropped: Arc::default(),
        })
    }

    /// Whether another task may be started.
    pub fn has_room(&self) -> bool {
        self.queue.len() < self.max_jobs && self.bytes < MAX_AHEAD_BYTES
    }

    /// Has something made that takes so many bytes; false if it will not be.
    pub fn start_task(&mut self, key: Key, bytes: usize, input: In) -> bool {
        let (done, made) = channel::bounded(1);
        let task = Task { input, done, is_dropped: Arc::clone(&self.is_dropped) };
        let is_started = self.jobs.as_ref().is_some_and(|jobs| jobs.send(task).is_ok());
        if is_started {
            self.bytes += bytes;
            self.queue.push_back((key, bytes, made));
        }
        is_started
    }

    /// What was started under a key, once it is made; what was started before it is dropped.
    pub fn take(&mut self, key: &Key) -> Option<Out> {
        let at = self.queue.iter().position(|(queued, ..)| queued == key)?;
        let (bytes, made) = self
            .queue
            .drain(..=at)
            .fold((0, None), |(sum, _), (_, bytes, made)| (sum + bytes, Some(made)));
        self.bytes -= bytes;
        // A thread that panicked has dropped its end: the reader then makes it itself, with the
        // same outcome.
        made?.recv().ok()
    }

    /// Drops what was started.
    pub fn forget(&mut self) {
        if !self.queue.is_empty() {
            std::mem::take(&mut self.is_dropped).store(true, Ordering::Relaxed);
            self.queue.clear();
            self.bytes = 0;
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.bytes == 0
    }
}

impl<Key, In, Out> Drop for Ahead<Key, In, Out> {
    /// The threads end with the task that each has started.
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_ahead_is_what_is_asked_for_or_is_not_taken() {
        let mut ahead = Ahead::start("double", || |n: u32| 2 * n).unwrap();
        let (mut next, mut forgotten) = (0, 0..0);
        for n in 0..100 {
            while next < 100 && ahead.has_room() {
                assert!(ahead.start_task(next, 1, next));
                next += 1;
            }
            match n {
                // Some are left out.
                5 | 6 => continue,
                50 => {
                    forgotten = 50..next;
                    ahead.forget();
                    assert!(ahead.is_empty());
                }
                _ => {}
            }
            assert_eq!(ahead.take(&n), Some(2 * n).filter(|_| !forgotten.contains(&n)), "{n}");
        }
        assert!(ahead.is_empty());
        assert!(ahead.start_task(7, MAX_AHEAD_BYTES, 7) && !ahead.has_room());
        assert_eq!((ahead.take(&8), ahead.take(&7)), (None, Some(14)));
    }
}
