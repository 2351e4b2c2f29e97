//! How fast projection is on this machine: the ladder from a growing list to threads with vector
//! instructions, what memory allows, and librealsense's own block, all in one run.
//!
//! Ratios within a run are what counts: the rows take turns, round by round, so that a noisy
//! machine is as unfair to one as to the other. In its turn each row is called untimed for a while,
//! until caches are hot and threads awake, and then timed. It uses the same buffers all the time,
//! but for the rows that are called `rotating`, which go through as many as a running pipeline
//! does. Rows that are called `rested` are timed once in a turn, after a pause as between two
//! frames of a camera at 90 frames a second, in which caches cool down and others use the machine:
//! what a live run can at best expect.

mod ladder;
mod report;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::camera::{Distortion, Intrinsics};
use crate::clock::{HostTime, ManualClock};
use crate::cloud::Points;
use crate::color::{ColorRange, Coloring, Colormap, Ramp};
use crate::frame::DepthFrame;
use crate::huge_pages;
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

    /// Adds the times of a turn.
    fn take_turn(&mut self, times: &mut Vec<Duration>) {
        let mut timed = || {
            let started = Instant::now();
            (self.call)();
            started.elapsed()
        };
        if self.is_rested {
            std::thread::sleep(REST);
            return times.push(timed());
        }
        let turn = Instant::now();
        while turn.elapsed() < WARM_UP {
            timed();
        }
        times.extend((0..CALLS).map(|_| timed()));
    }
}

/// Measures everything; `on_size` is told before each size.
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
    ladder::rungs(&mut candidates, camera, &frame, threads);
    projections(&mut candidates, &cameras, &frame, threads)?;
    #[cfg(feature = "realsense")]
    librealsense(&mut candidates, camera, &frame)?;

    let mut times: Vec<Vec<Duration>> =
        vec![Vec::with_capacity(options.rounds * CALLS); candidates.len()];
    for _ in 0..options.rounds {
        for (candidate, times) in candidates.iter_mut().zip(&mut times) {
            candidate.take_turn(times);
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
    for threads in one_and(threads) {
        let mut out = FloorBuffer::new(frame.depth.len());
        let call = move || copy(black_box(&frame.depth), black_box(out.places()), threads);
        candidates.push(Candidate::new("floor copy", threads, call));
        let mut out = FloorBuffer::new(frame.depth.len());
        let call = move || copy(black_box(&frame.depth), black_box(out.places()), threads);
        candidates.push(Candidate::new("floor copy", threads, call).rested());
        let mut buffers = rotating(frame, || FloorBuffer::new(frame.depth.len()));
        let call = move || {
            buffers.rotate_left(1);
            let (frame, out) = &mut buffers[0];
            copy(black_box(&frame.depth), black_box(out.places()), threads);
        };
        candidates.push(Candidate::new("floor copy, rotating", threads, call));
    }
}

/// Places that begin where the allocator's big blocks do, 16 bytes behind the begin of a cache
/// line. On a lucky buffer, which begins with one, the floor is 15 % lower, and the projection just
/// as fast as on others.
struct FloorBuffer {
    values: Vec<[f32; 3]>,
    first: usize,
}

impl FloorBuffer {
    fn new(len: usize) -> Self {
        let values = huge_pages::vec([0.0; 3], len + LINE_BYTES);
        let is_behind_line =
            |i: &usize| (values.as_ptr().addr() + i * size_of::<[f32; 3]>()) % LINE_BYTES == 16;
        let first = (0..LINE_BYTES).find(is_behind_line).unwrap_or(0);
        Self { values, first }
    }

    fn places(&mut self) -> &mut [[f32; 3]] {
        let end = self.values.len() - LINE_BYTES + self.first;
        &mut self.values[self.first..end]
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
    let compact = ProjectOptions::default();
    let organized = ProjectOptions { layout: Layout::Organized, ..compact };
    let reduced = |reduction| ProjectOptions { reduction, ..compact };
    let distorted = Intrinsics {
        distortion: Distortion::InverseBrownConrady,
        coeffs: [-0.055, 0.066, 0.0004, -0.0003, -0.021],
        ..*camera
    };
    let decimate = Some(Decimate { factor: 2, by: DecimateBy::Median });

    let best = Kernel::best();
    for kernel in Kernel::available() {
        let name = |what: &str| {
            if kernel == best { what.to_owned() } else { format!("{what}, {}", kernel.name()) }
        };
        for (what, options) in [("simd", organized), ("compact", compact)] {
            let projector = BackProjector::new(camera, None, options)?.with_kernel(kernel);
            candidates.push(hot(name(what), 1, projector, frame));
        }
    }
    for (what, options) in [("simd+rayon", organized), ("compact+rayon", compact)] {
        let mut projector = BackProjector::new(camera, None, options)?;
        // Threads are awake in a benchmark.
        projector.tune(None, &mut || drop(rayon::broadcast(|_| ())))?;
        candidates.push(hot(what.into(), threads, projector, frame));
    }
    for (what, options) in [("simd", organized), ("compact", compact)] {
        candidates
            .push(hot(what.into(), 1, BackProjector::new(camera, None, options)?, frame).rested());
    }
    for (what, options) in [("simd, rotating", organized), ("compact, rotating", compact)] {
        let mut projector = BackProjector::new(camera, None, options)?;
        let mut buffers = rotating(frame, projector.points_maker());
        let call = move || {
            buffers.rotate_left(1);
            let (frame, points) = &mut buffers[0];
            projector
                .project(black_box(frame), black_box(points))
                .expect("the frame is the camera's");
        };
        candidates.push(Candidate::new(what, 1, call));
    }
    for (what, options) in [
        ("compact, decimated 2x2", reduced(Reduction { decimate, ..Default::default() })),
        (
            "compact, voxels of 2 cm",
            reduced(Reduction { voxel_m: Some(0.02), ..Default::default() }),
        ),
    ] {
        candidates.push(hot(what.into(), 1, BackProjector::new(camera, None, options)?, frame));
    }
    for (what, options) in [("simd, distorted", organized), ("compact, distorted", compact)] {
        candidates.push(hot(what.into(), 1, BackProjector::new(&distorted, None, options)?, frame));
    }
    let textured = ProjectOptions { texture: true, ..compact };
    let projector = BackProjector::new(camera, cameras.color_camera(), textured)?;
    candidates.push(hot("compact, textured".into(), 1, projector, frame));
    painting(candidates, camera, frame)
}

/// The colours that a viewer's sink gives the points of a cloud.
fn painting<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    camera: &Intrinsics,
    frame: &DepthFrame,
) -> anyhow::Result<()> {
    let mut points = Points::default();
    BackProjector::new(camera, None, ProjectOptions::default())?.project(frame, &mut points)?;
    let range = ColorRange { colormap: Colormap::default(), first_m: 0.5, last_m: 6.0 };
    let ramp = Ramp::of(Coloring::ByDepth(range)).context("depth decides")?;
    let mut colors_rgba = huge_pages::vec(0, points.positions_m.len());
    let call = move || ramp.paint(black_box(&points.positions_m), black_box(&mut colors_rgba));
    candidates.push(Candidate::new("colours by depth", 1, call));
    Ok(())
}

/// Calls a projector on the same frame and cloud again and again.
fn hot<'a>(
    name: String,
    threads: usize,
    mut projector: BackProjector,
    frame: &'a DepthFrame,
) -> Candidate<'a> {
    let mut points = projector.points_maker()();
    let call = move || {
        projector
            .project(black_box(frame), black_box(&mut points))
            .expect("the frame is the camera's")
    };
    Candidate::new(name, threads, call)
}

fn rotating<T>(frame: &DepthFrame, make: impl Fn() -> T) -> Vec<(DepthFrame, T)> {
    (0..ROTATING).map(|_| (frame.clone(), make())).collect()
}

fn one_and(threads: usize) -> impl Iterator<Item = usize> {
    std::iter::once(1).chain((threads > 1).then_some(threads))
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
