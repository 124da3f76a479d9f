//! Stands before the clock_gettime(3) of a program: the time of day is ahead of the kernel's by as many nanoseconds as the
//! file `CLOCK_AHEAD` says, now. Other clocks are as they are.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

const REALTIME: c_int = 0;
const SECOND: i64 = 1_000_000_000;

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

const READABLE: c_int = 1;
const SHARED: c_int = 1;

#[repr(C)]
pub struct Time {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn mmap(at: *mut c_void, len: usize, protection: c_int, flags: c_int, file: c_int, from: i64) -> *mut c_void;
}

/// # Safety
///
/// As of the function that it replaces: `time` is where a time can be put.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    // SAFETY: the kernel gets what the caller gave.
    let result = unsafe { syscall(CLOCK_GETTIME, clock, time) } as c_int;
    if result == 0 && clock == REALTIME {
        // SAFETY: the kernel has just put a time there.
        let time = unsafe { &mut *time };
        let nanoseconds = time.nanoseconds + ahead() % SECOND;
        time.seconds += ahead() / SECOND + nanoseconds.div_euclid(SECOND);
        time.nanoseconds = nanoseconds.rem_euclid(SECOND);
    }
    result
}

fn ahead() -> i64 {
    static MAPPED: OnceLock<&AtomicI64> = OnceLock::new();
    let mapped = MAPPED.get_or_init(|| {
        // SAFETY: the name ends with a zero; what open(2) and mmap(2) make of a path that is wrong is a null or an error,
        // and the file is mapped for good.
        unsafe {
            let file = open(getenv(c"CLOCK_AHEAD".as_ptr()), 0);
            let at = mmap(ptr::null_mut(), size_of::<AtomicI64>(), READABLE, SHARED, file, 0);
            assert!(file >= 0 && at.addr() != usize::MAX, "CLOCK_AHEAD names no file that can be mapped");
            &*at.cast::<AtomicI64>()
        }
    });
    mapped.load(Ordering::Relaxed)
}
