//! A simulation of everything between dockerd and Loki, in one process and one thread, under paused time.
//!
//! The plugin is real, from [`Registry`](crate::streams::Registry) to the bytes of a push. Its surroundings are fake: a
//! [`dockerd`], [`loki`]s behind a [`network`], a [`disk`] below the [`kernel`]'s calls, a clock ([`time`]). A seed
//! makes a [`schedule`] of container actions and faults; [`life`] plays it on a [`world`]; [`oracle`] has the printed
//! lines; [`law`] checks the result.
//!
//! `make simulate SEEDS=10000` plays many seeds, `make simulate SEED=7` one, with its schedule and what happens.

mod bounds;
mod calls;
mod delays;
mod disk;
mod dockerd;
mod kernel;
mod law;
mod life;
mod log;
mod loki;
mod network;
mod oracle;
mod schedule;
mod time;
mod world;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use schedule::Schedule;
use world::World;

/// The number of seeds that `cargo test` plays.
const FEW: u64 = 24;

/// The most violations of one seed that are printed.
const MOST_TOLD: usize = 5;

/// The result of one seed.
struct Outcome {
    schedule: String,
    violations: Vec<String>,
    trace: Vec<String>,
    lines: usize,
}

// === impl Outcome ===

impl Outcome {
    /// The first violations as text.
    fn told(&self) -> String {
        let more = self.violations.len().saturating_sub(MOST_TOLD);
        let mut told = self.violations[..self.violations.len() - more].join("\n    ");
        if more > 0 {
            told.push_str(&format!("\n    and {more} more"));
        }
        told
    }
}

/// Plays one seed, on this thread.
fn play(seed: u64) -> Outcome {
    kernel::seed_randomness(seed);
    fastrand::seed(seed);
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let root = root.expect("a folder for the simulation");
    // Some messages name paths, which need the same length in every run.
    let machine = root.path().join("machine");
    for dir in ["fifos", "state"] {
        std::fs::create_dir_all(machine.join(dir)).expect("a folder for the simulation");
    }
    time::begin();
    disk::begin(&machine.join("state"), fastrand::Rng::with_seed(seed));
    let schedule = Schedule::new(seed);
    let text = schedule.to_string();
    let mut world = tracing::subscriber::with_default(log::Listener, || life::play_all(World::new(schedule, machine)));
    law::judge(&mut world);
    // Paths differ from run to run.
    let place = root.path().display().to_string();
    let mut trace: Vec<_> = log::take().into_iter().map(|line| line.replace(&place, "")).collect();
    for loki in &world.lokis {
        let requests = loki.requests();
        trace.extend(requests.iter().map(|(at, code)| format!("{} answered {code} at {at}", loki.name)));
    }
    disk::end();
    Outcome { schedule: text, violations: world.violations, trace, lines: world.oracle.len() }
}

/// Plays a seed on its own thread, with fresh thread-local state.
fn play_apart(seed: u64) -> Outcome {
    let played = thread::Builder::new().name(format!("seed {seed}")).spawn(move || play(seed));
    played.expect("a thread").join().unwrap_or_else(|_| Outcome {
        schedule: Schedule::new(seed).to_string(),
        violations: vec!["it panicked".into()],
        trace: Vec::new(),
        lines: 0,
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_line_is_sent_or_accounted_for_whatever_happens() {
    if let Some(seed) = number("SEED") {
        let outcome = play_apart(seed);
        println!("{}\n{}", outcome.schedule, outcome.trace.join("\n"));
        assert!(outcome.violations.is_empty(), "{}", outcome.told());
        return;
    }
    let (first, seeds) = (number("FIRST").unwrap_or(1), number("SEEDS").unwrap_or(FEW));
    let (next, lines, failed) = (AtomicU64::new(first), AtomicU64::new(0), Mutex::new(Vec::new()));
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let outcome = play_apart(seed);
                    lines.fetch_add(outcome.lines as u64, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        // Printed at once, because the other seeds may take a while.
                        eprintln!("seed {seed}: {}", outcome.told());
                        failed.lock().unwrap().push((seed, outcome));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    println!("{seeds} seeds, {} lines, {} seeds failed", lines.into_inner(), failed.len());
    if let Some((seed, outcome)) = failed.first() {
        panic!("{}\n{}\nagain: make simulate SEED={seed}", outcome.schedule, outcome.told());
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 3] {
        assert_eq!(play_apart(seed).trace, play_apart(seed).trace, "seed {seed}");
    }
}
