//! Hands clouds to Rerun without copying a point: Arrow arrays that look into the pool's buffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use rerun::external::arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, UInt32Array};
use rerun::external::arrow::buffer::{Buffer, ScalarBuffer};
use rerun::external::arrow::datatypes::{DataType, Field};

use crate::clock::Clock;
use crate::cloud::{Cloud, Points};
use crate::frame::{ColorImage, DepthFrame};
use crate::sink::Released;

/// Landed clouds that the sink has not asked for yet, at most; it asks after each cloud.
const LANDED: usize = 16;

/// A cloud that Rerun holds. When the last array over it is gone, its buffers are free again and no
/// longer in flight.
pub(super) struct Flight(Arc<Landing>);

struct Landing {
    cloud: Arc<Cloud>,
    /// Those of the cloud's points that are shown, if not all are.
    thinned: Option<Arc<Points>>,
    /// The colours of what is shown, where the cloud brings none.
    painted: Option<Arc<Vec<u32>>>,
    tower: Tower,
}

/// Knows which clouds are in flight, and is told of each that has landed.
#[derive(Clone)]
pub(super) struct Tower {
    in_flight: Arc<AtomicUsize>,
    landed: Sender<Released>,
    clock: Arc<dyn Clock>,
}

impl Tower {
    /// With where the landed clouds come out.
    pub(super) fn new(clock: Arc<dyn Clock>) -> (Self, Receiver<Released>) {
        let (landed, out) = crossbeam_channel::bounded(LANDED);
        (Self { in_flight: Arc::default(), landed, clock }, out)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

impl Landing {
    fn points(&self) -> &Points {
        self.thinned.as_deref().unwrap_or(&self.cloud.points)
    }

    fn colors_rgba(&self) -> &[u32] {
        self.painted.as_deref().unwrap_or(&self.points().colors_rgba)
    }
}

impl Flight {
    pub(super) fn new(
        cloud: Arc<Cloud>,
        thinned: Option<Arc<Points>>,
        painted: Option<Arc<Vec<u32>>>,
        tower: &Tower,
    ) -> Self {
        tower.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::new(Landing { cloud, thinned, painted, tower: tower.clone() }))
    }

    /// The depth frame behind the cloud, if it was kept.
    pub(super) fn frame(&self) -> Option<&DepthFrame> {
        self.0.cloud.depth.as_deref()
    }

    /// The bytes of an image that came with it; they keep the cloud in flight.
    pub(super) fn image_bytes(&self, part: fn(&DepthFrame) -> Option<&ColorImage>) -> Buffer {
        struct Part(Arc<Landing>, fn(&DepthFrame) -> Option<&ColorImage>);
        impl AsRef<[u8]> for Part {
            fn as_ref(&self) -> &[u8] {
                self.0.cloud.depth.as_deref().and_then(self.1).map_or(&[], |image| &image.bytes)
            }
        }
        Buffer::from(Bytes::from_owner(Part(Arc::clone(&self.0), part)))
    }

    /// The bytes of one part of the cloud; they keep the cloud in flight.
    fn buffer(&self, part: fn(&Landing) -> &[u8]) -> Buffer {
        struct Part(Arc<Landing>, fn(&Landing) -> &[u8]);
        impl AsRef<[u8]> for Part {
            fn as_ref(&self) -> &[u8] {
                (self.1)(&self.0)
            }
        }
        Buffer::from(Bytes::from_owner(Part(Arc::clone(&self.0), part)))
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Before the count, so that the sink finds the news when it finds room.
        let _ = self
            .tower
            .landed
            .try_send(Released { number: self.cloud.meta.number, at: self.tower.clock.now() });
        self.tower.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The cloud's points, with colours if it has them.
pub(super) fn points(flight: &Flight) -> rerun::Points3D {
    let values = ScalarBuffer::<f32>::from(
        flight.buffer(|l| as_bytes(l.points().positions_m.as_flattened())),
    );
    let field = Arc::new(Field::new("item", DataType::Float32, false));
    let positions: ArrayRef = Arc::new(FixedSizeListArray::new(
        field,
        3,
        Arc::new(Float32Array::new(values, None)),
        None,
    ));
    let colors = (!flight.0.colors_rgba().is_empty()).then(|| {
        let values = ScalarBuffer::<u32>::from(flight.buffer(|l| as_bytes(l.colors_rgba())));
        let colors: ArrayRef = Arc::new(UInt32Array::new(values, None));
        rerun::SerializedComponentBatch::new(colors, rerun::Points3D::descriptor_colors())
    });
    rerun::Points3D {
        positions: Some(rerun::SerializedComponentBatch::new(
            positions,
            rerun::Points3D::descriptor_positions(),
        )),
        colors,
        ..Default::default()
    }
}

/// The cloud's depth image, if it was kept.
pub(super) fn depth_image(flight: &Flight) -> Option<rerun::DepthImage> {
    let frame = flight.0.cloud.depth.as_ref()?;
    let pixels =
        flight.buffer(|l| l.cloud.depth.as_ref().map_or(&[], |frame| as_bytes(&frame.depth)));
    let blob = rerun::datatypes::Blob(ScalarBuffer::from(pixels));
    Some(rerun::DepthImage::from_gray16(blob, [frame.width, frame.height]))
}

/// Numbers without padding or invalid values.
trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for u32 {}
impl Plain for u16 {}

fn as_bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: the slice is valid for its length in bytes, u8 has no alignment and no invalid
    // values, a `Plain` has no padding, and the result borrows from `values`.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}
