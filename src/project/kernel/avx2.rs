//! Eight pixels at a time.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{Block, Decimator, DepthScale, Places, Row, portable};

/// Pixels in a group.
const LANES: usize = 8;

/// For each mask of eight lanes, the indices of those that are set, first to last, a byte each.
static SQUEEZE: [u64; 256] = {
    let mut table = [0; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut n, mut lane) = (0, 0);
        while lane < LANES {
            if mask >> lane & 1 == 1 {
                table[mask] |= (lane as u64) << (8 * n);
                n += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// What is the same for all groups of a block.
struct Constants {
    units_m: __m256,
    low: __m128i,
    span: __m128i,
}

impl Constants {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(scale: &DepthScale) -> Self {
        Self {
            units_m: _mm256_set1_ps(scale.units_m),
            low: _mm_set1_epi16(scale.low.cast_signed()),
            span: _mm_set1_epi16(scale.span.cast_signed()),
        }
    }

    /// All ones for those of eight depths that count.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn counting(&self, depth: __m128i) -> __m128i {
        let over = _mm_sub_epi16(depth, self.low);
        _mm_cmpeq_epi16(_mm_min_epu16(over, self.span), over)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn z(&self, depth: __m128i) -> __m256 {
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(depth)), self.units_m)
    }
}

/// The portable loop, which the compiler makes fast where it may use AVX2.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn count(depth: &[u16], scale: &DepthScale) -> usize {
    portable::count(depth, scale)
}

/// As above.
#[target_feature(enable = "avx2")]
pub(super) fn decimate(
    decimator: &Decimator,
    depth: &[u16],
    stride: usize,
    scale: &DepthScale,
    out: &mut [u16],
) {
    decimator.run(depth, stride, scale.range(), out);
}

#[target_feature(enable = "avx2,popcnt")]
pub(super) fn organize<const OWN_RAY_Y: bool, const IN_RANGE: bool>(
    block: Block<'_>,
    scale: &DepthScale,
    out: &mut Places,
) {
    let constants = Constants::new(scale);
    for (row, out) in block.rows().zip(out.chunks_exact_mut(block.width)) {
        if block.width < LANES {
            portable::organize_row(row, scale, out);
        } else {
            organize_row::<OWN_RAY_Y, IN_RANGE>(&constants, row, out);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn organize_row<const OWN_RAY_Y: bool, const IN_RANGE: bool>(
    constants: &Constants,
    row: Row<'_>,
    out: &mut Places,
) {
    let width = out.len();
    let same_ray_y = _mm256_set1_ps(row.ray_y[0]);
    let ray_y = |i: usize| if OWN_RAY_Y { load(&row.ray_y[i..]) } else { same_ray_y };
    // The last group ends with the row; where it overlaps the one before, it writes the same.
    // Chunks, so that no length is checked in the loop.
    let groups = row
        .depth
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(row.ray_x.as_chunks::<LANES>().0)
        .zip(out.as_chunks_mut::<LANES>().0);
    for (i, ((depth, ray_x), places)) in groups.enumerate() {
        group::<IN_RANGE>(constants, depth, ray_x, ray_y(i * LANES), places);
    }
    if width.is_multiple_of(LANES) {
        return;
    }
    let last = width - LANES;
    group::<IN_RANGE>(
        constants,
        &row.depth[last..],
        &row.ray_x[last..],
        ray_y(last),
        &mut out[last..],
    );
}

/// Writes the first group of what it is given. Depth that does not count has to become 0, if it is
/// not that already: with `IN_RANGE`.
#[inline]
#[target_feature(enable = "avx2")]
fn group<const IN_RANGE: bool>(
    constants: &Constants,
    depth: &[u16],
    ray_x: &[f32],
    ray_y: __m256,
    out: &mut Places,
) {
    let depth = load_u16(depth);
    let z =
        constants.z(if IN_RANGE { _mm_and_si128(depth, constants.counting(depth)) } else { depth });
    let x = _mm256_mul_ps(load(ray_x), z);
    let y = _mm256_mul_ps(ray_y, z);
    store(interleave([x, y, z]), out.first_chunk_mut().expect("a whole group"));
}

#[target_feature(enable = "avx2,popcnt")]
pub(super) fn compact<const OWN_RAY_Y: bool>(
    block: Block<'_>,
    scale: &DepthScale,
    out: &mut Places,
) -> usize {
    let constants = Constants::new(scale);
    let mut n = 0;
    for row in block.rows() {
        let same_ray_y = _mm256_set1_ps(row.ray_y[0]);
        let (groups, _) = row.depth.as_chunks::<LANES>();
        let (ray_x, _) = row.ray_x.as_chunks::<LANES>();
        let (own_ray_y, _) = row.ray_y.as_chunks::<LANES>();
        for (i, (depth, ray_x)) in groups.iter().zip(ray_x).enumerate() {
            let depth = load_u16(depth);
            let mask =
                _mm_movemask_epi8(_mm_packs_epi16(constants.counting(depth), _mm_setzero_si128()))
                    as usize;
            let lanes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(SQUEEZE[mask & 0xff].cast_signed()));
            let squeeze = |v| _mm256_permutevar8x32_ps(v, lanes);
            let z = squeeze(constants.z(depth));
            let x = _mm256_mul_ps(squeeze(load(ray_x)), z);
            let ray_y = if OWN_RAY_Y { squeeze(load(&own_ray_y[i])) } else { same_ray_y };
            let y = _mm256_mul_ps(ray_y, z);
            let count = mask.count_ones() as usize;
            match out[n..].first_chunk_mut() {
                Some(places) => store(interleave([x, y, z]), places),
                None => store_some(x, y, z, &mut out[n..n + count]),
            }
            n += count;
        }
        n += portable::compact_row(row.from(groups.len() * LANES, OWN_RAY_Y), scale, &mut out[n..]);
    }
    n
}

/// Lanes of x, y and z together as `x y z x y z ...` (Intel's "3D vector normalization"
/// transposition, backwards).
#[inline]
#[target_feature(enable = "avx2")]
fn interleave([x, y, z]: [__m256; 3]) -> [__m256; 3] {
    let xy = _mm256_shuffle_ps::<0b10_00_10_00>(x, y); // x0 x2 y0 y2, and the same of the upper half
    let yz = _mm256_shuffle_ps::<0b11_01_11_01>(y, z); // y1 y3 z1 z3
    let zx = _mm256_shuffle_ps::<0b11_01_10_00>(z, x); // z0 z2 x1 x3
    let first = _mm256_shuffle_ps::<0b10_00_10_00>(xy, zx); // x0 y0 z0 x1
    let second = _mm256_shuffle_ps::<0b11_01_10_00>(yz, xy); // y1 z1 x2 y2
    let third = _mm256_shuffle_ps::<0b11_01_11_01>(zx, yz); // z2 x3 y3 z3
    [
        _mm256_permute2f128_ps::<0x20>(first, second),
        _mm256_permute2f128_ps::<0x30>(third, first),
        _mm256_permute2f128_ps::<0x31>(second, third),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[f32]) -> __m256 {
    let group: &[f32; LANES] = values.first_chunk().expect("a whole group");
    // SAFETY: reads the 32 bytes of `group`, at any alignment.
    unsafe { _mm256_loadu_ps(group.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_u16(values: &[u16]) -> __m128i {
    let group: &[u16; LANES] = values.first_chunk().expect("a whole group");
    // SAFETY: reads the 16 bytes of `group`, at any alignment.
    unsafe { _mm_loadu_si128(group.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(xyz: [__m256; 3], places: &mut [MaybeUninit<[f32; 3]>; LANES]) {
    for (i, v) in xyz.into_iter().enumerate() {
        // SAFETY: writes three times 32 bytes, at any alignment; so many are the points of a group.
        unsafe { _mm256_storeu_ps(places.as_mut_ptr().cast::<f32>().add(LANES * i), v) }
    }
}

/// For the end of a band of rows, where the next group belongs to somebody else.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn store_some(x: __m256, y: __m256, z: __m256, places: &mut Places) {
    let mut group = [MaybeUninit::uninit(); LANES];
    store(interleave([x, y, z]), &mut group);
    places.copy_from_slice(&group[..places.len()]);
}
