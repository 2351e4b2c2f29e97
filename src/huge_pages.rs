//! Big buffers in big pages.
//!
//! A cloud of 848x480 pixels spans 1,200 pages of 4 kB. Between two frames of a camera the
//! processor forgets where they are, and finding them again cost a third of the projection's time
//! where it was measured, on a virtual machine. In pages of 2 MB there are three.

use rustix::mm::{Advice, madvise};

/// A vector of `len` times `value`, in huge pages as far as it fills some and the system has them.
///
/// Each value is written, so that the system gives its pages now and not while the first frames
/// wait for them.
pub fn vec<T: Copy>(value: T, len: usize) -> Vec<T> {
    const PAGE_BYTES: usize = 4096;
    let mut values = Vec::with_capacity(len);
    let room = values.spare_capacity_mut();
    let (start, bytes) = (room.as_mut_ptr().cast::<u8>(), size_of_val(room));
    // The whole pages within.
    let skip = start.align_offset(PAGE_BYTES);
    let whole = bytes.saturating_sub(skip) / PAGE_BYTES * PAGE_BYTES;
    if whole > 0 {
        // SAFETY: the range is within the vector's own memory. The advice changes no content and no
        // access; if it is not taken, nothing is lost.
        let _ = unsafe { madvise(start.add(skip).cast(), whole, Advice::LinuxHugepage) };
    }
    values.resize(len, value);
    values
}
