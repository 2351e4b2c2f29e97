//! One point for each occupied cell of a grid.
#[derive(Clone, Copy)]
struct Cell {
    sum: [f64; 3],
    points: u32,
    has_color: u32,
}
const CHUNK: usize = 256;
const LIMIT: f32 = (1 << 20) as f32;

pub struct VoxelGrid {
    cell_m: f32,
    slots: Vec<u32>,
    shift: u32,
    base: u32,
    keys: Vec<u64>,
    cells: Vec<Cell>,
    colors: Vec<[u32; 5]>,
}

impl VoxelGrid {
    pub fn new(cell_m: f32, capacity: usize) -> Self {
        let slots = (2 * capacity).next_power_of_two().max(2);
        Self {
            cell_m,
            slots: vec![0; slots],
            shift: 64 - slots.trailing_zeros(),
            base: 1,
            keys: Vec::with_capacity(capacity),
            cells: Vec::with_capacity(capacity),
            colors: Vec::with_capacity(capacity),
        }
    }

    pub fn run(&mut self, positions: &mut Vec<[f32; 3]>, colors: &mut Vec<u32>) {
        self.keys.clear();
        self.cells.clear();
        self.colors.clear();
        let mut keys = [0u64; CHUNK];
        let mut last = u64::MAX;
        let mut at = 0usize;
        let mut acc = Cell { sum: [0.0; 3], points: 0, has_color: 0 };
        for chunk in positions.chunks(CHUNK) {
            for (key, p) in keys.iter_mut().zip(chunk) {
                *key = pack(p, self.cell_m);
            }
            for (&key, p) in keys.iter().zip(chunk) {
                if key != last {
                    if acc.points > 0 {
                        self.cells[at] = acc;
                    }
                    last = key;
                    at = find(&mut self.slots, self.base, self.shift, &mut self.keys, key);
                    if at == self.cells.len() {
                        self.cells.push(Cell { sum: [0.0; 3], points: 0, has_color: 0 });
                    }
                    acc = self.cells[at];
                }
                for (s, p) in acc.sum.iter_mut().zip(p) {
                    *s += f64::from(*p);
                }
                acc.points += 1;
            }
        }
        if acc.points > 0 {
            self.cells[at] = acc;
        }
        positions.truncate(self.cells.len());
        for (p, c) in positions.iter_mut().zip(&self.cells) {
            let per = 1.0 / f64::from(c.points);
            *p = c.sum.map(|s| (s * per) as f32);
        }
        let _ = colors;
        self.base += self.cells.len() as u32;
        if self.base > u32::MAX / 2 {
            self.slots.fill(0);
            self.base = 1;
        }
    }
}

#[inline(always)]
fn pack(p: &[f32; 3], cell_m: f32) -> u64 {
    let c = p.map(|x| {
        let x = x / cell_m;
        let x = if x > -LIMIT { x } else { -LIMIT };
        let x = if x < LIMIT - 1.0 { x } else { LIMIT - 1.0 };
        let t = x as i32;
        (t - i32::from(t as f32 > x) + (1 << 20)) as u32
    });
    u64::from(c[0]) | u64::from(c[1]) << 21 | u64::from(c[2]) << 42
}

#[inline(always)]
fn home(key: u64, shift: u32) -> usize {
    const LOW: u64 = 3 | 1 << 21 | 1 << 42;
    let coarse = key & !LOW;
    let low = key & 3 | (key >> 21 & 1) << 2 | (key >> 42 & 1) << 3;
    let k = coarse ^ (coarse >> 32);
    let h = k.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift;
    (h & !15 | low) as usize
}

#[inline(always)]
fn find(slots: &mut [u32], base: u32, shift: u32, keys: &mut Vec<u64>, key: u64) -> usize {
    let mut slot = home(key, shift);
    loop {
        let s = slots[slot];
        if s < base {
            slots[slot] = base + keys.len() as u32;
            keys.push(key);
            return keys.len() - 1;
        }
        let i = (s - base) as usize;
        if keys[i] == key {
            return i;
        }
        slot = (slot + 1) & (slots.len() - 1);
    }
}
