//! One simulated machine from its beginning to its end: it plays a schedule, life by life of the plugin.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::LocalSet;

use super::dockerd::Container;
use super::loki::Loki;
use super::network::{self, RESOLVER, Way, Ways};
use super::oracle::Oracle;
use super::schedule::{Action, LOKIS, Schedule};
use super::{calls, disk, kernel, law, log, loki, time};
use crate::config::PluginDefaults;
use crate::pools::{self, Pool};
use crate::shipper::counters::Counters;
use crate::streams::Registry;
use crate::streams::registry::Setup;

/// For how long the plugin may take to send what it has, when nothing is wrong any more.
const RECOVERY: Duration = Duration::from_secs(1800);

/// For how long a pipe may be full while the plugin runs.
const BLOCKED: Duration = Duration::from_secs(2);

/// How often a pipe that was full is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// What a power loss may cost beyond the slowest sync: the interval, and a moment for the work itself.
const SYNC_INTERVAL: Duration = Duration::from_secs(8);

/// Until a disk that works again has what was in memory, and has synced it.
const HEALED: Duration = Duration::from_secs(15);

/// All that outlives the plugin.
#[derive(Debug)]
pub struct World {
    pub schedule: Rc<Schedule>,
    pub fifos: PathBuf,
    pub state: PathBuf,
    pub oracle: Oracle,
    pub containers: Vec<Container>,
    pub lokis: Vec<std::sync::Arc<Loki>>,
    ways: Rc<RefCell<Ways>>,
    jobs: Vec<Job>,
    syncs: Rc<Cell<Duration>>,
    slowest_sync: Duration,
    /// From when until when the disk was last of no use.
    pub bad_disk: Option<(Duration, Option<Duration>)>,
    /// From when to when lines may have been late by what was wrong: the way to a Loki, the plugin that was down, or the disk.
    noises: Vec<(Duration, Duration, String)>,
    /// A plugin has died with cursors that the disk did not take: what it sent is sent again, in part with other times.
    pub forgot: bool,
    /// Lines that the plugins so far have counted as dropped.
    pub dropped: u64,
    /// Those among them that Loki is said to have refused.
    pub refused: u64,
    /// Bytes that they have counted as discarded.
    pub discarded: u64,
    pub violations: Vec<String>,
}

/// Lines that are printed one after the other.
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

/// The plugin while it runs.
#[derive(Clone)]
pub struct Plugin {
    pub registry: Registry,
    counters: Counters,
    discarded: crate::streams::counters::Counters,
}

/// How a life of the plugin ended.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Killed; the next begins after a while.
    Killed(Duration),
    PowerLost(Duration),
    Stopped(Duration),
    /// It was down for long enough.
    Begins,
    /// The simulation is over.
    Over,
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
            jobs: Vec::new(),
            syncs: Rc::default(),
            slowest_sync: Duration::ZERO,
            bad_disk: None,
            noises: Vec::new(),
            forgot: false,
            dropped: 0,
            refused: 0,
            discarded: 0,
            violations: Vec::new(),
            schedule: Rc::new(schedule),
        }
    }

    /// Plays the schedule to its end.
    pub fn play(self) -> World {
        let world = Rc::new(RefCell::new(self));
        let mut actions: VecDeque<_> = world.borrow().schedule.actions.clone().into();
        let mut down = Some(Duration::ZERO);
        loop {
            let (ending, plugin) = live(&world, &mut actions, down);
            if let Some(plugin) = &plugin {
                world.borrow_mut().count(plugin);
            }
            down = match ending {
                Ending::Begins => None,
                Ending::Over => break,
                Ending::Killed(down) => {
                    world.borrow_mut().was_killed();
                    Some(down)
                }
                Ending::Stopped(down) => {
                    world.borrow_mut().was_killed();
                    Some(down)
                }
                Ending::PowerLost(down) => {
                    world.borrow_mut().lost_power();
                    Some(down)
                }
            };
            disk::with(disk::Disk::revive);
        }
        Rc::into_inner(world).expect("the last life is over").into_inner()
    }

    pub fn violated(&mut self, law: impl Into<String>) {
        let line = format!("at {:.3} s: {}", time::passed().as_secs_f64(), law.into());
        log::note(&format!("VIOLATION {line}"));
        self.violations.push(line);
    }

    /// Adds what a plugin has counted, at its end.
    fn count(&mut self, plugin: &Plugin) {
        let dropped = plugin.counters.dropped();
        self.dropped += dropped.values().sum::<u64>();
        self.refused += dropped
            .iter()
            .filter(|(why, _)| why.contains("refused") || why.contains("rejected"))
            .map(|(_, lines)| lines)
            .sum::<u64>();
        self.discarded += plugin.discarded.no_room_bytes.get() + plugin.discarded.no_entry_bytes.get();
    }

    /// Lines that were in memory, because the disk took nothing, are gone with the process.
    fn was_killed(&mut self) {
        if let Some((since, until)) = self.bad_disk
            && until.is_none_or(|until| time::passed() < until + HEALED + 2 * self.slowest_sync)
        {
            self.forgot = true;
            self.oracle.excuse("the disk took nothing when the plugin died", since);
            for container in self.containers.iter_mut().filter(|container| container.started >= since) {
                container.is_unrecorded = true;
            }
        }
    }

    fn lost_power(&mut self) {
        let window = SYNC_INTERVAL + 2 * self.slowest_sync;
        let mut since = time::passed().saturating_sub(window);
        if let Some((bad, until)) = self.bad_disk
            && until.is_none_or(|until| time::passed() < until + HEALED + window)
        {
            since = since.min(bad.saturating_sub(window));
        }
        self.oracle.excuse("it was printed shortly before a power loss", since);
        for at in 0..self.containers.len() {
            self.containers[at].lose_power(&mut self.oracle);
        }
        self.jobs.clear();
        disk::with(disk::Disk::lose_power);
        kernel::outside(|| drop(std::fs::remove_dir_all(&self.fifos)));
        kernel::outside(|| std::fs::create_dir_all(&self.fifos)).expect("the simulation's own files");
    }

    /// Prints what is due and writes what the pipes take; gives the time at which there is more to do.
    fn print(&mut self, up: bool) -> Option<Duration> {
        let (now, host) = (time::passed(), crate::clock::unix_nanos());
        for job in &mut self.jobs {
            let container = &mut self.containers[job.container];
            if container.runs != job.run || !container.prints {
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
        let blocked = self.containers.iter().find(|container| container.waits_for(now) > BLOCKED);
        if let Some(container) = blocked.filter(|_| up).map(|container| container.number) {
            self.violated(format!("c{container} waits for its pipe"));
            // Once is enough.
            self.containers[container].options.insert("loki-backpressure".into(), "said".into());
        }
        let stuck = self.containers.iter().any(Container::is_stuck).then_some(now + RETRY);
        let next = self.jobs.iter().map(|job| job.next.max(now + Duration::from_micros(100))).min();
        stuck.into_iter().chain(next).min()
    }

    /// Ends all faults.
    fn mend(&mut self) {
        for at in 0..LOKIS {
            self.change(&Action::Loki(at, loki::Weather::Well));
            self.change(&Action::Way(at, network::Weather::Well));
        }
        self.change(&Action::Disk(disk::Weather::Well));
        self.change(&Action::Syncs(Duration::ZERO));
        self.change(&Action::Clock { ahead: 0 });
    }

    /// Whether nothing that delays lines on their way to a Loki has happened for a while: the plugin was up, the disk and
    /// the network were well.
    pub fn was_quiet(&self, loki: &str, from: Duration, to: Duration) -> bool {
        !self
            .noises
            .iter()
            .any(|(begin, end, of)| *begin <= to && *end >= from && ["", "plugin", loki].contains(&of.as_str()))
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

    /// What happens to the surroundings.
    fn change(&mut self, action: &Action) {
        match action {
            Action::Disk(weather) => self.noise("", *weather != disk::Weather::Well),
            Action::Way(at, weather) => self.noise(&format!("loki-{at}"), *weather != network::Weather::Well),
            _ => {}
        }
        match *action {
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
            Action::Syncs(delay) => {
                self.syncs.set(delay);
                self.slowest_sync = self.slowest_sync.max(delay);
            }
            Action::Loki(at, weather) => self.lokis[at].set(weather),
            Action::Way(at, weather) => self.ways.borrow()[&format!("loki-{at}")].set(weather),
            _ => {}
        }
    }
}

/// One life of the plugin, or the time between two.
fn live(
    world: &Shared,
    actions: &mut VecDeque<(Duration, Action)>,
    down: Option<Duration>,
) -> (Ending, Option<Plugin>) {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&world.borrow().schedule.seed.to_le_bytes()));
    let runtime = builder.build().expect("a runtime");
    let local = LocalSet::new();
    let then = time::now();
    let (ending, plugin, now) = local.block_on(&runtime, async {
        time::go_on_from(then);
        network::connect(world.borrow().ways.clone());
        let syncs = world.borrow().syncs.clone();
        pools::test::simulate(move |pool| match pool {
            Pool::Sync => syncs.get() + Duration::from_micros(fastrand::u64(..20_000)),
            Pool::Names => RESOLVER,
            _ => Duration::from_micros(fastrand::u64(..2000)),
        });
        let plugin = down.is_none().then(|| begin(world));
        let ending = play(world, actions, plugin.as_ref(), down).await;
        if let (Ending::Stopped(_), Some(plugin)) = (ending, &plugin) {
            plugin.registry.shut_down().await;
        }
        disk::with(disk::Disk::die);
        world.borrow_mut().noise("plugin", true);
        (ending, plugin, time::now())
    });
    drop(local);
    drop(runtime);
    time::stop_at(now);
    (ending, plugin)
}

/// Starts the plugin as `app` does.
fn begin(world: &Shared) -> Plugin {
    let (counters, discarded) = (Counters::default(), crate::streams::counters::Counters::default());
    let registry = Registry::new(Setup {
        state_dir: world.borrow().state.clone(),
        hostname: "host".into(),
        defaults: PluginDefaults::default(),
        mistakes: Vec::new(),
        intake: Handle::current(),
        shipping: Handle::current(),
        counters: discarded.clone(),
        sent: counters.clone(),
        pipelines: std::sync::Arc::default(),
    });
    let adopting = registry.clone();
    tokio::spawn(async move {
        adopting.adopt().await;
        adopting.keep_synced().await;
    });
    let watching = registry.clone();
    tokio::spawn(async move { watching.keep_watch(crate::telemetry::summary::EVERY).await });
    log::note("the plugin starts");
    world.borrow_mut().noise("plugin", false);
    Plugin { registry, counters, discarded }
}

/// Plays actions until this life ends.
async fn play(
    world: &Shared,
    actions: &mut VecDeque<(Duration, Action)>,
    plugin: Option<&Plugin>,
    down: Option<Duration>,
) -> Ending {
    let begins = down.map(|down| time::passed() + down);
    let end = world.borrow().schedule.end;
    let died = disk::with(|disk| disk.died());
    let mut down_after_death = Duration::ZERO;
    let up_since = time::passed();
    if let Some(plugin) = plugin {
        calls::resume(world, plugin);
    }
    loop {
        let is_up = plugin.is_some() && time::passed() > up_since + BLOCKED;
        let more = world.borrow_mut().print(is_up);
        // What a pipe has is seen when the clock moves, so it has to move soon.
        let soon = time::passed() + Duration::from_millis(1);
        let next = actions.front().map_or(end, |(at, _)| *at);
        let wake = begins.into_iter().chain(more).chain([next.max(soon)]).min().unwrap_or(next);
        tokio::select! {
            biased;
            () = died.notified() => return Ending::Killed(down_after_death),
            () = time::until(wake.min(soon.max(time::passed()))) => {}
        }
        tokio::select! {
            biased;
            () = died.notified() => return Ending::Killed(down_after_death),
            () = time::until(wake) => {}
        }
        if begins.is_some_and(|begins| begins <= time::passed()) {
            return Ending::Begins;
        }
        while let Some((_, action)) = actions.pop_front_if(|(at, _)| *at <= time::passed()) {
            log::note(&format!("{action:?}"));
            match action {
                Action::Kill { down } if plugin.is_some() => return Ending::Killed(down),
                Action::Restart { down } if plugin.is_some() => return Ending::Stopped(down),
                Action::PowerLoss { down } => return Ending::PowerLost(down),
                Action::KillAtCall { calls, down } if plugin.is_some() => {
                    down_after_death = down;
                    disk::with(|disk| disk.die_after(calls));
                }
                Action::Start(container) => calls::start(world, plugin, container),
                Action::Stop(container) => calls::stop(world, plugin, container),
                Action::Logs { container, tail, follow } => calls::logs(world, plugin, container, tail, follow),
                Action::Print { container, source, lines, len, every } => {
                    let mut world = world.borrow_mut();
                    let (run, next) = (world.containers[container].runs, time::passed());
                    world.jobs.push(Job { container, run, source, left: lines, len, every, next });
                }
                other => world.borrow_mut().change(&other),
            }
        }
        if actions.is_empty() && time::passed() >= end {
            let Some(plugin) = plugin else { return Ending::Begins };
            recover(world, plugin).await;
            return Ending::Over;
        }
    }
}

/// All faults have ended: containers stop, and the plugin sends what it has.
async fn recover(world: &Shared, plugin: &Plugin) {
    log::note("all faults end");
    disk::with(|disk| disk.revive());
    world.borrow_mut().mend();
    let containers = world.borrow().containers.len();
    (0..containers).for_each(|container| calls::stop(world, Some(plugin), container));
    let end = time::passed() + RECOVERY;
    while time::passed() < end {
        world.borrow_mut().print(true);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = (plugin.counters.dropped().values().sum::<u64>(), world.borrow().dropped);
        let is_over = world.borrow().containers.iter().all(|container| container.running.is_none());
        if is_over && law::missing(&world.borrow()).len() as u64 <= before.0 + before.1 {
            break;
        }
    }
    // What is sent twice is sent by now.
    tokio::time::sleep(Duration::from_secs(60)).await;
    calls::read_all(world, plugin).await;
    log::note("the end");
}
