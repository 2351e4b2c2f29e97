//! NEON, four pixels at a time; `vst3q` interleaves while it stores.

use std::arch::aarch64::*;
use std::mem::MaybeUninit;

use super::loops::{self, Vector};
use super::{Block, DepthScale, PORTABLE, Places, Set};

/// Those that this processor has, the best one last.
pub(super) fn available() -> impl Iterator<Item = &'static Set> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&NEON).into_iter()
}

static NEON: Set = Set { name: "neon", organize, compact, ..PORTABLE };

#[target_feature(enable = "neon")]
fn organize(block: Block<'_>, scale: &DepthScale, out: &mut Places) {
    // SAFETY: this function is called only where the processor has NEON, and is compiled for it.
    unsafe { loops::organize_with::<Neon, 4>(block, scale, out) }
}

#[target_feature(enable = "neon")]
fn compact(block: Block<'_>, scale: &DepthScale, out: &mut Places) -> usize {
    // SAFETY: as above.
    unsafe { loops::compact_with::<Neon, 4>(block, scale, out) }
}

struct Neon;

/// For each mask of four lanes, the bytes of those that are set, first to last.
static SQUEEZE: [[u8; 16]; 16] = {
    let mut table = [[0; 16]; 16];
    let mut mask = 0;
    while mask < 16 {
        let (mut n, mut lane) = (0, 0);
        while lane < 4 {
            if mask >> lane & 1 == 1 {
                let mut byte = 0;
                while byte < 4 {
                    table[mask][4 * n + byte] = (4 * lane + byte) as u8;
                    byte += 1;
                }
                n += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

impl Vector<4> for Neon {
    type F32 = float32x4_t;
    type U16 = uint16x4_t;
    type Lanes = uint8x16_t;
    const FILLS_CACHE_LINES: bool = false;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn splat(value: f32) -> float32x4_t {
        vdupq_n_f32(value)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load(values: &[f32; 4]) -> float32x4_t {
        // SAFETY: reads the 16 bytes of `values`, at any alignment.
        unsafe { vld1q_f32(values.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_u16(values: &[u16; 4]) -> uint16x4_t {
        // SAFETY: reads the 8 bytes of `values`, at any alignment.
        unsafe { vld1_u16(values.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        vmulq_f32(a, b)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn to_f32(depth: uint16x4_t) -> float32x4_t {
        vcvtq_f32_u32(vmovl_u16(depth))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn keep(depth: uint16x4_t, scale: DepthScale) -> uint16x4_t {
        vand_u16(depth, neon_mask(depth, scale))
    }

    /// A bit of the mask from each lane that counts, and 16 to count them: NEON's own way to count
    /// bits is a longer one.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn counting(depth: uint16x4_t, scale: DepthScale) -> (uint8x16_t, usize) {
        let mask = neon_mask(depth, scale);
        let sum = usize::from(vaddv_u16(vand_u16(mask, vcreate_u16(0x0018_0014_0012_0011))));
        // SAFETY: reads the 16 bytes of an array of the table, at any alignment.
        (unsafe { vld1q_u8(SQUEEZE[sum % 16].as_ptr()) }, sum / 16)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn squeeze(lanes: uint8x16_t, v: float32x4_t) -> float32x4_t {
        vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(v), lanes))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store([x, y, z]: [float32x4_t; 3], places: &mut [MaybeUninit<[f32; 3]>; 4]) {
        // SAFETY: writes the 48 bytes of `places`, at any alignment.
        unsafe { vst3q_f32(places.as_mut_ptr().cast(), float32x4x3_t(x, y, z)) }
    }
}

/// All ones for depths that count.
#[inline]
#[target_feature(enable = "neon")]
fn neon_mask(depth: uint16x4_t, scale: DepthScale) -> uint16x4_t {
    vcle_u16(vsub_u16(depth, vdup_n_u16(scale.low)), vdup_n_u16(scale.span))
}
