//! Which points of a cloud are shown, and in which colour.
//!
//! | colouring | decided by |
//! | --- | --- |
//! | by depth, by height | [`Colorizer`], for the points that are shown |
//! | by texture | the projection, which gives the cloud its colours |
//! | uniform | the style of the cloud's entity (`session.rs`) |

use std::sync::Arc;

use crate::cloud::Points;
use crate::color::{Coloring, Ramp};
use crate::huge_pages;
use crate::pool::Pool;

/// Takes a sample of a cloud's points if it has more than the budget, for viewers and networks that
/// cannot take more.
///
/// The points, which are in row-major order, are cut into as many runs as the budget allows, of
/// equal length but for one point, and each run gives the one that a hash of its number chooses:
/// points stay spread over the image, and no pattern of stripes appears.
pub struct Subsampler {
    max_points: usize,
    pool: Pool<Points>,
}

impl Subsampler {
    /// For as many clouds as are `in_flight` at once, after which nothing is allocated any more.
    pub fn new(max_points: usize, in_flight: usize) -> Self {
        let make = move || Points {
            positions_m: Vec::with_capacity(max_points),
            colors_rgba: Vec::with_capacity(max_points),
        };
        Self { max_points, pool: Pool::new(in_flight + 1, make) }
    }

    /// `None` if the cloud is small enough.
    pub fn subsample(&mut self, points: &Points) -> Option<Arc<Points>> {
        let count = points.positions_m.len();
        if count <= self.max_points {
            return None;
        }
        let indices = || chosen(count, self.max_points);
        let mut free = self.pool.free();
        let Points { positions_m, colors_rgba } = free.get_mut();
        positions_m.clear();
        positions_m.extend(indices().map(|index| points.positions_m[index]));
        colors_rgba.clear();
        if !points.colors_rgba.is_empty() {
            colors_rgba.extend(indices().map(|index| points.colors_rgba[index]));
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

/// Gives points the colour that follows from their place.
pub struct Colorizer {
    ramp: Ramp,
    pool: Pool<Vec<u32>>,
}

impl Colorizer {
    /// For as many clouds as are `in_flight` at once, of at most so many points; after that nothing
    /// is allocated any more. `None` where the place does not decide.
    pub fn new(coloring: Coloring, max_points: usize, in_flight: usize) -> Option<Self> {
        let make = move || huge_pages::vec(0, max_points);
        Some(Self { ramp: Ramp::of(coloring)?, pool: Pool::new(in_flight + 1, make) })
    }

    /// A colour for each point.
    pub fn colorize(&mut self, positions_m: &[[f32; 3]]) -> Arc<Vec<u32>> {
        let mut free = self.pool.free();
        let colors_rgba = free.get_mut();
        colors_rgba.resize(positions_m.len(), 0);
        self.ramp.colorize(positions_m, colors_rgba);
        free.share()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::{ColorRange, Colormap};

    fn cloud(count: usize) -> Points {
        Points {
            positions_m: (0..count).map(|i| [i as f32, 0.0, 1.0]).collect(),
            colors_rgba: (0..count as u32).collect(),
        }
    }

    #[test]
    fn the_budget_is_kept_and_used_up_by_points_of_the_cloud_in_order() {
        for (count, budget) in [(11, 10), (100, 7), (375_322, 100_000), (1000, 1), (5, 4)] {
            let sample = Subsampler::new(budget, 2).subsample(&cloud(count)).unwrap();
            assert_eq!(sample.positions_m.len(), budget);
            for (position, color) in sample.positions_m.iter().zip(&sample.colors_rgba) {
                assert_eq!(position[0], *color as f32);
            }
            // In order, and every run has its point.
            let most = 2 * count.div_ceil(budget) as u32;
            let is_next = |pair: &[u32]| pair[0] < pair[1] && pair[1] - pair[0] <= most;
            assert!(sample.colors_rgba.windows(2).all(is_next), "{count} {budget}");
        }
        let mut subsampler = Subsampler::new(10, 2);
        assert!(subsampler.subsample(&cloud(10)).is_none(), "it is small enough");
        let plain = Points { colors_rgba: Vec::new(), ..cloud(20) };
        assert!(subsampler.subsample(&plain).unwrap().colors_rgba.is_empty());
    }

    #[test]
    fn each_cloud_has_its_colours_and_keeps_them_while_it_is_in_flight() {
        let range = ColorRange { colormap: Colormap::Viridis, first_m: 1.0, last_m: 2.0 };
        let mut colorizer = Colorizer::new(Coloring::ByDepth(range), 100, 1).unwrap();
        let near = colorizer.colorize(&[[0.0, 0.0, 1.0]; 100]);
        let far = colorizer.colorize(&[[0.0, 0.0, 2.0]; 40]);
        assert_eq!((&near[..], &far[..]), (&[0x4401_54ff; 100][..], &[0xfde7_25ff; 40][..]));
        for coloring in [Coloring::ByTexture, Coloring::Uniform(7)] {
            assert!(Colorizer::new(coloring, 1, 1).is_none());
        }
    }

    #[test]
    fn nothing_is_allocated_once_it_runs() {
        let range = ColorRange { colormap: Colormap::Viridis, first_m: 1.0, last_m: 2.0 };
        let mut colorizer = Colorizer::new(Coloring::ByDepth(range), 100, 1).unwrap();
        let mut subsampler = Subsampler::new(100, 1);
        let mut run = |count| {
            let points = subsampler.subsample(&cloud(count)).unwrap();
            (colorizer.colorize(&points.positions_m), points)
        };
        let first = run(1000);
        let buffers = (first.0.as_ptr(), first.1.positions_m.as_ptr());
        let second = run(999);
        drop((first, second));
        let third = run(2000);
        assert_eq!((third.0.as_ptr(), third.1.positions_m.as_ptr()), buffers);
        assert_eq!((subsampler.pool.made_later(), colorizer.pool.made_later()), (0, 0));
    }
}
