//! Four pixels at a time; `vst3q` interleaves while it stores.

use std::arch::aarch64::*;
use std::mem::MaybeUninit;

use super::{Block, DepthScale, Places, Row, portable};

/// Pixels in a group.
const LANES: usize = 4;

/// For each mask of four lanes, the bytes of those that are set, first to last.
static SQUEEZE: [[u8; 16]; 16] = {
    let mut table = [[0; 16]; 16];
    let mut mask = 0;
    while mask < 16 {
        let (mut n, mut lane) = (0, 0);
        while lane < LANES {
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

/// What is the same for all groups of a block.
struct Constants {
    units_m: float32x4_t,
    low: uint16x4_t,
    span: uint16x4_t,
}

impl Constants {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(scale: &DepthScale) -> Self {
        Self {
            units_m: vdupq_n_f32(scale.units_m),
            low: vdup_n_u16(scale.low),
            span: vdup_n_u16(scale.span),
        }
    }

    /// All ones for those of four depths that count.
    #[inline]
    #[target_feature(enable = "neon")]
    fn counting(&self, depth: uint16x4_t) -> uint16x4_t {
        vcle_u16(vsub_u16(depth, self.low), self.span)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn z(&self, depth: uint16x4_t) -> float32x4_t {
        vmulq_f32(vcvtq_f32_u32(vmovl_u16(depth)), self.units_m)
    }
}

#[target_feature(enable = "neon")]
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
#[target_feature(enable = "neon")]
fn organize_row<const OWN_RAY_Y: bool, const IN_RANGE: bool>(
    constants: &Constants,
    row: Row<'_>,
    out: &mut Places,
) {
    let width = out.len();
    let same_ray_y = vdupq_n_f32(row.ray_y[0]);
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
#[target_feature(enable = "neon")]
fn group<const IN_RANGE: bool>(
    constants: &Constants,
    depth: &[u16],
    ray_x: &[f32],
    ray_y: float32x4_t,
    out: &mut Places,
) {
    let depth = load_u16(depth);
    let z = constants.z(if IN_RANGE { vand_u16(depth, constants.counting(depth)) } else { depth });
    let x = vmulq_f32(load(ray_x), z);
    let y = vmulq_f32(ray_y, z);
    store([x, y, z], out.first_chunk_mut().expect("a whole group"));
}

#[target_feature(enable = "neon")]
pub(super) fn compact<const OWN_RAY_Y: bool>(
    block: Block<'_>,
    scale: &DepthScale,
    out: &mut Places,
) -> usize {
    let constants = Constants::new(scale);
    let mut n = 0;
    for row in block.rows() {
        let same_ray_y = vdupq_n_f32(row.ray_y[0]);
        let (groups, _) = row.depth.as_chunks::<LANES>();
        let (ray_x, _) = row.ray_x.as_chunks::<LANES>();
        let (own_ray_y, _) = row.ray_y.as_chunks::<LANES>();
        for (i, (depth, ray_x)) in groups.iter().zip(ray_x).enumerate() {
            let depth = load_u16(depth);
            // A bit of the mask from each lane that counts, and 16 to count them: NEON's own way to
            // count bits is a longer one.
            let sum = usize::from(vaddv_u16(vand_u16(
                constants.counting(depth),
                vcreate_u16(0x0018_0014_0012_0011),
            )));
            let (mask, count) = (sum % 16, sum / 16);
            let lanes = load_u8(&SQUEEZE[mask]);
            let squeeze = |v| vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(v), lanes));
            let z = squeeze(constants.z(depth));
            let x = vmulq_f32(squeeze(load(ray_x)), z);
            let ray_y = if OWN_RAY_Y { squeeze(load(&own_ray_y[i])) } else { same_ray_y };
            let y = vmulq_f32(ray_y, z);
            match out[n..].first_chunk_mut() {
                Some(places) => store([x, y, z], places),
                None => store_some(x, y, z, &mut out[n..n + count]),
            }
            n += count;
        }
        n += portable::compact_row(row.from(groups.len() * LANES, OWN_RAY_Y), scale, &mut out[n..]);
    }
    n
}

#[inline]
#[target_feature(enable = "neon")]
fn load(values: &[f32]) -> float32x4_t {
    let group: &[f32; LANES] = values.first_chunk().expect("a whole group");
    // SAFETY: reads the 16 bytes of `group`, at any alignment.
    unsafe { vld1q_f32(group.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_u16(values: &[u16]) -> uint16x4_t {
    let group: &[u16; LANES] = values.first_chunk().expect("a whole group");
    // SAFETY: reads the 8 bytes of `group`, at any alignment.
    unsafe { vld1_u16(group.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_u8(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: reads the 16 bytes of `bytes`, at any alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store([x, y, z]: [float32x4_t; 3], places: &mut [MaybeUninit<[f32; 3]>; LANES]) {
    // SAFETY: writes the 48 bytes of `places`, at any alignment.
    unsafe { vst3q_f32(places.as_mut_ptr().cast(), float32x4x3_t(x, y, z)) }
}

/// For the end of a band of rows, where the next group belongs to somebody else.
#[cold]
#[inline(never)]
#[target_feature(enable = "neon")]
fn store_some(x: float32x4_t, y: float32x4_t, z: float32x4_t, places: &mut Places) {
    let mut group = [MaybeUninit::uninit(); LANES];
    store([x, y, z], &mut group);
    places.copy_from_slice(&group[..places.len()]);
}
