//! `loki-rs ring`: rings, with nothing else at hand.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::frames::DockerFrames;
use dockerd::frame;
use dockerd::info::Info;
use ring::{BootId, Notice, Ring, RingError, cursors};

use crate::streams::retention;

/// What to look at.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One line a ring, the largest first: container, name, bytes, entries, entries not sent.
    List {
        /// The folder of rings, `rings` in the state directory.
        #[arg(default_value = "/run/docker/logging/loki-rs/rings")]
        dir: PathBuf,
    },
    /// The lines of one ring as the container wrote them.
    Dump {
        /// The ring's folder, named for the container's id.
        dir: PathBuf,
    },
}

/// Runs the command. A reader that hangs up is no failure.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut out = io::stdout().lock();
    let done = match &arguments.command {
        Command::List { dir } => list(dir, &mut out),
        Command::Dump { dir } => dump(dir, &mut out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn list(dir: &Path, out: &mut impl Write) -> io::Result<()> {
    let entries =
        fs::read_dir(dir).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))?;
    let mut rings = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let info: Info = retention::info_of(&path).unwrap_or_default();
        // One that cannot be read does not hide the others.
        let ring = match open(&path) {
            Ok(ring) => ring,
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        let (oldest, next) = (ring.oldest().seq, ring.published().next_seq);
        let sent = cursors::furthest_behind(&path).map_or(0, |position| position.seq);
        let unsent = next - sent.clamp(oldest, next);
        rings.push((ring.allocated(), id, info, next - oldest, unsent));
    }
    rings.sort_by(|(bytes, ..), (other, ..)| other.cmp(bytes));
    writeln!(out, "{:<12}  {:<24}  {:>11}  {:>10}  {:>8}", "CONTAINER", "NAME", "BYTES", "ENTRIES", "UNSENT")?;
    for (bytes, id, info, entries, unsent) in rings {
        writeln!(out, "{id:<12.12}  {:<24}  {bytes:>11}  {entries:>10}  {unsent:>8}", info.name())?;
    }
    Ok(())
}

fn dump(dir: &Path, out: &mut impl Write) -> io::Result<()> {
    if !dir.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not the folder of a ring", dir.display())));
    }
    let ring = open(dir)?;
    for notice in ring.take_notices() {
        if let Notice::SetAside { path, reason, .. } = notice {
            eprintln!("{}: {reason}", path.display());
        }
    }
    let mut reader = ring.reader();
    while let Some(chunk) = reader.fill() {
        let mut entries = frame::entries(chunk.bytes);
        let mut records = 0;
        for entry in entries.by_ref() {
            out.write_all(entry.line)?;
            if entry.ends_line() {
                out.write_all(b"\n")?;
            }
            records += 1;
        }
        let used = entries.position();
        reader.advance(used, records, &DockerFrames);
    }
    let lost = reader.take_lost();
    if lost.damaged > 0 {
        eprintln!("{} entries are damaged", lost.damaged);
    }
    Ok(())
}

fn open(dir: &Path) -> io::Result<Arc<Ring>> {
    Ring::look(dir, BootId::current(), &DockerFrames).map_err(other)
}

fn other(error: RingError) -> io::Error {
    io::Error::other(error)
}
