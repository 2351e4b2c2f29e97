//! AVX2, eight pixels at a time, and AVX-512, sixteen.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::loops::{self, Vector};
use super::{Block, DepthScale, Places, Set};
use crate::project::decimate::Decimate;
use crate::project::view::Rows;

/// Those that this processor has, the best one last.
pub(super) fn available() -> impl Iterator<Item = &'static Set> {
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
    let has_avx512 = has_avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    [has_avx2.then_some(&AVX2), has_avx512.then_some(&AVX512)].into_iter().flatten()
}

static AVX2: Set = Set {
    name: "avx2",
    count,
    organize: organize_avx2,
    compact: compact_avx2,
    decimate,
    copy_floor: copy_floor_avx2,
};

static AVX512: Set = Set {
    name: "avx512",
    count,
    organize: organize_avx512,
    compact: compact_avx512,
    decimate,
    copy_floor: copy_floor_avx512,
};

#[target_feature(enable = "avx2,popcnt")]
fn count(depth: &[u16], scale: &DepthScale) -> usize {
    loops::count(depth, scale)
}

#[target_feature(enable = "avx2")]
fn decimate(
    decimate: Decimate,
    Rows { depth, stride }: Rows<'_>,
    scale: &DepthScale,
    width: usize,
    out: &mut [u16],
) {
    decimate.run(depth, stride, scale.range(), width, out);
}

#[target_feature(enable = "avx2,popcnt")]
fn organize_avx2(block: Block<'_>, scale: &DepthScale, out: &mut Places) {
    // SAFETY: this function is called only where the processor has AVX2, and is compiled for it.
    unsafe { loops::organize_with::<Avx2, 8>(block, scale, out) }
}

#[target_feature(enable = "avx2,popcnt")]
fn compact_avx2(block: Block<'_>, scale: &DepthScale, out: &mut Places) -> usize {
    // SAFETY: as above.
    unsafe { loops::compact_with::<Avx2, 8>(block, scale, out) }
}

#[target_feature(enable = "avx2")]
fn copy_floor_avx2(depth: &[u16], out: &mut Places) {
    // SAFETY: any bytes are a vector.
    unsafe { loops::copy_floor::<__m256i, 16>(depth, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
fn organize_avx512(block: Block<'_>, scale: &DepthScale, out: &mut Places) {
    // SAFETY: this function is called only where the processor has AVX-512, and is compiled for it.
    unsafe { loops::organize_with::<Avx512, 16>(block, scale, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
fn compact_avx512(block: Block<'_>, scale: &DepthScale, out: &mut Places) -> usize {
    // SAFETY: as above.
    unsafe { loops::compact_with::<Avx512, 16>(block, scale, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn copy_floor_avx512(depth: &[u16], out: &mut Places) {
    // SAFETY: any bytes are a vector.
    unsafe { loops::copy_floor::<__m512i, 32>(depth, out) }
}

struct Avx2;

/// For each mask of eight lanes, the indices of those that are set, first to last, a byte each.
static SQUEEZE: [u64; 256] = {
    let mut table = [0; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut n, mut lane) = (0, 0);
        while lane < 8 {
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

impl Vector<8> for Avx2 {
    type F32 = __m256;
    type U16 = __m128i;
    type Lanes = __m256i;
    const FILLS_CACHE_LINES: bool = false;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn splat(value: f32) -> __m256 {
        _mm256_set1_ps(value)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(values: &[f32; 8]) -> __m256 {
        // SAFETY: reads the 32 bytes of `values`, at any alignment.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_u16(values: &[u16; 8]) -> __m128i {
        // SAFETY: reads the 16 bytes of `values`, at any alignment.
        unsafe { _mm_loadu_si128(values.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn to_f32(depth: __m128i) -> __m256 {
        _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(depth))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn keep(depth: __m128i, scale: DepthScale) -> __m128i {
        _mm_and_si128(depth, avx2_mask(depth, scale))
    }

    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    unsafe fn counting(depth: __m128i, scale: DepthScale) -> (__m256i, usize) {
        let bytes = _mm_packs_epi16(avx2_mask(depth, scale), _mm_setzero_si128());
        let mask = _mm_movemask_epi8(bytes) as usize;
        let indices = _mm_cvtsi64_si128(SQUEEZE[mask & 0xff].cast_signed());
        (_mm256_cvtepu8_epi32(indices), mask.count_ones() as usize)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn squeeze(lanes: __m256i, v: __m256) -> __m256 {
        _mm256_permutevar8x32_ps(v, lanes)
    }

    /// Intel's "3D vector normalization" transposition, backwards.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store([x, y, z]: [__m256; 3], places: &mut [MaybeUninit<[f32; 3]>; 8]) {
        let xy = _mm256_shuffle_ps::<0b10_00_10_00>(x, y); // x0 x2 y0 y2, and so the upper half
        let yz = _mm256_shuffle_ps::<0b11_01_11_01>(y, z); // y1 y3 z1 z3
        let zx = _mm256_shuffle_ps::<0b11_01_10_00>(z, x); // z0 z2 x1 x3
        let first = _mm256_shuffle_ps::<0b10_00_10_00>(xy, zx); // x0 y0 z0 x1
        let second = _mm256_shuffle_ps::<0b11_01_10_00>(yz, xy); // y1 z1 x2 y2
        let third = _mm256_shuffle_ps::<0b11_01_11_01>(zx, yz); // z2 x3 y3 z3
        let vectors = [
            _mm256_permute2f128_ps::<0x20>(first, second),
            _mm256_permute2f128_ps::<0x30>(third, first),
            _mm256_permute2f128_ps::<0x31>(second, third),
        ];
        for (i, v) in vectors.into_iter().enumerate() {
            // SAFETY: writes three times 32 bytes, at any alignment; so many are eight points.
            unsafe { _mm256_storeu_ps(places.as_mut_ptr().cast::<f32>().add(8 * i), v) }
        }
    }
}

/// All ones for depths that count.
#[inline]
#[target_feature(enable = "avx2")]
fn avx2_mask(depth: __m128i, scale: DepthScale) -> __m128i {
    let [low, span] = [scale.low, scale.span].map(|d| _mm_set1_epi16(d.cast_signed()));
    let over = _mm_sub_epi16(depth, low);
    _mm_cmpeq_epi16(_mm_min_epu16(over, span), over)
}

struct Avx512;

/// For each lane of three vectors of interleaved points the lane it comes from: x from 0 to 15, y
/// from 16 to 31.
const XY_INDICES: [[i32; 16]; 3] = indices(true);
const Z_INDICES: [[i32; 16]; 3] = indices(false);
/// The lanes for z in each of the three vectors.
const Z_LANES: [u16; 3] = [0b0100_1001_0010_0100, 0b0010_0100_1001_0010, 0b1001_0010_0100_1001];

const fn indices(y_too: bool) -> [[i32; 16]; 3] {
    let mut indices = [[0; 16]; 3];
    let mut i = 0;
    while i < 3 * 16 {
        indices[i / 16][i % 16] = (i / 3 + if y_too && i % 3 == 1 { 16 } else { 0 }) as i32;
        i += 1;
    }
    indices
}

impl Vector<16> for Avx512 {
    type F32 = __m512;
    type U16 = __m256i;
    type Lanes = __mmask16;
    const FILLS_CACHE_LINES: bool = true;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn splat(value: f32) -> __m512 {
        _mm512_set1_ps(value)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(values: &[f32; 16]) -> __m512 {
        // SAFETY: reads the 64 bytes of `values`, at any alignment.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_u16(values: &[u16; 16]) -> __m256i {
        // SAFETY: reads the 32 bytes of `values`, at any alignment.
        unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn to_f32(depth: __m256i) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(depth))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn keep(depth: __m256i, scale: DepthScale) -> __m256i {
        _mm256_maskz_mov_epi16(avx512_mask(depth, scale), depth)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
    unsafe fn counting(depth: __m256i, scale: DepthScale) -> (__mmask16, usize) {
        let mask = avx512_mask(depth, scale);
        (mask, mask.count_ones() as usize)
    }

    /// In most images most groups are whole.
    ///
    /// The other lanes keep what `v` had there. To fill them with zeros instead would let the
    /// result depend on the register's old value, which on AMD's processors makes a chain through
    /// all groups.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn squeeze(lanes: __mmask16, v: __m512) -> __m512 {
        if lanes == __mmask16::MAX { v } else { _mm512_mask_compress_ps(v, lanes, v) }
    }

    /// Two steps for each vector: x with y, then z into every third lane; a masked permutation of
    /// one vector is cheaper than a second one of two.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store([x, y, z]: [__m512; 3], places: &mut [MaybeUninit<[f32; 3]>; 16]) {
        for i in 0..3 {
            // SAFETY: reads the 64 bytes of one of the arrays, at any alignment.
            let from = |lanes: &[i32; 16]| unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
            let xy = _mm512_permutex2var_ps(x, from(&XY_INDICES[i]), y);
            let xyz = _mm512_mask_permutexvar_ps(xy, Z_LANES[i], from(&Z_INDICES[i]), z);
            // SAFETY: writes three times 64 bytes, at any alignment; so many are sixteen points.
            unsafe { _mm512_storeu_ps(places.as_mut_ptr().cast::<f32>().add(16 * i), xyz) }
        }
    }
}

/// Which depths count.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn avx512_mask(depth: __m256i, scale: DepthScale) -> __mmask16 {
    let [low, span] = [scale.low, scale.span].map(|d| _mm256_set1_epi16(d.cast_signed()));
    _mm256_cmple_epu16_mask(_mm256_sub_epi16(depth, low), span)
}
