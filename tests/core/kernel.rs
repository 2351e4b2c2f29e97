//! Each instruction set by itself against the formula, bit for bit: what it writes, and that it
//! writes nowhere else.
//!
//! It needs neither recordings nor threads, so that it is quick under a memory checker or an
//! emulator too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use depthcast::project::kernel::{Block, DepthScale, Kernel, Rays};
use proptest::prelude::*;

const UNITS_M: f32 = 0.000_3;
/// What is in places before anything is written there.
const UNTOUCHED: [f32; 3] = [9.25; 3];

/// A block that owns its parts. None has a value too many, so that a checker sees whoever reads
/// beyond.
#[derive(Debug)]
struct Image {
    width: usize,
    height: usize,
    stride: usize,
    depth: Vec<u16>,
    is_per_pixel: bool,
    ray_x: Vec<f32>,
    ray_y: Vec<f32>,
}

impl Image {
    /// With `gap` values between its rows.
    fn new(
        (width, height): (usize, usize),
        gap: usize,
        is_per_pixel: bool,
        depth: impl FnMut() -> u16,
    ) -> Self {
        let (stride, pixels) = (width + gap, width * height);
        let (columns, rows) = if is_per_pixel { (pixels, pixels) } else { (width, height) };
        let depths = if pixels == 0 { 0 } else { stride * (height - 1) + width };
        Self {
            width,
            height,
            stride,
            depth: std::iter::repeat_with(depth).take(depths).collect(),
            is_per_pixel,
            ray_x: (0..columns).map(|i| i as f32 * 0.37 - 3.0).collect(),
            ray_y: (0..rows).map(|i| 1.0 - i as f32 * 0.83).collect(),
        }
    }

    fn block(&self) -> Block<'_> {
        let Self { width, height, stride, ref depth, is_per_pixel, ref ray_x, ref ray_y } = *self;
        let rays = if is_per_pixel {
            Rays::PerPixel { x: ray_x, y: ray_y }
        } else {
            Rays::Separable { x: ray_x, y: ray_y }
        };
        Block { width, height, depth, stride, rays }
    }

    /// A point for each pixel whose depth `counts`, and nothing or a zero for the others.
    fn points(&self, counts: impl Fn(u16) -> bool) -> Vec<(bool, [f32; 3])> {
        let pixels = (0..self.height).flat_map(|v| (0..self.width).map(move |u| (u, v)));
        let point = |(u, v): (usize, usize)| {
            let d = self.depth[v * self.stride + u];
            let pixel = v * self.width + u;
            let (column, row) = if self.is_per_pixel { (pixel, pixel) } else { (u, v) };
            let z = if counts(d) { f32::from(d) } else { 0.0 } * UNITS_M;
            (counts(d), [self.ray_x[column] * z, self.ray_y[row] * z, z])
        };
        pixels.map(point).collect()
    }
}

/// Depths with something special about them, as a number with or without a sign.
const EDGES: [u16; 10] = [0, 1, 2, 3, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff];

/// With `holes` of 8 pixels without depth, and of the others half at an edge. Some have no pixels.
fn images() -> impl Strategy<Value = Image> {
    let gaps = prop_oneof![Just(0usize), 1usize..20];
    (0usize..70, 0usize..5, gaps, any::<bool>(), 0u64..=8, any::<u64>()).prop_map(
        |(width, height, gap, is_per_pixel, holes, seed)| {
            let mut state = seed | 1;
            Image::new((width, height), gap, is_per_pixel, || {
                // Marsaglia's xorshift.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let [a, b, c, d, ..] = state.to_le_bytes();
                match (u64::from(a % 8) < holes, b % 2) {
                    (true, _) => 0,
                    (false, 0) => EDGES[usize::from(c) % EDGES.len()],
                    _ => u16::from_le_bytes([c, d]),
                }
            })
        },
    )
}

/// The least and the greatest depth that count: all, or between edges.
fn ranges() -> impl Strategy<Value = (u16, u16)> {
    let edge = || proptest::sample::select(&EDGES[..]);
    prop_oneof![
        Just((0, u16::MAX)),
        (edge(), edge()).prop_map(|(a, b)| (a.min(b), a.max(b).max(1)))
    ]
}

/// Has `len` places written, `before` others ahead of them and some after; returns what is there
/// then.
fn between_others<T>(
    before: usize,
    len: usize,
    write: impl FnOnce(&mut [[f32; 3]]) -> T,
) -> (T, Vec<[f32; 3]>) {
    let mut places = vec![UNTOUCHED; before + len + 40];
    let result = write(&mut places[before..before + len]);
    let after = places.split_off(before + len);
    let written = places.split_off(before);
    let mut others = places.iter().chain(&after);
    assert!(others.all(|p| *p == UNTOUCHED), "something was written before or after the places");
    (result, written)
}

fn bits(points: &[[f32; 3]]) -> Vec<[u32; 3]> {
    points.iter().map(|p| p.map(f32::to_bits)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_set_writes_what_the_formula_says(
        image in images(),
        (low, high) in ranges(),
        before in 0usize..17, // so that places start anywhere in a cache line
        spare in 0usize..40,
    ) {
        let counts = |d: u16| d != 0 && (low..=high).contains(&d);
        let scale = DepthScale::new(UNITS_M, low, high).unwrap();
        let points = image.points(counts);
        let organized: Vec<_> = points.iter().map(|&(_, point)| point).collect();
        let compact: Vec<_> = points.iter().filter(|p| p.0).map(|p| p.1).collect();
        let (block, n) = (image.block(), compact.len());
        for kernel in Kernel::available() {
            let name = kernel.name();
            let counted = image.depth.iter().filter(|&&d| counts(d)).count();
            prop_assert_eq!(kernel.count(&image.depth, &scale), counted, "{}", name);

            let organize = |out: &mut [_]| kernel.organize(block, &scale, out);
            let ((), got) = between_others(before, organized.len(), organize);
            prop_assert_eq!(bits(&got), bits(&organized), "{} organized", name);

            for len in [n, n + spare] {
                let compact_to = |out: &mut [_]| kernel.compact(block, &scale, out);
                let (got_n, got) = between_others(before, len, compact_to);
                prop_assert_eq!(got_n, n, "{} compacted to {} places", name, len);
                prop_assert_eq!(bits(&got[..n]), bits(&compact), "{} to {} places", name, len);
            }

            let mut appended = vec![UNTOUCHED; before];
            kernel.append(block, &scale, &mut appended);
            kernel.append(block, &scale, &mut appended);
            let want = [vec![UNTOUCHED; before], compact.clone(), compact.clone()].concat();
            prop_assert_eq!(bits(&appended), bits(&want), "{} appended", name);
        }
    }
}

/// Whether the call panics.
fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

#[test]
fn points_without_a_place_are_a_panic_and_touch_nothing_else() {
    let scale = DepthScale::all(UNITS_M);
    for (width, height, is_per_pixel) in
        [(1, 1, true), (3, 2, false), (8, 1, false), (9, 3, true), (16, 2, true), (53, 2, false)]
    {
        let image = Image::new((width, height), 0, is_per_pixel, || 1000);
        let (block, pixels) = (image.block(), width * height);
        for kernel in Kernel::available() {
            let what = |len| format!("{}: {width}x{height} to {len} places", kernel.name());
            for len in [pixels - 1, pixels + 1] {
                let organize = |out: &mut [_]| panics(|| kernel.organize(block, &scale, out));
                assert!(between_others(5, len, organize).0, "{} organized", what(len));
            }
            for len in [pixels - 1, pixels / 2] {
                let compact = |out: &mut [_]| panics(|| _ = kernel.compact(block, &scale, out));
                assert!(between_others(5, len, compact).0, "{} compacted", what(len));
            }
        }
    }
}

#[test]
fn blocks_whose_parts_do_not_fit_are_a_panic() {
    let (depth, rays) = ([1; 20], [0.5; 20]);
    let separable = Block {
        width: 5,
        height: 4,
        depth: &depth,
        stride: 5,
        rays: Rays::Separable { x: &rays[..5], y: &rays[..4] },
    };
    let per_pixel = Block { rays: Rays::PerPixel { x: &rays, y: &rays }, ..separable };
    let half = usize::MAX / 2 + 1;
    let no_rays = Rays::PerPixel { x: &[], y: &[] };
    let broken = [
        Block { stride: 4, ..separable },
        Block { stride: 6, ..separable },
        Block { stride: usize::MAX, ..separable },
        Block { depth: &depth[..19], ..per_pixel },
        Block { rays: Rays::Separable { x: &rays[..4], y: &rays[..4] }, ..separable },
        Block { rays: Rays::Separable { x: &rays[..5], y: &rays[..5] }, ..separable },
        Block { rays: Rays::PerPixel { x: &rays, y: &rays[..19] }, ..per_pixel },
        Block { rays: Rays::PerPixel { x: &rays[..19], y: &rays }, ..per_pixel },
        // 2^64 pixels are 0, if nobody looks.
        Block { width: half, height: 2, depth: &[], stride: half, rays: no_rays },
    ];
    let scale = DepthScale::all(UNITS_M);
    for kernel in Kernel::available() {
        for block in broken {
            let pixels = block.width.wrapping_mul(block.height);
            let (mut points, mut out) = (vec![UNTOUCHED; 3], vec![UNTOUCHED; pixels]);
            assert!(panics(|| kernel.append(block, &scale, &mut points)), "{block:?}");
            assert!(panics(|| _ = kernel.compact(block, &scale, &mut out)), "{block:?}");
            assert!(panics(|| kernel.organize(block, &scale, &mut out)), "{block:?}");
            assert_eq!((points, out), (vec![UNTOUCHED; 3], vec![UNTOUCHED; pixels]), "{block:?}");
        }
    }
}

#[test]
fn counts_may_be_larger_than_depths() {
    let depth = vec![u16::MAX; 200_001];
    for kernel in Kernel::available() {
        let counted = kernel.count(&depth, &DepthScale::all(UNITS_M));
        assert_eq!(counted, depth.len(), "{}", kernel.name());
    }
}

#[test]
fn the_floor_writes_each_place_and_no_other() {
    for (len, kernel) in
        (0..100).flat_map(|len| Kernel::available().into_iter().map(move |k| (len, k)))
    {
        let ((), got) = between_others(len % 17, len, |out| kernel.copy_floor(&vec![1; len], out));
        let is_written = got.iter().flatten().all(|v| !UNTOUCHED.contains(v));
        assert!(is_written, "{}: {len}", kernel.name());
    }
}
