//! Pauses that double up to a limit, so that a camera that can't be helped costs little and one
//! that comes back is soon seen.

use std::time::Duration;

pub(super) struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.limit);
        pause
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(1));
        let mut pauses_ms = || backoff.pause().as_millis();
        assert_eq!([pauses_ms(), pauses_ms(), pauses_ms(), pauses_ms()], [300, 600, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::from_millis(300));
    }
}
