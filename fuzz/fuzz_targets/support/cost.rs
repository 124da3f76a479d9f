//! What a call costs, for assertions: bytes of memory and time of its thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The system's allocator, which counts bytes in use.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// What a call took.
pub struct Cost {
    /// Bytes that the process had in use at the peak, beyond those before the call.
    pub bytes: usize,
    /// Time that the thread was running. Other work on the machine does not count.
    pub time: Duration,
}

/// Runs a call, and measures it.
pub fn measured<T>(run: impl FnOnce() -> T) -> (T, Cost) {
    let before = USED.load(Relaxed);
    PEAK.store(before, Relaxed);
    let begun = thread_time();
    let answer = run();
    let time = thread_time().saturating_sub(begun);
    (answer, Cost { bytes: PEAK.load(Relaxed).saturating_sub(before), time })
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock of every Linux").into()
}

fn took(bytes: usize) {
    let used = USED.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(used, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        USED.fetch_sub(layout.size(), Relaxed);
        took(size);
        unsafe { System.realloc(at, layout, size) }
    }
}
