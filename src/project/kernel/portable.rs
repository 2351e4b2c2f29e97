//! Plain loops. All other files are held against these, and these against `project::naive`.

use super::{Block, DepthScale, Places, Row};

pub(super) fn count(depth: &[u16], scale: &DepthScale) -> usize {
    // In u16, so that a vector holds as many counters as depths; a chunk is too short to overflow
    // one.
    let chunks = depth.chunks(1 << 15);
    chunks
        .map(|chunk| {
            chunk.iter().fold(0u16, |n, &d| n.wrapping_add(u16::from(scale.counts(d)))) as usize
        })
        .sum()
}

pub(super) fn organize(block: Block<'_>, scale: &DepthScale, out: &mut Places) {
    for (row, out) in block.rows().zip(out.chunks_exact_mut(block.width)) {
        organize_row(row, scale, out);
    }
}

#[inline]
pub(super) fn organize_row(row: Row<'_>, scale: &DepthScale, out: &mut Places) {
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
pub(super) fn compact_row(row: Row<'_>, scale: &DepthScale, out: &mut Places) -> usize {
    let mut n = 0;
    for (i, (&d, &ray_x)) in row.depth.iter().zip(row.ray_x).enumerate() {
        let counts = scale.counts(d);
        let ray_y = row.ray_y[if row.ray_y.len() == 1 { 0 } else { i }];
        let z = f32::from(d) * scale.units_m;
        // Always written, and kept only if it counts: noise in depth makes a branch here three
        // times as dear.
        match out.get_mut(n) {
            Some(place) => _ = place.write([ray_x * z, ray_y * z, z]),
            None => assert!(!counts, "a place for each pixel that counts"),
        }
        n += usize::from(counts);
    }
    n
}
