//! Sixteen pixels at a time.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{Block, DepthScale, Places, Row, portable};

/// Pixels in a group.
const LANES: usize = 16;

/// The indices that bring lanes of x, y and z together as `x y z x y z ...` in three vectors. Two
/// steps for each: x with y, then z into every third lane; a masked permutation of one vector is
/// cheaper than a second one of two.
struct Interleave {
    xy: [__m512i; 3],
    z: [__m512i; 3],
}

/// For each lane of the three vectors: x from 0 to 15, y from 16 to 31.
const XY_INDICES: [i32; 3 * LANES] = indices(true);
const Z_INDICES: [i32; 3 * LANES] = indices(false);
/// The lanes for z in each of the three vectors.
const Z_LANES: [u16; 3] = [0b0100_1001_0010_0100, 0b0010_0100_1001_0010, 0b1001_0010_0100_1001];

const fn indices(y_too: bool) -> [i32; 3 * LANES] {
    let mut indices = [0; 3 * LANES];
    let mut i = 0;
    while i < indices.len() {
        indices[i] = (i / 3 + if y_too && i % 3 == 1 { LANES } else { 0 }) as i32;
        i += 1;
    }
    indices
}

impl Interleave {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn new() -> Self {
        let load = |indices: &[i32; 3 * LANES]| {
            std::array::from_fn(|i| {
                let part: &[i32; LANES] = &indices.as_chunks().0[i];
                // SAFETY: reads the 64 bytes of `part`, at any alignment.
                unsafe { _mm512_loadu_si512(part.as_ptr().cast()) }
            })
        };
        Self { xy: load(&XY_INDICES), z: load(&Z_INDICES) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn run(&self, [x, y, z]: [__m512; 3]) -> [__m512; 3] {
        std::array::from_fn(|i| {
            let xy = _mm512_permutex2var_ps(x, self.xy[i], y);
            _mm512_mask_permutexvar_ps(xy, Z_LANES[i], self.z[i], z)
        })
    }
}

/// What is the same for all groups of a block.
struct Constants {
    interleave: Interleave,
    units_m: __m512,
    low: __m256i,
    span: __m256i,
}

impl Constants {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn new(scale: &DepthScale) -> Self {
        Self {
            interleave: Interleave::new(),
            units_m: _mm512_set1_ps(scale.units_m),
            low: _mm256_set1_epi16(scale.low.cast_signed()),
            span: _mm256_set1_epi16(scale.span.cast_signed()),
        }
    }

    /// Which of 16 depths count.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn counting(&self, depth: __m256i) -> __mmask16 {
        _mm256_cmple_epu16_mask(_mm256_sub_epi16(depth, self.low), self.span)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn z(&self, depth: __m256i) -> __m512 {
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(depth)), self.units_m)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
fn organize_row<const OWN_RAY_Y: bool, const IN_RANGE: bool>(
    constants: &Constants,
    row: Row<'_>,
    out: &mut Places,
) {
    let width = out.len();
    let same_ray_y = _mm512_set1_ps(row.ray_y[0]);
    let ray_y = |i: usize| if OWN_RAY_Y { load(&row.ray_y[i..]) } else { same_ray_y };
    // The first and the last group stand at the row's ends, those between so that they fill whole
    // cache lines. Where groups overlap, they write the same.
    group::<IN_RANGE>(constants, row.depth, row.ray_x, ray_y(0), out);
    let first = aligned_within(out.as_ptr().addr());
    // Chunks, so that no length is checked in the loop.
    let groups = row.depth[first..]
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(row.ray_x[first..].as_chunks::<LANES>().0)
        .zip(out[first..].as_chunks_mut::<LANES>().0);
    for (i, ((depth, ray_x), places)) in groups.enumerate() {
        group::<IN_RANGE>(constants, depth, ray_x, ray_y(first + i * LANES), places);
    }
    if (width - first).is_multiple_of(LANES) {
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn group<const IN_RANGE: bool>(
    constants: &Constants,
    depth: &[u16],
    ray_x: &[f32],
    ray_y: __m512,
    out: &mut Places,
) {
    let depth = load_u16(depth);
    let z = constants.z(if IN_RANGE {
        _mm256_maskz_mov_epi16(constants.counting(depth), depth)
    } else {
        depth
    });
    let x = _mm512_mul_ps(load(ray_x), z);
    let y = _mm512_mul_ps(ray_y, z);
    store(constants.interleave.run([x, y, z]), out.first_chunk_mut().expect("a whole group"));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
pub(super) fn compact<const OWN_RAY_Y: bool>(
    block: Block<'_>,
    scale: &DepthScale,
    out: &mut Places,
) -> usize {
    let constants = Constants::new(scale);
    let mut n = 0;
    for row in block.rows() {
        let same_ray_y = _mm512_set1_ps(row.ray_y[0]);
        let (groups, _) = row.depth.as_chunks::<LANES>();
        let (ray_x, _) = row.ray_x.as_chunks::<LANES>();
        let (own_ray_y, _) = row.ray_y.as_chunks::<LANES>();
        // Of the last rows of a band points may fill all places there are.
        let has_room = out.len() - n >= groups.len() * LANES;
        for (i, (depth, ray_x)) in groups.iter().zip(ray_x).enumerate() {
            let depth = load_u16(depth);
            let counting = constants.counting(depth);
            let z = squeeze(counting, constants.z(depth));
            let x = _mm512_mul_ps(squeeze(counting, load(ray_x)), z);
            let ray_y = if OWN_RAY_Y { squeeze(counting, load(&own_ray_y[i])) } else { same_ray_y };
            let y = _mm512_mul_ps(ray_y, z);
            let count = counting.count_ones() as usize;
            if has_room {
                // SAFETY: the row began with room for all its pixels, and each group before has
                // taken no more than its own.
                let places = unsafe { &mut *out.as_mut_ptr().add(n).cast() };
                store(constants.interleave.run([x, y, z]), places);
            } else {
                match out[n..].first_chunk_mut() {
                    Some(places) => store(constants.interleave.run([x, y, z]), places),
                    None => store_some(x, y, z, &mut out[n..n + count]),
                }
            }
            n += count;
        }
        n += portable::compact_row(row.from(groups.len() * LANES, OWN_RAY_Y), scale, &mut out[n..]);
    }
    n
}

/// Brings the lanes of `mask` together at the begin. In most images most groups are whole.
///
/// The other lanes keep what `v` had there. To fill them with zeros instead would let the result
/// depend on the register's old value, which on AMD's processors makes a chain through all groups.
#[inline]
#[target_feature(enable = "avx512f")]
fn squeeze(mask: __mmask16, v: __m512) -> __m512 {
    if mask == __mmask16::MAX { v } else { _mm512_mask_compress_ps(v, mask, v) }
}

/// The index, from 1 to 16, of the first point behind the one at `address` that begins a cache
/// line.
fn aligned_within(address: usize) -> usize {
    let words_over = address / size_of::<f32>() % 16;
    // 3 * index = -words_over modulo 16, and 3 * 11 = 33 = 1 modulo 16.
    match (16 - words_over) * 11 % 16 {
        0 => LANES,
        index => index,
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    let group: &[f32; LANES] = values.first_chunk().expect("a whole group");
    // SAFETY: reads the 64 bytes of `group`, at any alignment.
    unsafe { _mm512_loadu_ps(group.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_u16(values: &[u16]) -> __m256i {
    let group: &[u16; LANES] = values.first_chunk().expect("a whole group");
    // SAFETY: reads the 32 bytes of `group`, at any alignment.
    unsafe { _mm256_loadu_si256(group.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(xyz: [__m512; 3], places: &mut [MaybeUninit<[f32; 3]>; LANES]) {
    for (i, v) in xyz.into_iter().enumerate() {
        // SAFETY: writes three times 64 bytes, at any alignment; so many are the points of a group.
        unsafe { _mm512_storeu_ps(places.as_mut_ptr().cast::<f32>().add(LANES * i), v) }
    }
}

/// For the end of a band of rows, where the next group belongs to somebody else.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn store_some(x: __m512, y: __m512, z: __m512, places: &mut Places) {
    let mut group = [MaybeUninit::uninit(); LANES];
    store(Interleave::new().run([x, y, z]), &mut group);
    places.copy_from_slice(&group[..places.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_between_the_ends_begin_cache_lines() {
        for address in (0..64).step_by(size_of::<f32>()) {
            let index = aligned_within(address);
            assert!((1..=LANES).contains(&index), "{index} from {address}");
            assert!(
                (address + index * size_of::<[f32; 3]>()).is_multiple_of(64),
                "{index} from {address}"
            );
        }
    }
}
