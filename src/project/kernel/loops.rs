//! The loops: plain ones, and one body for all sets of vector instructions.

use std::mem::MaybeUninit;

use super::{Block, DepthScale, Places, Row};

/// Counts depths. The compiler makes it fast for the instruction set of its caller.
#[inline(always)]
pub(super) fn count(depth: &[u16], scale: &DepthScale) -> usize {
    // In u16, so that a vector has as many counters as depths; a chunk is too short to overflow
    // one.
    let in_chunk = |chunk: &[u16]| {
        chunk.iter().fold(0u16, |n, &d| n.wrapping_add(u16::from(scale.counts(d)))) as usize
    };
    depth.chunks(1 << 15).map(in_chunk).sum()
}

/// Copies bytes without arithmetic, the depths of as many pixels at a time as a `T` has room for.
///
/// # Safety
/// Any bytes must be a valid `T`.
#[inline(always)]
pub(super) unsafe fn copy_floor<T: Copy, const PIXELS: usize>(depth: &[u16], out: &mut Places) {
    const { assert!(size_of::<T>() == PIXELS * size_of::<u16>()) };
    let (groups, rest) = depth.as_chunks::<PIXELS>();
    let (places, rest_places) = out.as_chunks_mut::<PIXELS>();
    for (group, places) in groups.iter().zip(places) {
        // SAFETY: reads `group`, at any alignment.
        let bytes = unsafe { group.as_ptr().cast::<T>().read_unaligned() };
        for i in 0..6 {
            // SAFETY: writes six times the size of `group`, at any alignment; so large are its
            // points.
            unsafe { places.as_mut_ptr().cast::<T>().add(i).write_unaligned(bytes) }
        }
    }
    for (place, &d) in rest_places.iter_mut().zip(rest) {
        place.write([f32::from_bits(u32::from(d)); 3]);
    }
}

pub(super) fn organize(block: Block<'_>, scale: &DepthScale, out: &mut Places) {
    for (row, out) in block.rows().zip(out.chunks_exact_mut(block.width)) {
        organize_row(row, scale, out);
    }
}

#[inline]
fn organize_row(row: Row<'_>, scale: &DepthScale, out: &mut Places) {
    let point = |d: u16, ray_x: f32, ray_y: f32| {
        let z = f32::from(if scale.counts(d) { d } else { 0 }) * scale.units_m;
        [ray_x * z, ray_y * z, z]
    };
    let pixels = out.iter_mut().zip(row.depth).zip(row.ray_x);
    match *row.ray_y {
        [ray_y] => pixels.for_each(|((p, &d), &ray_x)| _ = p.write(point(d, ray_x, ray_y))),
        _ => pixels
            .zip(row.ray_y)
            .for_each(|(((p, &d), &ray_x), &ray_y)| _ = p.write(point(d, ray_x, ray_y))),
    }
}

pub(super) fn compact(block: Block<'_>, scale: &DepthScale, out: &mut Places) -> usize {
    block.rows().fold(0, |n, row| n + compact_row(row, scale, &mut out[n..]))
}

#[inline]
fn compact_row(row: Row<'_>, scale: &DepthScale, out: &mut Places) -> usize {
    let pixels = row.depth.iter().zip(row.ray_x);
    match *row.ray_y {
        [ray_y] => compact_pixels(pixels.map(|(&d, &ray_x)| (d, ray_x, ray_y)), scale, out),
        _ => {
            let pixels = pixels.zip(row.ray_y);
            compact_pixels(pixels.map(|((&d, &ray_x), &ray_y)| (d, ray_x, ray_y)), scale, out)
        }
    }
}

#[inline(always)]
fn compact_pixels(
    pixels: impl Iterator<Item = (u16, f32, f32)>,
    scale: &DepthScale,
    out: &mut Places,
) -> usize {
    pixels.fold(0, |n, (d, ray_x, ray_y)| {
        let counts = scale.counts(d);
        let z = f32::from(d) * scale.units_m;
        // Always written, and kept only if it counts: noise in depth makes a branch here three
        // times as dear.
        match out.get_mut(n) {
            Some(place) => _ = place.write([ray_x * z, ray_y * z, z]),
            None => assert!(!counts, "a place for each pixel that counts"),
        }
        n + usize::from(counts)
    })
}

/// A set of vector instructions, which works on a group of `LANES` pixels at a time.
///
/// # Safety
/// Its functions may be called only where the processor has the set.
pub(super) trait Vector<const LANES: usize> {
    /// A value for each lane.
    type F32: Copy;
    type U16: Copy;
    /// How to bring lanes together.
    type Lanes: Copy;
    /// Whether the points of a group are whole cache lines.
    const FILLS_CACHE_LINES: bool;

    unsafe fn splat(value: f32) -> Self::F32;
    unsafe fn load(values: &[f32; LANES]) -> Self::F32;
    unsafe fn load_u16(values: &[u16; LANES]) -> Self::U16;
    unsafe fn mul(a: Self::F32, b: Self::F32) -> Self::F32;
    unsafe fn to_f32(depth: Self::U16) -> Self::F32;
    /// Makes depths 0 that do not count.
    unsafe fn keep(depth: Self::U16, scale: DepthScale) -> Self::U16;
    /// The lanes that count, and how many they are.
    unsafe fn counting(depth: Self::U16, scale: DepthScale) -> (Self::Lanes, usize);
    /// Brings lanes together at the start; what the others become does not matter.
    unsafe fn squeeze(lanes: Self::Lanes, v: Self::F32) -> Self::F32;
    /// Writes lanes of x, y and z as points `x y z x y z ...`.
    unsafe fn store(xyz: [Self::F32; 3], places: &mut [MaybeUninit<[f32; 3]>; LANES]);
}

/// The same as [`organize`], with vectors.
///
/// # Safety
/// The processor must have the set, and the caller be compiled for it: all of this is inlined into
/// it.
#[inline(always)]
pub(super) unsafe fn organize_with<V: Vector<N>, const N: usize>(
    block: Block<'_>,
    scale: &DepthScale,
    out: &mut Places,
) {
    if block.width < N {
        return organize(block, scale, out);
    }
    // SAFETY: as of the caller.
    unsafe {
        match (block.has_own_ray_y(), scale.is_whole()) {
            (false, true) => organize_rows::<V, N, false, true>(block, *scale, out),
            (false, false) => organize_rows::<V, N, false, false>(block, *scale, out),
            (true, true) => organize_rows::<V, N, true, true>(block, *scale, out),
            (true, false) => organize_rows::<V, N, true, false>(block, *scale, out),
        }
    }
}

#[inline(always)]
unsafe fn organize_rows<V: Vector<N>, const N: usize, const OWN_RAY_Y: bool, const WHOLE: bool>(
    block: Block<'_>,
    scale: DepthScale,
    out: &mut Places,
) {
    // SAFETY: as of the caller.
    unsafe {
        for (row, out) in block.rows().zip(out.chunks_exact_mut(block.width)) {
            let row_ray_y = V::splat(row.ray_y[0]);
            // Where groups overlap, they write the same.
            let mut start = 0;
            if V::FILLS_CACHE_LINES {
                organize_group::<V, N, OWN_RAY_Y, WHOLE>(scale, row, row_ray_y, 0, out);
                start = first_on_cache_line(out.as_ptr().addr());
            }
            // Chunks, so that no length is checked in the loop.
            let (depth, _) = row.depth[start..].as_chunks::<N>();
            let (ray_x, _) = row.ray_x[start..].as_chunks::<N>();
            let (places, _) = out[start..].as_chunks_mut::<N>();
            for (i, ((depth, ray_x), places)) in depth.iter().zip(ray_x).zip(places).enumerate() {
                let ray_y =
                    if OWN_RAY_Y { V::load(group_at(row.ray_y, start + i * N)) } else { row_ray_y };
                write_group::<V, N, WHOLE>(scale, depth, ray_x, ray_y, places);
            }
            if !(block.width - start).is_multiple_of(N) {
                let last = block.width - N;
                organize_group::<V, N, OWN_RAY_Y, WHOLE>(scale, row, row_ray_y, last, out);
            }
        }
    }
}

/// The group from pixel `i` of a row.
#[inline(always)]
unsafe fn organize_group<V: Vector<N>, const N: usize, const OWN_RAY_Y: bool, const WHOLE: bool>(
    scale: DepthScale,
    row: Row<'_>,
    row_ray_y: V::F32,
    i: usize,
    out: &mut Places,
) {
    // SAFETY: as of the caller.
    unsafe {
        let ray_y = if OWN_RAY_Y { V::load(group_at(row.ray_y, i)) } else { row_ray_y };
        let places = out[i..].first_chunk_mut().expect("a whole group");
        let (depth, ray_x) = (group_at(row.depth, i), group_at(row.ray_x, i));
        write_group::<V, N, WHOLE>(scale, depth, ray_x, ray_y, places);
    }
}

#[inline(always)]
unsafe fn write_group<V: Vector<N>, const N: usize, const WHOLE: bool>(
    scale: DepthScale,
    depth: &[u16; N],
    ray_x: &[f32; N],
    ray_y: V::F32,
    places: &mut [MaybeUninit<[f32; 3]>; N],
) {
    // SAFETY: as of the caller.
    unsafe {
        let depth = V::load_u16(depth);
        // Depth that does not count has to become 0, if it is not that already.
        let depth = if WHOLE { depth } else { V::keep(depth, scale) };
        let z = V::mul(V::to_f32(depth), V::splat(scale.units_m));
        V::store([V::mul(V::load(ray_x), z), V::mul(ray_y, z), z], places);
    }
}

/// The same as [`compact`], with vectors.
///
/// # Safety
/// The processor must have the set, and the caller be compiled for it: all of this is inlined into
/// it.
#[inline(always)]
pub(super) unsafe fn compact_with<V: Vector<N>, const N: usize>(
    block: Block<'_>,
    scale: &DepthScale,
    out: &mut Places,
) -> usize {
    // SAFETY: as of the caller.
    unsafe {
        if block.has_own_ray_y() {
            compact_rows::<V, N, true>(block, scale, out)
        } else {
            compact_rows::<V, N, false>(block, scale, out)
        }
    }
}

#[inline(always)]
unsafe fn compact_rows<V: Vector<N>, const N: usize, const OWN_RAY_Y: bool>(
    block: Block<'_>,
    scale: &DepthScale,
    out: &mut Places,
) -> usize {
    let scale = *scale;
    let mut n = 0;
    for row in block.rows() {
        let (groups, _) = row.depth.as_chunks::<N>();
        let (ray_x, _) = row.ray_x.as_chunks::<N>();
        let (own_ray_y, _) = row.ray_y.as_chunks::<N>();
        // The points of the last rows of a band may fill all places there are.
        let has_room = out.len() - n >= groups.len() * N;
        // SAFETY: as of the caller.
        let same_ray_y = unsafe { V::splat(row.ray_y[0]) };
        for (i, (depth, ray_x)) in groups.iter().zip(ray_x).enumerate() {
            // SAFETY: as of the caller.
            // No array of them: it would be written to memory for `store_some`.
            let (x, y, z, count) = unsafe {
                let depth = V::load_u16(depth);
                let (lanes, count) = V::counting(depth, scale);
                let z = V::squeeze(lanes, V::mul(V::to_f32(depth), V::splat(scale.units_m)));
                let x = V::mul(V::squeeze(lanes, V::load(ray_x)), z);
                let ray_y =
                    if OWN_RAY_Y { V::squeeze(lanes, V::load(&own_ray_y[i])) } else { same_ray_y };
                (x, V::mul(ray_y, z), z, count)
            };
            if has_room {
                // SAFETY: the row started with room for all its pixels, and each group before has
                // taken no more than its own. The rest as of the caller.
                unsafe { V::store([x, y, z], &mut *out.as_mut_ptr().add(n).cast()) }
            } else {
                match out[n..].first_chunk_mut() {
                    // SAFETY: as of the caller.
                    Some(places) => unsafe { V::store([x, y, z], places) },
                    // SAFETY: as of the caller.
                    None => unsafe { store_some::<V, N>(x, y, z, &mut out[n..n + count]) },
                }
            }
            n += count;
        }
        n += compact_row(row.from(groups.len() * N), &scale, &mut out[n..]);
    }
    n
}

/// For the end of a band of rows, where the next group belongs to somebody else.
#[cold]
#[inline(never)]
unsafe fn store_some<V: Vector<N>, const N: usize>(
    x: V::F32,
    y: V::F32,
    z: V::F32,
    places: &mut Places,
) {
    let mut group = [MaybeUninit::uninit(); N];
    // SAFETY: as of the caller.
    unsafe { V::store([x, y, z], &mut group) }
    places.copy_from_slice(&group[..places.len()]);
}

#[inline(always)]
fn group_at<T, const N: usize>(values: &[T], i: usize) -> &[T; N] {
    values[i..].first_chunk().expect("a whole group")
}

/// The index, from 1 to 16, of the first point after the one at `address` that starts a cache line.
fn first_on_cache_line(address: usize) -> usize {
    let words_over = address / size_of::<f32>() % 16;
    // 3 * index = -words_over modulo 16, and 3 * 11 = 33 = 1 modulo 16.
    match (16 - words_over) * 11 % 16 {
        0 => 16,
        index => index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_between_the_ends_start_cache_lines() {
        for address in (0..64).step_by(size_of::<f32>()) {
            let index = first_on_cache_line(address);
            assert!((1..=16).contains(&index), "{index} from {address}");
            let start = address + index * size_of::<[f32; 3]>();
            assert!(start.is_multiple_of(64), "{index} from {address}");
        }
    }
}
