//! Gives each depth frame the colour image nearest in time, for cameras and recordings alike. No
//! I/O, no clock: images in, pairs out.
//!
//! Depth and colour come interleaved, each stream in the order of its stamps; two images of the
//! same instant may come in either order. So a depth frame waits here until no nearer colour image
//! can come, or until it has waited long enough.

use std::collections::VecDeque;
use std::time::Duration;

/// A colour image farther from a depth frame than this does not belong to it: colour has failed, or
/// the stamps have jumped.
pub const MAX_APART: Duration = Duration::from_secs(1);
const MAX_APART_NS: u64 = MAX_APART.as_nanos() as u64;
/// Depth frames that wait, at most: a third of a second at 90 frames a second.
const MAX_DEPTHS: usize = 30;
/// Colour images that are kept, at most.
const MAX_COLORS: usize = 8;

/// When a depth frame has waited long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A colour image that is older than the depth frame by no more than this is near enough.
    pub near_ns: i64,
    /// Depth of this much later (or earlier: stamps may jump) ends the waiting.
    pub wait_ns: u64,
}

/// Depth frames `D` that wait for colour images `C`, by their stamps in nanoseconds.
#[derive(Debug)]
pub struct Pairs<D, C> {
    depths: VecDeque<(i64, D)>,
    colors: VecDeque<(i64, C)>,
    patience: Patience,
    /// Depth frames at the front that wait no longer.
    hurried: usize,
}

impl<D, C: Clone> Pairs<D, C> {
    pub fn new(patience: Patience) -> Self {
        // One more than the most, for the one that makes the others go.
        let (depths, colors) =
            (VecDeque::with_capacity(MAX_DEPTHS + 1), VecDeque::with_capacity(MAX_COLORS + 1));
        Self { depths, colors, patience, hurried: 0 }
    }

    pub fn add_depth(&mut self, stamp_ns: i64, depth: D) {
        self.depths.push_back((stamp_ns, depth));
    }

    pub fn add_color(&mut self, stamp_ns: i64, color: C) {
        if self.colors.back().is_some_and(|&(last_ns, _)| stamp_ns < last_ns) {
            // The camera was restarted, or the recording has started again.
            self.colors.clear();
        }
        self.colors.push_back((stamp_ns, color));
        if self.colors.len() > MAX_COLORS {
            self.colors.pop_front();
        }
    }

    /// Depth frames that wait now wait no longer.
    pub fn hurry(&mut self) {
        self.hurried = self.depths.len();
    }

    pub fn clear(&mut self) {
        self.depths.clear();
        self.colors.clear();
        self.hurried = 0;
    }

    /// The next depth frame, in the order of arrival, and its colour image, once that is certain.
    pub fn next(&mut self) -> Option<(D, Option<C>)> {
        let (first_ns, newest_ns) = (self.depths.front()?.0, self.depths.back()?.0);
        let has_color = self.colors.back().is_some_and(|&(color_ns, _)| {
            color_ns >= first_ns.saturating_sub(self.patience.near_ns)
                && color_ns.abs_diff(first_ns) <= MAX_APART_NS
        });
        let has_waited = newest_ns.abs_diff(first_ns) > self.patience.wait_ns;
        if !(has_color || has_waited || self.hurried > 0 || self.depths.len() > MAX_DEPTHS) {
            return None;
        }
        self.hurried = self.hurried.saturating_sub(1);
        let (stamp_ns, depth) = self.depths.pop_front()?;
        let apart_ns = |color: &(i64, C)| color.0.abs_diff(stamp_ns);
        let nearest = (0..self.colors.len()).min_by_key(|&i| apart_ns(&self.colors[i]));
        let nearest = nearest.filter(|&i| apart_ns(&self.colors[i]) <= MAX_APART_NS);
        let color = nearest.map(|i| {
            // Later depth frames are nearer to later colour.
            self.colors.drain(..i);
            self.colors[0].1.clone()
        });
        Some((depth, color))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// Feeds `d5` (depth at 5 ms), `c7` (colour at 7 ms) or `!` (hurry) one after the other;
    /// returns what comes out after each.
    fn run(patience_ms: (i64, u64), images: &str) -> String {
        let patience = Patience { near_ns: patience_ms.0 * MS, wait_ns: patience_ms.1 * MS as u64 };
        let mut pairs: Pairs<i64, i64> = Pairs::new(patience);
        let mut out = vec![];
        for image in images.split_whitespace() {
            let ms = image.get(1..).and_then(|ms| ms.parse::<i64>().ok()).unwrap_or(0);
            match &image[..1] {
                "d" => pairs.add_depth(ms * MS, ms),
                "c" => pairs.add_color(ms * MS, ms),
                _ => pairs.hurry(),
            }
            while let Some((depth, color)) = pairs.next() {
                out.push(format!(
                    "{image}: {depth}-{}",
                    color.map_or("none".into(), |c| c.to_string())
                ));
            }
        }
        out.join(", ")
    }

    #[test]
    fn a_depth_frame_waits_until_no_nearer_colour_can_come() {
        assert_eq!(run((0, 66), "c0 d0"), "d0: 0-0");
        assert_eq!(run((0, 66), "d0 c0 d33 c33"), "c0: 0-0, c33: 33-33");
        assert_eq!(run((0, 66), "c1 d10 d20 c34"), "c34: 10-1, c34: 20-34");
        assert_eq!(run((0, 66), "c0 c33 c66 d30 d35"), "d30: 30-33, d35: 35-33");
        assert_eq!(
            run((0, 66), "c0 d11 d22 d33 c33 d44 c66"),
            "c33: 11-0, c33: 22-33, c33: 33-33, c66: 44-33"
        );
    }

    #[test]
    fn it_does_not_wait_for_ever() {
        assert_eq!(run((0, 66), "c0 d11 d44 d77 d88"), "d88: 11-0");
        assert_eq!(run((0, 66), "d11 d44 ! d55 c56"), "!: 11-none, !: 44-none, c56: 55-56");
        let many: String = (0..40).map(|i| format!("d{i} ")).collect();
        assert_eq!(run((0, 66), &many).matches("none").count(), 40 - MAX_DEPTHS);
    }

    #[test]
    fn with_little_patience_near_colour_will_do_and_newer_depth_ends_the_waiting() {
        assert_eq!(run((16, 0), "c0 d11 d22 d33"), "d11: 11-0, d33: 22-0");
        assert_eq!(run((16, 0), "c0 d33 c33"), "c33: 33-33");
        assert_eq!(run((16, 0), "d0 d11 c12"), "d11: 0-none, c12: 11-12");
    }

    #[test]
    fn stamps_that_jump_part_what_does_not_belong_together() {
        assert_eq!(
            run((0, 66), "c5000 d5000 d9000 d9033 ! c9040 d9066 c9070"),
            "d5000: 5000-5000, !: 9000-none, !: 9033-none, c9070: 9066-9070"
        );
        assert_eq!(
            run((0, 66), "c5000 d5000 d1000 c1000 d1033 c1033"),
            "d5000: 5000-5000, c1000: 1000-1000, c1033: 1033-1033"
        );
        assert_eq!(run((0, 66), "d5000 d1000 c1000"), "d1000: 5000-none, c1000: 1000-1000");
    }

    #[test]
    fn colour_without_depth_is_forgotten() {
        let mut pairs: Pairs<(), i64> = Pairs::new(Patience { near_ns: 0, wait_ns: 0 });
        for stamp_ns in 0..100 {
            pairs.add_color(stamp_ns, stamp_ns);
        }
        assert_eq!(pairs.colors.len(), MAX_COLORS);
    }

    proptest::proptest! {
        /// Whatever comes in whatever order: each depth frame goes out once, in order, and none is
        /// left behind.
        #[test]
        fn every_depth_frame_goes_out_once(
            images: Vec<(bool, u16)>,
            near_ns in 0i64..1000,
            wait_ns in 0u64..1000,
        ) {
            let mut pairs = Pairs::new(Patience { near_ns, wait_ns });
            let (mut given, mut got) = (vec![], vec![]);
            for (i, (is_depth, stamp)) in images.into_iter().enumerate() {
                if is_depth {
                    pairs.add_depth(i64::from(stamp), i);
                    given.push(i);
                } else {
                    pairs.add_color(i64::from(stamp), i);
                }
                got.extend(std::iter::from_fn(|| pairs.next()).map(|(depth, _)| depth));
                assert!(pairs.depths.len() <= MAX_DEPTHS);
            }
            pairs.hurry();
            got.extend(std::iter::from_fn(|| pairs.next()).map(|(depth, _)| depth));
            assert_eq!(got, given);
        }
    }
}
