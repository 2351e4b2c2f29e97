//! Raw colour images: their many names of pixel formats, and how their rows are copied.

use crate::frame::ColorFormat;
use crate::recording::ros::Image;

/// How recorded pixels become those of a [`ColorFormat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Same,
    /// U Y0 V Y1 instead of Y0 U Y1 V.
    Swapped,
    /// A fourth byte in each pixel, which is left out.
    WithAlpha,
}

/// The pixel format that librealsense or ROS call `encoding`. What ROS and librealsense's recorder
/// call `yuv422` is UYVY.
fn pixels(encoding: &str) -> Option<(ColorFormat, Layout)> {
    Some(match encoding.to_ascii_lowercase().as_str() {
        "rgb8" => (ColorFormat::Rgb8, Layout::Same),
        // What OpenCV calls it.
        "bgr8" | "8uc3" => (ColorFormat::Bgr8, Layout::Same),
        "rgba8" => (ColorFormat::Rgb8, Layout::WithAlpha),
        "bgra8" => (ColorFormat::Bgr8, Layout::WithAlpha),
        "yuyv" | "yuy2" | "yuv422_yuy2" => (ColorFormat::Yuyv, Layout::Same),
        "uyvy" | "yuv422" => (ColorFormat::Yuyv, Layout::Swapped),
        "mono8" | "8uc1" | "y8" => (ColorFormat::Mono8, Layout::Same),
        _ => return None,
    })
}

/// Whether depthcast reads colour images with this encoding.
pub fn is_known(encoding: &str) -> bool {
    pixels(encoding).is_some()
}

/// Whether images with this encoding have one brightness a pixel, as those of an infrared camera.
pub fn is_grey(encoding: &str) -> bool {
    matches!(pixels(encoding), Some((ColorFormat::Mono8, _)))
}

/// What the raw images of a colour stream are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColorShape {
    pub width: u32,
    pub height: u32,
    pub format: ColorFormat,
    layout: Layout,
}

impl ColorShape {
    /// Of an encoding, still without a size; `None` if depthcast does not read it.
    pub fn of(encoding: &str) -> Option<Self> {
        pixels(encoding).map(|(format, layout)| Self { width: 0, height: 0, format, layout })
    }

    /// Bytes of a recorded row, without padding.
    fn row_bytes(&self) -> usize {
        let alpha = usize::from(self.layout == Layout::WithAlpha);
        self.width as usize * (self.format.bytes_per_pixel() + alpha)
    }

    /// Fails if this is no such image; the text says why.
    pub fn check(&self, image: &Image<'_>) -> Result<(), String> {
        let Self { width, height, .. } = *self;
        if (image.width, image.height) != (width, height) {
            return Err(format!(
                "a colour image of {}x{} in a stream of {width}x{height}",
                image.width, image.height
            ));
        }
        if pixels(image.encoding) != Some((self.format, self.layout)) {
            return Err(format!(
                "a colour image with the encoding '{}'",
                image.encoding.escape_debug()
            ));
        }
        let (step, len) = (u64::from(image.step_bytes), image.data.len() as u64);
        if step < self.row_bytes() as u64 || step * u64::from(height) != len {
            return Err(format!(
                "a colour image of {width}x{height} with {step} bytes a row and {len} in all"
            ));
        }
        Ok(())
    }

    /// Copies the rows of an image, which are `step_bytes` apart and have been checked, to `out`,
    /// without padding.
    pub fn copy(&self, data: &[u8], step_bytes: usize, out: &mut [u8]) {
        let out_bytes = self.width as usize * self.format.bytes_per_pixel();
        for (from, to) in data.chunks_exact(step_bytes).zip(out.chunks_exact_mut(out_bytes)) {
            let from = &from[..self.row_bytes()];
            match self.layout {
                Layout::Same => to.copy_from_slice(from),
                Layout::Swapped => {
                    for (from, to) in from.chunks_exact(2).zip(to.chunks_exact_mut(2)) {
                        to.copy_from_slice(&[from[1], from[0]]);
                    }
                }
                Layout::WithAlpha => {
                    for (from, to) in from.chunks_exact(4).zip(to.chunks_exact_mut(3)) {
                        to.copy_from_slice(&from[..3]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_formats_have_many_names() {
        assert_eq!(pixels("YUYV"), Some((ColorFormat::Yuyv, Layout::Same)));
        assert_eq!(pixels("yuv422"), Some((ColorFormat::Yuyv, Layout::Swapped)));
        assert_eq!(pixels("8UC1"), Some((ColorFormat::Mono8, Layout::Same)));
        assert_eq!(pixels("RGBA8"), Some((ColorFormat::Rgb8, Layout::WithAlpha)));
        assert_eq!(pixels("MJPEG"), None);
    }
}
