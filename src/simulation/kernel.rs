//! The system calls of a simulated machine: they reach the real kernel through [`disk`](super::disk).
//!
//! The functions here replace libc's in the test binary, for all callers: the standard library, `nix`, future code. On
//! a thread without a simulation they only make the system call. So the shipped code needs no abstraction of the disk,
//! and no call can bypass the simulation.
//!
//! `getrandom` is among them because the standard library's maps and Tokio's `select!` begin with it: a replayed seed
//! must take the same path.

use std::cell::Cell;
use std::ffi::{CStr, OsStr, c_char, c_int, c_long, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::{self, mode_t, off64_t, size_t, ssize_t};

use super::disk::{self, Call};

thread_local! {
    /// The state of `getrandom` on this thread, during a simulation.
    static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// From here on `getrandom` returns bytes derived from `seed` on this thread.
pub fn seed_randomness(seed: u64) {
    RANDOM.set(Some(seed));
}

/// Makes system calls in `work` that bypass the simulated machine.
pub fn outside<T>(work: impl FnOnce() -> T) -> T {
    let before = INSIDE.replace(true);
    let result = work();
    INSIDE.set(before);
    result
}

/// Asks the simulated disk, unless the disk itself makes the call.
fn ask(of: impl FnOnce() -> Option<Call>) -> Result<(), Errno> {
    if !disk::is_simulated() || INSIDE.try_with(Cell::get).unwrap_or(true) {
        return Ok(());
    }
    outside(|| of().map_or(Ok(()), disk::before))
}

fn fail<T: From<i8>>(errno: Errno) -> T {
    errno.set();
    T::from(-1)
}

/// The path that a call names. Relative ones are not the plugin's.
///
/// # Safety
/// `path` is a C string.
unsafe fn path(path: *const c_char) -> PathBuf {
    // SAFETY: the caller guarantees a C string.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes())).to_path_buf()
}

macro_rules! calls {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $of:ty),*) -> $result:ty = $number:ident, $call:expr;)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $of),*) -> $result {
            if let Err(errno) = ask(|| $call) {
                return fail(errno);
            }
            // SAFETY: the arguments come from the caller, who keeps the contract of the call.
            unsafe { libc::syscall(libc::$number, $($arg as c_long),*) as $result }
        }
    )*};
}

calls! {
    fn pwrite64(fd: c_int, from: *const c_void, len: size_t, at: off64_t) -> ssize_t = SYS_pwrite64, disk::file(fd).map(|_| Call::Write);
    fn write(fd: c_int, from: *const c_void, len: size_t) -> ssize_t = SYS_write, disk::file(fd).map(|_| Call::Write);
    fn ftruncate64(fd: c_int, len: off64_t) -> c_int = SYS_ftruncate, disk::file(fd).map(|_| Call::Truncate);
    fn fallocate(fd: c_int, mode: c_int, at: off64_t, len: off64_t) -> c_int = SYS_fallocate, disk::file(fd).map(|_| Call::Allocate);
    fn fallocate64(fd: c_int, mode: c_int, at: off64_t, len: off64_t) -> c_int = SYS_fallocate, disk::file(fd).map(|_| Call::Allocate);
    fn fsync(fd: c_int) -> c_int = SYS_getpid, disk::file(fd).map(|file| Call::Sync(file, fd));
    fn fdatasync(fd: c_int) -> c_int = SYS_getpid, disk::file(fd).map(|file| Call::Sync(file, fd));
    fn splice(from: c_int, from_at: *mut off64_t, to: c_int, to_at: *mut off64_t, len: size_t, flags: c_uint) -> ssize_t = SYS_splice, disk::file(to).map(|_| Call::Splice).or(Some(Call::ReadPipe));
    fn read(fd: c_int, to: *mut c_void, len: size_t) -> ssize_t = SYS_read, disk::source(fd);
    fn pread64(fd: c_int, to: *mut c_void, len: size_t, at: off64_t) -> ssize_t = SYS_pread64, disk::source(fd);
    fn rename(from: *const c_char, to: *const c_char) -> c_int = SYS_rename, Some(Call::Rename(unsafe { path(from) }, unsafe { path(to) }));
    fn rmdir(name: *const c_char) -> c_int = SYS_rmdir, Some(Call::Remove(unsafe { path(name) }));
    fn unlinkat(dir: c_int, name: *const c_char, flags: c_int) -> c_int = SYS_unlinkat, Some(Call::Remove(disk::below(dir, &unsafe { path(name) })));
    fn mkdir(name: *const c_char, mode: mode_t) -> c_int = SYS_mkdir, Some(Call::MakeDir(unsafe { path(name) }));
}

/// Opens a file. A simulated machine has its own boot id.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    if let Err(errno) = ask(|| Some(Call::Open(unsafe { path(name) }, flags))) {
        return fail(errno);
    }
    let instead = disk::in_place_of(name);
    let name = instead.as_ref().map_or(name, |instead| instead.as_ptr());
    // SAFETY: the arguments come from the caller, or are a C string that lives on.
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, name, flags | libc::O_LARGEFILE, mode) as c_int }
}

/// Removes a file. Both sides may remove a FIFO.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(name: *const c_char) -> c_int {
    if let Err(errno) = ask(|| Some(Call::Remove(unsafe { path(name) }))) {
        return fail(errno);
    }
    let instead = disk::in_place_of(name);
    let name = instead.as_ref().map_or(name, |instead| instead.as_ptr());
    // SAFETY: the argument comes from the caller, or is a C string that lives on.
    unsafe { libc::syscall(libc::SYS_unlink, name) as c_int }
}

/// Opens a folder. The folder of FIFOs is the simulated dockerd's.
#[unsafe(no_mangle)]
unsafe extern "C" fn opendir(name: *const c_char) -> *mut libc::DIR {
    let instead = disk::in_place_of(name);
    let name = instead.as_ref().map_or(name, |instead| instead.as_ptr());
    // SAFETY: libc has a function of this name and type behind this one, and the argument is a C string.
    unsafe {
        let next = libc::dlsym(libc::RTLD_NEXT, c"opendir".as_ptr());
        let next: unsafe extern "C" fn(*const c_char) -> *mut libc::DIR = std::mem::transmute(next);
        next(name)
    }
}

/// As `open64`.
#[unsafe(no_mangle)]
unsafe extern "C" fn open(name: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller keeps the contract of `open64`.
    unsafe { open64(name, flags, mode) }
}

/// Returns bytes derived from the seed, on the thread of a simulation.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(to: *mut c_void, len: size_t, flags: c_uint) -> ssize_t {
    let Some(mut state) = RANDOM.try_with(Cell::get).ok().flatten() else {
        // SAFETY: the caller keeps the contract of the call.
        return unsafe { libc::syscall(libc::SYS_getrandom, to, len, flags) as ssize_t };
    };
    for at in 0..len {
        // Knuth's constants of a linear congruential generator; its high bits are good enough for hashes.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // SAFETY: the caller's buffer has `len` bytes.
        unsafe { to.cast::<u8>().add(at).write((state >> 56) as u8) };
    }
    RANDOM.set(Some(state));
    len.cast_signed()
}
