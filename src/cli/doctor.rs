//! `loki-rs doctor`: what a container with these options would meet, before there is one.

use std::process::ExitCode;

use clap::Args;

use crate::config::effective::{Effective, Origin, effective};
use crate::config::pipeline::Configured;
use crate::config::{Environment, PluginDefaults, RawOptions, Settings, StreamOptions};
use crate::doctor::reach::reach;
use dockerd::Source;
use dockerd::info::Info;

use crate::streams::labels;

/// What the container would be.
#[derive(Debug, Args)]
pub struct Arguments {
    /// An option of the log driver, as docker run takes it.
    #[arg(long = "log-opt", value_name = "NAME=VALUE", value_parser = super::pair)]
    options: Vec<(String, String)>,
    /// The name of the container.
    #[arg(long, default_value = "example")]
    name: String,
    /// A label of the container.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = super::pair)]
    labels: Vec<(String, String)>,
    /// An environment variable of the container.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = super::pair)]
    env: Vec<(String, String)>,
}

/// Runs the command: 0 when lines would get there, 1 when they would not.
pub fn run(arguments: &Arguments) -> ExitCode {
    let settings = Settings::read(&Environment);
    let info = Info {
        config: arguments.options.iter().cloned().collect(),
        container_id: "0".repeat(64),
        container_name: format!("/{}", arguments.name),
        container_image_name: "example:latest".into(),
        container_labels: arguments.labels.iter().cloned().collect(),
        container_env: arguments.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        ..Info::default()
    };
    println!("options in force");
    table(&effective(&RawOptions(info.config.clone()), &settings.defaults));
    if !settings.mistakes.is_empty() {
        println!("\nsettings of the plugin");
        for mistake in &settings.mistakes {
            println!("  FAIL  {mistake}");
        }
    }
    match examine(&info, &settings.defaults) {
        Ok(_) if !settings.mistakes.is_empty() => {
            println!(
                "\nFAIL  the plugin would refuse every new container until its settings are set right; see above."
            );
            ExitCode::FAILURE
        }
        Ok(true) => {
            println!("\nA container with these options would be logged to Loki.");
            ExitCode::SUCCESS
        }
        Ok(false) => {
            println!("\nLines would not get to Loki; see FAIL above. Containers run all the same, and lines are kept.");
            ExitCode::FAILURE
        }
        Err(refusal) => {
            println!("\nFAIL  a container with these options would not start: {refusal}");
            ExitCode::FAILURE
        }
    }
}

fn table(options: &[Effective]) {
    for Effective { key, value, origin } in options {
        let origin = match origin {
            Origin::BuiltIn => "built in".to_owned(),
            Origin::Plugin(name) => format!("{name} of the plugin"),
            Origin::Container => "--log-opt".to_owned(),
        };
        println!("  {key:<30}  {value:<50}  {origin}");
    }
}

/// Whether all destinations can be reached; the refusal of docker run if it comes to that.
fn examine(info: &Info, defaults: &PluginDefaults) -> Result<bool, String> {
    let options = StreamOptions::parse(&info.config, defaults).map_err(|errors| errors.to_string())?;
    let host = labels::hostname();
    let labels = labels::build(info, &options.labels, &host).map_err(|errors| errors.join("; "))?;
    let notes: Vec<_> = options.notes.iter().chain(&labels.notes).collect();
    if !notes.is_empty() {
        println!("\nnotes");
        notes.iter().for_each(|note| println!("  {note}"));
    }
    println!("\nlabels of the container {:?}", info.name());
    for source in Source::ALL {
        match labels.stream(source) {
            Some(stream) => println!("  {}", stream.labels),
            None => println!("  {} is dropped by loki-relabel-config", source.as_str()),
        }
    }
    let beside: Vec<_> = labels.structured_metadata().into_iter().map(|(name, _)| name).collect();
    println!("  beside each line: {}", if beside.is_empty() { "nothing".to_owned() } else { beside.join(", ") });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let mut all = true;
    if let Some(configured) = options.pipeline.filter(Configured::names_files) {
        match runtime.block_on(configured.open()) {
            Ok(_) => println!("\nok    files of the pipeline can be used"),
            Err(reason) => return Err(reason),
        }
    }
    for destination in &options.destinations {
        println!("\n{}", destination.url);
        let destination = labels.target(destination);
        all &= runtime.block_on(reach(&destination, |finding| println!("  {finding}")));
    }
    Ok(all)
}
