//! Docker's FIFO as an asynchronous reader that distinguishes *empty* from *ended*.
//!
//! dockerd opens the FIFO for reading and writing before StartLogging, and closes it after StopLogging was answered.
//! Until then the pipe is sometimes empty and never ended. The plugin opens it for reading only: a writing end of its
//! own would hide that dockerd has closed the FIFO.
//!
//! The FIFO is registered with the runtime only while a task waits for it. dockerd writes each frame separately, and
//! the kernel notifies every poller of a pipe about every write (`pipe->poll_usage`). A registered pipe would wake the
//! runtime for each line. That costs more than all other work on the line, most of it in dockerd's write(2).
//!
//! The pipe of a busy container is larger for as long as the container is busy, see [`size`].

pub mod size;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, sleep_until};

use base::disk;
use base::lock;
use size::{Account, Resize, Size};

/// The polling interval for a FIFO that the kernel cannot watch.
const UNWATCHED: Duration = Duration::from_millis(20);

/// The reading end of one container's FIFO.
#[derive(Debug)]
pub struct Fifo {
    pipe: File,
    size: Size,
}

/// The state of a FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The pipe has bytes.
    Data,
    /// The pipe is empty; dockerd has it open.
    Nothing,
    /// The pipe is empty, and no process has it open for writing.
    End,
}

/// Why a FIFO cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is missing, or the plugin may not open it.
    #[error("cannot open it: {0}")]
    Open(#[source] io::Error),
    /// The path is a file, a directory or a device.
    #[error("it is not a FIFO")]
    NotAFifo,
}

// === impl OpenError ===

impl OpenError {
    /// Whether the process has no file descriptor left, so that the caller should retry.
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::Open(error) if disk::is_exhausted(error))
    }

    /// Whether the FIFO does not exist, so that no process can write to it any more. A lack of file descriptors or of
    /// permission does not show that.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Open(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
            Self::NotAFifo => true,
        }
    }
}

// === impl Fifo ===

impl Fifo {
    /// Opens the FIFO at `path`, without waiting for a writer.
    ///
    /// # Errors
    /// When it cannot be opened or is not a FIFO.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        lock::may_wait();
        let mut options = File::options();
        let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let pipe = opened.map_err(OpenError::Open)?;
        if !pipe.metadata().map_err(OpenError::Open)?.file_type().is_fifo() {
            return Err(OpenError::NotAFifo);
        }
        // Linux reports no end for a FIFO that had no writer since this open. dockerd may have died before, together
        // with the last process. Opening and closing a writing end makes the kernel report the end. While dockerd has
        // one, this changes nothing.
        let write = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match nix::fcntl::open(path, write, Mode::empty()).map_err(io::Error::from) {
            // Without the writing end, it would never report its end.
            Err(error) if disk::is_exhausted(&error) => return Err(OpenError::Open(error)),
            opened => drop(opened),
        }
        let bytes = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ).ok().and_then(|bytes| usize::try_from(bytes).ok());
        let size = Size::new(bytes.unwrap_or(size::USUAL), Account::of_process(), Instant::now());
        Ok(Self { pipe, size })
    }

    /// Waits until there may be something to read, or the FIFO has ended.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    #[allow(unsafe_code, reason = "Tokio has no safe way to register a descriptor that is borrowed")]
    pub async fn readable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is borrowed, so it stays open for as long as it is registered. The safe way is a
        // duplicate, which costs each idle container a file descriptor.
        match unsafe { AsyncFd::register_with_interest(self.pipe.as_fd(), Interest::READABLE) } {
            Ok(watched) => watched.readable().await.map(drop),
            // The kernel bounds the watched files of a user (`fs.epoll.max_user_watches`); poll this one instead.
            Err(_) => {
                sleep(UNWATCHED).await;
                Ok(())
            }
        }
    }

    /// What a read would give now.
    ///
    /// # Errors
    /// When the kernel does not report the state.
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

    /// Moves at most `most` bytes to `offset` of a file, without waiting; 0 means ended. If the process is killed
    /// meanwhile, each byte is either in the file or in the pipe: the kernel removes from the pipe what the file has
    /// accepted, in one step.
    ///
    /// # Errors
    /// `WouldBlock` when the pipe is empty, and any other error of splice(2), also of the file.
    pub fn move_to(&mut self, file: &File, offset: u64, most: usize) -> io::Result<usize> {
        let mut offset = i64::try_from(offset).map_err(io::Error::other)?;
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match self.now(|pipe| splice(pipe, None, file, Some(&mut offset), most, flags)) {
            Ok(n) => {
                let resize = self.size.read(n, Instant::now);
                self.resize(resize);
                Ok(n)
            }
            Err(error) => {
                self.size.emptied();
                Err(error)
            }
        }
    }

    /// The current capacity of the pipe in bytes.
    pub fn size(&self) -> usize {
        self.size.bytes()
    }

    /// Waits until the pipe has grown and is calm; the caller then calls [`Fifo::shrink`]. Never returns while the pipe
    /// has the size that dockerd gave it.
    pub async fn calm(&self) {
        match self.size.calm_at() {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Shrinks a calm pipe to the size that dockerd gave it. A pipe that holds more stays as it is until it is calm
    /// again.
    pub fn shrink(&mut self) {
        self.shrink_at(Instant::now());
    }

    fn shrink_at(&mut self, now: Instant) {
        let resize = self.size.calmed(now);
        self.resize(resize);
    }

    /// Reads without waiting; 0 means ended.
    ///
    /// # Errors
    /// `WouldBlock` when the pipe is empty, and any other error of read(2).
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.now(|pipe| nix::unistd::read(pipe, buffer))
    }

    /// The number of bytes in the pipe.
    ///
    /// # Errors
    /// When the kernel does not report it.
    #[allow(unsafe_code, reason = "no crate wraps the ioctl FIONREAD")]
    pub fn waiting(&self) -> io::Result<usize> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open as long as `self`, and FIONREAD writes one int into `bytes`, which outlives
        // the call.
        let answer = unsafe { libc::ioctl(self.pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
        Errno::result(answer)?;
        usize::try_from(bytes).map_err(io::Error::other)
    }

    /// Makes a system call, and repeats it when a signal interrupts.
    fn now(&self, mut ask: impl FnMut(&File) -> nix::Result<usize>) -> io::Result<usize> {
        loop {
            match ask(&self.pipe) {
                Err(Errno::EINTR) => {}
                other => return Ok(other?),
            }
        }
    }

    fn resize(&mut self, resize: Resize) {
        let Resize::To(wanted) = resize else { return };
        let resized = i32::try_from(wanted).map_or(Err(Errno::EINVAL), |bytes| {
            // The kernel returns the size that it chose.
            fcntl(&self.pipe, FcntlArg::F_SETPIPE_SZ(bytes))
        });
        match resized.ok().and_then(|bytes| usize::try_from(bytes).ok()) {
            Some(bytes) => self.size.became(bytes),
            None => self.size.failed(Instant::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

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
        assert_eq!((fifo.holds().unwrap(), fifo.waiting().unwrap()), (Holds::Data, 5));
        drop(dockerd);
        assert_eq!(fifo.holds().unwrap(), Holds::Data, "what was written outlives the writer");
        fifo.readable().await.unwrap();
        assert_eq!(fifo.read(&mut [0; 8]).unwrap(), 5);
        assert_eq!((fifo.holds().unwrap(), fifo.read(&mut [0; 8]).unwrap()), (Holds::End, 0));
    }

    #[tokio::test]
    async fn move_to_puts_bytes_at_the_offset_and_takes_them_from_the_pipe() {
        let (_dir, path) = fifo();
        let mut dockerd = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut fifo = Fifo::open(&path).unwrap();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(fifo.move_to(&file, 0, 8).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        dockerd.write_all(b"one two").unwrap();
        assert_eq!((fifo.move_to(&file, 5, 4).unwrap(), fifo.waiting().unwrap()), (4, 3));
        dockerd.write_all(b" three").unwrap();
        assert_eq!(fifo.move_to(&file, 9, 100).unwrap(), 9);
        drop(dockerd);
        assert_eq!(fifo.move_to(&file, 18, 100).unwrap(), 0, "the end");
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, b"\0\0\0\0\0one two three");
    }

    #[tokio::test]
    async fn a_pipe_grows_under_load_and_shrinks_afterwards() {
        let (_dir, path) = fifo();
        let mut dockerd = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut fifo = Fifo::open(&path).unwrap();
        let (before, file) = (fifo.size(), tempfile::tempfile().unwrap());
        for _ in 0..2 {
            assert_eq!(fifo.size(), before);
            dockerd.write_all(&vec![0; before / 2]).unwrap();
            fifo.move_to(&file, 0, before).unwrap();
        }
        let kernels = |dockerd: &File| fcntl(dockerd, FcntlArg::F_GETPIPE_SZ).unwrap() as usize;
        assert!(fifo.size() > before && fifo.size() == kernels(&dockerd));
        dockerd.write_all(&vec![0; before * 2]).unwrap();
        fifo.shrink();
        assert!(fifo.size() > before, "it may be busy still");
        fifo.shrink_at(Instant::now() + size::CALM);
        assert!(fifo.size() > before, "it holds more");
        fifo.move_to(&file, 0, before).unwrap();
        fifo.move_to(&file, 0, before).unwrap();
        fifo.shrink_at(Instant::now() + size::CALM * 2);
        assert_eq!((fifo.size(), kernels(&dockerd)), (before, before));
    }

    #[tokio::test]
    async fn a_fifo_without_a_writer_has_ended() {
        let (_dir, path) = fifo();
        let mut fifo = Fifo::open(&path).unwrap();
        fifo.readable().await.unwrap();
        assert_eq!((fifo.holds().unwrap(), fifo.read(&mut [0; 8]).unwrap()), (Holds::End, 0));
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_fifo_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(matches!(Fifo::open(&file), Err(OpenError::NotAFifo)));
        assert!(matches!(Fifo::open(&dir.path().join("absent")), Err(OpenError::Open(_))));
    }
}
