//! Docker's FIFO as asynchronous bytes, which tells *empty* from *ended*.
//!
//! dockerd opens it for reading and writing before it says StartLogging, and closes it after it was answered on
//! StopLogging: until then the pipe is empty at times and never ended. It is opened here for reading alone; a writing
//! end of our own would hide that dockerd has gone.

use std::hint::black_box;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use tokio::net::unix::pipe;

/// What a pipe is enlarged to once it carries much: at 1 MiB one read brings a thousand lines, and it is the most a
/// process without `CAP_SYS_RESOURCE` may ask for (`/proc/sys/fs/pipe-max-size`).
const LARGE: i32 = 1024 * 1024;

/// The smallest page there is.
const PAGE: usize = 4096;

/// A read of this many bytes is much for a pipe of 64 KiB.
const BUSY: usize = 16 * 1024;

/// The reading end of one container's FIFO.
#[derive(Debug)]
pub struct Fifo {
    pipe: pipe::Receiver,
    enlarged: bool,
}

/// What a FIFO has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Bytes.
    Data,
    /// None now; dockerd has it open.
    Nothing,
    /// None, and nobody has it open for writing.
    End,
}

/// Why a FIFO cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is there, or it may not be opened.
    #[error("cannot open it: {0}")]
    Open(#[source] io::Error),
    /// A file, a directory or a device.
    #[error("it is not a FIFO")]
    NotAFifo,
}

// === impl Fifo ===

impl Fifo {
    /// Opens the FIFO at `path`, without waiting for anybody. Must be called on the runtime that will read it.
    ///
    /// # Errors
    /// When it cannot be opened or is something else.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let opened = pipe::OpenOptions::new().open_receiver(path);
        let pipe = opened.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => OpenError::NotAFifo,
            _ => OpenError::Open(error),
        })?;
        // A FIFO that nobody has had open for writing since it was opened here tells no end: dockerd may have died
        // before, with the process that this one follows. A writing end that comes and goes at once makes it tell.
        // While dockerd has one, nothing changes.
        let write = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        drop(nix::fcntl::open(path, write, Mode::empty()));
        Ok(Self { pipe, enlarged: false })
    }

    /// Waits until there may be something to read, the end included.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        self.pipe.readable().await
    }

    /// What a read would give now.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn holds(&self) -> io::Result<Holds> {
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO)?;
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        Ok(if events.contains(PollFlags::POLLIN) {
            Holds::Data
        } else if events.contains(PollFlags::POLLHUP) {
            Holds::End
        } else {
            Holds::Nothing
        })
    }

    /// Reads without waiting; 0 is the end. `buffer` may be a mapping of a file: a process that is killed leaves each
    /// byte either there or in the pipe.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing now, and whatever else read(2) says.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.waiting().max(PAGE));
        let buffer = &mut buffer[..most];
        touch(buffer);
        let n = match self.pipe.try_read(buffer) {
            Ok(n) => n,
            // The runtime may not have heard of the latest bytes; StopLogging is answered only when the pipe is empty
            // indeed.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.read_now(buffer)?,
            Err(error) => return Err(error),
        };
        self.enlarge_if_busy(n);
        Ok(n)
    }

    /// Bytes in the pipe; 0 when the kernel does not tell.
    fn waiting(&self) -> usize {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open as long as `self`, and FIONREAD writes one int, to a place that lives on.
        let answer = unsafe { libc::ioctl(self.pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
        if answer == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
    }

    fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match nix::unistd::read(&self.pipe, buffer) {
                Err(Errno::EINTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Only pipes that carry much are enlarged: the kernel counts the pages of all pipes of a user
    /// (`/proc/sys/fs/pipe-user-pages-soft`), and past 64 MiB every other container that runs as root would get small
    /// ones.
    fn enlarge_if_busy(&mut self, n: usize) {
        if n >= BUSY && !self.enlarged {
            // Refused past that limit; the pipe then stays as it is, which costs a few more reads.
            let _ = fcntl(&self.pipe, FcntlArg::F_SETPIPE_SZ(LARGE));
            self.enlarged = true;
        }
    }
}

/// Makes sure that all pages of a buffer are there and may be written to.
///
/// The kernel copies from a pipe page by page, and takes a page out of the pipe when all of it was copied. If the copy
/// meets a page of the buffer that is not there, and the process is being killed, it ends in the middle: the bytes
/// copied so far are in the buffer, which may be a file's, and in the pipe as well. The next process would find lines
/// twice, and the last of them torn. Here a missing page is only a page fault like any other.
fn touch(buffer: &mut [u8]) {
    for page in buffer.chunks_mut(PAGE) {
        page[0] = black_box(page[0]);
    }
    // The buffer need not begin where a page does.
    if let Some(last) = buffer.last_mut() {
        *last = black_box(*last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs::OpenOptions;
    use std::io::Write;

    fn fifo() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        (dir, path)
    }

    #[tokio::test]
    async fn empty_is_not_ended() {
        let (_dir, path) = fifo();
        let mut dockerd = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut fifo = Fifo::open(&path).unwrap();
        assert_eq!(fifo.holds().unwrap(), Holds::Nothing);
        assert_eq!(fifo.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        dockerd.write_all(b"bytes").unwrap();
        assert_eq!(fifo.holds().unwrap(), Holds::Data);
        drop(dockerd);
        assert_eq!(fifo.holds().unwrap(), Holds::Data, "what was written outlives the writer");
        fifo.readable().await.unwrap();
        assert_eq!(fifo.read(&mut [0; 8]).unwrap(), 5);
        assert_eq!((fifo.holds().unwrap(), fifo.read(&mut [0; 8]).unwrap()), (Holds::End, 0));
    }

    #[tokio::test]
    async fn a_fifo_that_was_left_by_everybody_has_ended() {
        let (_dir, path) = fifo();
        let mut fifo = Fifo::open(&path).unwrap();
        fifo.readable().await.unwrap();
        assert_eq!((fifo.holds().unwrap(), fifo.read(&mut [0; 8]).unwrap()), (Holds::End, 0));
    }

    #[tokio::test]
    async fn what_is_no_fifo_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(matches!(Fifo::open(&file), Err(OpenError::NotAFifo)));
        assert!(matches!(Fifo::open(&dir.path().join("absent")), Err(OpenError::Open(_))));
    }
}
