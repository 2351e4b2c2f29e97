//! How many points a cloud may have, so that a page draws it quickly.

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

/// The budget of one page. It follows what the page says of its animation frames.
#[derive(Debug, Clone)]
pub struct PointBudget {
    /// From one animation frame to the next without a cloud.
    own_ms: f64,
    /// The highest budget that it may have.
    first: usize,
    step: usize,
    slow: u32,
    quick: u32,
}

impl PointBudget {
    pub fn new(own_ms: f64) -> Self {
        let first = if own_ms <= QUICK_MS { 0 } else { SLOW_PAGE };
        Self { own_ms, first, step: first, slow: 0, quick: 0 }
    }

    pub fn max_points(&self) -> usize {
        STEPS[self.step]
    }

    /// An animation frame with a new cloud, of at most `max_points`, took so long.
    pub fn drawn(&mut self, max_points: usize, frame_ms: f64) {
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
}
