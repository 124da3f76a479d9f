//! Docker's FIFO as asynchronous bytes, which tells *empty* from *ended*.
//!
//! dockerd opens it for reading and writing before it says StartLogging, and closes it after it was answered on
//! StopLogging: until then the pipe is empty at times and never ended. It is opened here for reading alone; a writing
//! end of our own would hide that dockerd has gone.
//!
//! It is registered with the runtime only while it is waited for. dockerd writes each frame by itself, and the kernel
//! tells everybody who polls a pipe of every write (`pipe->poll_usage`): a container that writes would wake the runtime
//! for each line of its, which costs more than all that is done with the line, and most of that in dockerd's write(2).
//!
//! A pipe of a busy container is made larger for as long as it is busy, see [`size`].

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

/// How often a FIFO is looked at that the kernel does not watch.
const UNWATCHED: Duration = Duration::from_millis(20);

/// The reading end of one container's FIFO.
#[derive(Debug)]
pub struct Fifo {
    pipe: File,
    size: Size,
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

// === impl OpenError ===

impl OpenError {
    /// Whether the process has no file descriptor left: it is to be tried again.
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::Open(error) if disk::is_exhausted(error))
    }

    /// Whether there is no FIFO, so that nobody can write there any more. A lack of file descriptors or of permission says
    /// nothing of that.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Open(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
            Self::NotAFifo => true,
        }
    }
}

// === impl Fifo ===

impl Fifo {
    /// Opens the FIFO at `path`, without waiting for anybody.
    ///
    /// # Errors
    /// When it cannot be opened or is something else.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        lock::may_wait();
        let mut options = File::options();
        let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let pipe = opened.map_err(OpenError::Open)?;
        if !pipe.metadata().map_err(OpenError::Open)?.file_type().is_fifo() {
            return Err(OpenError::NotAFifo);
        }
        // A FIFO that nobody has had open for writing since it was opened here tells no end: dockerd may have died
        // before, with the process that this one follows. A writing end that comes and goes at once makes it tell.
        // While dockerd has one, nothing changes.
        let write = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match nix::fcntl::open(path, write, Mode::empty()).map_err(io::Error::from) {
            // It would never tell its end.
            Err(error) if disk::is_exhausted(&error) => return Err(OpenError::Open(error)),
            opened => drop(opened),
        }
        let bytes = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ).ok().and_then(|bytes| usize::try_from(bytes).ok());
        let size = Size::new(bytes.unwrap_or(size::USUAL), Account::of_process(), Instant::now());
        Ok(Self { pipe, size })
    }

    /// Waits until there may be something to read, the end included.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    #[allow(unsafe_code, reason = "Tokio has no safe way to register a descriptor that is borrowed")]
    pub async fn readable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is borrowed, so it stays open for as long as it is registered. A safe way would be a
        // duplicate, which costs each idle container a file.
        match unsafe { AsyncFd::register_with_interest(self.pipe.as_fd(), Interest::READABLE) } {
            Ok(watched) => watched.readable().await.map(drop),
            // A user may have so many files watched (`fs.epoll.max_user_watches`); this one is read all the same.
            Err(_) => {
                sleep(UNWATCHED).await;
                Ok(())
            }
        }
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

    /// Moves at most `most` bytes to `offset` of a file, without waiting; 0 is the end. A process that is killed
    /// meanwhile leaves each byte either in the file or in the pipe: the kernel takes out of the pipe what the file
    /// has taken, and nothing comes between the two.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing now, and whatever else splice(2) says, also of the file.
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

    /// Bytes that the pipe holds at most, as it is now.
    pub fn size(&self) -> usize {
        self.size.bytes()
    }

    /// Waits until the pipe has grown and is calm; [`Fifo::shrink`] is then to be called. For ever, while it is as dockerd
    /// made it.
    pub async fn calm(&self) {
        match self.size.calm_at() {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Makes the pipe as small as dockerd made it, if it is calm. One that holds more stays as it is, and is calm again
    /// later.
    pub fn shrink(&mut self) {
        self.shrink_at(Instant::now());
    }

    fn shrink_at(&mut self, now: Instant) {
        let resize = self.size.calmed(now);
        self.resize(resize);
    }

    /// Reads without waiting; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing now, and whatever else read(2) says.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.now(|pipe| nix::unistd::read(pipe, buffer))
    }

    /// Bytes in the pipe.
    ///
    /// # Errors
    /// When the kernel does not tell.
    #[allow(unsafe_code, reason = "no crate wraps the ioctl FIONREAD")]
    pub fn waiting(&self) -> io::Result<usize> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open as long as `self`, and FIONREAD writes one int, to a place that lives on.
        let answer = unsafe { libc::ioctl(self.pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
        Errno::result(answer)?;
        usize::try_from(bytes).map_err(io::Error::other)
    }

    /// Asks the kernel, and again when a signal came between.
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
            // The kernel answers with the size that it has made of it.
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
    async fn bytes_go_where_they_are_wanted_in_a_file_and_are_not_in_the_pipe_any_more() {
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
    async fn a_pipe_is_large_while_much_comes_and_small_again_afterwards() {
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
