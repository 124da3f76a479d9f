//! The time until the power fails: containers that print, one that has ended, two Lokis of which one is down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::disk::{Disks, Mounted};
use crate::harness::dockerd::{Container, Dockerd, Run};
use crate::harness::plugin::{Plugin, Start, names_in};
use crate::harness::{assert_eventually, lines_in};
use crate::standin::{Failure, Limits, Standin, Times};

/// All containers: one that is done, and those that print on.
pub const NAMES: [&str; 4] = ["job", "busy", "open", "piped"];

/// Lines of the one that is done.
const DONE: usize = 100;

/// The most that passes between two power losses.
const LONGEST_WAIT: u64 = 6000;

/// Two Lokis: one that is well, and one that is away until the power has failed.
pub struct Lokis {
    pub well: Standin,
    pub away: Standin,
}

/// A disk as a power loss leaves it, and what is known of that moment.
pub struct Image {
    pub path: PathBuf,
    /// How many lines of a container the plugin had synced, by name.
    pub synced: BTreeMap<String, usize>,
    /// How many a container had printed by then, at most.
    pub printed: BTreeMap<String, usize>,
    /// What the Loki had that was well.
    pub sent: BTreeMap<String, BTreeSet<String>>,
}

/// See the [module](self).
pub struct Play {
    random: u64,
    lokis: Lokis,
    plugin: Plugin,
    _disk: Mounted,
    printed: Arc<BTreeMap<String, AtomicUsize>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    syncs: Arc<Mutex<Syncs>>,
}

/// What is seen of the plugin's syncs from outside: the slots in the segments, which are written before each.
#[derive(Default)]
struct Syncs {
    /// How often the slots of the container that prints the most were seen to change.
    rounds: usize,
    /// How far the slots of a ring went, and in which round that was seen first.
    seen: BTreeMap<String, Vec<(usize, u64)>>,
}

/// The number of a line, in front of which a container's name stands.
pub fn line(name: &str, at: usize) -> String {
    format!("{name} {at:07} {}", "x".repeat(at % 120))
}

/// A container as it is started before and after.
pub fn container(dockerd: &Dockerd, lokis: &Lokis, name: &str) -> Container {
    let (well, away) = (lokis.well.push_url(), lokis.away.push_url());
    let container = dockerd
        .container(name)
        .option("loki-batch-wait", "20ms")
        .option("loki-min-backoff", "20ms")
        .option("loki-max-backoff", "200ms");
    match name {
        "job" => container.option("loki-url", &away),
        "open" => container.option("loki-url", &well),
        "piped" => container
            .option("loki-url", &format!("{well},{away}"))
            .option("loki-pipeline-stages", "- decolorize:\n- static_labels:\n    stage: one\n"),
        _ => container.option("loki-url", &format!("{well},{away}")),
    }
}

// === impl Play ===

impl Play {
    pub fn begin(disks: &Disks, seed: u64) -> Self {
        let loki = || Standin::builder().limits(Limits::generous()).start();
        let lokis = Lokis { well: loki(), away: loki() };
        lokis.away.fail(Failure::Status { code: 503, body: "away".into() }, Times::UntilHealed);
        let disk = disks.mount(&disks.live());
        let plugin = Start::default().state_in(&disk.state()).start();
        let dockerd = Dockerd::new(&plugin);
        let printed: BTreeMap<_, _> = NAMES.iter().map(|name| ((*name).to_owned(), AtomicUsize::new(0))).collect();
        let (printed, is_over) = (Arc::new(printed), Arc::new(AtomicBool::new(false)));
        let syncs = Arc::new(Mutex::new(Syncs::default()));
        let rings: Vec<_> =
            NAMES.iter().map(|name| (*name, plugin.ring(container(&dockerd, &lokis, name).id()))).collect();
        let mut threads = vec![watch(rings, syncs.clone(), is_over.clone())];
        for name in NAMES {
            let run = container(&dockerd, &lokis, name).start();
            if name == "open" {
                // A line whose end does not come, which keeps the cursor where it is.
                run.print(0, &[b'x'; 20_000]);
            }
            threads.push(print(name, run, printed.clone(), is_over.clone()));
        }
        Self { random: seed, lokis, plugin, _disk: disk, printed, is_over, threads, syncs }
    }

    /// Some time passes, and the power fails. What goes on afterwards is not in the image.
    pub fn power_fails(&mut self, disks: &Disks, at: usize) -> Image {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The first one may be before the first sync.
        thread::sleep(Duration::from_millis((self.random >> 33) % LONGEST_WAIT));
        if at > 0 {
            assert_eventually!(self.synced().len() == NAMES.len(), "all rings are synced: {:?}", self.synced());
        }
        let synced = self.synced();
        let path = disks.copy(at);
        // One more may be on its way.
        let printed = self.printed.iter().map(|(name, count)| (name.clone(), count.load(Ordering::SeqCst) + 1));
        let sent =
            NAMES.iter().map(|name| ((*name).to_owned(), lines_in(&self.lokis.well, name).into_iter().collect()));
        Image { path, synced, printed: printed.collect(), sent: sent.collect() }
    }

    /// The machine is gone.
    pub fn end(mut self, _disks: &Disks) -> Lokis {
        self.is_over.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().expect("it only prints or looks"));
        self.plugin.kill();
        self.lokis
    }

    /// How many lines of each container were synced before now: a sync that wrote a slot has ended once two rounds have
    /// begun after it.
    fn synced(&self) -> BTreeMap<String, usize> {
        let syncs = self.syncs.lock().expect("no thread panics with the lock");
        let mut synced = BTreeMap::new();
        for (name, seen) in &syncs.seen {
            let done = seen.iter().rev().find(|(round, _)| round + 2 <= syncs.rounds);
            // The first record of that one is the beginning of its long line.
            let not_lines = usize::from(name == "open");
            if let Some((_, records)) = done {
                synced.insert(name.clone(), (*records as usize).saturating_sub(not_lines));
            }
        }
        synced
    }
}

fn print(
    name: &'static str,
    run: Run,
    printed: Arc<BTreeMap<String, AtomicUsize>>,
    is_over: Arc<AtomicBool>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let count = &printed[name];
        for at in 0.. {
            if is_over.load(Ordering::SeqCst) || (name == "job" && at == DONE) {
                break;
            }
            run.print(usize::from(name == "open"), format!("{}\n", line(name, at)).as_bytes());
            count.store(at + 1, Ordering::SeqCst);
            // As fast as a container that has something to do, within what the ring holds.
            if at % 5 == 0 {
                thread::sleep(Duration::from_millis(10));
            }
        }
        if name == "job" {
            run.stop();
        } else {
            // Its dockerd dies with the machine.
            run.crash();
        }
    })
}

/// Looks at the slots of all rings again and again.
fn watch(rings: Vec<(&'static str, PathBuf)>, syncs: Arc<Mutex<Syncs>>, is_over: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        while !is_over.load(Ordering::SeqCst) {
            for (name, ring) in &rings {
                let Some(end) = slots(ring) else { continue };
                let mut syncs = syncs.lock().expect("no thread panics with the lock");
                let rounds = syncs.rounds;
                let seen = syncs.seen.entry((*name).to_owned()).or_default();
                if seen.last().is_none_or(|(_, last)| *last < end) {
                    seen.push((rounds, end));
                    syncs.rounds += usize::from(*name == "busy");
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
    })
}

/// How far the slots of a ring go: the number of the record behind the last one in them.
fn slots(ring: &Path) -> Option<u64> {
    let segments = names_in(ring).into_iter().filter(|name| name.ends_with(".seg"));
    let ends = segments.flat_map(|name| {
        let file = File::open(ring.join(name)).ok();
        [512, 1024].map(|at| {
            let mut slot = [0; 64];
            file.as_ref()?.read_exact_at(&mut slot, at).ok()?;
            let number = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
            let is_whole = slot[60..] == crc32fast::hash(&slot[..60]).to_le_bytes();
            is_whole.then(|| number(16) + number(24))
        })
    });
    ends.flatten().max()
}
