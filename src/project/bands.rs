//! Spreads the rows of an image over threads.
//!
//! Pixels without depth give no point. So that many threads can write one gapless list in row-major
//! order, the image is cut into bands of rows: a first pass counts the pixels with depth in each
//! band, which tells where its points go, a second writes them. The first costs a tenth of the
//! second, and brings the image into the cache.

use std::ops::Range;

use super::kernel::{Block, DepthScale, Kernel};
use super::rays::Rays;
use super::reduce::Decimator;
use super::texture::Texture;
use crate::cloud::Points;
use crate::frame::ColorImage;

/// No band has fewer pixels than this: to hand one over takes about as long as to project them.
const MIN_BAND_PIXELS: usize = 8 * 1024;

/// Points that are painted at a time: few enough to be still in the fastest cache.
const PAINT_PIXELS: usize = 2 * 1024;

/// Rows of depth, `stride` values from one to the next.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub depth: &'a [u16],
    pub stride: usize,
}

/// An image, and what all its bands share.
pub(super) struct Image<'a> {
    pub rows: Rows<'a>,
    pub rays: &'a Rays,
    pub scale: DepthScale,
    pub kernel: Kernel,
    pub texture: Option<&'a Texture>,
    pub color: Option<&'a ColorImage>,
}

/// How images of one size are cut.
pub(super) struct Bands {
    width: usize,
    height: usize,
    rows_per_band: usize,
    /// Pixels that count in each band of the image at hand.
    counts: Vec<usize>,
}

impl Bands {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, rows_per_band: height, counts: vec![0] }
    }

    /// Cuts into `count` bands, or fewer if they would be too small.
    pub(super) fn set_count(&mut self, count: usize) {
        let count = count.min(self.pixels() / MIN_BAND_PIXELS).clamp(1, self.height);
        self.rows_per_band = self.height.div_ceil(count);
        self.counts.resize(self.height.div_ceil(self.rows_per_band), 0);
    }

    pub(super) fn count(&self) -> usize {
        self.counts.len()
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// Replaces `points` by those of the pixels that count.
    pub(super) fn compact(&mut self, image: &Image<'_>, points: &mut Points) {
        let Self { width, height, rows_per_band, ref mut counts } = *self;
        let cut = Cut { width, rows_per_band };
        if counts.len() == 1 {
            return cut.append(image, 0..height, points);
        }
        cut.count(image, 0..height, counts);
        let total = counts.iter().sum();
        points.positions_m.resize(total, [0.0; 3]);
        points.colors_rgba.resize(if image.texture.is_some() { total } else { 0 }, 0);
        cut.compact(image, 0..height, counts, &mut points.positions_m, &mut points.colors_rgba);
    }

    /// Replaces `points` by those of all pixels.
    pub(super) fn organize(&mut self, image: &Image<'_>, points: &mut Points) {
        let Self { width, height, rows_per_band, .. } = *self;
        points.positions_m.resize(width * height, [0.0; 3]);
        points.colors_rgba.resize(if image.texture.is_some() { width * height } else { 0 }, 0);
        Cut { width, rows_per_band }.organize(
            image,
            0..height,
            &mut points.positions_m,
            &mut points.colors_rgba,
        );
    }

    /// Fills `out` with the decimated image of `rows`.
    pub(super) fn decimate(
        &self,
        kernel: Kernel,
        decimator: &Decimator,
        rows: Rows<'_>,
        scale: &DepthScale,
        out: &mut [u16],
    ) {
        let Self { width, height, rows_per_band, .. } = *self;
        let decimate = |rows_out: Range<usize>, out: &mut [u16]| {
            let first = rows_out.start * decimator.factor() * rows.stride;
            kernel.decimate(decimator, &rows.depth[first..], rows.stride, scale, out);
        };
        Cut { width, rows_per_band }.each(0..height, out, &decimate);
    }
}

/// The cut of an image of one size. Each function halves the rows it is given until they are one
/// band, and shares the halves.
#[derive(Clone, Copy)]
struct Cut {
    width: usize,
    rows_per_band: usize,
}

impl Cut {
    /// Where to halve `rows`, at the border of two bands; `None` if they are one band.
    fn middle(self, rows: &Range<usize>) -> Option<usize> {
        let bands = rows.len().div_ceil(self.rows_per_band);
        (bands > 1).then(|| rows.start + bands / 2 * self.rows_per_band)
    }

    /// The blocks in which a band is worked on.
    fn blocks<'a>(self, image: &Image<'a>, rows: Range<usize>) -> impl Iterator<Item = Block<'a>> {
        let Image { rows: Rows { depth, stride }, rays, texture, .. } = *image;
        let block_rows =
            if texture.is_some() { PAINT_PIXELS.div_ceil(self.width) } else { rows.len().max(1) };
        let end = rows.end;
        rows.step_by(block_rows).map(move |v| {
            let rows = v..end.min(v + block_rows);
            let rays = rays.of_rows(rows.clone());
            Block {
                width: self.width,
                height: rows.len(),
                depth: &depth[v * stride..],
                stride,
                rays,
            }
        })
    }

    fn count(self, image: &Image<'_>, rows: Range<usize>, counts: &mut [usize]) {
        if let Some(middle) = self.middle(&rows) {
            let (upper, lower) = counts.split_at_mut((middle - rows.start) / self.rows_per_band);
            rayon::join(
                || self.count(image, rows.start..middle, upper),
                || self.count(image, middle..rows.end, lower),
            );
        } else if let [count] = counts {
            *count =
                rows.map(|v| image.kernel.count(image.depth(v, self.width), &image.scale)).sum();
        }
    }

    /// For one band, of which nobody needs to know how many points it will have.
    fn append(self, image: &Image<'_>, rows: Range<usize>, points: &mut Points) {
        let Points { positions_m, colors_rgba } = points;
        positions_m.clear();
        colors_rgba.clear();
        for block in self.blocks(image, rows) {
            let done = positions_m.len();
            image.kernel.append(block, &image.scale, positions_m);
            if image.texture.is_some() {
                colors_rgba.resize(positions_m.len(), 0);
                image.paint(done..positions_m.len(), positions_m, colors_rgba);
            }
        }
    }

    /// `positions` and `colors` are the places of the points of `rows`; `colors` is empty if
    /// nothing paints them.
    fn compact(
        self,
        image: &Image<'_>,
        rows: Range<usize>,
        counts: &[usize],
        positions: &mut [[f32; 3]],
        colors: &mut [u32],
    ) {
        if let Some(middle) = self.middle(&rows) {
            let (upper_counts, lower_counts) =
                counts.split_at((middle - rows.start) / self.rows_per_band);
            let points = upper_counts.iter().sum();
            let (upper, lower) = positions.split_at_mut(points);
            let (upper_colors, lower_colors) = colors.split_at_mut(points.min(colors.len()));
            rayon::join(
                || self.compact(image, rows.start..middle, upper_counts, upper, upper_colors),
                || self.compact(image, middle..rows.end, lower_counts, lower, lower_colors),
            );
            return;
        }
        let mut done = 0;
        for block in self.blocks(image, rows) {
            let points = image.kernel.compact(block, &image.scale, &mut positions[done..]);
            image.paint(done..done + points, positions, colors);
            done += points;
        }
    }

    fn organize(
        self,
        image: &Image<'_>,
        rows: Range<usize>,
        positions: &mut [[f32; 3]],
        colors: &mut [u32],
    ) {
        if let Some(middle) = self.middle(&rows) {
            let pixels = (middle - rows.start) * self.width;
            let (upper, lower) = positions.split_at_mut(pixels);
            let (upper_colors, lower_colors) = colors.split_at_mut(pixels.min(colors.len()));
            rayon::join(
                || self.organize(image, rows.start..middle, upper, upper_colors),
                || self.organize(image, middle..rows.end, lower, lower_colors),
            );
            return;
        }
        let mut done = 0;
        for block in self.blocks(image, rows) {
            let points = done..done + block.width * block.height;
            image.kernel.organize(block, &image.scale, &mut positions[points.clone()]);
            done = points.end;
            image.paint(points, positions, colors);
        }
    }

    /// Calls `f` with the rows of each band and their part of `out`.
    fn each(
        self,
        rows: Range<usize>,
        out: &mut [u16],
        f: &(impl Fn(Range<usize>, &mut [u16]) + Sync),
    ) {
        if let Some(middle) = self.middle(&rows) {
            let (upper, lower) = out.split_at_mut((middle - rows.start) * self.width);
            rayon::join(
                || self.each(rows.start..middle, upper, f),
                || self.each(middle..rows.end, lower, f),
            );
        } else {
            f(rows, out);
        }
    }
}

impl Image<'_> {
    fn depth(&self, v: usize, width: usize) -> &[u16] {
        &self.rows.depth[v * self.rows.stride..][..width]
    }

    /// Colours some points of a band.
    fn paint(&self, points: Range<usize>, positions: &[[f32; 3]], colors: &mut [u32]) {
        if let Some(texture) = self.texture {
            texture.paint(&positions[points.clone()], self.color, &mut colors[points]);
        }
    }
}
