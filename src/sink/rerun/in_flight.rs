//! Hands clouds and images to Rerun without copying a pixel: Arrow arrays over the buffers of the
//! pools. A cloud is in flight until Rerun has dropped the last array over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use rerun::datatypes::{Blob, ChannelDatatype, ColorModel, ImageFormat, PixelFormat};
use rerun::external::arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, UInt32Array};
use rerun::external::arrow::buffer::{Buffer, ScalarBuffer};
use rerun::external::arrow::datatypes::{DataType, Field, ToByteSlice as _};
use rerun::{DepthImage, Image, Points3D, SerializedComponentBatch};

use crate::clock::Clock;
use crate::cloud::{Cloud, Points};
use crate::frame::{ColorFormat, ColorImage, DepthFrame};
use crate::sink::Released;

/// Released clouds that the sink has not asked for yet, at most; it asks after each cloud.
const RELEASED: usize = 16;

/// Counts the clouds in flight, and reports each that is released.
#[derive(Clone)]
pub struct InFlightTracker {
    in_flight: Arc<AtomicUsize>,
    released: Sender<Released>,
    clock: Arc<dyn Clock>,
}

impl InFlightTracker {
    /// With where the released clouds come out.
    pub fn new(clock: Arc<dyn Clock>) -> (Self, Receiver<Released>) {
        let (released, out) = crossbeam_channel::bounded(RELEASED);
        (Self { in_flight: Arc::default(), released, clock }, out)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

/// A cloud that Rerun holds, with what is shown of it.
pub struct InFlightCloud {
    cloud: Arc<Cloud>,
    /// The positions and the colours that are shown, where not the cloud's own.
    shown: Option<Arc<Points>>,
    tracker: InFlightTracker,
}

impl Drop for InFlightCloud {
    fn drop(&mut self) {
        let Self { cloud, tracker, .. } = self;
        // Before the count, so that the sink knows of it when it finds room.
        let released = Released { number: cloud.meta.number, at: tracker.clock.now() };
        let _ = tracker.released.try_send(released);
        tracker.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl InFlightCloud {
    pub fn new(
        cloud: Arc<Cloud>,
        shown: Option<Arc<Points>>,
        tracker: &InFlightTracker,
    ) -> Arc<Self> {
        tracker.in_flight.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self { cloud, shown, tracker: tracker.clone() })
    }

    fn positions_m(&self) -> &[[f32; 3]] {
        let shown = self.shown.as_deref().filter(|shown| !shown.positions_m.is_empty());
        &shown.unwrap_or(&self.cloud.points).positions_m
    }

    fn colors_rgba(&self) -> &[u32] {
        let shown = self.shown.as_deref().filter(|shown| !shown.colors_rgba.is_empty());
        &shown.unwrap_or(&self.cloud.points).colors_rgba
    }

    /// The depth frame that the cloud was projected from, if it was kept.
    pub fn frame(&self) -> Option<&DepthFrame> {
        self.cloud.depth.as_deref()
    }

    /// One part of the cloud as bytes, which keep it in flight.
    fn buffer(self: &Arc<Self>, part: impl Fn(&Self) -> &[u8] + Send + 'static) -> Buffer {
        struct Part<F>(Arc<InFlightCloud>, F);
        impl<F: Fn(&InFlightCloud) -> &[u8]> AsRef<[u8]> for Part<F> {
            fn as_ref(&self) -> &[u8] {
                (self.1)(&self.0)
            }
        }
        Buffer::from(Bytes::from_owner(Part(Arc::clone(self), part)))
    }

    /// The shown points, with colours if there are any.
    pub fn points(self: &Arc<Self>) -> Points3D {
        let positions = self.buffer(|c| c.positions_m().as_flattened().to_byte_slice());
        let positions: ArrayRef = Arc::new(FixedSizeListArray::new(
            Arc::new(Field::new("item", DataType::Float32, false)),
            3,
            Arc::new(Float32Array::new(ScalarBuffer::from(positions), None)),
            None,
        ));
        let positions = SerializedComponentBatch::new(positions, Points3D::descriptor_positions());
        let colors = (!self.colors_rgba().is_empty()).then(|| {
            let colors = ScalarBuffer::from(self.buffer(|c| c.colors_rgba().to_byte_slice()));
            let colors: ArrayRef = Arc::new(UInt32Array::new(colors, None));
            SerializedComponentBatch::new(colors, Points3D::descriptor_colors())
        });
        Points3D { positions: Some(positions), colors, ..Default::default() }
    }

    /// The depth image, if it was kept.
    pub fn depth_image(self: &Arc<Self>) -> Option<DepthImage> {
        let size = self.frame().map(|frame| [frame.width, frame.height])?;
        let pixels = self.buffer(|c| c.frame().map_or(&[], |frame| frame.depth.to_byte_slice()));
        Some(DepthImage::from_gray16(Blob(ScalarBuffer::from(pixels)), size))
    }

    /// An image that came with the depth frame, in its own format.
    pub fn image(self: &Arc<Self>, part: fn(&DepthFrame) -> Option<&ColorImage>) -> Option<Image> {
        let image = self.frame().and_then(part)?;
        let size = [image.width, image.height];
        let of_model = |model| ImageFormat::from_color_model(size, model, ChannelDatatype::U8);
        let format = match image.format {
            ColorFormat::Rgb8 => of_model(ColorModel::RGB),
            ColorFormat::Bgr8 => of_model(ColorModel::BGR),
            ColorFormat::Mono8 => of_model(ColorModel::L),
            ColorFormat::Yuyv => ImageFormat::from_pixel_format(size, PixelFormat::YUY2),
        };
        let bytes = self.buffer(move |c| c.frame().and_then(part).map_or(&[], |i| &i.bytes));
        Some(Image::new(Blob(ScalarBuffer::from(bytes)), format))
    }
}
