//! Colours for the clouds that are shown, where the projection gives none.

use std::sync::Arc;

use crate::color::{Coloring, Ramp};
use crate::huge_pages;
use crate::pool::Pool;

/// Paints clouds into buffers of its own.
pub(super) struct Painter {
    ramp: Ramp,
    pool: Pool<Vec<u32>>,
}

impl Painter {
    /// For as many clouds as are `in_flight` at once, of at most so many points; after that nothing
    /// is allocated any more. `None` where no painting is needed.
    pub(super) fn new(coloring: Coloring, max_points: usize, in_flight: usize) -> Option<Self> {
        let make = move || huge_pages::vec(0, max_points);
        Some(Self { ramp: Ramp::of(coloring)?, pool: Pool::new(in_flight + 1, make) })
    }

    /// A colour for each point.
    pub(super) fn paint(&mut self, positions_m: &[[f32; 3]]) -> Arc<Vec<u32>> {
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

    const BY_DEPTH: Coloring =
        Coloring::ByDepth(ColorRange { colormap: Colormap::Viridis, first_m: 1.0, last_m: 2.0 });

    #[test]
    fn each_cloud_has_its_colours_and_keeps_them_while_it_is_in_flight() {
        let mut painter = Painter::new(BY_DEPTH, 100, 1).unwrap();
        let near = painter.paint(&[[0.0, 0.0, 1.0]; 100]);
        let far = painter.paint(&[[0.0, 0.0, 2.0]; 40]);
        assert_eq!((&near[..], &far[..]), (&[0x4401_54ff; 100][..], &[0xfde7_25ff; 40][..]));
        let address = near.as_ptr();
        drop((near, far));
        assert_eq!(painter.paint(&[[0.0, 0.0, 3.0]; 100]).as_ptr(), address);
        assert_eq!(painter.pool.made_later(), 0, "nothing is allocated once it runs");
    }

    #[test]
    fn what_needs_no_painting_has_no_painter() {
        assert!(Painter::new(Coloring::ByTexture, 1, 1).is_none());
        assert!(Painter::new(Coloring::Uniform(7), 1, 1).is_none());
    }
}
