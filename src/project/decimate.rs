//! A smaller depth image: one pixel for each block of 2x2, 3x3 or 4x4.
//!
//! Some neighbouring blocks are worked on at once. Whatever is done to one is done to all of them,
//! without branches, in loops of fixed length, so that the compiler makes vector instructions of
//! it. All of it is inlined, so that a caller that is compiled for a newer instruction set gets the
//! loops in that set; closures would not be, hence there are none.

use std::ops::RangeInclusive;

/// What a block becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimateBy {
    /// The median of its valid depths, of an even number the lower of the two in the middle: always
    /// a depth that was measured.
    Median,
    /// The nearest of its valid depths: no obstacle gets lost.
    Min,
}

/// How a depth image is made smaller.
///
/// Pixel i of the smaller image represents the pixels `i * f` to `i * f + f - 1`, so its ray is
/// that of their middle, `i * f + (f - 1) / 2`. (librealsense's decimation divides the principal
/// point by f and no more, which shifts the points by up to one and a half pixels.)
///
/// Columns and rows at the right and lower edge that don't fill a block are dropped. So does
/// librealsense, which then pads the image with zeros to multiples of four pixels; this one
/// doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimate {
    /// Columns and rows of a block, one of [`Decimate::FACTORS`].
    pub factor: u32,
    pub by: DecimateBy,
}

impl Decimate {
    pub const FACTORS: RangeInclusive<u32> = 2..=4;

    /// Fills `out` with whole rows of the smaller image, of `width` pixels each: all of them, or,
    /// for one thread among many, a band of them.
    ///
    /// `depth` starts at the first full pixel of the first of these rows; each row of it starts
    /// `stride` values after the one before. Raw depths within `range` are valid, but 0 never is. A
    /// block without a valid depth becomes 0.
    ///
    /// A caller with `#[target_feature(enable = "avx2")]` gets it in AVX2.
    ///
    /// # Panics
    /// If the factor is none of [`Decimate::FACTORS`], `out` is not a whole number of rows, or
    /// `depth` has too few rows for it.
    #[inline(always)]
    pub fn run(
        self,
        depth: &[u16],
        stride: usize,
        range: RangeInclusive<u16>,
        width: usize,
        out: &mut [u16],
    ) {
        let range = (*range.start().max(&1), *range.end());
        let image = Image { depth, stride, output_width: width, range };
        match self.factor {
            2 => image.reduce::<2, 4>(self.by, out),
            3 => image.reduce::<3, 9>(self.by, out),
            4 => image.reduce::<4, 16>(self.by, out),
            factor => panic!("depth is decimated by 2, 3 or 4, not by {factor}"),
        }
    }
}

/// Blocks that are worked on at once: as many as a vector register of SSE2 has places for depths.
const LANES: usize = 8;

/// A row of each of `L` neighbouring blocks.
type BlockRows<const F: usize, const L: usize> = [[u16; F]; L];

/// A full image, or a band of one.
struct Image<'a> {
    depth: &'a [u16],
    stride: usize,
    output_width: usize,
    /// The least and the largest depth that is valid.
    range: (u16, u16),
}

impl Image<'_> {
    /// `F` is the factor, `N` the number of pixels in a block.
    #[inline(always)]
    fn reduce<const F: usize, const N: usize>(&self, by: DecimateBy, out: &mut [u16]) {
        const { assert!(N == F * F) };
        match self.output_width {
            0 => assert!(out.is_empty(), "an image that is narrower than a block has no output"),
            1..LANES => self.reduce_rows::<F, N, 1>(by, out),
            _ => self.reduce_rows::<F, N, LANES>(by, out),
        }
    }

    #[inline(always)]
    fn reduce_rows<const F: usize, const N: usize, const L: usize>(
        &self,
        by: DecimateBy,
        out: &mut [u16],
    ) {
        let width = self.output_width;
        assert!(
            out.len().is_multiple_of(width),
            "{} pixels are no whole rows of {width}",
            out.len()
        );
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let mut rows = [&[][..]; F];
            for (r, row) in rows.iter_mut().enumerate() {
                (*row, _) = self.depth[(y * F + r) * self.stride..][..width * F].as_chunks::<F>();
            }
            for x in (0..width).step_by(L) {
                // The last blocks of a row overlap those before them where the width is no multiple
                // of L.
                let x = x.min(width - L);
                let blocks = rows.map(|row| {
                    row[x..].first_chunk::<L>().expect("a row has at least L blocks from here")
                });
                let reduced = match by {
                    DecimateBy::Median => medians::<F, N, L>(blocks, self.range),
                    DecimateBy::Min => minima(blocks, self.range),
                };
                out[x..x + L].copy_from_slice(&reduced);
            }
        }
    }
}

/// Depths are compared less one, by which 0 for "no depth" becomes the largest, and is 0 again in
/// the end.
#[inline(always)]
fn minima<const F: usize, const L: usize>(
    rows: [&BlockRows<F, L>; F],
    (least, most): (u16, u16),
) -> [u16; L] {
    let mut columns = [[u16::MAX; F]; L];
    for row in rows {
        for (min, &d) in columns.as_flattened_mut().iter_mut().zip(row.as_flattened()) {
            let valid = (least..=most).contains(&d);
            *min = (*min).min(if valid { d.wrapping_sub(1) } else { u16::MAX });
        }
    }
    let mut minima = [u16::MAX; L];
    for (min, columns) in minima.iter_mut().zip(columns) {
        for column in columns {
            *min = (*min).min(column);
        }
        *min = min.wrapping_add(1);
    }
    minima
}

/// The median of a block's valid depths, wherever in it they are, by always taking the same rank of
/// all its depths: its invalid pixels count as nearest and as farthest alternately, so that the
/// valid ones stay in the middle. Of a block without a valid one that makes 0.
#[inline(always)]
fn medians<const F: usize, const N: usize, const L: usize>(
    rows: [&BlockRows<F, L>; F],
    (least, most): (u16, u16),
) -> [u16; L] {
    let mut pixels = [[0; L]; N];
    for (r, row) in rows.iter().enumerate() {
        for c in 0..F {
            for l in 0..L {
                pixels[r * F + c][l] = row[l][c];
            }
        }
    }
    // Of an even number the rank is the lower middle one, with one more above it than below: the
    // first invalid pixel goes there.
    let mut stand_in = [if N.is_multiple_of(2) { u16::MAX } else { 0 }; L];
    for pixels in &mut pixels {
        for (d, stand_in) in pixels.iter_mut().zip(&mut stand_in) {
            let invalid = if (least..=most).contains(d) { 0 } else { u16::MAX };
            *d = (*d & !invalid) | (*stand_in & invalid);
            *stand_in ^= invalid;
        }
    }
    let mut medians = [0; L];
    for (l, median) in medians.iter_mut().enumerate() {
        let mut block = [0; N];
        for (d, pixels) in block.iter_mut().zip(&pixels) {
            *d = pixels[l];
        }
        *median = middle(block);
    }
    medians
}

/// The lower median of 4, 9 or 16 values.
///
/// Of nine in three sorted triples it is the median of the largest minimum, the median median and
/// the least maximum. Of two sorted halves a and b with n values each it is the largest of all
/// `min(a[i], b[n - 1 - i])`, which are the n least values.
#[inline(always)]
fn middle<const N: usize>(v: [u16; N]) -> u16 {
    match N {
        4 => {
            let ([a0, a1], [b0, b1]) = (sort2(v[0], v[1]), sort2(v[2], v[3]));
            a0.min(b1).max(a1.min(b0))
        }
        9 => {
            let [a0, a1, a2] = sort3(v[0], v[1], v[2]);
            let [b0, b1, b2] = sort3(v[3], v[4], v[5]);
            let [c0, c1, c2] = sort3(v[6], v[7], v[8]);
            sort3(a0.max(b0).max(c0), sort3(a1, b1, c1)[1], a2.min(b2).min(c2))[1]
        }
        _ => {
            let a = sort8([v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]]);
            let b = sort8([v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15]]);
            let mut largest = 0;
            for i in 0..8 {
                largest = largest.max(a[i].min(b[7 - i]));
            }
            largest
        }
    }
}

#[inline(always)]
fn sort2(a: u16, b: u16) -> [u16; 2] {
    [a.min(b), a.max(b)]
}

#[inline(always)]
fn sort3(a: u16, b: u16, c: u16) -> [u16; 3] {
    let [a, b] = sort2(a, b);
    let [b, c] = sort2(b, c);
    let [a, b] = sort2(a, b);
    [a, b, c]
}

/// The network of 19 comparisons in 6 layers; Knuth, The Art of Computer Programming, volume 3,
/// 5.3.4.
#[inline(always)]
fn sort8([a, b, c, d, e, f, g, h]: [u16; 8]) -> [u16; 8] {
    let ([a, c], [b, d], [e, g], [f, h]) = (sort2(a, c), sort2(b, d), sort2(e, g), sort2(f, h));
    let ([a, e], [b, f], [c, g], [d, h]) = (sort2(a, e), sort2(b, f), sort2(c, g), sort2(d, h));
    let ([a, b], [c, d], [e, f], [g, h]) = (sort2(a, b), sort2(c, d), sort2(e, f), sort2(g, h));
    let ([c, e], [d, f]) = (sort2(c, e), sort2(d, f));
    let ([b, e], [d, g]) = (sort2(b, e), sort2(d, g));
    let ([b, c], [d, e], [f, g]) = (sort2(b, c), sort2(d, e), sort2(f, g));
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The obviously right decimation: sort the valid depths of each block.
    fn naive(
        Decimate { factor, by }: Decimate,
        depth: &[u16],
        stride: usize,
        size: (u32, u32),
        range: RangeInclusive<u16>,
    ) -> Vec<u16> {
        let block = |x: u32, y: u32| {
            let pixels = (y..y + factor).flat_map(|v| (x..x + factor).map(move |u| (u, v)));
            let mut valid: Vec<u16> = pixels
                .map(|(u, v)| depth[v as usize * stride + u as usize])
                .filter(|d| *d != 0 && range.contains(d))
                .collect();
            valid.sort_unstable();
            match by {
                _ if valid.is_empty() => 0,
                DecimateBy::Median => valid[(valid.len() - 1) / 2],
                DecimateBy::Min => valid[0],
            }
        };
        let blocks = (0..size.1 / factor).flat_map(|y| (0..size.0 / factor).map(move |x| (x, y)));
        blocks.map(|(x, y)| block(x * factor, y * factor)).collect()
    }

    fn all_decimations() -> impl Iterator<Item = Decimate> {
        let bys = [DecimateBy::Median, DecimateBy::Min];
        Decimate::FACTORS.flat_map(move |factor| bys.map(|by| Decimate { factor, by }))
    }

    /// Runs all decimations, whole and in bands of one row, and compares them with the naive one.
    fn check(depth: &[u16], stride: usize, size: (u32, u32), range: &RangeInclusive<u16>) {
        for decimate in all_decimations() {
            let (factor, width) = (decimate.factor as usize, (size.0 / decimate.factor) as usize);
            let want = naive(decimate, depth, stride, size, range.clone());
            let mut whole = vec![7; want.len()];
            decimate.run(depth, stride, range.clone(), width, &mut whole);
            assert_eq!(whole, want, "{decimate:?} of {size:?}, stride {stride}, {range:?}");

            let mut bands = vec![7; want.len()];
            for (row, band) in bands.chunks_exact_mut(width.max(1)).enumerate() {
                decimate.run(&depth[row * factor * stride..], stride, range.clone(), width, band);
            }
            assert_eq!(bands, want, "{decimate:?} of {size:?} in bands");
        }
    }

    fn depths() -> impl Strategy<Value = u16> {
        let near = 995u16..1005;
        prop_oneof![3 => Just(0), 1 => Just(1), 1 => Just(u16::MAX), 2 => near, 3 => any::<u16>()]
    }

    fn ranges() -> impl Strategy<Value = RangeInclusive<u16>> {
        let any_range = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| a..=b); // often empty
        let fixed = [0..=u16::MAX, 0..=u16::MAX, 0..=0, 1..=u16::MAX - 1, 998..=1002, 998..=1002];
        prop_oneof![7 => proptest::sample::select(fixed.to_vec()), 2 => any_range]
    }

    fn images() -> impl Strategy<Value = (u32, u32, usize, Vec<u16>)> {
        let sizes = (prop_oneof![0u32..20, 60u32..80], 0u32..20, 0usize..5);
        sizes.prop_flat_map(|(width, height, padding)| {
            let stride = width as usize + padding;
            let len = stride * height as usize;
            let pixels = prop_oneof![
                4 => proptest::collection::vec(depths(), len),
                4 => proptest::collection::vec(1000u16..3000, len),
                1 => depths().prop_map(move |depth| vec![depth; len]),
            ];
            (Just(width), Just(height), Just(stride), pixels)
        })
    }

    proptest! {
        #[test]
        fn fast_and_naive_agree((width, height, stride, depth) in images(), range in ranges()) {
            check(&depth, stride, (width, height), &range);
        }
    }

    /// A network that sorts all rows of zeros and ones sorts everything (Knuth's zero-one
    /// principle), and so with its ranks.
    #[test]
    fn every_mask_of_valid_pixels_in_a_block_has_its_median() {
        for decimate in all_decimations() {
            let side = decimate.factor;
            for mask in 0..1u32 << (side * side) {
                let zeros_and_ones: Vec<u16> =
                    (0..side * side).map(|i| 500 + (mask >> i & 1) as u16).collect();
                let with_holes: Vec<u16> = (0..side * side)
                    .map(|i| (mask >> i & 1) as u16 * (900 - i as u16 * 37 % 16))
                    .collect();
                for block in [zeros_and_ones, with_holes] {
                    let (stride, all) = (side as usize, 0..=u16::MAX);
                    let mut out = [7];
                    decimate.run(&block, stride, all.clone(), 1, &mut out);
                    let want = naive(decimate, &block, stride, (side, side), all);
                    assert_eq!(out[..], want, "{block:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic = "not by 5"]
    fn other_factors_are_refused() {
        Decimate { factor: 5, by: DecimateBy::Min }.run(&[1; 25], 5, 1..=9, 1, &mut [0]);
    }
}
