//! The stand-in Loki as a process, for a demo: `loki-standin --listen 127.0.0.1:3100`.
//!
//! One line for each push, at once. How to order failures is in `control.rs`.

#[path = "mod.rs"]
mod standin;

use clap::Parser;
use standin::{Request, Standin};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// A stand-in for Grafana Loki, for demonstrations.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:3100")]
    listen: SocketAddr,

    /// Ask for a tenant in X-Scope-OrgID.
    #[arg(long)]
    auth: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let builder = Standin::builder().listen(arguments.listen).auth(arguments.auth);
    let loki = match builder.try_start() {
        Ok(loki) => loki,
        Err(error) => {
            eprintln!("cannot listen on {}: {error}", arguments.listen);
            return ExitCode::FAILURE;
        }
    };
    match report(&loki) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has gone: that is how a demo ends.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints pushes as they come, for ever.
fn report(loki: &Standin) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {}", loki.url())?;
    out.flush()?;
    let mut seen = 0;
    loop {
        let more = loki.wait_for(|state| state.requests().len() > seen, Duration::from_secs(3600));
        if !more {
            continue;
        }
        let requests = loki.requests_since(seen);
        seen += requests.len();
        for request in requests.iter().filter(|request| request.is_push()) {
            writeln!(out, "{}", describe(request))?;
            out.flush()?;
        }
    }
}

fn describe(request: &Request) -> String {
    let status = match request.status_answered {
        Some(status) => status.to_string(),
        None => "---".to_owned(),
    };
    let lines: usize = request.streams.iter().map(|(_, entries)| entries).sum();
    let mut text =
        format!("{status}  {lines} lines, {} streams, {} bytes", request.streams.len(), request.compressed_bytes);
    if let Some((labels, _)) = request.streams.first() {
        text += &format!("  {labels}");
    }
    if request.status_answered != Some(204) {
        text += &format!("  {}", request.answer.lines().next().unwrap_or("no answer"));
    }
    text
}
