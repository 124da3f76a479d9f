//! The cost of the driver: the real binary, between a fake dockerd and a sink in place of Loki.
//!
//! ```text
//! frames ──FIFO──▶ plugin ──HTTP──▶ sink          processor time, memory and system calls of the plugin alone
//! frames ──pipe──▶ floor                          the same bytes, by one thread that does the least there is to do
//! ```
//!
//! `make bench` runs everything and draws the plots; `make bench SCENES="cost wait"` a part. Absolute times depend on
//! the machine and its other load. The ratio to the floor is measured in the same run, turn by turn, and is the result;
//! of several runs the median is shown.

#[path = "../../tests/harness/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod harness;
#[path = "../../tests/standin/mod.rs"]
mod standin;

mod cost;
mod floor;
mod growth;
mod load;
mod look;
mod plot;
mod process;
mod read;
mod sink;
mod stage;
mod state;
mod wait;

/// A scene's name, what it shows, and how it is played.
type Scene = (&'static str, &'static str, fn());

const SCENES: [Scene; 6] = [
    ("cost", "processor time a line, against the floor", cost::play),
    ("wait", "from a line's writing to Loki", wait::play),
    ("read", "docker logs, time inside the plugin", read::play),
    ("state", "memory at rest and at work", state::play),
    ("look", "to be looked at", look::play),
    ("growth", "cost as lines, containers and rings grow", growth::play),
];

fn main() {
    // Cargo passes --bench.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = asked.iter().find(|name| SCENES.iter().all(|(known, ..)| known != name)) {
        let known: Vec<_> = SCENES.iter().map(|(name, ..)| *name).collect();
        eprintln!("{unknown:?} is no scene of the bench (try {})", known.join(", "));
        std::process::exit(2);
    }
    for (name, shows, play) in SCENES {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            println!("\n## {name}: {shows}\n");
            play();
        }
    }
}
