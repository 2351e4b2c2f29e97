//! A bounded queue between two threads, with the policy of the run: the newest wins, or nothing is
//! lost.
//!
//! Whatever does not come out at the other end is counted, whoever was to blame: it gave way to a
//! newer item, the consumer died with it in the queue, or the run was given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel as channel;

use super::Policy;
use crate::stats::Count;

/// How often a blocked sender looks whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(20);

struct Shared {
    dropped: Arc<Count>,
    consumer_gone: AtomicBool,
    /// Set when the run is given up: from then on nothing blocks any more.
    abandon: Arc<AtomicBool>,
}

pub struct Sender<T> {
    tx: channel::Sender<T>,
    /// For taking the oldest item out. It also keeps the channel connected, hence `consumer_gone`.
    rx: channel::Receiver<T>,
    policy: Policy,
    shared: Arc<Shared>,
}

pub struct Receiver<T> {
    rx: channel::Receiver<T>,
    /// After the run is abandoned it still takes what is queued.
    takes_all: bool,
    shared: Arc<Shared>,
}

/// The consumer is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

pub fn queue<T>(
    capacity: usize,
    policy: Policy,
    dropped: Arc<Count>,
    abandon: Arc<AtomicBool>,
) -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = channel::bounded(capacity);
    let shared = Arc::new(Shared { dropped, consumer_gone: AtomicBool::new(false), abandon });
    (
        Sender { tx, rx: rx.clone(), policy, shared: Arc::clone(&shared) },
        Receiver { rx, takes_all: false, shared },
    )
}

impl<T> Sender<T> {
    /// Newest wins: never blocks; a full queue loses its oldest item. Lossless: waits for room.
    pub fn send(&self, mut item: T) -> Result<(), Closed> {
        loop {
            if self.shared.consumer_gone.load(Ordering::SeqCst) {
                self.shared.dropped.add(1);
                return Err(Closed);
            }
            let full = match self.policy {
                Policy::Newest => self.tx.try_send(item).map_err(channel::TrySendError::into_inner),
                Policy::Lossless => self
                    .tx
                    .send_timeout(item, LOOK_UP)
                    .map_err(channel::SendTimeoutError::into_inner),
            };
            match full {
                Ok(()) => break,
                Err(back) => item = back,
            }
            if self.policy == Policy::Newest {
                if self.rx.try_recv().is_ok() {
                    self.shared.dropped.add(1);
                }
            } else if self.shared.abandon.load(Ordering::Relaxed) {
                self.shared.dropped.add(1);
                return Ok(());
            }
        }
        // The consumer may have gone, and emptied the queue, between the look and the send.
        if self.shared.consumer_gone.load(Ordering::SeqCst) {
            count_rest(&self.rx, &self.shared.dropped);
            return Err(Closed);
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// For a file, which has to be whole: what is in the queue when the run is given up still comes
    /// out.
    pub fn that_takes_all(mut self) -> Self {
        self.takes_all = true;
        self
    }

    /// The next item, or `None` when the sender is gone and the queue is empty, or the run was
    /// given up.
    pub fn recv(&self) -> Option<T> {
        loop {
            match self.recv_timeout(LOOK_UP * 5) {
                Ok(item) => return Some(item),
                Err(channel::RecvTimeoutError::Timeout) => {}
                Err(channel::RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, channel::RecvTimeoutError> {
        if !self.shared.abandon.load(Ordering::Relaxed) {
            return self.rx.recv_timeout(timeout);
        }
        let waiting = if self.takes_all { self.rx.try_recv().ok() } else { None };
        waiting.ok_or(channel::RecvTimeoutError::Disconnected)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.consumer_gone.store(true, Ordering::SeqCst);
        count_rest(&self.rx, &self.shared.dropped);
    }
}

fn count_rest<T>(rx: &channel::Receiver<T>, dropped: &Count) {
    dropped.add(rx.try_iter().count() as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(
        capacity: usize,
        policy: Policy,
    ) -> (Sender<u32>, Receiver<u32>, Arc<Count>, Arc<AtomicBool>) {
        let (dropped, abandon) = (Arc::new(Count::default()), Arc::new(AtomicBool::new(false)));
        let (tx, rx) = queue(capacity, policy, Arc::clone(&dropped), Arc::clone(&abandon));
        (tx, rx, dropped, abandon)
    }

    #[test]
    fn newest_wins_keeps_the_newest_in_order_and_counts_the_rest() {
        let (tx, rx, dropped, _) = new(2, Policy::Newest);
        for n in 0..10 {
            tx.send(n).unwrap();
        }
        assert_eq!((rx.recv(), rx.recv(), dropped.get()), (Some(8), Some(9), 8));
        drop(tx);
        assert_eq!(rx.recv(), None);
    }

    #[test]
    fn lossless_waits_for_room() {
        let (tx, rx, dropped, _) = new(1, Policy::Lossless);
        let sender = std::thread::spawn(move || (0..100).for_each(|n| tx.send(n).unwrap()));
        let received: Vec<_> = std::iter::from_fn(|| rx.recv()).collect();
        sender.join().unwrap();
        assert_eq!((received, dropped.get()), ((0..100).collect(), 0));
    }

    #[test]
    fn a_dead_consumer_is_noticed_and_every_item_is_counted_once() {
        for policy in [Policy::Newest, Policy::Lossless] {
            let (tx, rx, dropped, _) = new(4, policy);
            let sender = std::thread::spawn(move || {
                (0u64..).take_while(|&n| tx.send(n as u32).is_ok()).count() as u64
            });
            let received = std::iter::from_fn(|| rx.recv()).take(50).count() as u64;
            drop(rx);
            let sent = sender.join().unwrap() + 1; // the send that failed had an item too
            assert_eq!(sent, received + dropped.get(), "{policy:?}");
        }
    }

    #[test]
    fn giving_up_frees_a_blocked_sender() {
        let (tx, rx, dropped, abandon) = new(1, Policy::Lossless);
        abandon.store(true, Ordering::Relaxed);
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        assert_eq!((rx.recv(), dropped.get()), (None, 1));
        drop(rx);
        assert_eq!(dropped.get(), 2);
    }

    #[test]
    fn a_file_gets_what_waits_when_the_run_is_given_up() {
        let (tx, rx, dropped, abandon) = new(2, Policy::Newest);
        let rx = rx.that_takes_all();
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        abandon.store(true, Ordering::Relaxed);
        // The sender is still there: it may hang in somebody else's code.
        assert_eq!((rx.recv(), rx.recv(), rx.recv(), dropped.get()), (Some(1), Some(2), None, 0));
    }
}
