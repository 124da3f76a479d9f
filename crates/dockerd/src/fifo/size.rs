//! The size of a container's pipe: as dockerd made it, and larger only while the container is busy.
//!
//! The kernel counts the pages of all pipes of a user. Root's are those of dockerd, of this plugin and of every
//! container. Past `/proc/sys/fs/pipe-user-pages-soft`, each new pipe of an unprivileged root process has 8 KiB instead
//! of 64. So a pipe grows only while its container fills it and shrinks when the container is calm. All pipes of the
//! plugin together stay within [`Account::limit`]. This module makes no system calls on pipes; [`super::Fifo`] does.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};
use tokio::time::Instant;

/// The largest pipe: one read then brings thousands of lines. A process without `CAP_SYS_RESOURCE` may not ask for
/// more, and for less if `/proc/sys/fs/pipe-max-size` is lower.
const LARGEST: usize = 1024 * 1024;

/// The growth factor of a pipe: a container of 20 MB/s does not occupy what one of 200 MB/s needs.
const FACTOR: usize = 4;

/// A read is busy when it brings at least this part (a quarter) of the pipe's original size. Reads are two milliseconds
/// apart, so the container would otherwise soon wait for the next read.
const BUSY_PART: usize = 4;

/// Busy reads in a row before a pipe grows, so that one burst does not grow it.
const BUSY_READS: u32 = 2;

/// A pipe shrinks after this long without a busy read. A failed resize is retried after the same time.
pub const CALM: Duration = Duration::from_secs(5);

/// The size of a new pipe if the kernel does not report it: 16 pages.
pub const USUAL: usize = 64 * 1024;

/// The part of `pipe-user-pages-soft` that the plugin's pipes may grow to: a quarter. The rest stays with dockerd, the
/// containers and other processes. Pipes count with their original size, so on a host with hundreds of containers none
/// grows.
const PART: usize = 4;

/// The kernel's default of `pipe-user-pages-soft`, in pages; also used where an operator has removed the limit (0).
const USUAL_PAGES: usize = 16 * 1024;

/// The decision about a pipe's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Keep the size.
    Keep,
    /// Ask the kernel for this many bytes; [`Size::became`] or [`Size::failed`] follows.
    To(usize),
}

/// The size of one pipe, in bytes, and how busy it is.
#[derive(Debug)]
pub struct Size {
    /// The size that dockerd gave it.
    base: usize,
    /// The current size.
    now: usize,
    /// Busy reads in a row.
    busy_reads: u32,
    /// The time of the last busy read, or of the last attempt that failed.
    busy_at: Instant,
    /// The last attempt to grow failed; the next is [`CALM`] after `busy_at`.
    is_refused: bool,
    share: Share,
}

/// The pages of all pipes of the plugin.
#[derive(Debug)]
pub struct Account {
    taken: AtomicUsize,
    /// Pipes do not grow past this many bytes in all. New pipes of dockerd count regardless of the limit.
    limit: usize,
    /// The largest size of one pipe, in bytes.
    largest: usize,
}

/// One pipe's part of an [`Account`], given back when it is dropped.
#[derive(Debug)]
struct Share {
    account: Arc<Account>,
    bytes: usize,
}

// === impl Size ===

impl Size {
    /// The size of a pipe that has `bytes` now. A pipe that the last process has grown shrinks when it is calm.
    #[must_use]
    pub fn new(bytes: usize, account: &Arc<Account>, at: Instant) -> Self {
        let mut share = Share { account: account.clone(), bytes: 0 };
        share.set(bytes);
        Self { base: bytes.min(USUAL), now: bytes, busy_reads: 0, busy_at: at, is_refused: false, share }
    }

    /// The current capacity of the pipe in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.now
    }

    /// Records a read of `bytes`. Calls `clock` only for a pipe that is busy or was.
    pub fn read(&mut self, bytes: usize, clock: impl FnOnce() -> Instant) -> Resize {
        let is_busy = bytes >= self.base / BUSY_PART;
        if !is_busy {
            self.busy_reads = 0;
            return if self.is_grown() { self.calmed(clock()) } else { Resize::Keep };
        }
        self.busy_reads = self.busy_reads.saturating_add(1);
        let wants_more = self.busy_reads >= BUSY_READS && bytes >= self.now / BUSY_PART;
        if !self.is_grown() && !wants_more {
            return Resize::Keep;
        }
        let at = clock();
        if self.is_refused && at.duration_since(self.busy_at) < CALM {
            return Resize::Keep;
        }
        (self.busy_at, self.is_refused) = (at, false);
        let wanted = (self.now * FACTOR).min(self.share.account.largest);
        if !wants_more || wanted <= self.now {
            return Resize::Keep;
        }
        if self.share.try_grow(wanted) {
            return Resize::To(wanted);
        }
        self.is_refused = true;
        Resize::Keep
    }

    /// Records that the pipe is empty: the next bytes are another burst.
    pub fn emptied(&mut self) {
        self.busy_reads = 0;
    }

    /// When to call [`Size::calmed`]; `None` while the pipe has its original size.
    #[must_use]
    pub fn calm_at(&self) -> Option<Instant> {
        self.is_grown().then(|| self.busy_at + CALM)
    }

    /// Decides at `at` whether the pipe shrinks, because it was not busy lately.
    pub fn calmed(&mut self, at: Instant) -> Resize {
        match self.calm_at() {
            Some(calm) if calm <= at => Resize::To(self.base),
            _ => Resize::Keep,
        }
    }

    /// Records the new size; the kernel may have rounded it up.
    pub fn became(&mut self, bytes: usize) {
        self.now = bytes;
        self.share.set(bytes);
    }

    /// Records that the kernel refused to resize: the pipe holds more bytes than the new size (`EBUSY`), or the user
    /// has too many pages (`EPERM`).
    pub fn failed(&mut self, at: Instant) {
        self.share.set(self.now);
        (self.busy_at, self.is_refused) = (at, true);
    }

    fn is_grown(&self) -> bool {
        self.now > self.base
    }
}

// === impl Account ===

impl Account {
    /// The account of this process, with limits from the kernel.
    pub fn of_process() -> &'static Arc<Account> {
        static ACCOUNT: OnceLock<Arc<Account>> = OnceLock::new();
        ACCOUNT.get_or_init(|| {
            let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| usize::try_from(page).ok());
            let soft = kernel("pipe-user-pages-soft").filter(|pages| *pages > 0).unwrap_or(USUAL_PAGES);
            let largest = kernel("pipe-max-size").unwrap_or(LARGEST).min(LARGEST);
            Arc::new(Account::new((soft / PART).saturating_mul(page.unwrap_or(4096)), largest))
        })
    }

    /// Creates an account: pipes grow to `limit` bytes in all, and to `largest` each.
    #[must_use]
    pub fn new(limit: usize, largest: usize) -> Self {
        Self { taken: AtomicUsize::new(0), limit, largest }
    }

    /// The total size of all pipes, in bytes.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// The limit in bytes past which pipes do not grow.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

/// Reads a number below `/proc/sys/fs`.
fn kernel(name: &str) -> Option<usize> {
    fs::read_to_string(format!("/proc/sys/fs/{name}")).ok()?.trim().parse().ok()
}

// === impl Share ===

impl Share {
    /// Sets the share to `bytes`, regardless of the limit.
    fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.account.taken.fetch_add(more, Ordering::Relaxed),
            None => self.account.taken.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        self.bytes = bytes;
    }

    /// Sets the share to `bytes` if the account has room. Two pipes at once never get the same room.
    fn try_grow(&mut self, bytes: usize) -> bool {
        let (more, limit) = (bytes.saturating_sub(self.bytes), self.account.limit);
        let grown = self.account.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(more).filter(|taken| *taken <= limit)
        });
        if grown.is_ok() {
            self.bytes = bytes;
        }
        grown.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests;
