//! The inner loops: rows of depth to points, per instruction set.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `loops` | plain loops, for every processor and the ends of rows; one body for all vectors |
//! | `x86_64` | AVX2 and AVX-512: what that body needs of them, in `std::arch` |
//! | `aarch64` | NEON, likewise |
//!
//! Why by hand: left to the compiler, organised rows took 1.9 times the floor with AVX2 (the
//! interleaving of x, y and z costs it) and compacted ones 6 times (nothing vectorises); by hand
//! with AVX-512 it is 1.1 and 1.4 times. Why `std::arch` and no portable-SIMD library: compaction
//! lives from each set's own permutations, which the libraries do not have.
//!
//! The set is chosen once, when the program asks for [`Kernel::best`]. All give the same bits: each
//! lane computes `d * units`, then `ray * z`, in f32 and in this order. None uses fused
//! multiply-add.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "without vectors")
)]
mod loops;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::mem::MaybeUninit;

use super::decimate::Decimate;
use super::view::Rows;

/// Places for points, whatever is in them now. The loops write nothing but points into them and
/// read nothing: `as_places` and `append` rely on it.
type Places = [MaybeUninit<[f32; 3]>];

/// Some rows of a depth image and the rays of their pixels.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    pub width: usize,
    pub height: usize,
    /// Raw depth, from the first pixel on.
    pub depth: &'a [u16],
    /// Values from one row of `depth` to the next.
    pub stride: usize,
    pub rays: Rays<'a>,
}

/// x / z and y / z of the rays of the pixels of a block.
#[derive(Debug, Clone, Copy)]
pub enum Rays<'a> {
    /// One depends on the column alone, the other on the row.
    Separable { x: &'a [f32], y: &'a [f32] },
    /// A value for each pixel, row by row.
    PerPixel { x: &'a [f32], y: &'a [f32] },
}

/// From raw depth to metres, and which raw depths count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthScale {
    pub units_m: f32,
    /// Of the depths that count, the least, at least 1.
    low: u16,
    /// The greatest less the least.
    span: u16,
}

impl DepthScale {
    /// Depths from `low` to `high` count; 0 never does. `None` if there are no such depths.
    pub fn new(units_m: f32, low: u16, high: u16) -> Option<Self> {
        let low = low.max(1);
        Some(Self { units_m, low, span: high.checked_sub(low)? })
    }

    /// Every depth but 0.
    pub fn all(units_m: f32) -> Self {
        Self { units_m, low: 1, span: u16::MAX - 1 }
    }

    pub const fn counts(&self, depth: u16) -> bool {
        depth.wrapping_sub(self.low) <= self.span
    }

    /// Whether every depth but 0 counts.
    const fn is_whole(&self) -> bool {
        self.low == 1 && self.span == u16::MAX - 1
    }

    pub const fn range(&self) -> std::ops::RangeInclusive<u16> {
        self.low..=self.low + self.span
    }
}

/// The loops for one instruction set, to be called only on processors that have it.
struct Set {
    name: &'static str,
    count: unsafe fn(&[u16], &DepthScale) -> usize,
    organize: unsafe fn(Block<'_>, &DepthScale, &mut Places),
    compact: unsafe fn(Block<'_>, &DepthScale, &mut Places) -> usize,
    decimate: unsafe fn(Decimate, Rows<'_>, &DepthScale, usize, &mut [u16]),
    copy_floor: unsafe fn(&[u16], &mut Places),
}

const PORTABLE: Set = Set {
    name: "portable",
    count: loops::count,
    organize: loops::organize,
    compact: loops::compact,
    decimate: |decimate, Rows { depth, stride }, scale, width, out| {
        decimate.run(depth, stride, scale.range(), width, out);
    },
    copy_floor: loops::copy_floor::<u128, 8>,
};

/// The loops for one instruction set, which this processor has: there is no other way to get a
/// `Kernel`.
#[derive(Clone, Copy)]
pub struct Kernel(&'static Set);

impl Kernel {
    /// Those that this processor can run, the best one last.
    pub fn available() -> Vec<Self> {
        let sets = std::iter::once(&PORTABLE);
        #[cfg(target_arch = "x86_64")]
        let sets = sets.chain(x86_64::available());
        #[cfg(target_arch = "aarch64")]
        let sets = sets.chain(aarch64::available());
        sets.map(Self).collect()
    }

    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self(&PORTABLE))
    }

    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// How many of `depth` count.
    pub fn count(self, depth: &[u16], scale: &DepthScale) -> usize {
        // SAFETY: a Kernel of a set exists only where the processor has it (`available`).
        unsafe { (self.0.count)(depth, scale) }
    }

    /// Writes a point for each pixel; those whose depth does not count become zeros, some of them
    /// -0.0, as librealsense's do.
    ///
    /// # Panics
    /// If the parts of the block do not fit together, or `out` has not just a place for each pixel.
    pub fn organize(self, block: Block<'_>, scale: &DepthScale, out: &mut [[f32; 3]]) {
        assert_eq!(block.pixels(), out.len(), "a place for each pixel");
        if !out.is_empty() {
            // SAFETY: as in `count`.
            unsafe { (self.0.organize)(block, scale, as_places(out)) }
        }
    }

    /// Writes the points of the pixels whose depth counts, without gaps, to the start of `out`;
    /// returns how many they are. What is after them in `out` may be overwritten.
    ///
    /// # Panics
    /// If the parts of the block do not fit together, or `out` has too few places.
    pub fn compact(self, block: Block<'_>, scale: &DepthScale, out: &mut [[f32; 3]]) -> usize {
        self.compact_into(block, scale, as_places(out))
    }

    /// Appends the points of the pixels whose depth counts.
    ///
    /// # Panics
    /// If the parts of the block do not fit together.
    pub fn append(self, block: Block<'_>, scale: &DepthScale, points: &mut Vec<[f32; 3]>) {
        points.reserve(block.pixels());
        let n = self.compact_into(block, scale, points.spare_capacity_mut());
        // SAFETY: `compact_into` has written points to the first `n` places after the vector's end.
        unsafe { points.set_len(points.len() + n) }
    }

    fn compact_into(self, block: Block<'_>, scale: &DepthScale, out: &mut Places) -> usize {
        if block.pixels() == 0 {
            return 0;
        }
        // SAFETY: as in `count`.
        unsafe { (self.0.compact)(block, scale, out) }
    }

    /// [`Decimate::run`] of the depths that count.
    pub(super) fn decimate(
        self,
        decimate: Decimate,
        rows: Rows<'_>,
        scale: &DepthScale,
        width: usize,
        out: &mut [u16],
    ) {
        // SAFETY: as in `count`.
        unsafe { (self.0.decimate)(decimate, rows, scale, width, out) }
    }

    /// Reads all of `depth` and writes six times as many bytes to `out`, with the widest stores and
    /// no arithmetic: the least time that a projection without compaction can take.
    ///
    /// # Panics
    /// If `out` has not a place for each pixel.
    pub fn copy_floor(self, depth: &[u16], out: &mut [[f32; 3]]) {
        assert_eq!(depth.len(), out.len(), "a place for each pixel");
        // SAFETY: as in `count`.
        unsafe { (self.0.copy_floor)(depth, as_places(out)) }
    }
}

fn as_places(points: &mut [[f32; 3]]) -> &mut Places {
    // SAFETY: MaybeUninit has the layout of its content, and nothing but points is ever
    // written through the result.
    unsafe { &mut *(std::ptr::from_mut(points) as *mut Places) }
}

/// A row of a block. `ray_y` has one value for the whole row, or one for each pixel.
#[derive(Clone, Copy)]
struct Row<'a> {
    depth: &'a [u16],
    ray_x: &'a [f32],
    ray_y: &'a [f32],
}

impl<'a> Block<'a> {
    /// How many pixels it has.
    ///
    /// # Panics
    /// If the parts of the block do not fit together.
    fn pixels(&self) -> usize {
        let Self { width, height, depth, stride, rays } = *self;
        let is_empty = width == 0 || height == 0;
        let end = || stride.checked_mul(height - 1)?.checked_add(width);
        let fits = is_empty || stride >= width && end().is_some_and(|end| end <= depth.len());
        assert!(
            fits,
            "{height} rows of {width} depths, {stride} from one to the next, in {}",
            depth.len()
        );
        // It does not overflow: there are as many depths.
        let pixels = width * height;
        match rays {
            Rays::Separable { x, y } => {
                assert!(x.len() == width && y.len() == height, "a ray for each row and column")
            }
            Rays::PerPixel { x, y } => {
                assert!(x.len() == pixels && y.len() == pixels, "a ray for each pixel")
            }
        }
        pixels
    }

    /// Whether each pixel has a ray_y of its own.
    const fn has_own_ray_y(&self) -> bool {
        matches!(self.rays, Rays::PerPixel { .. })
    }

    /// Of a block that has pixels.
    #[inline(always)]
    fn rows(self) -> impl Iterator<Item = Row<'a>> {
        (0..self.height).map(move |v| {
            let pixels = v * self.width..(v + 1) * self.width;
            let (ray_x, ray_y) = match self.rays {
                Rays::Separable { x, y } => (x, &y[v..=v]),
                Rays::PerPixel { x, y } => (&x[pixels.clone()], &y[pixels]),
            };
            Row { depth: &self.depth[v * self.stride..][..self.width], ray_x, ray_y }
        })
    }
}

impl Row<'_> {
    /// The part of the row from pixel `i`.
    fn from(self, i: usize) -> Self {
        let ray_y = if self.ray_y.len() == 1 { self.ray_y } else { &self.ray_y[i..] };
        Self { depth: &self.depth[i..], ray_x: &self.ray_x[i..], ray_y }
    }
}
