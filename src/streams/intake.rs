//! FIFO to ring: the one task that a container's speed depends on.
//!
//! It reads, lets the ring take what is whole, and does nothing else: no network, no sync, no lock that a slow reader
//! could hold. It runs on threads of its own, so that nothing that happens elsewhere in the plugin delays it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::discard::{Discard, Dropped};
use super::events::Events;
use crate::frames::DockerFrames;
use base::disk;
use dockerd::fifo::{Fifo, Holds};
use ring::{self, Writer};

/// A read that does not bring half of what it could is followed by a pause. Reading greedily costs a system call a line;
/// with it a thousand lines come at once, and the pipe holds them meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

/// The most that a read brings, as it is the room that a ring gives at once.
const MOST_READ: usize = 256 * 1024;

/// The pause when half a pipe has come since the one before. A timer takes up to a millisecond more than it is asked
/// for, and a pipe that is full by then holds its writer up.
const SHORT: Duration = Duration::from_millis(1);

/// How often a full ring is looked at again.
const FULL: Duration = Duration::from_millis(20);

/// How long to wait when neither disk nor memory took anything.
const HOMELESS: Duration = Duration::from_millis(100);

/// What dockerd's calls ask of a stream.
#[derive(Debug)]
pub enum Command {
    /// StopLogging: read what there is, then answer, then go on to the end.
    Stop(oneshot::Sender<()>),
    /// Read what there is, then answer.
    Drain(oneshot::Sender<()>),
}

/// One stream's way into the ring.
#[derive(Debug)]
pub struct Intake {
    fifo: Fifo,
    writer: Writer,
    events: Arc<Events>,
    /// Nothing is made on disk before the first byte: a `docker logs` on a stopped container is a stream that never
    /// has one.
    has_landed: bool,
    block: Option<Block>,
    /// What neither disk nor memory has room for.
    discard: Discard,
}

/// `loki-backpressure=block`: when the ring is full of lines that were not sent, the container waits, within reason.
#[derive(Debug)]
struct Block {
    /// `loki-block-timeout`.
    timeout: Duration,
    /// Since when the container is waiting.
    since: Option<Instant>,
}

/// What one step brought.
enum Step {
    Bytes(usize),
    Empty,
    End,
    /// The ring is full, and the container is to wait.
    Full,
    /// The process has no file descriptor left for the ring: as for a disk that hangs, the container is to wait.
    Exhausted,
}

// === impl Intake ===

impl Intake {
    /// An intake from `fifo` to `writer`.
    pub fn new(fifo: Fifo, writer: Writer, events: Arc<Events>, block: Option<Duration>) -> Self {
        let block = block.map(|timeout| Block { timeout, since: None });
        Self { fifo, writer, events, has_landed: false, block, discard: Discard::default() }
    }

    /// Reads until the end of the FIFO, which comes when dockerd closes it; false when the plugin goes down before that.
    /// `stopped` is called when StopLogging was answered for: everything written before is then in the ring.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, stopped: impl Fn()) -> bool {
        loop {
            let command = tokio::select! {
                biased;
                command = commands.recv() => command,
                ready = self.fifo.readable() => match ready {
                    Ok(()) => None,
                    // Only when the runtime goes down; the next process goes on from here.
                    Err(_) => return false,
                },
                () = self.fifo.calm() => {
                    self.fifo.shrink();
                    continue;
                }
            };
            if let Some(command) = command {
                if self.drain().await {
                    stopped();
                    answer(command);
                    break;
                }
                if matches!(command, Command::Stop(_)) {
                    stopped();
                }
                answer(command);
                continue;
            }
            if self.until_empty(&mut commands, &stopped).await {
                break;
            }
        }
        self.events.landed(&self.writer.finish(&DockerFrames));
        true
    }

    /// Reads with pauses until there is nothing; true at the end.
    async fn until_empty(&mut self, commands: &mut mpsc::Receiver<Command>, stopped: &impl Fn()) -> bool {
        let mut burst = 0;
        loop {
            let pause = match self.step().await {
                Step::Bytes(n) => {
                    burst += n;
                    let pause = pause(n, burst, self.fifo.size());
                    if !pause.is_zero() {
                        burst = 0;
                    }
                    pause
                }
                Step::Full | Step::Exhausted => FULL,
                Step::Empty => return false,
                Step::End => return true,
            };
            if let Some(command) = next(commands, pause).await {
                let end = self.drain().await;
                if end || matches!(command, Command::Stop(_)) {
                    stopped();
                }
                answer(command);
                return end;
            }
        }
    }

    /// Reads without pauses what is in the pipe now; true at the end. dockerd holds the container's lock meanwhile, so
    /// a full ring is no reason to wait. What a container prints while it is read is nothing that a stop waits for.
    async fn drain(&mut self) -> bool {
        let mut owed = self.fifo.waiting().unwrap_or(usize::MAX);
        loop {
            match self.step().await {
                Step::Bytes(n) if n >= owed => return false,
                Step::Bytes(n) => owed -= n,
                Step::Full => self.writer.ring().unprotect(),
                Step::Empty | Step::Exhausted => return false,
                Step::End => return true,
            }
        }
    }

    async fn step(&mut self) -> Step {
        if !self.has_landed {
            match self.fifo.holds() {
                Ok(Holds::Data) => self.has_landed = true,
                Ok(Holds::Nothing) => return Step::Empty,
                Ok(Holds::End) => return Step::End,
                Err(error) => return self.homeless(&error).await,
            }
        }
        let fifo = &mut self.fifo;
        let landed = self.discard.land(&mut self.writer, |to| fifo.move_to(to.file(), to.offset(), to.room()));
        match landed {
            Ok(landed) if landed.bytes == 0 => Step::End,
            Ok(landed) => {
                self.events.landed(&landed);
                if let Some(block) = &mut self.block {
                    block.since = None;
                }
                Step::Bytes(landed.bytes)
            }
            Err(error) if ring::is_protected(&error) => self.full(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Empty,
            Err(error) if disk::is_exhausted(&error) => {
                self.events.exhausted(&error);
                Step::Exhausted
            }
            Err(error) => self.homeless(&error).await,
        }
    }

    /// Nothing can be read without losing a line that was not sent. After the timeout that is the lesser evil, until
    /// the shipper that is the furthest behind moves on and protects what is left.
    fn full(&mut self) -> Step {
        let Some(block) = &mut self.block else {
            // It shares the ring with a stream that waits, under other options; its own say nothing of waiting.
            self.writer.ring().unprotect();
            return Step::Full;
        };
        let since = *block.since.get_or_insert_with(|| {
            self.events.blocked();
            Instant::now()
        });
        if since.elapsed() >= block.timeout {
            self.writer.ring().unprotect();
        }
        Step::Full
    }

    /// The ring takes nothing: the container must go on all the same, so whole frames are read and counted.
    async fn homeless(&mut self, error: &io::Error) -> Step {
        let fifo = &mut self.fifo;
        match self.discard.read_for(&mut self.writer, |buffer| fifo.read(buffer)) {
            Ok(None) => Step::End,
            Ok(Some(dropped)) => {
                self.events.homeless(&dropped, error);
                Step::Bytes(dropped.read)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Empty,
            Err(error) => {
                self.events.homeless(&Dropped::default(), &error);
                sleep(HOMELESS).await;
                Step::Empty
            }
        }
    }
}

/// For how long to wait after a read of `n` bytes, when `burst` bytes have come since the wait before and the pipe holds
/// `size`. The writer fills a small pipe sooner than a large one.
fn pause(n: usize, burst: usize, size: usize) -> Duration {
    if n >= size.min(MOST_READ) / 2 {
        Duration::ZERO
    } else if burst >= size / 2 {
        SHORT
    } else {
        PAUSE
    }
}

/// A command that comes within `pause`. Without a pause others have their turn: timers are no finer than a millisecond,
/// in which a fast container fills its pipe.
async fn next(commands: &mut mpsc::Receiver<Command>, pause: Duration) -> Option<Command> {
    if pause.is_zero() {
        yield_now().await;
        return commands.try_recv().ok();
    }
    match timeout(pause, commands.recv()).await {
        Ok(None) => {
            // The registry has gone; there will be no commands.
            sleep(pause).await;
            None
        }
        command => command.ok().flatten(),
    }
}

/// The caller may have given up waiting.
fn answer(command: Command) {
    let (Command::Stop(reply) | Command::Drain(reply)) = command;
    let _ = reply.send(());
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use crate::streams::container::Activity;
    use dockerd::{Entry, Source, frame};
    use ring::{BootId, LEAST_BUDGET, Options, Ring};

    #[tokio::test]
    async fn a_stream_that_does_not_wait_is_read_where_lines_of_another_are_protected() {
        const LINES: u64 = 2_500;
        let dir = tempfile::tempdir().unwrap();
        let options = Options { budget: LEAST_BUDGET, boot: BootId::current() };
        let ring = Ring::open(&dir.path().join("ring"), options, &DockerFrames).unwrap();
        ring.protect_from(0, 0);
        let path = dir.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let fifo = Fifo::open(&path).unwrap();
        let mut end = OpenOptions::new().write(true).open(&path).unwrap();
        let mut frame = Vec::new();
        let entry = Entry { source: Source::Stdout, time: 1, line: &[b'x'; 1000], chunk: None };
        frame::encode_for_reader(&entry, &mut frame);
        assert!(frame.len() as u64 * LINES > 4 * LEAST_BUDGET);
        let writing = std::thread::spawn(move || (0..LINES).for_each(|_| end.write_all(&frame).unwrap()));
        let intake = Intake::new(fifo, ring.writer("a"), Activity::new("c", Default::default()).events.clone(), None);
        let (_commands, receiver) = mpsc::channel(1);
        assert!(intake.run(receiver, || ()).await);
        writing.join().unwrap();
        assert_eq!(ring.published().next_seq, LINES);
    }

    #[test]
    fn the_fuller_the_pipe_the_shorter_the_pause() {
        const KIB: usize = 1024;
        for (n, burst, size, expected) in [
            (1, 1, 8 * KIB, PAUSE),
            (4 * KIB, 4 * KIB, 8 * KIB, Duration::ZERO),
            (100, 100, 64 * KIB, PAUSE),
            (20 * KIB, 20 * KIB, 64 * KIB, PAUSE),
            (20 * KIB, 60 * KIB, 64 * KIB, SHORT),
            (32 * KIB, 32 * KIB, 64 * KIB, Duration::ZERO),
            (100 * KIB, 100 * KIB, 1024 * KIB, PAUSE),
            (100 * KIB, 600 * KIB, 1024 * KIB, SHORT),
            (128 * KIB, 128 * KIB, 1024 * KIB, Duration::ZERO),
        ] {
            assert_eq!(pause(n, burst, size), expected, "{n} bytes, {burst} in all, of {size}");
        }
    }
}
