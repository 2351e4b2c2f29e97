//! Back-projection: depth image in, points out.
//!
//! For a pixel (u, v) with raw depth d: `z = d * units`, `x = ray_x(u, v) * z`, `y = ray_y(u, v) *
//! z`, all in f32, where the ray is `((u - ppx) / fx, (v - ppy) / fy)`, straightened if the lens
//! bends it ([`Intrinsics::ray`]). This is librealsense's `rs2_deproject_pixel_to_point`, operation
//! by operation; without distortion the points agree with its point cloud bit for bit.
//!
//! | file | duty |
//! | --- | --- |
//! | this one | what is done to an image, in which order |
//! | `view` | which part of the image, which depths, and the rays of its pixels |
//! | `decimate`, `voxel` | fewer pixels before the projection, fewer points after it |
//! | `bands` | spreads rows over threads |
//! | `kernel` | the inner loop, per instruction set |
//! | `metres` | the same for depth as floats |
//! | `texture` | the colours of points, out of a colour camera's image |
//! | `naive` | the obviously right projection, which tests compare the fast one with |
//!
//! Nothing is allocated once the output has its full capacity, and the result does not depend on
//! the number of threads: work is spread by rayon over the pool in which
//! [`BackProjector::project`] is called.

mod bands;
mod decimate;
pub mod kernel;
mod metres;
pub mod naive;
mod texture;
mod view;
mod voxel;

use std::hint::black_box;
use std::time::Duration;

use bands::Bands;
pub use decimate::{Decimate, DecimateBy};
use kernel::Kernel;
use rayon::ThreadPool;
use texture::Texture;
pub use texture::UNSEEN_RGBA;
pub use view::{DepthRange, Roi};
use view::{Rays, Rows};
use voxel::VoxelGrid;

use crate::camera::{ColorCamera, Intrinsics};
use crate::frame::DepthFrame;
use crate::frame::Points;
use crate::pool;

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ProjectError {
    #[error("the camera's intrinsics make no sense: {0}")]
    Intrinsics(String),
    #[error("the region of interest {roi} is not within the {width}x{height} image")]
    Roi { roi: Roi, width: u32, height: u32 },
    #[error("{width}x{height} pixels are too few to decimate by {factor}")]
    TooSmall { width: u32, height: u32, factor: u32 },
    #[error("colours from a colour camera were asked for, and there is none")]
    NoColorCamera,
    #[error(
        "frame {number} is {got_width}x{got_height} with {got_len} values, the stream is \
         {width}x{height}"
    )]
    Size { number: u64, got_width: u32, got_height: u32, got_len: usize, width: u32, height: u32 },
}

/// Which pixels give a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Those with depth, without gaps, in row-major order.
    #[default]
    Compact,
    /// All, so that neighbours in the image can be found; those without depth are zeros.
    Organized,
}

/// What is made of an image. The default is a point for each pixel with depth, without colour.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProjectOptions {
    pub layout: Layout,
    /// Each point gets the colour that the colour camera sees there.
    pub texture: bool,
    pub reduction: Reduction,
}

/// What makes clouds smaller before anybody pays for them. It is done in this order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reduction {
    /// The part of the image to take.
    pub roi: Option<Roi>,
    /// The depths to take.
    pub range: DepthRange,
    /// One pixel for each block of them.
    pub decimate: Option<Decimate>,
    /// One point for each cube with edges of so many metres, in compact clouds.
    pub voxel_m: Option<f32>,
}

/// Turns depth images of one camera into points.
pub struct BackProjector {
    /// Of the whole image.
    width: u32,
    height: u32,
    /// The part of it that is taken.
    roi: Roi,
    range: DepthRange,
    layout: Layout,
    /// With room for a decimated image.
    decimate: Option<(Decimate, Vec<u16>)>,
    /// The stream's lens, and the one that `rays` are of.
    lens: Intrinsics,
    rays_of: Intrinsics,
    rays: Rays,
    bands: Bands,
    kernel: Kernel,
    texture: Option<Texture>,
    voxels: Option<VoxelGrid>,
}

impl BackProjector {
    /// `color_camera` is needed for texture alone.
    ///
    /// # Errors
    /// If the intrinsics can't be those of a camera, or the options don't fit it.
    pub fn new(
        camera: &Intrinsics,
        color_camera: Option<ColorCamera>,
        options: ProjectOptions,
    ) -> Result<Self, ProjectError> {
        camera.check().map_err(ProjectError::Intrinsics)?;
        let ProjectOptions { layout, texture, reduction } = options;
        let Reduction { roi, range, decimate, voxel_m } = reduction;
        let roi = Roi::within(roi, camera)?;
        let factor = decimate.map_or(1, |decimate| decimate.factor);
        let (width, height) = (roi.width / factor, roi.height / factor);
        if width == 0 || height == 0 {
            return Err(ProjectError::TooSmall { width: roi.width, height: roi.height, factor });
        }
        let (width, height) = (width as usize, height as usize);
        let texture =
            texture.then(|| color_camera.ok_or(ProjectError::NoColorCamera)).transpose()?;
        if let Some(camera) = &texture {
            camera.intrinsics.check().map_err(ProjectError::Intrinsics)?;
        }
        Ok(Self {
            lens: *camera,
            rays_of: *camera,
            width: camera.width,
            height: camera.height,
            range,
            layout,
            decimate: decimate.map(|decimate| (decimate, vec![0; width * height])),
            roi,
            rays: rays(camera, roi, factor),
            bands: Bands::new(width, height),
            kernel: Kernel::best(),
            texture: texture.map(Texture),
            voxels: voxel_m
                .filter(|_| layout == Layout::Compact)
                .map(|voxel_m| VoxelGrid::new(voxel_m, width * height)),
        })
    }

    /// Uses another instruction set than the best one.
    pub fn with_kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = kernel;
        self
    }

    /// Cuts the image into so many bands for threads to share; at first it is one.
    pub fn with_bands(mut self, bands: usize) -> Self {
        self.bands.set_count(bands);
        self
    }

    pub fn bands(&self) -> usize {
        self.bands.count()
    }

    /// Finds out whether it pays to share images among the threads of `pool` (or of that in which
    /// this is called), and cuts them accordingly.
    ///
    /// Synthetic images are projected in interleaved runs both ways, and the medians decide. `now`
    /// reads a clock, from any moment on. `rest` is called before each run: between the frames of a
    /// camera threads fall asleep, and to wake one can cost more than it saves. The runs rotate
    /// through several buffers, as frames do, or they would find all of it in a cache. Threads that
    /// hardly save anything are left to others. A rest delays nobody else's work in `pool`.
    ///
    /// # Errors
    /// None that [`BackProjector::project`] would not have.
    pub fn tune(
        &mut self,
        pool: Option<&ThreadPool>,
        now: &(dyn Fn() -> Duration + Sync),
        rest: &mut dyn FnMut(),
    ) -> Result<(), ProjectError> {
        const ROUNDS: usize = 15;
        const BUFFERS: usize = 3;
        const WORTH_IT: f64 = 0.9;
        let threads = pool.map_or_else(rayon::current_num_threads, ThreadPool::current_num_threads);
        // Several bands for each, so that a thread that comes late leaves more to the others.
        let choices = [1, BANDS_PER_THREAD * threads];
        self.bands.set_count(choices[1]);
        if threads == 1 || self.bands.count() == 1 {
            self.bands.set_count(1);
            return Ok(());
        }
        let (frame, new_points) = (synthetic_image(self.width, self.height), self.points_maker());
        let mut buffers: Vec<_> = (0..BUFFERS).map(|_| (frame.clone(), new_points())).collect();
        let mut times = [[Duration::ZERO; ROUNDS]; 2];
        for round in 0..ROUNDS {
            for (times, bands) in times.iter_mut().zip(choices) {
                self.bands.set_count(bands);
                buffers.rotate_left(1);
                let (frame, points) = &mut buffers[0];
                rest();
                times[round] = in_pool(pool, || {
                    let started = now();
                    self.project(black_box(frame), points).map(|()| now().saturating_sub(started))
                })?;
            }
        }
        let [alone, shared] = times.map(|mut times| *times.select_nth_unstable(ROUNDS / 2).1);
        let is_worth_it = shared.as_secs_f64() < WORTH_IT * alone.as_secs_f64();
        self.bands.set_count(choices[usize::from(is_worth_it)]);
        tracing::debug!("projecting takes {alone:?} on one thread, {shared:?} on {threads}");
        Ok(())
    }

    /// Makes empty points with room for a whole image.
    pub fn points_maker(&self) -> impl Fn() -> Points + Send + use<> {
        let pixels = self.bands.pixels();
        let colors = if self.texture.is_some() { pixels } else { 0 };
        move || {
            let (mut positions_m, mut colors_rgba) =
                (pool::huge_vec([0.0; 3], pixels), pool::huge_vec(0, colors));
            positions_m.clear();
            colors_rgba.clear();
            Points { positions_m, colors_rgba }
        }
    }

    /// Replaces `points` by those of `frame`.
    ///
    /// # Errors
    /// If the frame is not of the camera's size.
    pub fn project(&mut self, frame: &DepthFrame, points: &mut Points) -> Result<(), ProjectError> {
        if (frame.width, frame.height) != (self.width, self.height)
            || frame.depth.len() != self.width as usize * self.height as usize
        {
            return Err(ProjectError::Size {
                number: frame.meta.number,
                got_width: frame.width,
                got_height: frame.height,
                got_len: frame.depth.len(),
                width: self.width,
                height: self.height,
            });
        }
        let lens = frame.intrinsics.unwrap_or(self.lens);
        if lens != self.rays_of {
            lens.check().map_err(ProjectError::Intrinsics)?;
            let factor = self.decimate.as_ref().map_or(1, |(decimate, _)| decimate.factor);
            (self.rays, self.rays_of) = (rays(&lens, self.roi, factor), lens);
        }
        if !frame.depth_m.is_empty() && self.decimate.is_none() {
            self.project_metres(frame, points);
            return Ok(());
        }
        let Some(scale) = self.range.scale(frame.meta.depth_units_m) else {
            points.positions_m.clear();
            points.colors_rgba.clear();
            return Ok(());
        };
        let mut rows = self.roi.rows(frame);
        if let Some((decimate, depth)) = &mut self.decimate {
            self.bands.decimate(self.kernel, *decimate, rows, &scale, depth);
            rows = Rows { depth, stride: self.bands.width() };
        }
        let image = bands::Image {
            rows,
            rays: &self.rays,
            scale,
            kernel: self.kernel,
            layout: self.layout,
            texture: self.texture.as_ref(),
            color: frame.color.as_deref(),
        };
        self.bands.project(&image, points);
        if let Some(voxels) = &mut self.voxels {
            voxels.run(&mut points.positions_m, &mut points.colors_rgba);
        }
        Ok(())
    }
}

impl BackProjector {
    fn project_metres(&mut self, frame: &DepthFrame, points: &mut Points) {
        let rays = self.rays.of_rows(0..self.roi.height as usize);
        metres::project(frame, self.roi, rays, self.range, self.layout, points);
        let Points { positions_m, colors_rgba } = points;
        colors_rgba.clear();
        if let Some(texture) = &self.texture {
            colors_rgba.resize(positions_m.len(), 0);
            texture.colorize(positions_m, frame.color.as_deref(), colors_rgba);
        }
        if let Some(voxels) = &mut self.voxels {
            voxels.run(positions_m, colors_rgba);
        }
    }
}

/// Of a region of a camera's image, or of the middles of its blocks of `factor` x `factor` pixels.
fn rays(camera: &Intrinsics, roi: Roi, factor: u32) -> Rays {
    let size = ((roi.width / factor) as usize, (roi.height / factor) as usize);
    let first_px = [roi.x, roi.y].map(|px| px as f32 + (factor - 1) as f32 / 2.0);
    Rays::new(camera, size, first_px, factor as f32)
}

/// Works in a pool that others share; or here, which is within one of its own.
pub(crate) fn in_pool<T: Send>(shared: Option<&ThreadPool>, work: impl FnOnce() -> T + Send) -> T {
    match shared {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// Bands for each thread, where an image is shared.
const BANDS_PER_THREAD: usize = 4;

/// An image with as many holes as a stereo camera's, 15 %.
fn synthetic_image(width: u32, height: u32) -> DepthFrame {
    let mut frame = DepthFrame::new(width, height);
    frame.meta.depth_units_m = 0.001;
    let mut state = 1u32;
    for d in &mut frame.depth {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *d = if state % 100 < 15 { 0 } else { 500 + (state >> 20) as u16 };
    }
    frame
}
