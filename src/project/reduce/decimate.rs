//! A smaller depth image: one pixel for each block of 2x2, 3x3 or 4x4.
//!
//! Eight neighbouring blocks are worked on at once: pixel n of all eight stands in one array, and whatever is done to a pixel is done
//! to the array, without branches, so that the compiler makes vector instructions of it.

use std::array;
use std::ops::RangeInclusive;

use crate::camera::Intrinsics;

/// What a block becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimateBy {
    /// The median of its valid depths, of an even number the lower of the two in the middle: always a depth that was measured.
    Median,
    /// The nearest of its valid depths: no obstacle gets lost.
    Min,
}

/// How a depth image is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimate {
    /// Columns and rows of a block, one of [`Decimate::FACTORS`].
    pub factor: u32,
    pub by: DecimateBy,
}

impl Decimate {
    pub const FACTORS: RangeInclusive<u32> = 2..=4;
}

/// Makes depth images of one size smaller.
///
/// Columns and rows at the right and lower edge that don't fill a block are dropped. So does librealsense, which then pads the image
/// with zeros to multiples of four pixels; this one doesn't.
#[derive(Debug, Clone)]
pub struct Decimator {
    decimate: Decimate,
    output_width: u32,
    output_height: u32,
}

impl Decimator {
    /// For depth images of `width` times `height` pixels.
    ///
    /// # Panics
    /// If the factor is none of [`Decimate::FACTORS`].
    pub fn new(decimate: Decimate, width: u32, height: u32) -> Self {
        let factor = decimate.factor;
        assert!(Decimate::FACTORS.contains(&factor), "depth is decimated by 2, 3 or 4, not by {factor}");
        Self { decimate, output_width: width / factor, output_height: height / factor }
    }

    /// Columns and rows of a block.
    pub fn factor(&self) -> usize {
        self.decimate.factor as usize
    }

    /// Width and height of the smaller image in pixels. They are 0 where the full image is smaller than a block.
    pub fn output_size(&self) -> (u32, u32) {
        (self.output_width, self.output_height)
    }

    /// Intrinsics of the smaller image.
    ///
    /// Its pixel i stands for the full pixels `i * f` to `i * f + f - 1`, whose middle is `i * f + (f - 1) / 2`. For its ray to be the
    /// ray of that middle, `fx' = fx / f` and `ppx' = (ppx - (f - 1) / 2) / f`, and so in y. (The decimation of librealsense divides the
    /// principal point by f and no more, which shifts the points by up to one and a half full pixels.) Distortion acts on the
    /// normalised ray, so its coefficients stay.
    pub fn intrinsics(&self, full: &Intrinsics) -> Intrinsics {
        let factor = self.decimate.factor as f32;
        let to_middle = (factor - 1.0) / 2.0;
        Intrinsics {
            width: self.output_width,
            height: self.output_height,
            fx: full.fx / factor,
            fy: full.fy / factor,
            ppx: (full.ppx - to_middle) / factor,
            ppy: (full.ppy - to_middle) / factor,
            ..*full
        }
    }

    /// Fills `out` with whole rows of the smaller image: all of them, or, for one thread among many, a band of them.
    ///
    /// `depth` starts at the first full pixel of the first of these rows; each row of it begins `stride` values after the one before.
    /// Raw depths within `range` are valid, but 0 never is. A block without a valid depth becomes 0.
    ///
    /// It is inlined so that a caller compiled for AVX2 gets it in AVX2.
    ///
    /// # Panics
    /// If `out` is not a whole number of rows, or `depth` has too few rows for it.
    #[inline(always)]
    pub fn run(&self, depth: &[u16], stride: usize, range: RangeInclusive<u16>, out: &mut [u16]) {
        let width = self.output_width as usize;
        let range = (*range.start().max(&1), *range.end());
        match self.decimate.factor {
            2 => image::<2, 4>(self.decimate.by, depth, stride, width, range, out),
            3 => image::<3, 9>(self.decimate.by, depth, stride, width, range, out),
            _ => image::<4, 16>(self.decimate.by, depth, stride, width, range, out),
        }
    }
}

/// Blocks that are worked on at once: as many as a vector register of SSE2 has places for depths.
const LANES: usize = 16;

/// `F` is the factor, `N` is `F * F`.
#[inline(always)]
fn image<const F: usize, const N: usize>(
    by: DecimateBy,
    depth: &[u16],
    stride: usize,
    width: usize,
    range: (u16, u16),
    out: &mut [u16],
) {
    if width < LANES {
        rows::<F, N, 1>(by, depth, stride, width, range, out)
    } else {
        rows::<F, N, LANES>(by, depth, stride, width, range, out)
    }
}

#[inline(always)]
fn rows<const F: usize, const N: usize, const L: usize>(
    by: DecimateBy,
    depth: &[u16],
    stride: usize,
    width: usize,
    range: (u16, u16),
    out: &mut [u16],
) {
    for (y, out) in out.chunks_exact_mut(width).enumerate() {
        let mut rows = [&[][..]; F];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = depth[(y * F + r) * stride..][..width * F].as_chunks::<F>().0;
        }
        for x in (0..width).step_by(L) {
            let x = x.min(width - L);
            let blocks = rows.map(|row| row[x..].first_chunk::<L>().expect("all"));
            let o = match by {
                DecimateBy::Median => median::<F, N, L>(blocks, range),
                DecimateBy::Min => min(blocks, range),
            };
            out[x..x + L].copy_from_slice(&o);
        }
    }
}

#[inline(always)]
fn min<const F: usize, const L: usize>(blocks: [&[[u16; F]; L]; F], (lo, hi): (u16, u16)) -> [u16; L] {
    let mut nearest = [[u16::MAX; F]; L];
    for row in blocks {
        for (nearest, d) in nearest.as_flattened_mut().iter_mut().zip(row.as_flattened()) {
            let key = if (*d >= lo) & (*d <= hi) { d.wrapping_sub(1) } else { u16::MAX };
            *nearest = key.min(*nearest);
        }
    }
    let mut out = [0; L];
    for (out, nearest) in out.iter_mut().zip(&nearest) {
        let mut m = nearest[0];
        for c in 1..F {
            m = m.min(nearest[c]);
        }
        *out = m.wrapping_add(1);
    }
    out
}

#[inline(always)]
fn median<const F: usize, const N: usize, const L: usize>(rows: [&[[u16; F]; L]; F], (lo, hi): (u16, u16)) -> [u16; L] {
    let mut keys = [[0; L]; N];
    for (r, row) in rows.iter().enumerate() {
        for c in 0..F {
            for l in 0..L {
                keys[r * F + c][l] = row[l][c];
            }
        }
    }
    let mut stand_in = [if N % 2 == 0 { u16::MAX } else { 0 }; L];
    for keys in &mut keys {
        for l in 0..L {
            let key = keys[l];
            let invalid = if (key >= lo) & (key <= hi) { 0 } else { u16::MAX };
            keys[l] = (key & !invalid) | (stand_in[l] & invalid);
            stand_in[l] ^= invalid;
        }
    }
    let mut m = [0; L];
    for l in 0..L {
        let mut b = [0; N];
        for n in 0..N {
            b[n] = keys[n][l];
        }
        m[l] = middle(b);
    }
    m
}

#[inline(always)]
fn middle<const N: usize>(k: [u16; N]) -> u16 {
    match N {
        4 => {
            let (a, b) = (sort2(k[0], k[1]), sort2(k[2], k[3]));
            a.0.min(b.1).max(a.1.min(b.0))
        }
        9 => {
            let (a, b, c) = (sort3(k[0], k[1], k[2]), sort3(k[3], k[4], k[5]), sort3(k[6], k[7], k[8]));
            sort3(a.0.max(b.0).max(c.0), sort3(a.1, b.1, c.1).1, a.2.min(b.2).min(c.2)).1
        }
        _ => {
            let a = sort8([k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]]);
            let b = sort8([k[8], k[9], k[10], k[11], k[12], k[13], k[14], k[15]]);
            let lower = |i: usize| a[i].min(b[7 - i]);
            lower(0).max(lower(1)).max(lower(2).max(lower(3))).max(lower(4).max(lower(5)).max(lower(6).max(lower(7))))
        }
    }
}
#[inline(always)]
fn sort2(a: u16, b: u16) -> (u16, u16) {
    (a.min(b), a.max(b))
}
#[inline(always)]
fn sort3(a: u16, b: u16, c: u16) -> (u16, u16, u16) {
    let (a, b) = sort2(a, b);
    let (b, c) = sort2(b, c);
    let (a, b) = sort2(a, b);
    (a, b, c)
}
#[inline(always)]
fn sort8([a, b, c, d, e, f, g, h]: [u16; 8]) -> [u16; 8] {
    let ((a, c), (b, d), (e, g), (f, h)) = (sort2(a, c), sort2(b, d), sort2(e, g), sort2(f, h));
    let ((a, e), (b, f), (c, g), (d, h)) = (sort2(a, e), sort2(b, f), sort2(c, g), sort2(d, h));
    let ((a, b), (c, d), (e, f), (g, h)) = (sort2(a, b), sort2(c, d), sort2(e, f), sort2(g, h));
    let ((c, e), (d, f)) = (sort2(c, e), sort2(d, f));
    let ((b, e), (d, g)) = (sort2(b, e), sort2(d, g));
    let ((b, c), (d, e), (f, g)) = (sort2(b, c), sort2(d, e), sort2(f, g));
    [a, b, c, d, e, f, g, h]
}
