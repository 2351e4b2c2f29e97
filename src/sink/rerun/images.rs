//! The colour and infrared images beside a cloud, shown as they came, without a copy.

use rerun::RecordingStream;
use rerun::datatypes::{Blob, ChannelDatatype, ColorModel, ImageFormat, PixelFormat};
use rerun::external::arrow::buffer::ScalarBuffer;

use super::arrow::Flight;
use crate::frame::{ColorFormat, ColorImage, DepthFrame};
use crate::sink::Images;

/// Below where they are, by what they are.
pub(super) const COLOR: &str = "color";
pub(super) const INFRARED: &str = "infrared";

/// Logs images of the frames that are shown, each once.
#[derive(Default)]
pub(super) struct ImageLog {
    /// Number of the last colour image: several depth frames may have the same.
    last_color: Option<u64>,
}

impl ImageLog {
    pub(super) fn log(
        &mut self,
        rec: &RecordingStream,
        at: &str,
        images: Images,
        flight: &Flight,
    ) -> rerun::RecordingStreamResult<()> {
        let Some(frame) = flight.frame() else { return Ok(()) };
        if let Some(color) = frame.color.as_ref().filter(|_| images.color)
            && self.last_color.replace(color.number) != Some(color.number)
        {
            rec.log(
                format!("{at}/{COLOR}"),
                &image(color, flight, |frame| frame.color.as_deref()),
            )?;
        }
        if let Some(infrared) = frame.infrared.as_ref().filter(|_| images.infrared) {
            rec.log(
                format!("{at}/{INFRARED}"),
                &image(infrared, flight, |frame| frame.infrared.as_deref()),
            )?;
        }
        Ok(())
    }
}

fn image(
    image: &ColorImage,
    flight: &Flight,
    part: fn(&DepthFrame) -> Option<&ColorImage>,
) -> rerun::Image {
    let bytes = flight.image_bytes(part);
    let size = [image.width, image.height];
    let format = match image.format {
        ColorFormat::Rgb8 => {
            ImageFormat::from_color_model(size, ColorModel::RGB, ChannelDatatype::U8)
        }
        ColorFormat::Bgr8 => {
            ImageFormat::from_color_model(size, ColorModel::BGR, ChannelDatatype::U8)
        }
        ColorFormat::Mono8 => {
            ImageFormat::from_color_model(size, ColorModel::L, ChannelDatatype::U8)
        }
        ColorFormat::Yuyv => ImageFormat::from_pixel_format(size, PixelFormat::YUY2),
    };
    rerun::Image::new(Blob(ScalarBuffer::from(bytes)), format)
}
