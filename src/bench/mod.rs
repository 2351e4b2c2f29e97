//! How fast projection is on this machine: the ladder from a growing list to threads with vector
//! instructions, what memory allows, and librealsense's own block, all in one run.
//!
//! What counts are ratios within a run: rows run interleaved, round by round, so that a noisy
//! machine is as unfair to one as to the other. In each round a row is called untimed for a while,
//! until caches are hot and threads awake, and then timed. It uses the same buffers all the time,
//! but for the rows that are called `rotating`, which go through as many as a running pipeline
//! does. Rows that are called `rested` are timed once a round, after a pause as between two frames
//! of a camera at 90 frames a second, in which caches cool down and others use the machine: what a
//! live run can at best expect.

mod report;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

use crate::camera::{Distortion, Intrinsics};
use crate::clock::{HostTime, ManualClock};
use crate::color::{ColorRange, Coloring, Colormap, Ramp};
use crate::frame::DepthFrame;
use crate::frame::Points;
use crate::pool;
use crate::project::kernel::Kernel;
use crate::project::{BackProjector, Decimate, DecimateBy, Layout, ProjectOptions, Reduction};
use crate::source::synthetic::{SyntheticCamera, SyntheticOptions};
use crate::source::{FrameSource as _, SourceInfo};
pub use report::{BENCH_SCHEMA, BenchReport, BenchRow};

/// Timed calls of a row in each round.
const CALLS: usize = 5;
/// How long a row is called before that: a sleeping thread needs a while to wake and to fall into
/// step.
const WARM_UP: Duration = Duration::from_millis(3);
/// The pause before calls that are `rested`.
const REST: Duration = Duration::from_millis(11);
/// Frames and clouds that a live run without a viewer rotates through.
const ROTATING: usize = 3;
/// A cache line's.
const LINE_BYTES: usize = 64;
/// Pixels without depth, in percent.
const HOLES_PERCENT: u32 = 15;

#[derive(Debug, Clone)]
pub struct BenchOptions {
    pub sizes: Vec<(u32, u32)>,
    pub rounds: usize,
    pub threads: usize,
}

/// A row before it is measured: what is called, and on how many threads it runs.
struct Candidate<'a> {
    name: String,
    threads: usize,
    call: Box<dyn FnMut() + 'a>,
    is_rested: bool,
}

impl<'a> Candidate<'a> {
    fn new(name: impl Into<String>, threads: usize, call: impl FnMut() + 'a) -> Self {
        Self { name: name.into(), threads, call: Box::new(call), is_rested: false }
    }

    fn rested(self) -> Self {
        Self { name: format!("{}, rested", self.name), is_rested: true, ..self }
    }

    /// Adds the times of a round.
    fn run(&mut self, times: &mut Vec<Duration>) {
        let mut timed = || {
            let started = Instant::now();
            (self.call)();
            started.elapsed()
        };
        if self.is_rested {
            std::thread::sleep(REST);
            return times.push(timed());
        }
        let round = Instant::now();
        while round.elapsed() < WARM_UP {
            timed();
        }
        times.extend((0..CALLS).map(|_| timed()));
    }
}

/// Measures everything; `on_size` is called before each size.
///
/// # Errors
/// If threads can't be started, or librealsense is built in and fails.
pub fn run(
    options: &BenchOptions,
    on_size: &mut (dyn FnMut(u32, u32) + Send),
) -> anyhow::Result<BenchReport> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(|n| format!("bench{n}"))
        .build()
        .context("cannot start threads")?;
    let mut report = BenchReport::new(options.threads, Kernel::best().name());
    pool.install(|| {
        for &(width, height) in &options.sizes {
            on_size(width, height);
            report.rows.extend(measure_size(width, height, options)?);
        }
        Ok(report)
    })
}

fn measure_size(width: u32, height: u32, options: &BenchOptions) -> anyhow::Result<Vec<BenchRow>> {
    let (cameras, frame) = cameras_and_frame(width, height)?;
    let camera = &cameras.stream.intrinsics;
    let threads = options.threads;
    let mut candidates = Vec::new();
    floors(&mut candidates, &frame, threads);
    ladder(&mut candidates, camera, &frame, threads);
    projections(&mut candidates, &cameras, &frame, threads)?;
    #[cfg(feature = "realsense")]
    librealsense(&mut candidates, camera, &frame)?;

    let mut times: Vec<Vec<Duration>> =
        vec![Vec::with_capacity(options.rounds * CALLS); candidates.len()];
    for _ in 0..options.rounds {
        for (candidate, times) in candidates.iter_mut().zip(&mut times) {
            candidate.run(times);
        }
    }
    let rows = candidates.into_iter().zip(times);
    Ok(rows
        .map(|(candidate, times)| {
            BenchRow::new(candidate.name, (width, height), candidate.threads, times)
        })
        .collect())
}

/// The synthetic camera's first image, with more holes.
fn cameras_and_frame(width: u32, height: u32) -> anyhow::Result<(SourceInfo, DepthFrame)> {
    let options = SyntheticOptions { width, height, fps: 30.0, seed: 1, color: true };
    let mut source = SyntheticCamera::new(options, std::sync::Arc::new(ManualClock::new()))?;
    let mut frame = DepthFrame::new(width, height);
    source.next_frame(&mut frame, HostTime::from_ns(u64::MAX))?;
    let pixels = frame.depth.len() as u32;
    let holes = frame.depth.iter().filter(|&&d| d == 0).count() as u32;
    // Of the pixels with depth, so many of 65,536 lose it.
    let wanted = (pixels / 100 * HOLES_PERCENT).saturating_sub(holes);
    let share = (u64::from(wanted) << 16) / u64::from((pixels - holes).max(1));
    let mut state = 1u32;
    for d in frame.depth.iter_mut().filter(|d| **d != 0) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if u64::from(state >> 16) < share {
            *d = 0;
        }
    }
    Ok((source.info().clone(), frame))
}

/// What memory allows.
fn floors<'a>(candidates: &mut Vec<Candidate<'a>>, frame: &'a DepthFrame, threads: usize) {
    fn copy(depth: &[u16], out: &mut [[f32; 3]], threads: usize) {
        if threads == 1 {
            return Kernel::best().copy_floor(depth, out);
        }
        let (first, second) = depth.split_at(depth.len() / threads * (threads / 2));
        let (first_out, second_out) = out.split_at_mut(first.len());
        rayon::join(
            || copy(first, first_out, threads / 2),
            || copy(second, second_out, threads - threads / 2),
        );
    }
    let new_buffer = || FloorBuffer::new(frame.depth.len());
    let one_and_all = if threads > 1 { vec![1, threads] } else { vec![1] };
    for threads in one_and_all {
        let hot = || {
            let mut out = new_buffer();
            let call = move || copy(black_box(&frame.depth), black_box(out.places()), threads);
            Candidate::new("floor copy", threads, call)
        };
        candidates.extend([hot(), hot().rested()]);
        let call = rotating(frame, new_buffer, move |frame, out| {
            copy(black_box(&frame.depth), black_box(out.places()), threads);
        });
        candidates.push(Candidate::new("floor copy, rotating", threads, call));
    }
}

/// Places that start where the allocator's big blocks do, 16 bytes after the start of a cache line.
/// On a lucky buffer, which starts with one, the floor is 15 % lower, and the projection just as
/// fast as on others.
struct FloorBuffer {
    values: Vec<[f32; 3]>,
    first: usize,
}

impl FloorBuffer {
    fn new(len: usize) -> Self {
        let values = pool::huge_vec([0.0; 3], len + LINE_BYTES);
        let is_after_line =
            |i: &usize| (values.as_ptr().addr() + i * size_of::<[f32; 3]>()) % LINE_BYTES == 16;
        let first = (0..LINE_BYTES).find(is_after_line).unwrap_or(0);
        Self { values, first }
    }

    fn places(&mut self) -> &mut [[f32; 3]] {
        let end = self.values.len() - LINE_BYTES + self.first;
        &mut self.values[self.first..end]
    }
}

/// The ladder of the origin, in Rust: each rung does better what the one before did badly.
fn ladder<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    camera: &Intrinsics,
    frame: &'a DepthFrame,
    threads: usize,
) {
    let image = Image { camera: *camera, depth: &frame.depth, units_m: frame.meta.depth_units_m };
    let push = move || drop(black_box(black_box(&image).push()));
    candidates.push(Candidate::new("push", 1, push));
    for (name, threads, rung) in image.rungs(threads) {
        let mut out = vec![[0.0; 3]; frame.depth.len()];
        let call = move || rung(black_box(&image), black_box(&mut out));
        candidates.push(Candidate::new(name, threads, call));
    }
}

/// A rung that writes points into places that are there already.
type Rung<'a> = fn(&Image<'a>, &mut [[f32; 3]]);

#[derive(Clone, Copy)]
struct Image<'a> {
    camera: Intrinsics,
    depth: &'a [u16],
    units_m: f32,
}

impl<'a> Image<'a> {
    /// With their names and threads.
    fn rungs(&self, threads: usize) -> [(&'static str, usize, Rung<'a>); 3] {
        [
            ("preallocated", 1, Self::preallocated),
            ("slices", 1, Self::slices),
            ("rayon", threads, Self::rayon),
        ]
    }

    fn point(&self, u: usize, v: usize, depth: u16) -> [f32; 3] {
        let Intrinsics { fx, fy, ppx, ppy, .. } = self.camera;
        let z = f32::from(depth) * self.units_m;
        [(u as f32 - ppx) / fx * z, (v as f32 - ppy) / fy * z, z]
    }

    fn size(&self) -> (usize, usize) {
        (self.camera.width as usize, self.camera.height as usize)
    }

    /// A list that grows point by point, anew for each image.
    fn push(&self) -> Vec<[f32; 3]> {
        let (width, height) = self.size();
        let mut points = Vec::new();
        for v in 0..height {
            for u in 0..width {
                points.push(self.point(u, v, self.depth[v * width + u]));
            }
        }
        points
    }

    /// Pixel by pixel, each access checked.
    fn preallocated(&self, out: &mut [[f32; 3]]) {
        let (width, height) = self.size();
        for v in 0..height {
            for u in 0..width {
                out[v * width + u] = self.point(u, v, self.depth[v * width + u]);
            }
        }
    }

    /// Row by row through borrowed views: nothing to check within a row.
    fn slices(&self, out: &mut [[f32; 3]]) {
        let width = self.size().0;
        for (v, (row, out)) in
            self.depth.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate()
        {
            self.row(v, row, out);
        }
    }

    /// The same rows, shared among threads.
    fn rayon(&self, out: &mut [[f32; 3]]) {
        let width = self.size().0;
        let rows = self.depth.par_chunks_exact(width).zip(out.par_chunks_exact_mut(width));
        rows.enumerate().for_each(|(v, (row, out))| self.row(v, row, out));
    }

    fn row(&self, v: usize, row: &[u16], out: &mut [[f32; 3]]) {
        for (u, (point, &depth)) in out.iter_mut().zip(row).enumerate() {
            *point = self.point(u, v, depth);
        }
    }
}

/// depthcast's own projection, in all its ways.
fn projections<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    cameras: &SourceInfo,
    frame: &'a DepthFrame,
    threads: usize,
) -> anyhow::Result<()> {
    let camera = &cameras.stream.intrinsics;
    let projector = |options| BackProjector::new(camera, None, options);
    let compact = ProjectOptions::default();
    let organized = ProjectOptions { layout: Layout::Organized, ..compact };
    let reduced = |reduction| ProjectOptions { reduction, ..compact };
    let both = [("simd", organized), ("compact", compact)];

    let best = Kernel::best().name();
    for kernel in Kernel::available() {
        for (what, options) in both {
            let name = match kernel.name() {
                name if name == best => what.to_owned(),
                other => format!("{what}, {other}"),
            };
            candidates.push(hot(name, 1, projector(options)?.with_kernel(kernel), frame));
        }
    }
    for (what, options) in both {
        let mut projector = projector(options)?;
        // Threads are awake in a benchmark.
        let started = Instant::now();
        projector.tune(None, &|| started.elapsed(), &mut || drop(rayon::broadcast(|_| ())))?;
        candidates.push(hot(format!("{what}+rayon"), threads, projector, frame));
    }
    for (what, options) in both {
        candidates.push(hot(what, 1, projector(options)?, frame).rested());
    }
    for (what, options) in both {
        let mut projector = projector(options)?;
        let call = rotating(frame, projector.points_maker(), move |frame, points| {
            let projected = projector.project(black_box(frame), black_box(points));
            projected.expect("the frame is the camera's");
        });
        candidates.push(Candidate::new(format!("{what}, rotating"), 1, call));
    }
    let decimate = Some(Decimate { factor: 2, by: DecimateBy::Median });
    let decimated = reduced(Reduction { decimate, ..Default::default() });
    candidates.push(hot("compact, decimated 2x2", 1, projector(decimated)?, frame));
    let voxels = reduced(Reduction { voxel_m: Some(0.02), ..Default::default() });
    candidates.push(hot("compact, voxels of 2 cm", 1, projector(voxels)?, frame));
    let distorted = Intrinsics {
        distortion: Distortion::InverseBrownConrady,
        coeffs: [-0.055, 0.066, 0.0004, -0.0003, -0.021],
        ..*camera
    };
    for (what, options) in both {
        let projector = BackProjector::new(&distorted, None, options)?;
        candidates.push(hot(format!("{what}, distorted"), 1, projector, frame));
    }
    let textured = ProjectOptions { texture: true, ..compact };
    let textured = BackProjector::new(camera, cameras.color_camera(), textured)?;
    candidates.push(hot("compact, textured", 1, textured, frame));

    // The colours that a viewer's sink gives the points of a cloud.
    let mut points = Points::default();
    projector(compact)?.project(frame, &mut points)?;
    let range = ColorRange { colormap: Colormap::default(), first_m: 0.5, last_m: 6.0 };
    let ramp = Ramp::of(Coloring::ByDepth(range)).context("depth decides")?;
    let mut colors_rgba = pool::huge_vec(0, points.positions_m.len());
    let call = move || ramp.colorize(black_box(&points.positions_m), black_box(&mut colors_rgba));
    candidates.push(Candidate::new("colours by depth", 1, call));
    Ok(())
}

/// Calls a projector on the same frame and cloud again and again.
fn hot<'a>(
    name: impl Into<String>,
    threads: usize,
    mut projector: BackProjector,
    frame: &'a DepthFrame,
) -> Candidate<'a> {
    let mut points = projector.points_maker()();
    let call = move || {
        let projected = projector.project(black_box(frame), black_box(&mut points));
        projected.expect("the frame is the camera's");
    };
    Candidate::new(name, threads, call)
}

/// Each call gets the next of some copies of the frame, each with an output of its own.
fn rotating<T>(
    frame: &DepthFrame,
    make: impl Fn() -> T,
    mut call: impl FnMut(&DepthFrame, &mut T),
) -> impl FnMut() {
    let mut buffers: Vec<_> = (0..ROTATING).map(|_| (frame.clone(), make())).collect();
    move || {
        buffers.rotate_left(1);
        let (frame, out) = &mut buffers[0];
        call(frame, out);
    }
}

/// librealsense's own blocks on the same frame.
#[cfg(feature = "realsense")]
fn librealsense<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    camera: &Intrinsics,
    frame: &'a DepthFrame,
) -> anyhow::Result<()> {
    use crate::source::options::Filters;
    use crate::source::realsense::{SdkFilters, SdkPointcloud};
    // The blocks do not take others.
    if !frame.depth.len().is_multiple_of(8) {
        return Ok(());
    }
    let units_m = frame.meta.depth_units_m;
    let mut block = SdkPointcloud::new(camera, units_m, &frame.depth)?;
    let call = move || {
        black_box(block.calculate().expect("librealsense's block works"));
    };
    candidates.push(Candidate::new("librealsense pointcloud", 1, call));
    let off = Filters::default;
    for (name, filters) in [
        ("decimation", Filters { decimation: Some(Default::default()), ..off() }),
        ("spatial", Filters { spatial: Some(Default::default()), ..off() }),
        ("temporal", Filters { temporal: Some(Default::default()), ..off() }),
    ] {
        let mut filter = SdkFilters::new(&filters, camera, units_m, &frame.depth)?;
        let call = move || {
            black_box(filter.apply().expect("librealsense's filter works"));
        };
        candidates.push(Candidate::new(format!("librealsense {name}"), 1, call));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::naive;

    #[test]
    fn all_rungs_lead_to_the_same_points() {
        let (cameras, frame) = cameras_and_frame(64, 48).unwrap();
        let camera = cameras.stream.intrinsics;
        let image = Image { camera, depth: &frame.depth, units_m: frame.meta.depth_units_m };
        let want = naive::organized(&frame.depth, &camera, frame.meta.depth_units_m);
        assert_eq!(image.push(), want);
        for (name, _, rung) in image.rungs(2) {
            let mut out = vec![[9.0; 3]; want.len()];
            rung(&image, &mut out);
            assert_eq!(out, want, "{name}");
        }
    }
}
