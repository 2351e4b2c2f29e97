//! Back-projection: depth image in, points out.
//!
//! For a pixel (u, v) with raw depth d: `z = d * units`, `x = (u - ppx) / fx * z`, `y = (v - ppy) / fy * z`, all in f32. This is
//! `rs2_deproject_pixel_to_point` of librealsense without distortion, operation by operation, so the points agree with its point
//! cloud bit for bit. The two quotients depend on one coordinate each and stand in tables of `width + height` values.
//!
//! Pixels without depth give no point. So that many threads can write one gapless list in row-major order, the image is cut into
//! bands of rows: a first pass counts the pixels with depth in each band, which tells where its points go, a second writes them.
//! The result does not depend on the number of threads. Work is spread by [`rayon::join`] over the pool in which [`BackProjector::project`]
//! is called; nothing is allocated once the output has its full capacity.

mod colors;
pub mod naive;

use colors::DepthColors;
pub use colors::{ColorByDepth, Colormap};

use crate::camera::Intrinsics;
use crate::cloud::Points;
use crate::frame::DepthFrame;

/// Pixels in a band: small enough to balance threads, large enough that handing one over (a few microseconds) does not show.
const BAND_PIXELS: usize = 32 * 1024;

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ProjectError {
    #[error("the camera's intrinsics make no sense: {0}")]
    Intrinsics(String),
    #[error("depth with {0} distortion is not supported yet; depth of D400 cameras has none")]
    Distortion(&'static str),
    #[error("frame {number} is {got_width}x{got_height} with {got_len} values, the stream is {width}x{height}")]
    Size { number: u64, got_width: u32, got_height: u32, got_len: usize, width: u32, height: u32 },
}

/// Turns depth images of one camera into points.
pub struct BackProjector {
    width: u32,
    height: u32,
    /// `(u - ppx) / fx` for each column.
    ray_x: Vec<f32>,
    /// `(v - ppy) / fy` for each row.
    ray_y: Vec<f32>,
    rows_per_band: usize,
    /// Pixels with depth in each band of the image at hand.
    counts: Vec<usize>,
    colors: Option<DepthColors>,
}

impl BackProjector {
    /// # Errors
    /// If the intrinsics can't be those of a camera, or have a distortion that is not supported.
    pub fn new(intrinsics: &Intrinsics, colors: Option<ColorByDepth>) -> Result<Self, ProjectError> {
        intrinsics.check().map_err(ProjectError::Intrinsics)?;
        if intrinsics.is_distorted() {
            return Err(ProjectError::Distortion(intrinsics.distortion.as_str()));
        }
        let (width, height) = (intrinsics.width as usize, intrinsics.height as usize);
        let rows_per_band = BAND_PIXELS.div_ceil(width).min(height);
        Ok(Self {
            width: intrinsics.width,
            height: intrinsics.height,
            ray_x: (0..width).map(|u| (u as f32 - intrinsics.ppx) / intrinsics.fx).collect(),
            ray_y: (0..height).map(|v| (v as f32 - intrinsics.ppy) / intrinsics.fy).collect(),
            rows_per_band,
            counts: vec![0; height.div_ceil(rows_per_band)],
            colors: colors.map(DepthColors::new),
        })
    }

    /// Makes empty points with room for a whole image.
    ///
    /// Each value is written once, so that the system gives its pages now and not while the first clouds wait for them.
    pub fn points_maker(&self) -> impl Fn() -> Points + Send + use<> {
        let pixels = self.width as usize * self.height as usize;
        let colors = if self.colors.is_some() { pixels } else { 0 };
        move || {
            let (mut positions_m, mut colors_rgba) = (vec![[f32::NAN; 3]; pixels], vec![u32::MAX; colors]);
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
        let (width, height) = (self.width as usize, self.height as usize);
        if (frame.width, frame.height) != (self.width, self.height) || frame.depth.len() != width * height {
            return Err(ProjectError::Size {
                number: frame.meta.number,
                got_width: frame.width,
                got_height: frame.height,
                got_len: frame.depth.len(),
                width: self.width,
                height: self.height,
            });
        }
        let units = frame.meta.depth_units_m;
        let color_table = self.colors.as_mut().map(|c| c.table(units));
        count_bands(&frame.depth, self.rows_per_band * width, &mut self.counts);
        let total = self.counts.iter().sum();
        points.positions_m.resize(total, [0.0; 3]);
        points.colors_rgba.resize(if color_table.is_some() { total } else { 0 }, 0);
        let bands = Bands {
            depth: &frame.depth,
            ray_y: &self.ray_y,
            counts: &self.counts,
            positions: &mut points.positions_m,
            colors: &mut points.colors_rgba,
        };
        let shared = Shared { units, ray_x: &self.ray_x, rows_per_band: self.rows_per_band, color_table };
        project_bands(bands, &shared);
        Ok(())
    }
}

fn count_bands(depth: &[u16], band_pixels: usize, counts: &mut [usize]) {
    if let [count] = counts {
        *count = depth.iter().map(|&d| usize::from(d != 0)).sum();
        return;
    }
    let half = counts.len() / 2;
    let (left, right) = counts.split_at_mut(half);
    let (left_depth, right_depth) = depth.split_at(half * band_pixels);
    rayon::join(|| count_bands(left_depth, band_pixels, left), || count_bands(right_depth, band_pixels, right));
}

/// What all bands of one image share.
struct Shared<'a> {
    units: f32,
    ray_x: &'a [f32],
    rows_per_band: usize,
    color_table: Option<&'a [u32]>,
}

/// Some neighbouring bands and the place of just their points.
struct Bands<'a> {
    depth: &'a [u16],
    ray_y: &'a [f32],
    counts: &'a [usize],
    positions: &'a mut [[f32; 3]],
    /// As long as `positions`, or empty.
    colors: &'a mut [u32],
}

fn project_bands(bands: Bands<'_>, shared: &Shared<'_>) {
    let Bands { depth, ray_y, counts, positions, colors } = bands;
    if counts.len() == 1 {
        return project_band(depth, ray_y, shared, positions, colors);
    }
    let half = counts.len() / 2;
    let points: usize = counts[..half].iter().sum();
    let (left_depth, right_depth) = depth.split_at(half * shared.rows_per_band * shared.ray_x.len());
    let (left_ray_y, right_ray_y) = ray_y.split_at(half * shared.rows_per_band);
    let (left_counts, right_counts) = counts.split_at(half);
    let (left_positions, right_positions) = positions.split_at_mut(points);
    let (left_colors, right_colors) = colors.split_at_mut(if colors.is_empty() { 0 } else { points });
    let left =
        Bands { depth: left_depth, ray_y: left_ray_y, counts: left_counts, positions: left_positions, colors: left_colors };
    let right =
        Bands { depth: right_depth, ray_y: right_ray_y, counts: right_counts, positions: right_positions, colors: right_colors };
    rayon::join(|| project_bands(left, shared), || project_bands(right, shared));
}

fn project_band(depth: &[u16], ray_y: &[f32], shared: &Shared<'_>, positions: &mut [[f32; 3]], colors: &mut [u32]) {
    let mut positions = positions.iter_mut();
    for (row, &ray_y) in depth.chunks_exact(shared.ray_x.len()).zip(ray_y) {
        for (&d, &ray_x) in row.iter().zip(shared.ray_x) {
            if d != 0 {
                let z = f32::from(d) * shared.units;
                *positions.next().expect("as many places as pixels with depth were counted") = [ray_x * z, ray_y * z, z];
            }
        }
    }
    if let Some(table) = shared.color_table {
        for (color, &d) in colors.iter_mut().zip(depth.iter().filter(|&&d| d != 0)) {
            *color = table[usize::from(d)];
        }
    }
}
