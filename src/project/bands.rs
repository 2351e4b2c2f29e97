//! Spreads the rows of an image over threads.
//!
//! Pixels without depth give no point. So that many threads can write one gapless list in row-major
//! order, the image is cut into bands of rows: a first pass counts the pixels with depth in each
//! band, which says where its points go, a second writes them. The first costs a tenth of the
//! second, and brings the image into the cache.

use std::ops::Range;

use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::Layout;
use super::decimate::Decimate;
use super::kernel::{Block, DepthScale, Kernel};
use super::texture::Texture;
use super::view::{Rays, Rows};
use crate::frame::ColorImage;
use crate::frame::Points;

/// No band has fewer pixels than this: to give one to a thread takes about as long as to project
/// them.
const MIN_BAND_PIXELS: usize = 8 * 1024;

/// Points that are colorized at a time: few enough to be still in the fastest cache.
const COLORIZED_PIXELS: usize = 2 * 1024;

/// An image, and what all its bands share.
pub(super) struct Image<'a> {
    pub rows: Rows<'a>,
    pub rays: &'a Rays,
    pub scale: DepthScale,
    pub kernel: Kernel,
    pub layout: Layout,
    pub texture: Option<&'a Texture>,
    pub color: Option<&'a ColorImage>,
}

impl Image<'_> {
    /// Gives some points of a band their colours.
    fn colorize(&self, points: Range<usize>, positions: &[[f32; 3]], colors: &mut [u32]) {
        if let Some(texture) = self.texture {
            texture.colorize(&positions[points.clone()], self.color, &mut colors[points]);
        }
    }
}

/// How images of one size are cut.
pub(super) struct Bands {
    cut: Cut,
    /// How many points each band of the image at hand has.
    points: Vec<usize>,
}

impl Bands {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { cut: Cut { width, height, band_rows: height }, points: vec![0] }
    }

    /// Cuts into `count` bands, or fewer if they would be too small.
    pub(super) fn set_count(&mut self, count: usize) {
        let height = self.cut.height;
        let count = count.min(self.pixels() / MIN_BAND_PIXELS).clamp(1, height);
        self.cut.band_rows = height.div_ceil(count);
        self.points.resize(height.div_ceil(self.cut.band_rows), 0);
    }

    pub(super) fn count(&self) -> usize {
        self.points.len()
    }

    pub(super) fn width(&self) -> usize {
        self.cut.width
    }

    pub(super) fn pixels(&self) -> usize {
        self.cut.width * self.cut.height
    }

    /// Replaces `points` by those of `image`.
    pub(super) fn project(&mut self, image: &Image<'_>, points: &mut Points) {
        let cut = self.cut;
        match image.layout {
            Layout::Compact if self.count() == 1 => return cut.append(image, points),
            Layout::Compact => cut.each(&mut self.points, 1, |rows, points| {
                let depth = |v| &image.rows.depth[v * image.rows.stride..][..cut.width];
                points[0] = rows.map(|v| image.kernel.count(depth(v), &image.scale)).sum();
            }),
            Layout::Organized => {
                for (band, points) in self.points.iter_mut().enumerate() {
                    *points = cut.rows(band).len() * cut.width;
                }
            }
        }
        let total = self.points.iter().sum();
        let Points { positions_m, colors_rgba } = points;
        positions_m.resize(total, [0.0; 3]);
        colors_rgba.resize(if image.texture.is_some() { total } else { 0 }, 0);
        cut.write(image, 0, &self.points, positions_m, colors_rgba);
    }

    /// Fills `out` with the decimated image of `rows`.
    pub(super) fn decimate(
        &self,
        kernel: Kernel,
        decimate: Decimate,
        Rows { depth, stride }: Rows<'_>,
        scale: &DepthScale,
        out: &mut [u16],
    ) {
        let width = self.cut.width;
        self.cut.each(out, self.cut.band_rows * width, |rows_out, out| {
            let depth = &depth[rows_out.start * decimate.factor as usize * stride..];
            kernel.decimate(decimate, Rows { depth, stride }, scale, width, out);
        });
    }
}

#[derive(Clone, Copy)]
struct Cut {
    width: usize,
    height: usize,
    band_rows: usize,
}

impl Cut {
    fn rows(self, band: usize) -> Range<usize> {
        band * self.band_rows..self.height.min((band + 1) * self.band_rows)
    }

    /// Calls `f` with the rows of each band and its `per_band` values of `out`.
    fn each<T: Send>(
        self,
        out: &mut [T],
        per_band: usize,
        f: impl Fn(Range<usize>, &mut [T]) + Sync,
    ) {
        if out.len() <= per_band {
            // Here and now: a parallel iterator would start rayon's global pool, where there is no
            // other.
            return f(self.rows(0), out);
        }
        let bands = out.par_chunks_mut(per_band).enumerate();
        bands.for_each(|(band, out)| f(self.rows(band), out));
    }

    /// The blocks in which a band is worked on.
    fn blocks<'a>(self, image: &Image<'a>, rows: Range<usize>) -> impl Iterator<Item = Block<'a>> {
        let Image { rows: Rows { depth, stride }, rays, texture, .. } = *image;
        let block_rows = match texture {
            Some(_) => COLORIZED_PIXELS.div_ceil(self.width),
            None => rows.len().max(1),
        };
        let (width, end) = (self.width, rows.end);
        rows.step_by(block_rows).map(move |v| {
            let rows = v..end.min(v + block_rows);
            let (height, depth) = (rows.len(), &depth[v * stride..]);
            Block { width, height, depth, stride, rays: rays.of_rows(rows) }
        })
    }

    /// For a single band, of which nobody needs to know how many points it will have.
    fn append(self, image: &Image<'_>, points: &mut Points) {
        let Points { positions_m, colors_rgba } = points;
        positions_m.clear();
        colors_rgba.clear();
        for block in self.blocks(image, 0..self.height) {
            let done = positions_m.len();
            image.kernel.append(block, &image.scale, positions_m);
            if image.texture.is_some() {
                colors_rgba.resize(positions_m.len(), 0);
                image.colorize(done..positions_m.len(), positions_m, colors_rgba);
            }
        }
    }

    /// Writes some bands, from the first one on, of which each has so many `points`, to `positions`
    /// and `colors`; `colors` is empty if there is no texture. Halves them until they are one, and
    /// shares the halves.
    fn write(
        self,
        image: &Image<'_>,
        first: usize,
        points: &[usize],
        positions: &mut [[f32; 3]],
        colors: &mut [u32],
    ) {
        let half = points.len() / 2;
        if half > 0 {
            let (upper, lower) = points.split_at(half);
            let middle = upper.iter().sum();
            let (upper_positions, lower_positions) = positions.split_at_mut(middle);
            let (upper_colors, lower_colors) = colors.split_at_mut(middle.min(colors.len()));
            rayon::join(
                || self.write(image, first, upper, upper_positions, upper_colors),
                || self.write(image, first + half, lower, lower_positions, lower_colors),
            );
            return;
        }
        let mut done = 0;
        for block in self.blocks(image, self.rows(first)) {
            let out = &mut positions[done..];
            let written = match image.layout {
                Layout::Compact => image.kernel.compact(block, &image.scale, out),
                Layout::Organized => {
                    let pixels = block.width * block.height;
                    image.kernel.organize(block, &image.scale, &mut out[..pixels]);
                    pixels
                }
            };
            image.colorize(done..done + written, positions, colors);
            done += written;
        }
    }
}
