//! One simulated machine: the state that outlives the plugin, and the faults that change it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::delays::Delays;
use super::dockerd::Container;
use super::life::Plugin;
use super::loki::Loki;
use super::network::{Way, Ways};
use super::oracle::Oracle;
use super::schedule::{Action, LOKIS, Schedule};
use super::{bounds, disk, kernel, log, loki, network, time};

/// The longest time that a pipe may be full while the plugin runs.
pub const BLOCKED: Duration = Duration::from_secs(2);

/// The interval at which a full pipe is retried.
const RETRY: Duration = Duration::from_millis(5);

/// The loss window of a power loss beyond the slowest sync: the interval, and a moment for the work itself.
const SYNC_INTERVAL: Duration = Duration::from_secs(8);

/// The time until a started plugin has synced the last one's writes, beyond the slowest sync.
const FIRST_SYNC: Duration = Duration::from_secs(1);

/// The time until a recovered disk has received and synced what was in memory.
const HEALED: Duration = Duration::from_secs(15);

/// All state that outlives the plugin.
#[derive(Debug)]
pub struct World {
    pub schedule: Rc<Schedule>,
    pub fifos: PathBuf,
    pub state: PathBuf,
    pub oracle: Oracle,
    pub containers: Vec<Container>,
    pub lokis: Vec<std::sync::Arc<Loki>>,
    pub ways: Rc<RefCell<Ways>>,
    pub delays: Rc<RefCell<Delays>>,
    jobs: Vec<Job>,
    /// Begin and end of the last time in which the disk failed.
    pub bad_disk: Option<(Duration, Option<Duration>)>,
    /// Begin and end of each disturbance that may have delayed lines: the network, a plugin that was down, or the disk.
    noises: Vec<(Duration, Duration, String)>,
    /// Begin and end of each time in which cursors and descriptions of a container, or of all, did not survive. Lines
    /// sent then may be sent again with other times.
    pub forgotten: Vec<(Option<usize>, Duration, Duration)>,
    /// Since when the plugin runs, if it does.
    up: Option<Duration>,
    /// The times at which it ended.
    deaths: Vec<Duration>,
    /// Lines printed before this time survive a power loss.
    safe: Duration,
    /// Lines that all plugins so far have counted as dropped.
    pub dropped: u64,
    /// Those counted as rejected by Loki.
    pub refused: u64,
    /// Entries that they have dropped before the ring.
    pub thrown_away: u64,
    /// Bytes that they have counted as garbage.
    pub garbage: u64,
    pub violations: Vec<String>,
}

/// A series of lines to print.
#[derive(Clone, Debug)]
struct Job {
    container: usize,
    run: usize,
    source: usize,
    left: usize,
    len: usize,
    every: Duration,
    next: Duration,
}

/// The world, shared by the tasks of one life.
pub type Shared = Rc<RefCell<World>>;

// === impl World ===

impl World {
    /// A machine on which nothing has happened yet, with its files below `root`.
    pub fn new(schedule: Schedule, root: PathBuf) -> World {
        let lokis: Vec<_> = (0..LOKIS).map(|at| Loki::new(&format!("loki-{at}"))).collect();
        let ways: Ways = lokis.iter().map(|loki| (loki.name.clone(), Way::new(loki.clone()))).collect();
        let containers = schedule.containers.iter().cloned().enumerate();
        let (fifos, state) = (root.join("fifos"), root.join("state"));
        World {
            fifos,
            state,
            oracle: Oracle::default(),
            containers: containers.map(|(number, options)| Container::new(number, options)).collect(),
            lokis,
            ways: Rc::new(RefCell::new(ways)),
            delays: Rc::default(),
            jobs: Vec::new(),
            bad_disk: None,
            noises: Vec::new(),
            forgotten: Vec::new(),
            up: None,
            deaths: Vec::new(),
            safe: Duration::ZERO,
            dropped: 0,
            refused: 0,
            thrown_away: 0,
            garbage: 0,
            violations: Vec::new(),
            schedule: Rc::new(schedule),
        }
    }

    pub fn violated(&mut self, law: impl Into<String>) {
        let line = format!("at {:.3} s: {}", time::passed().as_secs_f64(), law.into());
        log::note(&format!("VIOLATION {line}"));
        self.violations.push(line);
    }

    /// A plugin starts.
    pub fn began(&mut self) {
        self.up = Some(time::passed());
        self.noise("plugin", false);
    }

    /// A plugin has ended, or the time between two.
    pub fn ended(&mut self, was_plugin: bool) {
        self.noise("plugin", true);
        let now = time::passed();
        let Some(since) = self.up.take().filter(|_| was_plugin) else { return };
        let slowest = 2 * self.delays.borrow().slowest_sync;
        let lasted = now.saturating_sub(since);
        if lasted >= SYNC_INTERVAL + slowest {
            self.safe = self.safe.max(now.saturating_sub(SYNC_INTERVAL + slowest));
        } else if lasted >= FIRST_SYNC + slowest {
            let before = self.deaths.last().copied().unwrap_or_default();
            self.safe = self.safe.max(before.saturating_sub(FIRST_SYNC));
        }
        self.deaths.push(now);
        // The next plugin does not know, and so does not count, the lines in unreadable segments.
        for container in &mut self.containers {
            container.forget_unreadable(&mut self.oracle);
        }
    }

    /// Adds a plugin's counters at its end.
    pub fn count(&mut self, plugin: &Plugin) {
        let dropped = plugin.counters.dropped();
        self.dropped += dropped.values().sum::<u64>();
        self.refused += dropped
            .iter()
            .filter(|(why, _)| why.contains("refused") || why.contains("rejected"))
            .map(|(_, lines)| lines)
            .sum::<u64>();
        self.thrown_away += plugin.discarded.no_room_lines.get() + plugin.discarded.unknown_stream_lines.get();
        self.garbage += plugin.discarded.no_entry_bytes.get();
    }

    /// Since when a failing disk may have refused writes, if so.
    fn untaken(&self) -> Option<Duration> {
        let (since, until) = self.bad_disk?;
        let healed = HEALED + 2 * self.delays.borrow().slowest_sync;
        until.is_none_or(|until| time::passed() < until + healed).then_some(since)
    }

    /// A kill loses lines that were in memory, because the disk refused them.
    pub fn was_killed(&mut self) {
        if let Some(since) = self.untaken() {
            self.forgotten.push((None, since, time::passed()));
            self.oracle.excuse("the disk took nothing when the plugin died", since);
            for container in self.containers.iter_mut().filter(|container| container.started >= since) {
                container.is_unrecorded = true;
            }
        }
    }

    /// dockerd closes a container's pipe. If the disk refuses writes, its ring in memory is removed once it has been
    /// sent.
    pub fn closes(&mut self, container: usize) {
        let hangs = !self.delays.borrow().were_short_since(time::passed());
        let it = &mut self.containers[container];
        it.forget_unreadable(&mut self.oracle);
        if hangs {
            // A plugin that starts while the disk hangs may not have opened it.
            it.excuse_pipe("it was in the pipe while the disk hung", &mut self.oracle);
        }
        it.close();
        if let Some(since) = self.untaken() {
            self.forgotten.push((Some(container), since, time::passed()));
        }
    }

    pub fn lost_power(&mut self) {
        let slowest = 2 * self.delays.borrow().slowest_sync;
        let mut since = self.safe;
        if let Some(bad) = self.untaken() {
            since = since.min(bad.saturating_sub(SYNC_INTERVAL + slowest));
        }
        self.forgotten.push((None, since, time::passed()));
        self.oracle.excuse("it was printed shortly before a power loss", since);
        for at in 0..self.containers.len() {
            self.containers[at].lose_power(&mut self.oracle);
        }
        self.jobs.clear();
        disk::with(disk::Disk::lose_power);
        time::boot();
        kernel::outside(|| drop(std::fs::remove_dir_all(&self.fifos)));
        kernel::outside(|| std::fs::create_dir_all(&self.fifos)).expect("the simulation's own files");
    }

    /// Prints due lines and writes as much as the pipes accept; returns the time of the next lines.
    pub fn print(&mut self) -> Option<Duration> {
        let (now, host) = (time::passed(), base::clock::unix_nanos());
        for job in &mut self.jobs {
            let container = &mut self.containers[job.container];
            if container.runs.len() != job.run || !container.prints {
                job.left = 0;
            }
            while job.left > 0 && job.next <= now && !container.is_stuck() {
                container.print(&mut self.oracle, job.source, job.len, host);
                container.flush(&mut self.oracle);
                job.left -= 1;
                job.next = now + job.every;
            }
        }
        self.jobs.retain(|job| job.left > 0);
        self.containers.iter_mut().for_each(|container| container.flush(&mut self.oracle));
        let quiet = now.saturating_sub(BLOCKED);
        let is_up = self.up.is_some_and(|up| up < quiet) && self.delays.borrow().were_short_since(quiet);
        let blocked = self.containers.iter().find(|container| container.waits_for(now) > BLOCKED);
        if let Some(container) = blocked.filter(|_| is_up).map(|container| container.number) {
            self.violated(format!("c{container} waits for its pipe"));
            // Reported once only.
            self.containers[container].may_wait = true;
        }
        let stuck = self.containers.iter().any(Container::is_stuck).then_some(now + RETRY);
        let next = self.jobs.iter().map(|job| job.next.max(now + Duration::from_micros(100))).min();
        stuck.into_iter().chain(next).min()
    }

    /// Checks what must hold at every moment.
    pub fn look(&mut self) {
        for law in bounds::broken(self) {
            self.violated(law);
        }
    }

    /// Ends all faults.
    pub fn mend(&mut self) {
        for at in 0..LOKIS {
            self.change(&Action::Loki(at, loki::Weather::Well));
            self.change(&Action::Way(at, network::Weather::Well));
        }
        self.change(&Action::Disk(disk::Weather::Well));
        self.change(&Action::Syncs(Duration::ZERO));
        self.change(&Action::Hangs(Duration::ZERO));
        self.change(&Action::Clock { ahead: 0 });
    }

    /// Whether nothing that delays lines to a Loki has happened for a while: the plugin was up, and the disk and the
    /// network worked.
    pub fn was_quiet(&self, loki: &str, from: Duration, to: Duration) -> bool {
        !self
            .noises
            .iter()
            .any(|(begin, end, of)| *begin <= to && *end >= from && ["", "plugin", loki].contains(&of.as_str()))
    }

    /// Whether a line that a container sent at `first` may differ when it is sent again at `then`.
    pub fn may_differ(&self, container: usize, first: Duration, then: Duration) -> bool {
        self.forgotten
            .iter()
            .any(|(of, from, to)| of.is_none_or(|of| of == container) && *from <= first && first <= *to && then >= *to)
            // A pipeline begins with empty state.
            || (self.containers[container].is_piped() && self.deaths.iter().any(|at| first <= *at && *at <= then))
    }

    /// Whether the description at the time of printing may not have survived.
    pub fn may_differ_from(&self, container: usize, printed: Duration) -> bool {
        self.forgotten.iter().any(|(of, _, to)| of.is_none_or(|of| of == container) && *to >= printed)
    }

    fn noise(&mut self, of: &str, begins: bool) {
        let (now, for_ever) = (time::passed(), Duration::MAX);
        if let Some((_, end, _)) = self.noises.iter_mut().rfind(|(_, end, name)| name == of && *end == for_ever) {
            *end = now;
        }
        if begins {
            self.noises.push((now, for_ever, of.into()));
        }
    }

    /// Changes the surroundings by an action.
    pub fn change(&mut self, action: &Action) {
        match action {
            Action::Disk(weather) => self.noise("", *weather != disk::Weather::Well),
            Action::Hangs(delay) => self.noise("", !delay.is_zero()),
            Action::Way(at, weather) => self.noise(&format!("loki-{at}"), *weather != network::Weather::Well),
            _ => {}
        }
        match *action {
            Action::Print { container, source, lines, len, every } => {
                let (run, next) = (self.containers[container].runs.len(), time::passed());
                self.jobs.push(Job { container, run, source, left: lines, len, every, next });
            }
            Action::Clock { ahead } => time::step(ahead * 1_000_000_000),
            Action::Disk(weather) => {
                disk::with(|disk| disk.set(weather));
                let now = time::passed();
                self.bad_disk = match (weather, self.bad_disk) {
                    (disk::Weather::Well, Some((since, None))) => Some((since, Some(now))),
                    (disk::Weather::Well, before) => before,
                    (_, Some((since, until))) if until.is_none_or(|until| now < until + HEALED) => Some((since, None)),
                    _ => Some((now, None)),
                };
            }
            Action::Syncs(delay) => self.delays.borrow_mut().set_syncs(delay),
            Action::Hangs(delay) => self.delays.borrow_mut().set_all(delay),
            Action::Rename(container) => self.containers[container].rename(),
            Action::Damage { container, segment, how } => {
                let dir = self.state.join("rings").join(self.containers[container].id());
                if disk::with(|disk| disk.damage(&dir, segment, how)) {
                    self.containers[container].damaged = Some(time::passed());
                }
            }
            Action::Loki(at, weather) => self.lokis[at].set(weather),
            Action::Way(at, weather) => self.ways.borrow()[&format!("loki-{at}")].set(weather),
            _ => {}
        }
    }
}
