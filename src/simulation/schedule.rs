//! The schedule of a simulation: timed actions, made from a seed, and readable.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{disk, loki, network};
use crate::config::RingBudget;
use crate::streams::evict::Policy;

/// Two Lokis, `loki-0` and `loki-1`.
pub const LOKIS: usize = 2;

/// A relabel rule that gives lines of stderr to tenant `b`.
pub const STDERR_TO_B: &str = "[{source_labels: [source], regex: stderr, target_label: __tenant_id__, replacement: b}]";

/// Seconds: longer than any simulation.
const LONG: u64 = 1_000_000;

/// A pipeline that makes one stream for each last digit of the lines' numbers.
pub const BY_DIGIT: &str = r"[{regex: {expression: 'line \d*(?P<digit>[0-3]) at'}}, {labels: {digit: }}]";

/// Everything that happens in a simulation.
#[derive(Debug)]
pub struct Schedule {
    pub seed: u64,
    /// The options of each container.
    pub containers: Vec<BTreeMap<String, String>>,
    /// The operator's limits for rings.
    pub policy: Policy,
    /// The actions, in order of time since the beginning.
    pub actions: Vec<(Duration, Action)>,
    /// The time at which all faults end.
    pub end: Duration,
}

/// One action or fault.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Start(usize),
    Stop(usize),
    Print {
        container: usize,
        source: usize,
        lines: usize,
        len: usize,
        every: Duration,
    },
    /// `docker logs`, with this many last lines or all.
    Logs {
        container: usize,
        tail: Option<u32>,
        follow: bool,
    },
    Kill {
        down: Duration,
    },
    /// The plugin dies in the system call after this many that change the disk.
    KillAtCall {
        calls: u32,
        down: Duration,
    },
    /// SIGTERM.
    Restart {
        down: Duration,
    },
    PowerLoss {
        down: Duration,
    },
    /// The host's clock is set this many seconds ahead of true time.
    Clock {
        ahead: i64,
    },
    Disk(disk::Weather),
    /// The duration of a sync.
    Syncs(Duration),
    /// The duration of all calls that wait for the disk on a thread that may block.
    Hangs(Duration),
    /// Damages a segment of a container's ring, counted from the oldest and wrapping.
    Damage {
        container: usize,
        segment: usize,
        how: disk::Damage,
    },
    /// `docker rename`.
    Rename(usize),
    Loki(usize, loki::Weather),
    Way(usize, network::Weather),
}

// === impl Schedule ===

impl Schedule {
    /// The schedule of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let containers: Vec<_> = (0..random.usize(1..=4)).map(|_| options(&mut random)).collect();
        let end = Duration::from_secs(random.u64(20..400));
        let mut actions: Vec<_> = (0..containers.len())
            .map(|container| (Duration::from_millis(random.u64(..5000)), Action::Start(container)))
            .collect();
        // Only some of all faults: a schedule of everything at once tests little of each.
        let faults: Vec<u8> = (0..random.usize(..5)).map(|_| random.u8(..10)).collect();
        for _ in 0..random.usize(3..30) {
            let at = moment(&mut random, end);
            actions.push((at, ordinary(&mut random, containers.len())));
            if !faults.is_empty() && random.u8(..3) > 0 {
                let kind = faults[random.usize(..faults.len())];
                let at = moment(&mut random, end);
                let (begins, ends) = fault(&mut random, kind, containers.len());
                actions.push((at, begins));
                let over = at + moment(&mut random, Duration::from_secs(120));
                actions.extend(ends.filter(|_| over < end).map(|ends| (over, ends)));
            }
        }
        actions.sort_by_key(|(at, _)| *at);
        let policy = policy(&mut random);
        Self { seed, containers, policy, actions, end }
    }
}

impl Schedule {
    /// Whether rings may be evicted during the simulation.
    pub fn is_tight(&self) -> bool {
        self.policy.retention < Duration::from_secs(LONG) || matches!(self.policy.budget, RingBudget::Bytes(_))
    }

    /// Whether a Loki rejects some lines permanently, because they are too large.
    pub fn refuses(&self) -> bool {
        self.actions.iter().any(|(_, action)| match action {
            Action::Loki(_, loki::Weather::Small(_)) => true,
            Action::Loki(_, loki::Weather::Says(500, why)) => why.contains("larger than max"),
            _ => false,
        })
    }
}

fn moment(random: &mut fastrand::Rng, end: Duration) -> Duration {
    Duration::from_millis(random.u64(..u64::try_from(end.as_millis()).unwrap_or(1).max(1)))
}

fn options(random: &mut fastrand::Rng) -> BTreeMap<String, String> {
    let one_of = |random: &mut fastrand::Rng, choices: &[&str]| choices[random.usize(..choices.len())].to_owned();
    let mut options = BTreeMap::new();
    let mut set = |name: &str, value: String| options.insert(name.to_owned(), value);
    set(
        "loki-url",
        one_of(random, &["http://loki-0", "http://loki-0", "http://loki-1", "http://loki-0,http://loki-1"]),
    );
    set("loki-batch-wait", one_of(random, &["0s", "1s", "1s", "5s"]));
    set("max-size", one_of(random, &["16k", "50k", "1m", "20m", "20m"]));
    set("max-file", one_of(random, &["4", "5"]));
    if random.u8(..3) == 0 {
        set("loki-batch-size", one_of(random, &["1000", "20000", "3000000"]));
    }
    if random.u8(..4) == 0 {
        set("loki-timeout", one_of(random, &["1s", "3s"]));
    }
    if random.u8(..3) == 0 {
        set("loki-tenant-id", one_of(random, &["a", "b"]));
    }
    if random.u8(..4) == 0 {
        set("loki-relabel-config", STDERR_TO_B.into());
    }
    if random.u8(..5) == 0 {
        set("loki-backpressure", "block".into());
        set("loki-block-timeout", one_of(random, &["5s", "30s"]));
    }
    if random.u8(..8) == 0 {
        set("loki-retries", one_of(random, &["2", "5"]));
    }
    if random.u8(..12) == 0 {
        set("no-file", "true".into());
    }
    if random.u8(..5) == 0 {
        set("loki-pipeline-stages", BY_DIGIT.into());
    }
    options
}

fn ordinary(random: &mut fastrand::Rng, containers: usize) -> Action {
    let container = random.usize(..containers);
    match random.u8(..25) {
        0 => Action::Rename(container),
        1..=4 => Action::Start(container),
        5 | 6 => Action::Stop(container),
        7..=10 => Action::Logs { container, tail: random.bool().then(|| random.u32(..50)), follow: random.bool() },
        _ => Action::Print {
            container,
            source: usize::from(random.u8(..3) == 0),
            lines: [random.usize(1..5), random.usize(1..50), random.usize(1..400)][random.usize(..3)],
            len: [20, 60, 200, 200, 1000, 20_000][random.usize(..6)],
            every: Duration::from_millis([0, 1, 20, 500][random.usize(..4)]),
        },
    }
}

fn policy(random: &mut fastrand::Rng) -> Policy {
    let seconds = if random.u8(..6) == 0 { random.u64(20..200) } else { LONG };
    let bytes = [40_000, 150_000, 600_000][random.usize(..3)];
    let budget = if random.u8(..6) == 0 { RingBudget::Bytes(bytes) } else { RingBudget::Share(50) };
    Policy { retention: Duration::from_secs(seconds), budget }
}

/// A fault of a kind, and the action that ends it.
fn fault(random: &mut fastrand::Rng, kind: u8, containers: usize) -> (Action, Option<Action>) {
    let down = Duration::from_millis(random.u64(..8000));
    let at = random.usize(..LOKIS);
    match kind {
        0 => (Action::Kill { down }, None),
        1 => (Action::KillAtCall { calls: random.u32(..200), down }, None),
        2 => (Action::Restart { down }, None),
        3 => (Action::PowerLoss { down }, None),
        4 => {
            let ahead = [-7200, -1800, -30, 0, 30, 599, 1800, 10_000, 30 * 86_400][random.usize(..9)];
            (Action::Clock { ahead }, random.bool().then_some(Action::Clock { ahead: 0 }))
        }
        5 => {
            use disk::Weather::{Failing, Full, ReadOnly, Well};
            match random.u8(..4) {
                0 => (Action::Syncs(Duration::from_secs(random.u64(1..40))), Some(Action::Syncs(Duration::ZERO))),
                other => {
                    let weather = [Full, ReadOnly, Failing][usize::from(other - 1)];
                    (Action::Disk(weather), Some(Action::Disk(Well)))
                }
            }
        }
        8 => (Action::Hangs(Duration::from_secs(random.u64(1..30))), Some(Action::Hangs(Duration::ZERO))),
        9 => {
            let how = match random.u8(..3) {
                0 => disk::Damage::Cut(random.u64(..16)),
                _ => disk::Damage::Unreadable,
            };
            (Action::Damage { container: random.usize(..containers), segment: random.usize(..8), how }, None)
        }
        6 => (Action::Loki(at, answer(random)), Some(Action::Loki(at, loki::Weather::Well))),
        _ => {
            use network::Weather::{Breaks, Nameless, Refused, Silent, Slow, Well};
            let weather = [Refused, Silent, Nameless, Slow(random.u32(500..50_000)), Breaks(random.u32(..5000))]
                [random.usize(..5)];
            (Action::Way(at, weather), Some(Action::Way(at, Well)))
        }
    }
}

fn answer(random: &mut fastrand::Rng) -> loki::Weather {
    use loki::Weather::{Forbids, Forgets, Hangs, Limited, Page, Says, Small, Stalls};
    let tenant = ["a", "b", "fake"][random.usize(..3)];
    match random.u8(..15) {
        0 => Says(500, "empty ring"),
        1 => Says(503, "Service Unavailable"),
        2 => Says(260, "ingestion blocked for user fake until '2026-01-01T01:00:00Z' with status code '260'"),
        3 => Says(401, "no org id"),
        4 | 12..15 => Page([200, 400, 403, 404, 502, 504][random.usize(..6)]),
        5 => Limited(random.bool().then(|| random.u32(1..60)), random.bool().then_some(tenant)),
        6 => Forbids(tenant),
        7 => Hangs,
        8 => Forgets,
        9 => Stalls([400, 500, 503][random.usize(..3)]),
        10 => Small(random.usize(200..20_000)),
        _ => Says(
            500,
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5000000 vs. 4194304)",
        ),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "schedule of seed {}:", self.seed)?;
        for (number, options) in self.containers.iter().enumerate() {
            let options: Vec<_> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
            writeln!(f, "  c{number}: {}", options.join(" "))?;
        }
        if self.is_tight() {
            writeln!(f, "  {:?}", self.policy)?;
        }
        for (at, action) in &self.actions {
            writeln!(f, "  {:>8.3} s  {action:?}", at.as_secs_f64())?;
        }
        write!(f, "  {:>8.3} s  all faults end, and the containers", self.end.as_secs_f64())
    }
}
