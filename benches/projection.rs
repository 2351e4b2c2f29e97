//! The inner loops alone, per instruction set, for those who work on them. `depthcast bench`
//! compares them with everything else.

use depthcast::project::kernel::{Block, DepthScale, Kernel, Rays};
use divan::Bencher;
use divan::counter::ItemsCount;

const WIDTH: usize = 848;
const HEIGHT: usize = 480;
const PIXELS: usize = WIDTH * HEIGHT;

fn kernels() -> impl Iterator<Item = &'static str> {
    Kernel::available().into_iter().map(Kernel::name)
}

/// Calls a loop on a slope with holes in 15 % of its pixels.
fn run(
    bencher: Bencher<'_, '_>,
    name: &str,
    mut call: impl FnMut(Kernel, Block<'_>, &DepthScale, &mut [[f32; 3]]),
) {
    let hole = |i: usize| i.wrapping_mul(2_654_435_761) >> 16 & 0xff < 38;
    let depth = |i: usize| if hole(i) { 0 } else { 500 + (i / WIDTH) as u16 };
    let depth: Vec<u16> = (0..PIXELS).map(depth).collect();
    let x: Vec<f32> = (0..WIDTH).map(|u| (u as f32 - 423.5) / 422.0).collect();
    let y: Vec<f32> = (0..HEIGHT).map(|v| (v as f32 - 239.5) / 422.0).collect();
    let rays = Rays::Separable { x: &x, y: &y };
    let block = Block { width: WIDTH, height: HEIGHT, depth: &depth, stride: WIDTH, rays };
    let mut available = Kernel::available().into_iter();
    let kernel = available.find(|kernel| kernel.name() == name).expect("one of `kernels`");
    let (scale, mut points) = (DepthScale::all(0.001), vec![[0.0; 3]; PIXELS]);
    let bencher = bencher.counter(ItemsCount::new(PIXELS));
    bencher.bench_local(|| call(kernel, block, &scale, &mut points));
}

#[divan::bench(args = kernels())]
fn organize(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, |kernel, block, scale, out| kernel.organize(block, scale, out));
}

#[divan::bench(args = kernels())]
fn compact(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, |kernel, block, scale, out| _ = kernel.compact(block, scale, out));
}

#[divan::bench(args = kernels())]
fn copy_floor(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, |kernel, block, _, out| kernel.copy_floor(block.depth, out));
}

fn main() {
    divan::main();
}
