//! Which points of a cloud are shown, and in which colour.
//!
//! | colouring | decided by |
//! | --- | --- |
//! | by depth, by height | [`Selection::of`], for the points that are shown |
//! | by texture | the projection, which gives the cloud its colours |
//! | uniform | the style of the cloud's entity (`session.rs`) |

use std::sync::Arc;

use crate::cloud::Points;
use crate::color::{Coloring, Ramp};
use crate::huge_pages;
use crate::pool::Pool;

/// Chooses what is shown of each cloud.
///
/// A cloud of more points than the budget, for viewers and networks that cannot take more, is
/// subsampled: its points, which are in row-major order, are cut into as many runs as the budget
/// allows, of equal length but for one point, and each run gives the one that a hash of its number
/// chooses: points stay spread over the image, and no pattern of stripes appears.
pub struct Selection {
    max_points: usize,
    /// Where colours follow from a point's place.
    ramp: Option<Ramp>,
    pool: Pool<Points>,
}

impl Selection {
    /// For clouds of at most so many `pixels`, as many as are `in_flight` at once; after that
    /// nothing is allocated any more.
    pub fn new(
        max_points: Option<usize>,
        coloring: Coloring,
        pixels: usize,
        in_flight: usize,
    ) -> Self {
        let ramp = Ramp::of(coloring);
        let max_points = max_points.unwrap_or(pixels).min(pixels);
        let positions = if max_points < pixels { max_points } else { 0 };
        let colors = if ramp.is_some() { max_points } else { positions };
        let make = move || Points {
            positions_m: Vec::with_capacity(positions),
            colors_rgba: huge_pages::vec(0, colors),
        };
        Self { max_points, ramp, pool: Pool::new(in_flight + 1, make) }
    }

    /// The positions and the colours that are shown, each empty where they are the cloud's own;
    /// `None` where both are.
    pub fn of(&mut self, points: &Points) -> Option<Arc<Points>> {
        let count = points.positions_m.len();
        let is_subsampled = count > self.max_points;
        if !is_subsampled && self.ramp.is_none() {
            return None;
        }
        let indices = || chosen(count, self.max_points);
        let mut free = self.pool.free();
        let Points { positions_m, colors_rgba } = free.get_mut();
        positions_m.clear();
        if is_subsampled {
            positions_m.extend(indices().map(|index| points.positions_m[index]));
        }
        if let Some(ramp) = &self.ramp {
            let shown = if is_subsampled { &*positions_m } else { &points.positions_m };
            colors_rgba.resize(shown.len(), 0);
            ramp.colorize(shown, colors_rgba);
        } else {
            colors_rgba.clear();
            if !points.colors_rgba.is_empty() {
                colors_rgba.extend(indices().map(|index| points.colors_rgba[index]));
            }
        }
        Some(free.share())
    }
}

/// `budget` indices below `count`, in order.
fn chosen(count: usize, budget: usize) -> impl Iterator<Item = usize> {
    let start = move |run: usize| (run as u64 * count as u64 / budget as u64) as usize;
    (0..budget).map(move |run| {
        let length = start(run + 1) - start(run);
        // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4), scaled to the
        // run.
        let hash = (run as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        start(run) + ((hash * length as u64) >> 32) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::{ColorRange, Colormap};

    const BY_DEPTH: Coloring =
        Coloring::ByDepth(ColorRange { colormap: Colormap::Viridis, first_m: 1.0, last_m: 2.0 });

    fn cloud(count: usize, z: f32) -> Points {
        Points {
            positions_m: (0..count).map(|i| [i as f32, 0.0, z]).collect(),
            colors_rgba: (0..count as u32).collect(),
        }
    }

    #[test]
    fn the_budget_is_kept_and_used_up_by_points_of_the_cloud_in_order() {
        for (count, budget) in [(11, 10), (100, 7), (375_322, 100_000), (1000, 1), (5, 4)] {
            let mut selection = Selection::new(Some(budget), Coloring::ByTexture, count, 2);
            let shown = selection.of(&cloud(count, 1.0)).unwrap();
            assert_eq!(shown.positions_m.len(), budget);
            for (position, color) in shown.positions_m.iter().zip(&shown.colors_rgba) {
                assert_eq!(position[0], *color as f32);
            }
            // In order, and every run has its point.
            let most = 2 * count.div_ceil(budget) as u32;
            let is_next = |pair: &[u32]| pair[0] < pair[1] && pair[1] - pair[0] <= most;
            assert!(shown.colors_rgba.windows(2).all(is_next), "{count} {budget}");
        }
    }

    #[test]
    fn what_is_the_clouds_own_is_not_copied_and_no_colours_are_made_up() {
        for coloring in [Coloring::ByTexture, Coloring::Uniform(7)] {
            let mut selection = Selection::new(Some(10), coloring, 100, 2);
            assert!(selection.of(&cloud(10, 1.0)).is_none(), "it is small enough");
            let plain = Points { colors_rgba: Vec::new(), ..cloud(20, 1.0) };
            assert!(selection.of(&plain).unwrap().colors_rgba.is_empty());
        }
    }

    #[test]
    fn each_cloud_has_its_colours_in_flight_and_nothing_is_allocated_once_it_runs() {
        for (max_points, shown) in [(None, [100, 40]), (Some(50), [50, 40])] {
            let mut selection = Selection::new(max_points, BY_DEPTH, 100, 1);
            let near = selection.of(&cloud(100, 1.0)).unwrap();
            let far = selection.of(&cloud(40, 2.0)).unwrap();
            assert_eq!(near.colors_rgba, vec![0x4401_54ff; shown[0]]);
            assert_eq!(far.colors_rgba, vec![0xfde7_25ff; shown[1]]);
            let buffers = (near.positions_m.as_ptr(), near.colors_rgba.as_ptr());
            drop((near, far));
            let third = selection.of(&cloud(100, 3.0)).unwrap();
            assert_eq!((third.positions_m.as_ptr(), third.colors_rgba.as_ptr()), buffers);
            assert_eq!(selection.pool.made_later(), 0);
        }
    }
}
