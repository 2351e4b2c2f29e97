//! What memory allows: reads two bytes a pixel and writes twelve, and does nothing else.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::Places;

pub(super) fn portable(depth: &[u16], out: &mut Places) {
    for (place, &d) in out.iter_mut().zip(depth) {
        place.write([f32::from_bits(u32::from(d)); 3]);
    }
}

/// 32 pixels, 64 bytes of depth, at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) fn avx512(depth: &[u16], out: &mut Places) {
    let (groups, rest) = depth.as_chunks::<32>();
    let (places, rest_places) = out.as_chunks_mut::<32>();
    for (group, places) in groups.iter().zip(places) {
        // SAFETY: reads the 64 bytes of `group`, at any alignment.
        let v = unsafe { _mm512_loadu_ps(group.as_ptr().cast()) };
        for i in 0..6 {
            // SAFETY: writes six times 64 bytes, at any alignment; so many are 32 points.
            unsafe { _mm512_storeu_ps(places.as_mut_ptr().cast::<f32>().add(16 * i), v) }
        }
    }
    portable(rest, rest_places);
}

/// 16 pixels, 32 bytes of depth, at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub(super) fn avx2(depth: &[u16], out: &mut Places) {
    let (groups, rest) = depth.as_chunks::<16>();
    let (places, rest_places) = out.as_chunks_mut::<16>();
    for (group, places) in groups.iter().zip(places) {
        // SAFETY: reads the 32 bytes of `group`, at any alignment.
        let v = unsafe { _mm256_loadu_ps(group.as_ptr().cast()) };
        for i in 0..6 {
            // SAFETY: writes six times 32 bytes, at any alignment; so many are 16 points.
            unsafe { _mm256_storeu_ps(places.as_mut_ptr().cast::<f32>().add(8 * i), v) }
        }
    }
    portable(rest, rest_places);
}
