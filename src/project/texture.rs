//! Where the colour of a point is decided, if a colour camera gives it: [`Texture::colorize`], for
//! each point of a cloud, from the frame's colour image ([`crate::frame::DepthFrame::color`], which
//! the source has matched in time). Colours by depth or height, or one for all points, are decided
//! by the viewer's sink, with [`crate::color`].

use crate::camera::{ColorCamera, Intrinsics};
use crate::color::nearest;
use crate::frame::{ColorFormat, ColorImage};

/// The colour of points that the colour camera does not see: grey. Viewers show an alpha of 0 as
/// black.
pub const UNSEEN_RGBA: u32 = 0x8080_80ff;
/// Points that are colorized at a time.
const CHUNK: usize = 64;
/// The index of no pixel.
const NOWHERE: u32 = u32::MAX;

/// Looks points up in the colour camera's image: the point goes into that camera's frame by the
/// extrinsics, then onto its image by its intrinsics, lens distortion included; the nearest pixel
/// has the colour (`rs2_transform_point_to_point` and `rs2_project_point_to_pixel`, as
/// librealsense's own texture coordinates).
///
/// Occlusion is not solved: a point that something nearer hides from the colour camera gets that
/// thing's colour.
pub(super) struct Texture(pub ColorCamera);

impl Texture {
    /// Gives each point its colour, as `0xRRGGBBAA`: [`UNSEEN_RGBA`] where the colour camera does
    /// not see it, or without an image of that camera's size.
    pub(super) fn colorize(
        &self,
        positions_m: &[[f32; 3]],
        image: Option<&ColorImage>,
        colors_rgba: &mut [u32],
    ) {
        let Some(image) = image.filter(|image| is_of(image, &self.0.intrinsics)) else {
            return colors_rgba.fill(UNSEEN_RGBA);
        };
        // Decided once for all points.
        match image.format {
            ColorFormat::Rgb8 => self.sample(positions_m, image, rgb8, colors_rgba),
            ColorFormat::Bgr8 => self.sample(positions_m, image, bgr8, colors_rgba),
            ColorFormat::Yuyv => self.sample(positions_m, image, yuyv, colors_rgba),
            ColorFormat::Mono8 => self.sample(positions_m, image, mono8, colors_rgba),
        }
    }

    fn sample(
        &self,
        positions_m: &[[f32; 3]],
        image: &ColorImage,
        color_at: impl Fn(&[u8], usize) -> u32,
        colors_rgba: &mut [u32],
    ) {
        let camera = &self.0.intrinsics;
        let Intrinsics { fx, fy, ppx, ppy, .. } = *camera;
        if camera.is_distorted() {
            self.look_up(positions_m, image, |point| camera.pixel(point), color_at, colors_rgba);
        } else {
            let pixel = |[x, y, z]: [f32; 3]| [x / z * fx + ppx, y / z * fy + ppy];
            self.look_up(positions_m, image, pixel, color_at, colors_rgba);
        }
    }

    /// `pixel_of` is [`Intrinsics::pixel`], or the part of it that is needed.
    fn look_up(
        &self,
        positions_m: &[[f32; 3]],
        image: &ColorImage,
        pixel_of: impl Fn([f32; 3]) -> [f32; 2],
        color_at: impl Fn(&[u8], usize) -> u32,
        colors_rgba: &mut [u32],
    ) {
        let from_depth = self.0.from_depth;
        let (columns, rows) = (image.width as f32, image.height as f32);
        // Indices first, which the compiler computes several at a time, then colours, which it
        // cannot look up so.
        let mut indices = [NOWHERE; CHUNK];
        for (colors, points) in colors_rgba.chunks_mut(CHUNK).zip(positions_m.chunks(CHUNK)) {
            for (index, &point) in indices.iter_mut().zip(points) {
                let point = from_depth.apply(point);
                let [u, v] = pixel_of(point);
                let column = nearest(u.clamp(0.0, columns - 1.0));
                let row = nearest(v.clamp(0.0, rows - 1.0));
                // A camera sees nothing behind it, and no NaN. All of it is computed, without a
                // branch.
                let is_seen = (point[2] > 0.0)
                    & (u >= -0.5)
                    & (v >= -0.5)
                    & (u < columns - 0.5)
                    & (v < rows - 0.5);
                *index = if is_seen { row * image.width + column } else { NOWHERE };
            }
            for (color, &index) in colors.iter_mut().zip(&indices) {
                *color = if index == NOWHERE {
                    UNSEEN_RGBA
                } else {
                    color_at(&image.bytes, index as usize)
                };
            }
        }
    }
}

fn is_of(image: &ColorImage, intrinsics: &Intrinsics) -> bool {
    (image.width, image.height) == (intrinsics.width, intrinsics.height)
        && image.bytes.len()
            == image.width as usize * image.height as usize * image.format.bytes_per_pixel()
}

#[inline]
fn rgba(r: u8, g: u8, b: u8) -> u32 {
    u32::from_be_bytes([r, g, b, 0xff])
}

#[inline]
fn rgb8(bytes: &[u8], pixel: usize) -> u32 {
    rgba(bytes[3 * pixel], bytes[3 * pixel + 1], bytes[3 * pixel + 2])
}

fn bgr8(bytes: &[u8], pixel: usize) -> u32 {
    rgba(bytes[3 * pixel + 2], bytes[3 * pixel + 1], bytes[3 * pixel])
}

fn mono8(bytes: &[u8], pixel: usize) -> u32 {
    rgba(bytes[pixel], bytes[pixel], bytes[pixel])
}

/// Two pixels share U and V. The integer arithmetic is that of librealsense's converter (BT.601,
/// video range).
fn yuyv(bytes: &[u8], pixel: usize) -> u32 {
    let pair = pixel / 2 * 4;
    // An image of odd width has its last pixel without a V of its own.
    let at = |i: usize| i32::from(bytes.get(i).copied().unwrap_or(128));
    let (y, u, v) = (at(2 * pixel), at(pair + 1), at(pair + 3));
    let (c, d, e) = (y - 16, u - 128, v - 128);
    let channel = |t: i32| ((t + 128) >> 8).clamp(0, 255) as u8;
    rgba(
        channel(298 * c + 409 * e),
        channel(298 * c - 100 * d - 208 * e),
        channel(298 * c + 516 * d),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{Distortion, Extrinsics};

    const SIDE: u32 = 8;

    fn texture(translation_m: [f32; 3]) -> Texture {
        let intrinsics = Intrinsics {
            width: SIDE,
            height: SIDE,
            fx: 10.0,
            fy: 10.0,
            ppx: 3.5,
            ppy: 3.5,
            distortion: Distortion::None,
            coeffs: [0.0; 5],
        };
        let from_depth = Extrinsics { translation_m, ..Extrinsics::IDENTITY };
        Texture(ColorCamera { intrinsics, from_depth })
    }

    /// Red counts columns, green rows.
    fn image() -> ColorImage {
        let pixels = (0..SIDE * SIDE).flat_map(|n| [(n % SIDE) as u8, (n / SIDE) as u8, 7]);
        ColorImage { bytes: pixels.collect(), ..ColorImage::new(SIDE, SIDE, ColorFormat::Rgb8) }
    }

    fn colorized(offset_m: [f32; 3], image: Option<&ColorImage>, points: &[[f32; 3]]) -> Vec<u32> {
        let mut colors = vec![0; points.len()];
        texture(offset_m).colorize(points, image, &mut colors);
        colors
    }

    /// The point at depth 2 m that pixel (u, v) sees.
    fn at(u: f32, v: f32) -> [f32; 3] {
        [(u - 3.5) / 10.0 * 2.0, (v - 3.5) / 10.0 * 2.0, 2.0]
    }

    #[test]
    fn points_get_the_nearest_pixel_of_a_camera_where_its_extrinsics_say() {
        let points = [at(0.0, 0.0), at(7.0, 7.0), at(2.4, 5.6), at(-0.4, 7.4)];
        let want = [0x0000_07ff, 0x0707_07ff, 0x0206_07ff, 0x0007_07ff];
        assert_eq!(colorized([0.0; 3], Some(&image()), &points), want);
        // 0.2 m at 2 m are one pixel of ten at a focal length of 10.
        assert_eq!(colorized([0.2, 0.0, 0.0], Some(&image()), &[at(2.0, 1.0)]), [0x0301_07ff]);
    }

    #[test]
    fn what_the_camera_does_not_see_is_marked() {
        let outside = [at(-0.6, 3.0), at(7.6, 3.0), at(3.0, -0.6), at(3.0, 7.6)];
        assert_eq!(colorized([0.0; 3], Some(&image()), &outside), [UNSEEN_RGBA; 4]);
        let impossible = [[0.0, 0.0, -2.0], [0.0; 3], [f32::NAN; 3]];
        assert_eq!(colorized([0.0; 3], Some(&image()), &impossible), [UNSEEN_RGBA; 3]);
        assert_eq!(colorized([0.0; 3], None, &[at(1.0, 1.0)]), [UNSEEN_RGBA]);
        let cut = ColorImage { bytes: vec![0; 5], ..image() };
        assert_eq!(colorized([0.0; 3], Some(&cut), &[at(1.0, 1.0)]), [UNSEEN_RGBA]);
    }

    #[test]
    fn formats() {
        assert_eq!(rgb8(&[0, 0, 0, 1, 2, 3], 1), 0x0102_03ff);
        assert_eq!(bgr8(&[0, 0, 0, 1, 2, 3], 1), 0x0302_01ff);
        assert_eq!(mono8(&[5, 9], 1), 0x0909_09ff);
        // Grey, white and pure red of BT.601.
        assert_eq!(yuyv(&[16, 128, 235, 128], 0), 0x0000_00ff);
        assert_eq!(yuyv(&[16, 128, 235, 128], 1), 0xffff_ffff);
        let [r, g, b, _] = yuyv(&[81, 90, 81, 240], 1).to_be_bytes();
        assert!(r > 250 && g < 5 && b < 5, "{r} {g} {b}");
        assert_eq!(yuyv(&[235, 128], 0), 0xffff_ffff);
    }
}
