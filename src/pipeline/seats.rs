//! One rayon pool for the projections of all cameras.
//!
//! A projection runs inside the pool, as one of its threads: bands are handed to the others without a detour, and nothing is allocated
//! for it. It stays there for the whole run, so each needs a thread to itself, a seat. All seats are taken before any projection begins: a
//! thread that waits for its bands helps out with whatever has not begun, and must not find another camera's whole run there.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use anyhow::Context as _;
use crossbeam_channel as channel;
use rayon::ThreadPool;

type Job = Box<dyn FnOnce() + Send>;

/// A thread of the pool that waits for its projection.
pub struct Seat {
    job: channel::Sender<Job>,
    _pool: Arc<ThreadPool>,
}

/// Makes a pool of so many threads, or as many as it has seats.
///
/// # Errors
/// If the threads can't be started.
pub fn seats(count: usize, threads: usize) -> anyhow::Result<Vec<Seat>> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(count))
        .thread_name(|n| format!("project{n}"))
        .build()
        .context("cannot start the projection's threads")?;
    let pool = Arc::new(pool);
    let (taken_tx, taken_rx) = channel::bounded(count);
    let take = |_| {
        let (job_tx, job_rx) = channel::bounded::<Job>(1);
        let taken_tx = taken_tx.clone();
        pool.spawn(move || {
            let _ = taken_tx.send(());
            // A seat that is given back leaves its thread to the others.
            if let Ok(job) = job_rx.recv() {
                job();
            }
        });
        Seat { job: job_tx, _pool: Arc::clone(&pool) }
    };
    let seats = (0..count).map(take).collect();
    taken_rx.iter().take(count).for_each(drop);
    Ok(seats)
}

impl Seat {
    /// Runs `projection` there, and waits for it.
    pub(super) fn run<T: Send + 'static>(self, projection: impl FnOnce() -> T + Send + 'static) -> T {
        let (done_tx, done_rx) = channel::bounded(1);
        let job = move || {
            // Rayon would end the process.
            let _ = done_tx.send(catch_unwind(AssertUnwindSafe(projection)));
        };
        // It is there: it waits for nothing else.
        let _ = self.job.send(Box::new(job));
        match done_rx.recv() {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => panic!("the projection's thread is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn projections_share_the_pool_and_do_not_wait_for_each_other() {
        let (tx, rx) = channel::unbounded();
        // Fewer threads than seats: there is one for each all the same.
        let threads = seats(3, 1).unwrap().into_iter().enumerate().map(|(index, seat)| {
            let tx = tx.clone();
            std::thread::spawn(move || {
                seat.run(move || {
                    for _ in 0..200 {
                        rayon::join(|| std::thread::sleep(Duration::from_micros(50)), std::thread::yield_now);
                    }
                    let _ = tx.send((index, rayon::current_num_threads()));
                    index
                })
            })
        });
        let threads: Vec<_> = threads.collect();
        let indices: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        drop(tx);
        let mut done: Vec<_> = rx.iter().collect();
        done.sort_unstable();
        assert_eq!((indices, done), (vec![0, 1, 2], vec![(0, 3), (1, 3), (2, 3)]));
    }

    #[test]
    fn a_panic_comes_back_and_leaves_the_others_alone() {
        let mut seats = seats(2, 2).unwrap();
        let (second, first) = (seats.pop().unwrap(), seats.pop().unwrap());
        assert!(catch_unwind(AssertUnwindSafe(|| first.run(|| panic!("on purpose")))).is_err());
        assert_eq!(second.run(|| 7), 7);
    }
}
