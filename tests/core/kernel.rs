//! Each instruction set by itself against the formula, bit for bit: what it writes, and that it
//! writes nowhere else.
//!
//! It needs neither recordings nor threads, so that it is quick under a memory checker or an
//! emulator too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use depthcast::project::kernel::{Block, DepthScale, Kernel, Rays};
use proptest::prelude::*;

const UNITS_M: f32 = 0.000_3;
/// What stands in places before anything is written there.
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
    /// Its rows stand `gap` values apart.
    fn new(
        width: usize,
        height: usize,
        gap: usize,
        is_per_pixel: bool,
        depth: impl FnMut() -> u16,
    ) -> Self {
        let stride = width + gap;
        let pixels = width * height;
        let (columns, rows) = if is_per_pixel { (pixels, pixels) } else { (width, height) };
        Self {
            width,
            height,
            stride,
            depth: std::iter::repeat_with(depth)
                .take(if pixels == 0 { 0 } else { stride * (height - 1) + width })
                .collect(),
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

/// With `holes` of 8 pixels without depth, and of the others half at an edge.
fn images() -> impl Strategy<Value = Image> {
    (
        0usize..70,
        0usize..5,
        prop_oneof![Just(0usize), 1usize..20],
        any::<bool>(),
        0u64..=8,
        any::<u64>(),
    )
        .prop_map(|(width, height, gap, is_per_pixel, holes, seed)| {
            let mut state = seed | 1;
            Image::new(width, height, gap, is_per_pixel, || {
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
        })
}

/// The least and the greatest depth that count: all, or between edges.
fn ranges() -> impl Strategy<Value = (u16, u16)> {
    let edge = || proptest::sample::select(&EDGES[..]);
    prop_oneof![
        Just((0, u16::MAX)),
        (edge(), edge()).prop_map(|(a, b)| (a.min(b), a.max(b).max(1)))
    ]
}

/// Has `len` places written, `before` others ahead of them and some behind; returns what stands
/// there then.
fn between_others<T>(
    before: usize,
    len: usize,
    write: impl FnOnce(&mut [[f32; 3]]) -> T,
) -> (T, Vec<[f32; 3]>) {
    let mut places = vec![UNTOUCHED; before + len + 40];
    let result = write(&mut places[before..before + len]);
    let behind = places.split_off(before + len);
    let written = places.split_off(before);
    assert!(
        places.iter().chain(&behind).all(|p| *p == UNTOUCHED),
        "something was written before or behind the places"
    );
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
        before in 0usize..17, // so that places begin anywhere in a cache line
        spare in 0usize..40,
    ) {
        let counts = |d: u16| d != 0 && (low..=high).contains(&d);
        let scale = DepthScale::new(UNITS_M, low, high).unwrap();
        let points = image.points(counts);
        let organized: Vec<_> = points.iter().map(|&(_, point)| point).collect();
        let compact: Vec<_> = points.iter().filter(|&&(counts, _)| counts).map(|&(_, point)| point).collect();
        let block = image.block();
        for kernel in Kernel::available() {
            let name = kernel.name();
            prop_assert_eq!(kernel.count(&image.depth, &scale), image.depth.iter().filter(|&&d| counts(d)).count(), "{}", name);

            let ((), got) = between_others(before, organized.len(), |out| kernel.organize(block, &scale, out));
            prop_assert_eq!(bits(&got), bits(&organized), "{} organized", name);

            for len in [compact.len(), compact.len() + spare] {
                let (n, got) = between_others(before, len, |out| kernel.compact(block, &scale, out));
                prop_assert_eq!(n, compact.len(), "{} compacted to {} places", name, len);
                prop_assert_eq!(bits(&got[..n]), bits(&compact), "{} compacted to {} places", name, len);
            }

            let mut appended = vec![UNTOUCHED; before];
            kernel.append(block, &scale, &mut appended);
            kernel.append(block, &scale, &mut appended);
            let want = [vec![UNTOUCHED; before], compact.clone(), compact.clone()].concat();
            prop_assert_eq!(bits(&appended), bits(&want), "{} appended", name);
        }
    }
}

#[test]
fn points_without_a_place_are_a_panic_and_touch_nothing_else() {
    let scale = DepthScale::all(UNITS_M);
    for (width, height, is_per_pixel) in
        [(1, 1, true), (3, 2, false), (8, 1, false), (9, 3, true), (16, 2, true), (53, 2, false)]
    {
        let image = Image::new(width, height, 0, is_per_pixel, || 1000);
        for kernel in Kernel::available() {
            let panics = |len: usize, organizes: bool| {
                let call = |out: &mut [[f32; 3]]| {
                    catch_unwind(AssertUnwindSafe(|| match organizes {
                        true => kernel.organize(image.block(), &scale, out),
                        false => _ = kernel.compact(image.block(), &scale, out),
                    }))
                };
                between_others(5, len, call).0.is_err()
            };
            let pixels = width * height;
            for (len, organizes) in
                [(pixels - 1, true), (pixels + 1, true), (pixels - 1, false), (pixels / 2, false)]
            {
                assert!(
                    panics(len, organizes),
                    "{}: {width}x{height} to {len} places, organized: {organizes}",
                    kernel.name()
                );
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
        Block {
            width: half,
            height: 2,
            depth: &[],
            stride: half,
            rays: Rays::PerPixel { x: &[], y: &[] },
        },
    ];
    let scale = DepthScale::all(UNITS_M);
    for kernel in Kernel::available() {
        for block in broken {
            let pixels = block.width.wrapping_mul(block.height);
            let mut points = vec![UNTOUCHED; 3];
            let mut out = vec![UNTOUCHED; pixels];
            assert!(
                catch_unwind(AssertUnwindSafe(|| kernel.append(block, &scale, &mut points)))
                    .is_err(),
                "{block:?}"
            );
            assert!(
                catch_unwind(AssertUnwindSafe(|| kernel.compact(block, &scale, &mut out))).is_err(),
                "{block:?}"
            );
            assert!(
                catch_unwind(AssertUnwindSafe(|| kernel.organize(block, &scale, &mut out)))
                    .is_err(),
                "{block:?}"
            );
            assert_eq!((points, out), (vec![UNTOUCHED; 3], vec![UNTOUCHED; pixels]), "{block:?}");
        }
    }
}

#[test]
fn blocks_without_pixels_give_no_points() {
    for (width, height) in [(0, 0), (0, 3), (3, 0)] {
        for is_per_pixel in [false, true] {
            let image = Image::new(width, height, 2, is_per_pixel, || unreachable!());
            for kernel in Kernel::available() {
                let (n, _) = between_others(1, 0, |out| {
                    kernel.compact(image.block(), &DepthScale::all(UNITS_M), out)
                });
                assert_eq!(n, 0);
                between_others(1, 0, |out| {
                    kernel.organize(image.block(), &DepthScale::all(UNITS_M), out)
                });
            }
        }
    }
}

#[test]
fn counts_may_be_larger_than_depths() {
    let depth = vec![u16::MAX; 200_001];
    for kernel in Kernel::available() {
        assert_eq!(
            kernel.count(&depth, &DepthScale::all(UNITS_M)),
            depth.len(),
            "{}",
            kernel.name()
        );
    }
}

#[test]
fn the_floor_writes_each_place_and_no_other() {
    for len in 0..100 {
        for kernel in Kernel::available() {
            let ((), got) =
                between_others(len % 17, len, |out| kernel.copy_floor(&vec![1; len], out));
            assert!(
                got.iter().flatten().all(|v| !UNTOUCHED.contains(v)),
                "{}: {len}",
                kernel.name()
            );
        }
    }
}
