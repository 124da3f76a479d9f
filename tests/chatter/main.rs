//! What runs in the containers of the tests: writes, and ends, as its arguments say, one after the other.
//!
//! ```text
//! lines:N      "line 1" to "line N", as fast as it goes
//! lines:N@R    the same, R lines a second
//! long:N       a line of N bytes
//! empty:N      N empty lines
//! text:TEXT    TEXT, without a newline
//! hex:00FF0A   bytes
//! to:stdout    what follows goes there; to:stderr, to:both (lines alternate, stdout first)
//! echo         each line of stdin, at once, until stdin ends
//! wait         nothing, until SIGTERM
//! exit:N       ends with that status
//! ```
//!
//! SIGTERM also ends `lines` early, and nothing else. The program is static and stands alone in its image, and as PID
//! 1 it has to handle SIGTERM itself: the kernel sends it nothing that it did not ask for.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Somebody wants the program to end.
static TERMINATED: AtomicBool = AtomicBool::new(false);

const SIGTERM: i32 = 15;

/// How often a waiting program looks whether it shall end.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes that are collected when there is no rate to keep.
const BLOCK: usize = 32 * 1024;

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

fn main() -> ExitCode {
    // SAFETY: the handler does one atomic store, which is allowed at any instruction.
    unsafe { signal(SIGTERM, on_sigterm) };
    let mut to = To::Stdout;
    for step in std::env::args().skip(1) {
        match take(&step, &mut to) {
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

/// Takes one step; a status when it was the last.
fn take(step: &str, to: &mut To) -> io::Result<Option<ExitCode>> {
    let (verb, rest) = step.split_once(':').unwrap_or((step, ""));
    match verb {
        "lines" => {
            let (count, rate) = match rest.split_once('@') {
                Some((count, rate)) => (number(count)?, Some(number(rate)?)),
                None => (number(rest)?, None),
            };
            lines(*to, count, rate)?;
        }
        "long" => put(*to, &[&b"x".repeat(number(rest)? as usize)[..], b"\n"].concat())?,
        "empty" => put(*to, &b"\n".repeat(number(rest)? as usize))?,
        "text" => put(*to, rest.as_bytes())?,
        "hex" => put(*to, &bytes(rest)?)?,
        "to" => {
            *to = match rest {
                "stdout" => To::Stdout,
                "stderr" => To::Stderr,
                "both" => To::Both,
                _ => return Err(wrong("stdout, stderr or both is expected")),
            }
        }
        "echo" => {
            for line in io::stdin().lock().split(b'\n') {
                put(*to, &[&line?[..], b"\n"].concat())?;
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

/// Numbered lines. With a rate each is written when it is due, and those that are late at once.
fn lines(to: To, count: u64, rate: Option<u64>) -> io::Result<()> {
    let start = Instant::now();
    let mut block = Vec::new();
    for n in 1..=count {
        if TERMINATED.load(Ordering::Relaxed) {
            break;
        }
        let line = format!("line {n}\n");
        match (rate, to) {
            (Some(rate), _) => {
                let due = Duration::from_secs(n - 1) / u32::try_from(rate).unwrap_or(u32::MAX);
                sleep(due.saturating_sub(start.elapsed()));
                put(turn(to, n), line.as_bytes())?;
            }
            (None, To::Both) => put(turn(to, n), line.as_bytes())?,
            (None, _) => {
                block.extend_from_slice(line.as_bytes());
                if block.len() >= BLOCK {
                    put(to, &block)?;
                    block.clear();
                }
            }
        }
    }
    put(to, &block)
}

/// Whose turn the n-th line is.
fn turn(to: To, n: u64) -> To {
    match to {
        To::Both if n % 2 == 1 => To::Stdout,
        To::Both => To::Stderr,
        one => one,
    }
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
