//! Clouds of at most so many points, for viewers and networks that can't take more.

use std::sync::Arc;

use crate::cloud::Points;
use crate::pool::Pool;

/// Takes a sample of a cloud's points if it has more than the budget.
///
/// The points, which are in row-major order, are cut into as many runs as the budget allows, of
/// equal length but for one point, and each run gives the one that a hash of its number chooses:
/// points stay spread over the image, and no pattern of stripes appears.
pub(super) struct Thinner {
    max_points: usize,
    pool: Pool<Points>,
}

impl Thinner {
    /// For as many clouds as are `in_flight` at once, after which nothing is allocated any more.
    pub(super) fn new(max_points: usize, in_flight: usize) -> Self {
        let make = move || Points {
            positions_m: Vec::with_capacity(max_points),
            colors_rgba: Vec::with_capacity(max_points),
        };
        Self { max_points, pool: Pool::new(in_flight + 1, make) }
    }

    /// `None` if the cloud is small enough.
    pub(super) fn thin(&mut self, points: &Points) -> Option<Arc<Points>> {
        let count = points.positions_m.len();
        if count <= self.max_points {
            return None;
        }
        let mut free = self.pool.free();
        let thinned = free.get_mut();
        thinned.positions_m.clear();
        thinned
            .positions_m
            .extend(chosen(count, self.max_points).map(|index| points.positions_m[index]));
        thinned.colors_rgba.clear();
        if !points.colors_rgba.is_empty() {
            thinned
                .colors_rgba
                .extend(chosen(count, self.max_points).map(|index| points.colors_rgba[index]));
        }
        Some(free.share())
    }
}

/// `budget` indices below `count`, in order.
fn chosen(count: usize, budget: usize) -> impl Iterator<Item = usize> {
    (0..budget).map(move |run| {
        let begin = |run: usize| (run as u64 * count as u64 / budget as u64) as usize;
        let length = begin(run + 1) - begin(run);
        // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4), scaled to the
        // run.
        let hash = (run as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        begin(run) + ((hash * length as u64) >> 32) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(count: usize) -> Points {
        Points {
            positions_m: (0..count).map(|i| [i as f32, 0.0, 1.0]).collect(),
            colors_rgba: (0..count as u32).collect(),
        }
    }

    #[test]
    fn the_budget_is_kept_and_used_up_by_points_of_the_cloud_in_order() {
        for (count, budget) in [(11, 10), (100, 7), (375_322, 100_000), (1000, 1), (5, 4)] {
            let mut thinner = Thinner::new(budget, 2);
            let thinned = thinner.thin(&cloud(count)).unwrap();
            assert_eq!(thinned.positions_m.len(), budget);
            assert!(thinned.colors_rgba.windows(2).all(|w| w[0] < w[1]), "{count} {budget}");
            for (position, color) in thinned.positions_m.iter().zip(&thinned.colors_rgba) {
                assert_eq!(position[0], *color as f32);
            }
            // Every run has its point.
            let gap =
                thinned.colors_rgba.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
            assert!(gap <= 2 * count.div_ceil(budget), "{count} {budget}: {gap}");
        }
    }

    #[test]
    fn small_clouds_stay_as_they_are_and_no_colours_are_made_up() {
        let mut thinner = Thinner::new(10, 2);
        assert!(thinner.thin(&cloud(10)).is_none());
        let plain = Points { colors_rgba: Vec::new(), ..cloud(20) };
        assert!(thinner.thin(&plain).unwrap().colors_rgba.is_empty());
    }

    #[test]
    fn nothing_is_allocated_once_it_runs() {
        let mut thinner = Thinner::new(100, 1);
        let first = thinner.thin(&cloud(1000)).unwrap();
        let address = first.positions_m.as_ptr();
        let second = thinner.thin(&cloud(999)).unwrap();
        drop((first, second));
        assert_eq!(thinner.thin(&cloud(2000)).unwrap().positions_m.as_ptr(), address);
        assert_eq!(thinner.pool.made_later(), 0);
    }
}
