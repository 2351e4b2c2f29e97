//! The inner loops: rows of depth to points, per instruction set.
//!
//! | file | for | written as |
//! | --- | --- | --- |
//! | `portable` | every processor, and the ends of rows | plain safe loops, which compilers vectorise where they can |
//! | `avx2`, `avx512` | x86_64 | `std::arch` |
//! | `neon` | aarch64 | `std::arch` |
//! | `floor` | measuring | copies the same bytes without any arithmetic: what memory allows |
//!
//! Why by hand: left to the compiler, organised rows took 1.9 times the floor with AVX2 (the
//! interleaving of x, y and z costs it) and compacted ones 6 times (nothing vectorises); by hand
//! with AVX-512 it is 1.1 and 1.4 times. Why `std::arch` and no portable-SIMD library: compaction
//! lives from each set's own permutations, which the libraries do not have; and in functions with
//! `target_feature` all intrinsics but loads and stores are safe.
//!
//! The set is chosen once, when the program asks for [`Kernel::best`]. All give the same bits: each
//! lane computes `d * units`, then `ray * z`, in f32 and in this order. None uses fused
//! multiply-add.

mod floor;
mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use std::mem::MaybeUninit;

use super::reduce::Decimator;

/// Places for points, whatever stands there now. The loops write nothing but points into them and
/// read nothing: `as_places` and `append` rely on it.
type Places = [MaybeUninit<[f32; 3]>];

/// Calls the loop that is made for such a block.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! organize_with {
    ($set:ident, $block:ident, $scale:ident, $out:ident) => {
        match ($block.has_own_ray_y(), $scale.is_whole()) {
            (false, true) => $set::organize::<false, false>($block, $scale, $out),
            (false, false) => $set::organize::<false, true>($block, $scale, $out),
            (true, true) => $set::organize::<true, false>($block, $scale, $out),
            (true, false) => $set::organize::<true, true>($block, $scale, $out),
        }
    };
}

/// As above.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! compact_with {
    ($set:ident, $block:ident, $scale:ident, $out:ident) => {
        if $block.has_own_ray_y() {
            $set::compact::<true>($block, $scale, $out)
        } else {
            $set::compact::<false>($block, $scale, $out)
        }
    };
}

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

/// The loops for one instruction set, which this processor has: there is no other way to get a
/// `Kernel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Set);

impl Kernel {
    /// Those that this processor can run, the best one last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "on processors with no set of their own")]
        let mut sets = vec![Set::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            sets.extend(has_avx2.then_some(Set::Avx2));
            sets.extend((has_avx2 && has_avx512).then_some(Set::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        sets.extend(std::arch::is_aarch64_feature_detected!("neon").then_some(Set::Neon));
        sets.into_iter().map(Self).collect()
    }

    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self(Set::Portable))
    }

    pub const fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
        }
    }

    /// How many of `depth` count.
    pub fn count(self, depth: &[u16], scale: &DepthScale) -> usize {
        match self.0 {
            Set::Portable => portable::count(depth, scale),
            // SAFETY: a Kernel of a set exists only where the processor has it (`available`).
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 | Set::Avx512 => unsafe { avx2::count(depth, scale) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => portable::count(depth, scale),
        }
    }

    /// Writes a point for each pixel; those whose depth does not count become zeros, some of them
    /// -0.0, as librealsense's do.
    ///
    /// # Panics
    /// If the parts of the block do not fit together, or `out` has not just a place for each pixel.
    pub fn organize(self, block: Block<'_>, scale: &DepthScale, out: &mut [[f32; 3]]) {
        assert_eq!(block.pixels(), out.len(), "a place for each pixel");
        if out.is_empty() {
            return;
        }
        let out = as_places(out);
        match self.0 {
            Set::Portable => portable::organize(block, scale, out),
            // SAFETY: a Kernel of a set exists only where the processor has it (`available`).
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { organize_with!(avx2, block, scale, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { organize_with!(avx512, block, scale, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { organize_with!(neon, block, scale, out) },
        }
    }

    /// Writes the points of the pixels whose depth counts, one behind the other, to the begin of
    /// `out`; returns how many they are. What stands behind them in `out` may be overwritten.
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
        // SAFETY: `compact_into` has written points to the first `n` places behind the vector's
        // end.
        unsafe { points.set_len(points.len() + n) }
    }

    fn compact_into(self, block: Block<'_>, scale: &DepthScale, out: &mut Places) -> usize {
        if block.pixels() == 0 {
            return 0;
        }
        match self.0 {
            Set::Portable => portable::compact(block, scale, out),
            // SAFETY: a Kernel of a set exists only where the processor has it (`available`).
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { compact_with!(avx2, block, scale, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { compact_with!(avx512, block, scale, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { compact_with!(neon, block, scale, out) },
        }
    }

    /// [`Decimator::run`], for whole rows of the smaller image.
    pub fn decimate(
        self,
        decimator: &Decimator,
        depth: &[u16],
        stride: usize,
        scale: &DepthScale,
        out: &mut [u16],
    ) {
        match self.0 {
            // SAFETY: a Kernel of a set exists only where the processor has it (`available`).
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 | Set::Avx512 => unsafe {
                avx2::decimate(decimator, depth, stride, scale, out)
            },
            _ => decimator.run(depth, stride, scale.range(), out),
        }
    }

    /// Reads all of `depth` and writes six times as many bytes to `out`, with the widest stores and
    /// no arithmetic: the least time that a projection without compaction can take.
    ///
    /// # Panics
    /// If `out` has not a place for each pixel.
    pub fn copy_floor(self, depth: &[u16], out: &mut [[f32; 3]]) {
        assert_eq!(depth.len(), out.len(), "a place for each pixel");
        let out = as_places(out);
        match self.0 {
            // SAFETY: a Kernel of a set exists only where the processor has it (`available`).
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { floor::avx512(depth, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { floor::avx2(depth, out) },
            _ => floor::portable(depth, out),
        }
    }
}

fn as_places(points: &mut [[f32; 3]]) -> &mut Places {
    // SAFETY: MaybeUninit has the layout of what it may hold, and nothing but points is ever
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
    fn from(self, i: usize, has_own_ray_y: bool) -> Self {
        let ray_y = if has_own_ray_y { &self.ray_y[i..] } else { self.ray_y };
        Self { depth: &self.depth[i..], ray_x: &self.ray_x[i..], ray_y }
    }
}
