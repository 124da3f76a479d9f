//! Moves bytes from FIFO to ring: the only task that a container's speed depends on.
//!
//! It reads, lets the ring commit whole records, and does nothing else: no network, no sync, no lock that a slow reader
//! could hold. It runs on its own threads, so that no other work in the plugin delays it.

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

/// The pause after a read that brought less than half of its limit. Greedy reading costs a system call per line; with
/// the pause a thousand lines come at once, and the pipe holds them meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

/// The most bytes of one read, which is the room that a ring gives at once.
const MOST_READ: usize = 256 * 1024;

/// The pause when half a pipe has come since the last pause. A timer takes up to a millisecond longer than asked, and a
/// pipe that is full by then blocks its writer.
const SHORT: Duration = Duration::from_millis(1);

/// The interval at which a full ring is checked again.
const FULL: Duration = Duration::from_millis(20);

/// The pause after neither disk nor memory accepted bytes.
const HOMELESS: Duration = Duration::from_millis(100);

/// A command of dockerd's calls to a stream.
#[derive(Debug)]
pub enum Command {
    /// StopLogging: empty the pipe, then answer, then read on to the end.
    Stop(oneshot::Sender<()>),
    /// Empty the pipe, then answer.
    Drain(oneshot::Sender<()>),
}

/// The intake of one stream.
#[derive(Debug)]
pub struct Intake {
    fifo: Fifo,
    writer: Writer,
    events: Arc<Events>,
    /// Whether bytes have landed. Nothing is created on disk before the first byte, because a `docker logs` on a
    /// stopped container is a stream that never has one.
    has_landed: bool,
    block: Option<Block>,
    /// Drops lines that neither disk nor memory has room for.
    discard: Discard,
}

/// `loki-backpressure=block`: when the ring is full of unsent lines, the container waits, up to a timeout.
#[derive(Debug)]
struct Block {
    /// `loki-block-timeout`.
    timeout: Duration,
    /// When the container began to wait.
    since: Option<Instant>,
}

/// The result of one step.
enum Step {
    Bytes(usize),
    Empty,
    End,
    /// The ring is full, and the container must wait.
    Full,
    /// The process has no file descriptor for the ring: the container must wait, as for a disk that hangs.
    Exhausted,
}

// === impl Intake ===

impl Intake {
    /// Creates an intake from `fifo` to `writer`.
    pub fn new(fifo: Fifo, writer: Writer, events: Arc<Events>, block: Option<Duration>) -> Self {
        let block = block.map(|timeout| Block { timeout, since: None });
        Self { fifo, writer, events, has_landed: false, block, discard: Discard::default() }
    }

    /// Reads until the FIFO ends, which is when dockerd closes it; false when the plugin shuts down before. Calls
    /// `stopped` when StopLogging is answered: everything written before is then in the ring.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, stopped: impl Fn()) -> bool {
        loop {
            let command = tokio::select! {
                biased;
                command = commands.recv() => command,
                ready = self.fifo.readable() => match ready {
                    Ok(()) => None,
                    // Happens only when the runtime shuts down; the next process resumes here.
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

    /// Reads with pauses until the pipe is empty; true at the end.
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
    /// a full ring does not make this wait. A stop does not wait for lines printed during the read.
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

    /// Handles a ring full of unsent lines, where any read would drop some. After the timeout the intake drops them,
    /// until the shipper that is furthest behind moves on and pins the rest.
    fn full(&mut self) -> Step {
        let Some(block) = &mut self.block else {
            // It shares the ring with a stream that waits by its own options; this one's options do not wait.
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

    /// Reads, counts and drops whole frames when the ring refuses them, so that the container does not block.
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

/// The pause after a read of `n` bytes, when `burst` bytes came since the last pause and the pipe holds `size`. The
/// writer fills a small pipe sooner than a large one.
fn pause(n: usize, burst: usize, size: usize) -> Duration {
    if n >= size.min(MOST_READ) / 2 {
        Duration::ZERO
    } else if burst >= size / 2 {
        SHORT
    } else {
        PAUSE
    }
}

/// Waits for a command during `pause`. A pause of 0 only lets other tasks run: timers are no finer than a millisecond,
/// in which a fast container fills its pipe.
async fn next(commands: &mut mpsc::Receiver<Command>, pause: Duration) -> Option<Command> {
    if pause.is_zero() {
        yield_now().await;
        return commands.try_recv().ok();
    }
    match timeout(pause, commands.recv()).await {
        Ok(None) => {
            // The registry is gone, so no command will come.
            sleep(pause).await;
            None
        }
        command => command.ok().flatten(),
    }
}

/// Answers a command, whose caller may have given up.
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
    fn a_fuller_pipe_has_a_shorter_pause() {
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
