//! Which points of a cloud are shown and in which colour, and how clouds and images get to Rerun
//! without copying a pixel: as Arrow arrays over the buffers of the pools. A cloud is in flight until
//! Rerun has dropped the last array over it.
//!
//! | colouring | decided by |
//! | --- | --- |
//! | by depth, by height | [`Selection::of`], for the points that are shown |
//! | by texture | the projection, which gives the cloud its colours |
//! | uniform | the style of the cloud's entity (`session.rs`) |

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
use crate::color::{Coloring, Ramp};
use crate::frame::{Cloud, Points};
use crate::frame::{ColorFormat, ColorImage, DepthFrame};
use crate::pool;
use crate::pool::Pool;
use crate::sink::FrameTime;

/// Released clouds that the sink has not asked for yet, at most; it asks after each cloud.
const RELEASED: usize = 16;

/// Counts the clouds in flight, and reports each that is released.
#[derive(Clone)]
pub struct InFlightTracker {
    in_flight: Arc<AtomicUsize>,
    released: Sender<FrameTime>,
    clock: Arc<dyn Clock>,
}

impl InFlightTracker {
    /// With where the released clouds come out.
    pub fn new(clock: Arc<dyn Clock>) -> (Self, Receiver<FrameTime>) {
        let (released, out) = crossbeam_channel::bounded(RELEASED);
        (Self { in_flight: Arc::default(), released, clock }, out)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Hands a cloud to Rerun, with what is shown of it where that is not its own.
    pub fn add(&self, cloud: Arc<Cloud>, shown: Option<Arc<Points>>) -> Arc<InFlightCloud> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Arc::new(InFlightCloud { cloud, shown, tracker: self.clone() })
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
        let released = FrameTime { number: cloud.meta.number, at: tracker.clock.now() };
        // Before the count, so that the sink knows of it when it finds room.
        let _ = tracker.released.try_send(released);
        tracker.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl InFlightCloud {
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
        let floats = Arc::new(Float32Array::new(ScalarBuffer::from(positions), None));
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let positions: ArrayRef = Arc::new(FixedSizeListArray::new(item, 3, floats, None));
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

/// Chooses what is shown of each cloud.
///
/// A cloud of more points than the budget is subsampled: its points, in row-major order, are cut
/// into as many runs as the budget allows, of equal length but for one point, and each gives the one
/// that a hash of its number chooses: they stay spread over the image, without stripes.
pub struct Selection {
    max_points: usize,
    /// Where colours follow from a point's place.
    ramp: Option<Ramp>,
    pool: Pool<Points>,
}

impl Selection {
    /// For clouds of at most so many `pixels`, as many as are `in_flight` at once; after that
    /// nothing is allocated any more.
    pub fn new(max_points: usize, coloring: Coloring, pixels: usize, in_flight: usize) -> Self {
        let ramp = Ramp::of(coloring);
        let max_points = max_points.min(pixels);
        let colors = if ramp.is_some() { max_points } else { 0 };
        let make =
            move || Points { positions_m: Vec::new(), colors_rgba: pool::huge_vec(0, colors) };
        Self { max_points, ramp, pool: Pool::new(in_flight + 1, make) }
    }

    /// The positions and the colours that are shown, each empty where they are the cloud's own;
    /// `None` where both are. At most `max_points`, and at most what the selection was made for.
    pub fn of(&mut self, points: &Points, max_points: usize) -> Option<Arc<Points>> {
        let count = points.positions_m.len();
        let max_points = max_points.min(self.max_points);
        let is_subsampled = count > max_points;
        if !is_subsampled && self.ramp.is_none() {
            return None;
        }
        let indices = || chosen(count, max_points);
        let mut free = self.pool.free();
        let Points { positions_m, colors_rgba } = free.get_mut();
        positions_m.clear();
        if is_subsampled {
            positions_m.extend(indices().map(|index| points.positions_m[index]));
        }
        if let Some(ramp) = &self.ramp {
            let shown = if is_subsampled { &*positions_m } else { &points.positions_m };
            colors_rgba.resize(shown.len(), 0);
            ramp.colorize(shown, colors_rgba);
        } else {
            colors_rgba.clear();
            if !points.colors_rgba.is_empty() {
                colors_rgba.extend(indices().map(|index| points.colors_rgba[index]));
            }
        }
        Some(free.share())
    }
}

/// `budget` indices below `count`, in order.
fn chosen(count: usize, budget: usize) -> impl Iterator<Item = usize> {
    let start = move |run: usize| (run as u64 * count as u64 / budget as u64) as usize;
    (0..budget).map(move |run| {
        let length = start(run + 1) - start(run);
        // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4), scaled to the
        // run.
        let hash = (run as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        start(run) + ((hash * length as u64) >> 32) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::{ColorRange, Colormap};

    const BY_DEPTH: Coloring =
        Coloring::ByDepth(ColorRange { colormap: Colormap::Viridis, first_m: 1.0, last_m: 2.0 });

    fn cloud(count: usize, z: f32) -> Points {
        Points {
            positions_m: (0..count).map(|i| [i as f32, 0.0, z]).collect(),
            colors_rgba: (0..count as u32).collect(),
        }
    }

    #[test]
    fn the_budget_is_kept_and_used_up_by_points_of_the_cloud_in_order() {
        for (count, budget) in [(11, 10), (100, 7), (375_322, 100_000), (1000, 1), (5, 4)] {
            let mut selection = Selection::new(budget, Coloring::ByTexture, count, 2);
            let shown = selection.of(&cloud(count, 1.0), usize::MAX).unwrap();
            assert_eq!(shown.positions_m.len(), budget);
            for (position, color) in shown.positions_m.iter().zip(&shown.colors_rgba) {
                assert_eq!(position[0], *color as f32);
            }
            // In order, and every run has its point.
            let most = 2 * count.div_ceil(budget) as u32;
            let is_next = |pair: &[u32]| pair[0] < pair[1] && pair[1] - pair[0] <= most;
            assert!(shown.colors_rgba.windows(2).all(is_next), "{count} {budget}");
        }
    }

    #[test]
    fn what_is_the_clouds_own_is_not_copied_and_no_colours_are_made_up() {
        for coloring in [Coloring::ByTexture, Coloring::Uniform(7)] {
            let mut selection = Selection::new(10, coloring, 100, 2);
            assert!(selection.of(&cloud(10, 1.0), usize::MAX).is_none(), "it is small enough");
            let plain = Points { colors_rgba: Vec::new(), ..cloud(20, 1.0) };
            assert!(selection.of(&plain, usize::MAX).unwrap().colors_rgba.is_empty());
        }
    }

    #[test]
    fn each_cloud_has_its_colours_in_flight_and_nothing_is_allocated_once_it_runs() {
        for (max_points, shown) in [(usize::MAX, [100, 40]), (50, [50, 40])] {
            let mut selection = Selection::new(max_points, BY_DEPTH, 100, 1);
            let near = selection.of(&cloud(100, 1.0), usize::MAX).unwrap();
            let far = selection.of(&cloud(40, 2.0), usize::MAX).unwrap();
            assert_eq!(near.colors_rgba, vec![0x4401_54ff; shown[0]]);
            assert_eq!(far.colors_rgba, vec![0xfde7_25ff; shown[1]]);
            let buffers = (near.positions_m.as_ptr(), near.colors_rgba.as_ptr());
            drop((near, far));
            let third = selection.of(&cloud(100, 3.0), usize::MAX).unwrap();
            assert_eq!((third.positions_m.as_ptr(), third.colors_rgba.as_ptr()), buffers);
            assert_eq!(selection.pool.made_later(), 0);
        }
    }
}
