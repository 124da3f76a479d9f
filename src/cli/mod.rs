//! The command line. Without a command the plugin serves; that is how dockerd starts it.

mod doctor;
mod pipeline;
mod relabel;
mod ring;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app;
use crate::config::{Environment, Settings, options, settings};

/// Settings are wrong: `EX_CONFIG` of sysexits.h.
const BAD_SETTINGS: u8 = 78;

/// A Docker log driver for Grafana Loki that blocks nobody and loses nothing.
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

fn serve() -> ExitCode {
    let settings = match Settings::read(&Environment) {
        Ok(settings) => settings,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    match app::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
