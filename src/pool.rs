//! Buffers that are made once and lent again and again.
//!
//! A pool keeps one [`Arc`] to each of its buffers. The other clones are the buffer's users; when
//! the last of them is dropped, wherever that happens (also inside the viewer's library), the
//! buffer is free. So nothing has to be sent back, and the pool, which only one thread fills from,
//! needs no lock. The first free buffer is taken, so that as few as possible rotate and they stay
//! in the processor's cache.

use std::sync::Arc;

use rustix::mm::{Advice, madvise};

pub struct Pool<T> {
    buffers: Vec<Arc<T>>,
    make: Box<dyn Fn() -> T + Send>,
    made_later: usize,
}

impl<T> Pool<T> {
    /// A pool of `count` buffers, made now.
    pub fn new(count: usize, make: impl Fn() -> T + Send + 'static) -> Self {
        Self {
            buffers: (0..count).map(|_| Arc::new(make())).collect(),
            make: Box::new(make),
            made_later: 0,
        }
    }

    /// Lets `fill` write into a free buffer; `share` then lends that buffer out.
    ///
    /// The pipeline sizes its pools for all that can be in flight. If none is free all the same,
    /// one more is made rather than blocking capture; tests check that [`Pool::made_later`] is 0.
    pub fn free(&mut self) -> Free<'_, T> {
        let index =
            self.buffers.iter_mut().position(|b| Arc::get_mut(b).is_some()).unwrap_or_else(|| {
                self.made_later += 1;
                self.buffers.push(Arc::new((self.make)()));
                self.buffers.len() - 1
            });
        Free { buffer: &mut self.buffers[index] }
    }

    pub fn made_later(&self) -> usize {
        self.made_later
    }
}

/// A buffer that nobody else holds.
pub struct Free<'a, T> {
    buffer: &'a mut Arc<T>,
}

impl<T> Free<'_, T> {
    pub fn get_mut(&mut self) -> &mut T {
        Arc::get_mut(self.buffer)
            .expect("a free buffer has one owner, the pool, and the pool is borrowed")
    }

    /// Lends the buffer out: it is free again when the last clone of the returned `Arc` is dropped.
    pub fn share(self) -> Arc<T> {
        Arc::clone(self.buffer)
    }
}

/// A vector of `len` times `value`, in huge pages as far as it fills some and the system has them.
///
/// A cloud of 848x480 pixels spans 1,200 pages of 4 kB. Between two frames of a camera the
/// processor forgets where they are, and finding them again cost a third of the projection's time
/// where it was measured, on a virtual machine. In pages of 2 MB there are three.
///
/// Each value is written, so that the system gives its pages now and not while the first frames
/// wait for them.
pub fn huge_vec<T: Copy>(value: T, len: usize) -> Vec<T> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_holder_drops_it() {
        let mut pool = Pool::new(2, || 0u32);
        let mut free = pool.free();
        *free.get_mut() = 7;
        let first = free.share();
        let other_holder = Arc::clone(&first);
        let second = pool.free().share();
        assert!(!Arc::ptr_eq(&first, &second));
        let address = Arc::as_ptr(&first);
        drop(first);
        drop(other_holder);
        assert_eq!(Arc::as_ptr(&pool.free().share()), address);
        assert_eq!(pool.made_later(), 0);
    }

    #[test]
    fn an_exhausted_pool_makes_one_more_and_says_so() {
        let mut pool = Pool::new(1, || 0u32);
        let _held = pool.free().share();
        let _more = pool.free().share();
        assert_eq!(pool.made_later(), 1);
    }
}
