//! The program in the containers of the tests: it writes, and ends, as its arguments say, one after the other.
//!
//! ```text
//! lines:N      "line 1" to "line N", as fast as it goes
//! lines:N@R    the same, R lines a second
//! lines:N@R/B  the same on an average: B lines as fast as it goes, then a rest
//! width:A,B    lines that follow are filled up to A, B, A, B … bytes with a letter that their number tells
//! long:N       a line of N bytes
//! empty:N      N empty lines
//! text:TEXT    TEXT, without a newline
//! hex:00FF0A   bytes
//! to:stdout    what follows goes there; to:stderr, to:both (lines alternate, stdout first)
//! tell:FILE    FILE says how many lines `lines` has written to stdout, how many to stderr, and how many microseconds
//!              the longest write took: twenty times a second while it writes, and when it ends
//! echo         each line of stdin, at once, until stdin ends
//! wait         nothing, until SIGTERM
//! exit:N       ends with that status
//! ```
//!
//! SIGTERM also ends `lines` early, and nothing else. The program is static and stands alone in its image, and as PID
//! 1 it has to handle SIGTERM itself: the kernel sends it nothing that it did not ask for.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Whether SIGTERM was received.
static TERMINATED: AtomicBool = AtomicBool::new(false);

const SIGTERM: i32 = 15;

/// How often a waiting program checks for SIGTERM.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes that are collected when there is no rate to keep.
const BLOCK: usize = 32 * 1024;

/// How often the `tell` file is written.
const TELL: Duration = Duration::from_millis(50);

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
}

extern "C" fn on_sigterm(_: i32) {
    TERMINATED.store(true, Ordering::Relaxed);
}

/// Where lines go.
#[derive(Clone, Copy)]
enum To {
    Stdout,
    Stderr,
    Both,
}

/// The state that earlier steps have set for later ones.
struct Chatter {
    to: To,
    widths: Vec<usize>,
    told: Option<Told>,
}

/// How many lines a second, and how many of them at once.
#[derive(Clone, Copy)]
struct Pace {
    rate: u64,
    burst: u64,
}

/// The file with the number of written lines, for readers who must not rely on the log.
struct Told {
    file: File,
    out: u64,
    err: u64,
    longest: Duration,
    next: Instant,
}

fn main() -> ExitCode {
    // SAFETY: the handler does one atomic store, which is allowed at any instruction.
    unsafe { signal(SIGTERM, on_sigterm) };
    let mut chatter = Chatter { to: To::Stdout, widths: vec![0], told: None };
    for step in std::env::args().skip(1) {
        match chatter.take(&step) {
            Ok(None) => {}
            Ok(Some(code)) => return code,
            Err(error) => {
                eprintln!("chatter: {step}: {error}");
                return ExitCode::from(125);
            }
        }
    }
    ExitCode::SUCCESS
}

// === impl Chatter ===

impl Chatter {
    /// Takes one step; a status when it was the last.
    fn take(&mut self, step: &str) -> io::Result<Option<ExitCode>> {
        let (verb, rest) = step.split_once(':').unwrap_or((step, ""));
        let to = self.to;
        match verb {
            "lines" => {
                let (count, pace) = rest.split_once('@').unwrap_or((rest, ""));
                let pace = if pace.is_empty() { None } else { Some(pace.parse()?) };
                self.lines(number(count)?, pace)?;
            }
            "width" => {
                self.widths = rest.split(',').map(|width| Ok(number(width)? as usize)).collect::<io::Result<_>>()?
            }
            "tell" => self.told = Some(Told::new(rest)?),
            "long" => put(to, &[&b"x".repeat(number(rest)? as usize)[..], b"\n"].concat())?,
            "empty" => put(to, &b"\n".repeat(number(rest)? as usize))?,
            "text" => put(to, rest.as_bytes())?,
            "hex" => put(to, &bytes(rest)?)?,
            "to" => {
                self.to = match rest {
                    "stdout" => To::Stdout,
                    "stderr" => To::Stderr,
                    "both" => To::Both,
                    _ => return Err(wrong("stdout, stderr or both is expected")),
                }
            }
            "echo" => {
                for line in io::stdin().lock().split(b'\n') {
                    put(to, &[&line?[..], b"\n"].concat())?;
                }
            }
            "wait" => {
                while !TERMINATED.load(Ordering::Relaxed) {
                    sleep(LOOK);
                }
            }
            "exit" => return Ok(Some(ExitCode::from(number(rest)? as u8))),
            _ => return Err(wrong("there is no such step")),
        }
        Ok(None)
    }

    /// Numbered lines. With a pace each is written when it is due, and those that are late at once.
    fn lines(&mut self, count: u64, pace: Option<Pace>) -> io::Result<()> {
        let start = Instant::now();
        let (mut block, mut held) = (Vec::new(), 0);
        for n in 1..=count {
            if TERMINATED.load(Ordering::Relaxed) {
                break;
            }
            if let Some(pace) = pace.filter(|pace| (n - 1).is_multiple_of(pace.burst)) {
                self.write(self.to, &mut block, &mut held)?;
                let due = Duration::from_secs(n - 1) / u32::try_from(pace.rate).unwrap_or(u32::MAX);
                sleep(due.saturating_sub(start.elapsed()));
            }
            let line = format!("line {n}");
            let fill = self.widths[(n - 1) as usize % self.widths.len()].saturating_sub(line.len());
            block.extend_from_slice(line.as_bytes());
            block.extend((0..fill).map(|at| if at == 0 { b' ' } else { b'a' + (n % 26) as u8 }));
            block.push(b'\n');
            held += 1;
            if matches!(self.to, To::Both) {
                self.write(turn(n), &mut block, &mut held)?;
            } else if block.len() >= BLOCK {
                self.write(self.to, &mut block, &mut held)?;
            }
        }
        self.write(self.to, &mut block, &mut held)?;
        self.told.as_ref().map_or(Ok(()), Told::save)
    }

    /// Writes the held lines, and updates the `tell` file.
    fn write(&mut self, to: To, block: &mut Vec<u8>, held: &mut u64) -> io::Result<()> {
        let begin = Instant::now();
        put(to, block)?;
        if let Some(told) = &mut self.told {
            told.note(to, *held, begin)?;
        }
        block.clear();
        *held = 0;
        Ok(())
    }
}

// === impl Pace ===

impl FromStr for Pace {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let (rate, burst) = text.split_once('/').unwrap_or((text, "1"));
        Ok(Self { rate: number(rate)?, burst: number(burst)? })
    }
}

// === impl Told ===

impl Told {
    fn new(file: &str) -> io::Result<Self> {
        let told = Self { file: File::create(file)?, out: 0, err: 0, longest: Duration::ZERO, next: Instant::now() };
        told.save()?;
        Ok(told)
    }

    /// Records `lines` written lines, and the time since `begin`.
    fn note(&mut self, to: To, lines: u64, begin: Instant) -> io::Result<()> {
        match to {
            To::Stderr => self.err += lines,
            To::Stdout | To::Both => self.out += lines,
        }
        let now = Instant::now();
        self.longest = self.longest.max(now - begin);
        if now >= self.next {
            self.next = now + TELL;
            self.save()?;
        }
        Ok(())
    }

    /// The text always has the same length, so that nothing of an earlier one is left.
    fn save(&self) -> io::Result<()> {
        let text = format!("{:>20} {:>20} {:>20}\n", self.out, self.err, self.longest.as_micros());
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

/// The output of the n-th line.
fn turn(n: u64) -> To {
    if n % 2 == 1 { To::Stdout } else { To::Stderr }
}

/// Writes, and leaves nothing in a buffer.
fn put(to: To, bytes: &[u8]) -> io::Result<()> {
    match to {
        To::Stderr => io::stderr().write_all(bytes),
        To::Stdout | To::Both => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
    }
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| wrong("a whole number is expected"))
}

fn bytes(hex: &str) -> io::Result<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    digits.map(byte).collect::<Option<_>>().ok_or_else(|| wrong("pairs of hexadecimal digits are expected"))
}

fn wrong(expected: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, expected)
}
