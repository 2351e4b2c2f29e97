//! The inner loops alone, per instruction set, for those who work on them. `depthcast bench`
//! compares them with everything else.

use depthcast::project::kernel::{Block, DepthScale, Kernel, Rays};
use divan::Bencher;
use divan::counter::ItemsCount;

const WIDTH: usize = 848;
const HEIGHT: usize = 480;
const PIXELS: usize = WIDTH * HEIGHT;

struct Image {
    depth: Vec<u16>,
    ray_x: Vec<f32>,
    ray_y: Vec<f32>,
}

/// A slope with holes in 15 % of its pixels.
fn image() -> Image {
    let hole = |i: usize| i.wrapping_mul(2_654_435_761) >> 16 & 0xff < 38;
    Image {
        depth: (0..PIXELS).map(|i| if hole(i) { 0 } else { 500 + (i / WIDTH) as u16 }).collect(),
        ray_x: (0..WIDTH).map(|u| (u as f32 - 423.5) / 422.0).collect(),
        ray_y: (0..HEIGHT).map(|v| (v as f32 - 239.5) / 422.0).collect(),
    }
}

impl Image {
    fn block(&self) -> Block<'_> {
        let rays = Rays::Separable { x: &self.ray_x, y: &self.ray_y };
        Block { width: WIDTH, height: HEIGHT, depth: &self.depth, stride: WIDTH, rays }
    }
}

fn kernels() -> impl Iterator<Item = &'static str> {
    Kernel::available().into_iter().map(Kernel::name)
}

fn kernel(name: &str) -> Kernel {
    Kernel::available().into_iter().find(|kernel| kernel.name() == name).expect("one of `kernels`")
}

#[divan::bench(args = kernels())]
fn organize(bencher: Bencher<'_, '_>, name: &str) {
    let (image, kernel, scale) = (image(), kernel(name), DepthScale::all(0.001));
    let mut points = vec![[0.0; 3]; PIXELS];
    bencher
        .counter(ItemsCount::new(PIXELS))
        .bench_local(|| kernel.organize(image.block(), &scale, &mut points));
}

#[divan::bench(args = kernels())]
fn compact(bencher: Bencher<'_, '_>, name: &str) {
    let (image, kernel, scale) = (image(), kernel(name), DepthScale::all(0.001));
    let mut points = vec![[0.0; 3]; PIXELS];
    bencher
        .counter(ItemsCount::new(PIXELS))
        .bench_local(|| kernel.compact(image.block(), &scale, &mut points));
}

#[divan::bench(args = kernels())]
fn copy_floor(bencher: Bencher<'_, '_>, name: &str) {
    let (image, kernel) = (image(), kernel(name));
    let mut points = vec![[0.0; 3]; PIXELS];
    bencher
        .counter(ItemsCount::new(PIXELS))
        .bench_local(|| kernel.copy_floor(&image.depth, &mut points));
}

fn main() {
    divan::main();
}
