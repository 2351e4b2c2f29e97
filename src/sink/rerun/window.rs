//! What is on its way to a page: a few clouds, with as many points as the page draws quickly. It
//! follows what the page says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rerun::RecordingStream;
use rerun::log::Chunk;

use crate::clock::HostTime;

/// The timeline of [`CloudNumber`].
const CLOUDS: &str = "cloud";
/// A page whose animation frames are so short may have several clouds on their way to it.
const QUICK_FRAME_MS: f64 = 50.0;
const QUICK_WINDOW: usize = 3;
/// How much of the longest animation frame lately counts at the next one.
const FRAME_DECAY: f64 = 0.8;
/// In a lossless run the page gets every cloud, and draws the newest that it has.
const LOSSLESS_WINDOW: usize = 16;
/// Small messages on their way to a page: what it reads of them in one animation frame.
const SMALL_WINDOW: u64 = 32;
/// A cloud with more points than a page draws quickly is for it only if no other one comes.
const LAST_CLOUD: Duration = Duration::from_secs(1);
/// Clouds that a page was given and has not drawn yet, at most; older ones are never seen.
const MOST_UNDRAWN: usize = 64;
/// What a budget may be; the first is all there are.
const STEPS: [usize; 5] = [usize::MAX, 200_000, 100_000, 50_000, 25_000];
/// The most for a page that is slow without any cloud: how old a cloud is when it is seen is a few
/// of its animation frames.
const SLOW_PAGE: usize = 4;
/// An animation frame up to this long is quick.
const QUICK_MS: f64 = 100.0;
/// So much longer than without a cloud an animation frame of a slow page may be.
const LONGER: f64 = 1.3;
/// Clouds in a row that have to be slow before the budget comes down, and quick before it goes up.
const SLOW_CLOUDS: u32 = 2;
const QUICK_CLOUDS: u32 = 10;

/// How pages are fed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Feeding {
    /// Every cloud, not only as many as they draw.
    pub is_lossless: bool,
    /// As many points as they draw quickly.
    pub adapts_points: bool,
}

/// Which cloud a message belongs to: numbers grow in the order in which clouds are handed over, and
/// hold the camera. 0 for messages that belong to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CloudNumber(pub u64);

impl CloudNumber {
    const CAMERA_BITS: u32 = 8;

    /// Of the `n`th cloud, starting at 1.
    pub fn new(n: u64, camera: usize) -> Self {
        let camera = camera as u64 & ((1 << Self::CAMERA_BITS) - 1);
        Self(n << Self::CAMERA_BITS | camera)
    }

    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub fn camera(self) -> usize {
        (self.0 & ((1 << Self::CAMERA_BITS) - 1)) as usize
    }

    /// What is logged from now on belongs to this cloud.
    pub fn set_time(self, rec: &RecordingStream) {
        rec.set_time_sequence(CLOUDS, i64::try_from(self.0).unwrap_or(i64::MAX));
    }

    pub fn of(chunk: &Chunk) -> Self {
        let times = chunk.timelines().get(&CLOUDS.into());
        let newest = times.and_then(|times| times.time_range().max().as_i64().try_into().ok());
        Self(newest.unwrap_or(0))
    }
}

/// A page's acknowledgement.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledgement {
    pub page: u64,
    /// So many messages it has given to its viewer.
    pub given: u64,
    /// The viewer was given all clouds up to this one, or the page has passed them over.
    pub cloud: CloudNumber,
    /// All up to this one are drawn, or older than what is.
    pub drawn: CloudNumber,
    /// When that was; `None` if nobody knows when.
    pub at: Option<HostTime>,
    /// How far off that may be.
    pub uncertainty_ms: f64,
    /// Of the animation frame that has ended.
    pub frame_ms: f64,
}

/// A cloud that a page has shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    pub cloud: CloudNumber,
    pub at: HostTime,
    pub uncertainty_ms: f64,
}

/// What is on its way to one page.
pub struct Window {
    feeding: Feeding,
    /// How many clouds of a camera there may be; none before the first acknowledgement.
    size: usize,
    ready_at: Instant,
    /// How long the page's animation frames take, rather too long than too short.
    frame_ms: f64,
    /// Sent and not given to the viewer: the number of each, and the most points that it might have.
    in_flight: BTreeMap<CloudNumber, usize>,
    /// Given and not drawn.
    undrawn: BTreeSet<CloudNumber>,
    /// If the number of points follows the page.
    budget: Option<PointBudget>,
    /// Messages of all kinds.
    sent: u64,
    /// Those of them that the page has given to its viewer.
    given: u64,
}

impl Window {
    pub fn new(feeding: Feeding) -> Self {
        Self {
            feeding,
            size: 0,
            ready_at: Instant::now(),
            frame_ms: 0.0,
            in_flight: BTreeMap::new(),
            undrawn: BTreeSet::new(),
            budget: None,
            sent: 0,
            given: 0,
        }
    }

    /// Whether the page has said how long it takes without a cloud.
    pub fn is_ready(&self) -> bool {
        self.size > 0
    }

    /// The most points of a cloud that the page draws quickly.
    pub fn max_points(&self) -> usize {
        self.budget.as_ref().map_or(usize::MAX, PointBudget::max_points)
    }

    /// Takes an acknowledgement. Returns what was seen, of each camera the newest cloud.
    pub fn acknowledge(&mut self, said: &Acknowledgement) -> Vec<Seen> {
        if !self.is_ready() {
            self.budget = self.feeding.adapts_points.then(|| PointBudget::new(said.frame_ms));
            self.ready_at = Instant::now();
        }
        // A short one often follows a long one.
        self.frame_ms = said.frame_ms.max(self.frame_ms * FRAME_DECAY);
        self.size = match self.feeding.is_lossless {
            true => LOSSLESS_WINDOW,
            false if self.frame_ms < QUICK_FRAME_MS => QUICK_WINDOW,
            false => 1,
        };
        self.given = self.given.max(said.given);
        let later = self.in_flight.split_off(&said.cloud.next());
        let given = std::mem::replace(&mut self.in_flight, later);
        if let (Some(budget), Some((_, points))) = (&mut self.budget, given.last_key_value()) {
            budget.drawn(*points, said.frame_ms);
        }
        self.undrawn.extend(given.keys());
        while self.undrawn.len() > MOST_UNDRAWN {
            self.undrawn.pop_first();
        }
        let later = self.undrawn.split_off(&said.drawn.next());
        let drawn = std::mem::replace(&mut self.undrawn, later);
        let Some(at) = said.at else { return Vec::new() };
        let newest = BTreeMap::from_iter(drawn.iter().map(|cloud| (cloud.camera(), *cloud)));
        let seen = |cloud| Seen { cloud, at, uncertainty_ms: said.uncertainty_ms };
        newest.into_values().map(seen).collect()
    }

    /// Whether a new cloud of this camera would be sent at once.
    pub fn has_room(&self, camera: usize) -> bool {
        self.in_flight.keys().filter(|cloud| cloud.camera() == camera).count() < self.size
    }

    /// Whether a part of a cloud is to be sent that has at most so many points and was `added` then.
    pub fn admits_cloud(&self, cloud: CloudNumber, max_points: usize, added: Instant) -> bool {
        // A cloud may come in several messages.
        if self.in_flight.contains_key(&cloud) {
            return true;
        }
        let is_small = max_points <= self.max_points();
        let waited = added.max(self.ready_at).elapsed();
        self.has_room(cloud.camera()) && (is_small || waited > LAST_CLOUD)
    }

    /// Whether a small message is to be sent.
    pub fn admits_small(&self) -> bool {
        self.sent < self.given + SMALL_WINDOW
    }

    /// A message has been sent, of a cloud if it has a number.
    pub fn send(&mut self, cloud: CloudNumber) {
        self.sent += 1;
        if cloud != CloudNumber::default() {
            self.in_flight.insert(cloud, self.max_points());
        }
    }
}

/// The budget of one page. It follows what the page says of its animation frames.
#[derive(Debug, Clone)]
struct PointBudget {
    /// From one animation frame to the next without a cloud.
    own_ms: f64,
    /// The highest budget that it may have.
    first: usize,
    step: usize,
    slow: u32,
    quick: u32,
}

impl PointBudget {
    fn new(own_ms: f64) -> Self {
        let first = if own_ms <= QUICK_MS { 0 } else { SLOW_PAGE };
        Self { own_ms, first, step: first, slow: 0, quick: 0 }
    }

    fn max_points(&self) -> usize {
        STEPS[self.step]
    }

    /// An animation frame with a new cloud, of at most `max_points`, took so long.
    fn drawn(&mut self, max_points: usize, frame_ms: f64) {
        if max_points != self.max_points() {
            return;
        }
        let allowed_ms = QUICK_MS.max(LONGER * self.own_ms);
        // With the next step up, the cloud's part of it doubles.
        let expected_ms = frame_ms + (frame_ms - self.own_ms).max(0.0);
        self.slow = if frame_ms > allowed_ms { self.slow + 1 } else { 0 };
        self.quick = if expected_ms <= allowed_ms { self.quick + 1 } else { 0 };
        if self.slow >= SLOW_CLOUDS && self.step + 1 < STEPS.len() {
            self.change_to(self.step + 1);
        } else if self.quick >= QUICK_CLOUDS && self.step > self.first {
            self.change_to(self.step - 1);
        }
    }

    fn change_to(&mut self, step: usize) {
        (self.step, self.slow, self.quick) = (step, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The budgets that a page goes through which takes `own_ms`, and so much for each point.
    fn budgets(own_ms: f64, ms_per_point: f64) -> Vec<usize> {
        let mut budget = PointBudget::new(own_ms);
        let mut budgets = vec![budget.max_points()];
        for _ in 0..200 {
            let points = budget.max_points().min(375_000);
            budget.drawn(budget.max_points(), own_ms + ms_per_point * points as f64);
            if budgets.last() != Some(&budget.max_points()) {
                budgets.push(budget.max_points());
            }
        }
        budgets
    }

    #[test]
    fn the_budget_settles_where_the_page_is_quick_enough() {
        let all = usize::MAX;
        for (own_ms, ms_per_point, expected) in [
            (16.0, 0.0, vec![all]),
            (16.0, 0.0002, vec![all]),
            (16.0, 0.0005, vec![all, 200_000, 100_000]),
            (16.0, 0.1, vec![all, 200_000, 100_000, 50_000, 25_000]),
            (600.0, 0.0, vec![25_000]),
            (600.0, 0.1, vec![25_000]),
        ] {
            assert_eq!(budgets(own_ms, ms_per_point), expected, "{own_ms} ms, {ms_per_point}");
        }
    }

    fn acknowledge(window: &mut Window, cloud: u64, drawn: u64) -> Vec<Seen> {
        window.acknowledge(&Acknowledgement {
            page: 1,
            given: 0,
            cloud: CloudNumber::new(cloud, 255),
            drawn: CloudNumber::new(drawn, 255),
            at: Some(HostTime::from_ns(drawn)),
            uncertainty_ms: 0.0,
            frame_ms: 300.0,
        })
    }

    #[test]
    fn a_slow_page_has_one_cloud_of_each_camera_on_its_way_and_has_seen_the_newest() {
        let now = Instant::now();
        let mut window = Window::new(Feeding { adapts_points: true, ..Feeding::default() });
        let admits = |window: &Window, n, camera| {
            window.admits_cloud(CloudNumber::new(n, camera), 25_000, now)
        };
        assert!(!admits(&window, 1, 0), "before it is ready");
        assert_eq!(acknowledge(&mut window, 0, 0), []);
        for (n, camera) in [(1, 0), (2, 1)] {
            assert!(admits(&window, n, camera));
            window.send(CloudNumber::new(n, camera));
            assert!(admits(&window, n, camera), "more of the same cloud");
        }
        assert!(!admits(&window, 3, 0));
        assert!(!window.admits_cloud(CloudNumber::new(3, 2), 50_000, now), "too many points");
        assert_eq!(acknowledge(&mut window, 2, 0), []);
        window.send(CloudNumber::new(3, 0));
        assert_eq!(acknowledge(&mut window, 3, 1).len(), 1);
        let seen: Vec<_> = acknowledge(&mut window, 3, 3).iter().map(|seen| seen.cloud).collect();
        assert_eq!(seen, [CloudNumber::new(3, 0), CloudNumber::new(2, 1)]);
    }

    #[test]
    fn a_page_that_never_says_what_it_has_drawn_takes_no_memory() {
        let mut window = Window::new(Feeding::default());
        for n in 0..1000 {
            window.send(CloudNumber::new(n, 0));
            acknowledge(&mut window, n, 0);
        }
        assert_eq!((window.in_flight.len(), window.undrawn.len()), (0, MOST_UNDRAWN));
    }
}
