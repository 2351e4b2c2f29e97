//! One point for each occupied cell of a grid.
//!
//! The cells that were met are in lists, in the order in which they were. A hash table with open
//! addressing says where in the lists a cell is. Two things make it fast. A slot has that index
//! plus the number of cells that all runs before have met: what they left in the table is too small
//! to be of this run, so nothing has to be cleared. And sixteen cells in a row in x share a cache
//! line, because neighbouring pixels meet neighbouring cells.

/// Points whose cells are computed in one go, which the compiler does with vector instructions.
const CHUNK: usize = 256;

/// Cells in each direction from the origin, for which the 21 bits of a coordinate in a key have
/// room.
const REACH: f32 = (1 << 20) as f32;

/// As many colours add up without overflow.
const MOST_COLORS: u32 = u32::MAX / 0xff;

/// Subsamples clouds to one point for each cell of a grid of cubes.
///
/// The grid is that of the camera frame: a point p is in the cell `floor(p / cell_m)`, axis by axis
/// and in f32. It reaches 2^20 cells from the origin in each direction (10 km with cells of 1 cm).
/// Coordinates beyond count as in the outermost cell, NaN as in the first.
#[derive(Debug, Clone)]
pub struct VoxelGrid {
    cell_m: f32,
    /// For how many points there is room.
    capacity: usize,
    /// `first` plus the index of a cell in the lists; less than `first` if empty.
    slots: Vec<u32>,
    first: u32,
    /// The cells that this run has met, and the points in each.
    keys: Vec<u64>,
    positions: Vec<PositionSum>,
    /// As long as `positions`, or empty.
    colors: Vec<ColorSum>,
}

impl VoxelGrid {
    /// A grid of cubes of `cell_m` metres, with room for clouds of `capacity_points`.
    ///
    /// # Panics
    /// If `cell_m` is not a positive number.
    pub fn new(cell_m: f32, capacity_points: usize) -> Self {
        assert!(cell_m.is_finite() && cell_m > 0.0, "cells of {cell_m} m make no grid");
        // Even a cloud without two points in one cell leaves a fifth of it empty. A larger one
        // would be slower: less of it fits a cache.
        let slots = (capacity_points + capacity_points / 4).next_power_of_two().max(16);
        Self {
            cell_m,
            capacity: capacity_points,
            slots: vec![0; slots],
            first: 1,
            keys: Vec::with_capacity(capacity_points),
            positions: Vec::with_capacity(capacity_points),
            colors: Vec::with_capacity(capacity_points),
        }
    }

    /// Replaces the points of each cell by their mean, in the order of the cells' first points. The
    /// mean is in the cell, so that a second run changes nothing.
    ///
    /// With a colour for each point, as `0xRRGGBBAA`, each channel becomes its rounded mean. Alpha
    /// 0 marks a point without colour, which counts only in cells where all are such.
    ///
    /// Nothing is allocated, unless there are more points than the grid has room for: then it makes
    /// more room for all clouds to come.
    ///
    /// # Panics
    /// If there are colours, but not one for each point.
    pub fn run(&mut self, positions_m: &mut Vec<[f32; 3]>, colors_rgba: &mut Vec<u32>) {
        let points = positions_m.len();
        if points > self.capacity {
            *self = Self::new(self.cell_m, points);
        }
        if (u32::MAX - self.first) as usize <= points {
            self.slots.fill(0);
            self.first = 1;
        }
        self.keys.clear();
        self.positions.clear();
        self.colors.clear();
        if colors_rgba.is_empty() {
            self.add::<false>(positions_m, &[]);
        } else {
            assert_eq!(
                colors_rgba.len(),
                points,
                "colours of a cloud must be one for each point, or none"
            );
            self.add::<true>(positions_m, colors_rgba);
            colors_rgba.clear();
            colors_rgba.extend(self.colors.iter().map(ColorSum::mean));
        }
        positions_m.clear();
        positions_m.extend(self.positions.iter().map(PositionSum::mean));
        self.first += self.keys.len() as u32;
    }

    fn add<const COLORED: bool>(&mut self, positions_m: &[[f32; 3]], colors_rgba: &[u32]) {
        let mut cells = [[0; 3]; CHUNK];
        let (mut last_key, mut index) = (u64::MAX, 0);
        for (i, chunk) in positions_m.chunks(CHUNK).enumerate() {
            for (cell, &x_m) in cells.as_flattened_mut().iter_mut().zip(chunk.as_flattened()) {
                *cell = cell_along_axis(x_m, self.cell_m);
            }
            for (j, (position_m, [x, y, z])) in chunk.iter().zip(cells).enumerate() {
                let key = u64::from(z) << 42 | u64::from(y) << 21 | u64::from(x);
                if key != last_key {
                    last_key = key;
                    index = self.index_of(key);
                    if index == self.positions.len() {
                        self.positions.push(PositionSum::default());
                        if COLORED {
                            self.colors.push(ColorSum::default());
                        }
                    }
                }
                self.positions[index].add(position_m);
                if COLORED {
                    self.colors[index].add(colors_rgba[i * CHUNK + j]);
                }
            }
        }
    }

    /// The index of a cell in the lists, which is their length if it is new.
    #[inline]
    fn index_of(&mut self, key: u64) -> usize {
        // The hash says which cache line sixteen neighbours in x go to, and how they are permuted
        // in it.
        let row = key >> 4;
        let hash = (row ^ row >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> (64 - self.slots.len().trailing_zeros());
        let mut slot = (hash ^ (key & 15)) as usize;
        loop {
            match self.slots[slot].checked_sub(self.first) {
                None => {
                    let index = self.keys.len();
                    self.slots[slot] = self.first + index as u32;
                    self.keys.push(key);
                    return index;
                }
                Some(index) if self.keys[index as usize] == key => return index as usize,
                // On to the next line, so that full lines don't pile up. An odd step comes past
                // every slot of a power of two.
                Some(_) => slot = (slot + 17) & (self.slots.len() - 1),
            }
        }
    }
}

/// Which cell along one axis, counted from the outermost below the origin.
#[inline]
fn cell_along_axis(x_m: f32, cell_m: f32) -> u32 {
    // SSE2 has no `floor`. Adding 1.5 * 2^23 leaves the nearest whole number in the low bits of the
    // f32.
    const WHOLE: f32 = 12_582_912.0;
    let x = x_m / cell_m;
    // Not `clamp`, which lets NaN through.
    let x = if x > -REACH { x } else { -REACH };
    let x = if x < REACH - 1.0 { x } else { REACH - 1.0 };
    let nearest = x + WHOLE;
    let is_above = nearest - WHOLE > x;
    nearest.to_bits() - (WHOLE - REACH).to_bits() - u32::from(is_above)
}

/// Positions of the points in a cell.
#[derive(Debug, Clone, Copy, Default)]
struct PositionSum {
    /// In f64 the mean comes out right to the last bit of an f32, so it is never outside of what it
    /// is the mean of.
    sum_m: [f64; 3],
    points: u32,
}

impl PositionSum {
    #[inline]
    fn add(&mut self, position_m: &[f32; 3]) {
        for (sum, &x) in self.sum_m.iter_mut().zip(position_m) {
            *sum += f64::from(x);
        }
        self.points += 1;
    }

    #[inline]
    fn mean(&self) -> [f32; 3] {
        let per_point = 1.0 / f64::from(self.points);
        self.sum_m.map(|sum| (sum * per_point) as f32)
    }
}

/// Colours of the points in a cell: only of those with colour, or, as long as there is none, of
/// those without.
#[derive(Debug, Clone, Copy, Default)]
struct ColorSum {
    /// Red, green, blue, alpha.
    channels: [u32; 4],
    points: u32,
}

impl ColorSum {
    #[inline]
    fn add(&mut self, rgba: u32) {
        let color = rgba.to_be_bytes().map(u32::from);
        match (self.channels[3] == 0, color[3] == 0) {
            (true, false) => *self = Self::default(),
            (false, true) => return,
            _ => {}
        }
        if self.points < MOST_COLORS {
            for (sum, channel) in self.channels.iter_mut().zip(color) {
                *sum += channel;
            }
            self.points += 1;
        }
    }

    #[inline]
    fn mean(&self) -> u32 {
        let points = f64::from(self.points);
        u32::from_be_bytes(self.channels.map(|sum| (f64::from(sum) / points + 0.5) as u8))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn cell(position_m: &[f32; 3], cell_m: f32) -> [i64; 3] {
        position_m.map(|x| ((x / cell_m).floor() as i64).clamp(-(1 << 20), (1 << 20) - 1))
    }

    /// The obviously right way: gather the points of each cell, and list the cells by their first
    /// points.
    fn naive(cell_m: f32, positions_m: &[[f32; 3]], rgba: &[u32]) -> (Vec<[f32; 3]>, Vec<u32>) {
        let mut cells: Vec<Vec<usize>> = Vec::new();
        let mut indices = HashMap::new();
        for (i, p) in positions_m.iter().enumerate() {
            let index = *indices.entry(cell(p, cell_m)).or_insert(cells.len());
            cells.resize(cells.len().max(index + 1), Vec::new());
            cells[index].push(i);
        }
        let position = |points: &Vec<usize>| {
            [0, 1, 2].map(|axis| {
                let sum: f64 = points.iter().map(|&i| f64::from(positions_m[i][axis])).sum();
                (sum / points.len() as f64) as f32
            })
        };
        let color = |points: &Vec<usize>| {
            let all: Vec<[u8; 4]> = points.iter().map(|&i| rgba[i].to_be_bytes()).collect();
            let seen: Vec<[u8; 4]> = all.iter().copied().filter(|c| c[3] != 0).collect();
            let counted = if seen.is_empty() { all } else { seen };
            let n = counted.len();
            u32::from_be_bytes([0, 1, 2, 3].map(|channel| {
                let sum: usize = counted.iter().map(|c| usize::from(c[channel])).sum();
                ((2 * sum + n) / (2 * n)) as u8
            }))
        };
        let colors = if rgba.is_empty() { Vec::new() } else { cells.iter().map(color).collect() };
        (cells.iter().map(position).collect(), colors)
    }

    /// Runs the grid on a copy, and compares it with the naive one and what must always be true.
    fn check(grid: &mut VoxelGrid, positions_m: &[[f32; 3]], colors_rgba: &[u32]) {
        let (mut positions, mut colors) = (positions_m.to_vec(), colors_rgba.to_vec());
        grid.run(&mut positions, &mut colors);
        let (want_positions, want_colors) = naive(grid.cell_m, positions_m, colors_rgba);
        assert_eq!((positions.len(), &colors), (want_positions.len(), &want_colors));
        for (got, want) in positions.iter().zip(&want_positions) {
            let is_near = |(g, w): (&f32, &f32)| (g - w).abs() <= f32::EPSILON * w.abs();
            assert!(got.iter().zip(want).all(is_near), "{got:?} for {want:?}");
            assert_eq!(cell(got, grid.cell_m), cell(want, grid.cell_m), "{got:?} left its cell");
        }
        let (mut again, mut colors_again) = (positions.clone(), colors.clone());
        grid.run(&mut again, &mut colors_again);
        assert_eq!((again, colors_again), (positions, colors), "a second run must change nothing");
    }

    fn coordinates() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => -0.3f32..0.3,
            2 => -10f32..70.0,
            2 => (-8i8..8).prop_map(|i| f32::from(i) * 0.05), // on a border of cells, or nearly
            1 => proptest::sample::select(vec![0.0, -0.0, -1e-30, 1e30, -1e30]),
        ]
    }

    fn clouds() -> impl Strategy<Value = Vec<([f32; 3], u32)>> {
        let colors = || {
            let with_alpha = |alpha: fn(u32) -> u32| any::<u32>().prop_map(alpha);
            prop_oneof![
                2 => with_alpha(|c| c | 0xff),
                1 => any::<u32>(),
                2 => with_alpha(|c| c & !0xff),
            ]
        };
        let points = |n| vec((proptest::array::uniform3(coordinates()), colors()), 0..n);
        prop_oneof![points(40), points(700)]
    }

    proptest! {
        #[test]
        fn fast_and_naive_agree(
            clouds in vec(clouds(), 1..4),
            cell_m in prop_oneof![Just(0.05f32), 0.001f32..2.0],
        ) {
            let mut grid = VoxelGrid::new(cell_m, 700);
            for cloud in clouds {
                let (positions, colors): (Vec<_>, Vec<_>) = cloud.into_iter().unzip();
                check(&mut grid, &positions, &colors);
                check(&mut grid, &positions, &[]);
            }
        }
    }

    /// All slots of the table are in reach: for a wall of one cell's thickness across each axis,
    /// and where 12 cells fill a table of 16 slots.
    #[test]
    fn full_tables_are_no_endless_search() {
        let mut grid = VoxelGrid::new(0.01, 100 * 100);
        for axis in 0..3 {
            let point = |i: usize| {
                let mut p = [(i % 100) as f32 * 0.01 + 0.005, (i / 100) as f32 * 0.01 + 0.005, 0.0];
                p.rotate_right(axis);
                p
            };
            check(&mut grid, &(0..100 * 100).map(point).collect::<Vec<_>>(), &[]);
        }
        let few = |i: usize| [i as f32 * 0.3, (i * i) as f32 * 0.1, 1.0];
        check(&mut VoxelGrid::new(0.05, 12), &(0..12).map(few).collect::<Vec<_>>(), &[]);
    }

    #[test]
    fn runs_forget_each_other_also_when_their_count_restarts() {
        let cloud: Vec<[f32; 3]> = (0..100).map(|i| [i as f32 * 0.1, 0.0, 1.0]).collect();
        let mut grid = VoxelGrid::new(0.05, cloud.len());
        grid.first = u32::MAX - 450;
        for _ in 0..5 {
            check(&mut grid, &cloud, &[]);
        }
        assert!(grid.first < 1000, "the count has not restarted");
    }

    #[test]
    fn room_is_made_once() {
        let cloud: Vec<[f32; 3]> = (0..1000).map(|i| [0.0, i as f32, 1.0]).collect();
        let mut grid = VoxelGrid::new(0.5, 0);
        check(&mut grid, &cloud, &[0xff; 1000]);
        let room = |grid: &VoxelGrid| {
            let lists = (grid.keys.capacity(), grid.positions.capacity(), grid.colors.capacity());
            (grid.slots.as_ptr(), grid.slots.capacity(), lists)
        };
        let before = room(&grid);
        check(&mut grid, &cloud, &[0xff; 1000]);
        check(&mut grid, &cloud[..10], &[]);
        assert_eq!(room(&grid), before);
    }

    #[test]
    fn what_no_camera_gives_harms_no_other_point() {
        let (far, tiny) = (f32::INFINITY, f32::MIN_POSITIVE);
        let strange = [f32::NAN, far, -far, f32::MAX, f32::MIN, tiny, -0.0];
        let mut positions: Vec<[f32; 3]> =
            strange.iter().flat_map(|&x| strange.map(|y| [x, y, 1.0])).collect();
        positions.extend([[1.0; 3]; 2]);
        let mut grid = VoxelGrid::new(0.01, positions.len());
        grid.run(&mut positions, &mut vec![]);
        assert!(positions.len() <= strange.len() * strange.len() + 1);
        assert_eq!(positions.last(), Some(&[1.0; 3]));
    }

    #[test]
    #[should_panic = "one for each point"]
    fn colours_that_fit_no_cloud_are_refused() {
        VoxelGrid::new(0.01, 3).run(&mut vec![[1.0; 3]; 3], &mut vec![0xff; 2]);
    }

    #[test]
    fn sums_of_colours_stay_within_bounds() {
        let mut sum = ColorSum { channels: [u32::MAX; 4], points: MOST_COLORS };
        sum.add(u32::MAX);
        assert_eq!(sum.mean(), u32::MAX);
    }
}
