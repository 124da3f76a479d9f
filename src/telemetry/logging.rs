//! The plugin's own log.
//!
//! dockerd takes the plugin's stdout at level info and its stderr at level error, line by line, and stops listening
//! for good after a line of more than 64 KiB. So warnings and errors go to stderr, the rest to stdout, each event is
//! one line, and no line is longer than [`LONGEST`].

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::config::LogLevel;

/// Bytes of a line, newline included.
pub const LONGEST: usize = 16 * 1024;

/// Sets the log up, once a process.
pub fn init(level: LogLevel) {
    let filter = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // dockerd adds the time. What crates below us have to tell at lower levels is for their developers.
    let lines =
        tracing_subscriber::fmt::layer().without_time().with_target(false).with_ansi(false).with_writer(Outputs);
    let targets = Targets::new().with_default(LevelFilter::WARN.min(filter)).with_target("loki_rs", filter);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets));
    // Refused when a test has set one already.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Chooses stdout or stderr by level.
struct Outputs;

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = Line<Box<dyn Write>>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(Box::new(io::stdout()))
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        if *meta.level() <= Level::WARN { Line(Box::new(io::stderr())) } else { self.make_writer() }
    }
}

/// Writes an event as one line of bounded length.
struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let mut line: Vec<u8> = text[..text.len().min(LONGEST - 1)].to_vec();
        for byte in &mut line {
            if *byte == b'\n' || *byte == b'\r' {
                *byte = b' ';
            }
        }
        line.push(b'\n');
        // Nobody to tell when the log itself is gone.
        let _ = self.0.write_all(&line);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_dockerd_can_take() {
        let mut out = Vec::new();
        let event = [&b"one\ntwo "[..], &[b'x'; 70_000], b"\n"].concat();
        assert_eq!(Line(&mut out).write(&event).unwrap(), event.len());
        assert_eq!(out.len(), LONGEST);
        assert!(out.starts_with(b"one two x") && out.ends_with(b"x\n"));
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }
}
