//! The command line. Without a command the plugin serves; that is how dockerd starts it.

mod doctor;
mod pipeline;
mod relabel;
mod ring;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app;
use crate::config::{Environment, Settings, options, settings};

/// Something cannot be used.
const REFUSED: u8 = 2;

/// A Docker log driver for Grafana Loki that never blocks containers and buffers logs on disk through outages.
#[derive(Debug, Parser)]
#[command(name = "loki-rs", version, after_long_help = format!("{}\n{}", options::help(), settings::help()))]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer dockerd; the default.
    Serve,
    /// Look into the rings that containers are logged to.
    Ring(ring::Arguments),
    /// Look whether a container with these options would be logged, and say what is wrong if not.
    ///
    /// Settings of the plugin are read from the environment, as the plugin does.
    Doctor(doctor::Arguments),
    /// Try out stages for loki-pipeline-stages or loki-pipeline-stage-file.
    Pipeline(pipeline::Arguments),
    /// Try out rules for loki-relabel-config.
    Relabel(relabel::Arguments),
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => serve(),
        Command::Ring(arguments) => ring::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Pipeline(arguments) => pipeline::run(&arguments),
        Command::Relabel(arguments) => relabel::run(&arguments),
    }
}

/// The end of a dry run: 2 with the reason when what was to be tried out, or a line of the input, cannot be used.
fn end(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(REFUSED)
        }
    }
}

/// `NAME=VALUE`, as docker takes it.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE (try app=web)")),
    }
}

fn serve() -> ExitCode {
    match app::run(Settings::read(&Environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log is set up before anything can fail.
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
