//! The soak: long outages of every kind at once, while a container for each kind writes as usual. `make soak` lasts ten
//! minutes. Loki is down, rejects, or hangs; a proxy answers in its place; no name server answers; Loki's clock is set;
//! and the disk of all rings hangs for seconds ([`kinds`], [`freezer`]).
//!
//! A container with `json-file` writes beside them, as a baseline for this machine. Two values are compared with it:
//! how long writes took, and how far `docker logs` lagged behind, which shows at once what pipes would hide for some
//! seconds. Both may be longer by the time that the disk hung. The plugin's memory and descriptors stay as they were.
//! When Loki is back it has every line within seconds, once and in order, with its own time or with that in metadata
//! ([`times`]).

mod freezer;
mod host;
mod kinds;
mod times;

use super::disk::own::Disk;
use super::oracle::{Habit, Tally, Writer};
use super::stage::{Engine, Scene, patience};
use crate::harness::name_server::NameServer;
use crate::standin::Standin;
use freezer::{Freezer, Hangs};
use kinds::{Clock, KINDS, NAME, SILENT};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use times::Times;

/// How fast each container writes at most, in lines a second.
const FASTEST: u64 = 2000;

/// Lines that each writes while it lasts, at most: a ring of the default size holds as many.
const MOST: u64 = 1_200_000;

/// What a write may take longer than with `json-file`. Less than any timeout of pushes or calls.
const ALLOWED: Duration = Duration::from_secs(1);

/// What the plugin's memory may grow by for each Loki that is away, in KiB: a batch as it was read and as it is sent,
/// and memory that is kept for the next one. Holding the lines of ten minutes would take fifty megabytes each.
const GROWTH: u64 = 4 * 1024;

/// What the disk of the rings holds, in MiB: those of all containers, twice.
const DISK: u64 = 4096;

/// Descriptors that come and go: connections, and segments of rings.
const SPARE: usize = 16;

/// Between two looks at everything.
const PAUSE: Duration = Duration::from_millis(500);

/// A container, and how it fares.
struct Subject<'a> {
    writer: Writer<'a>,
    /// Lines it had written when the outage began.
    before: usize,
    /// Lines that `docker logs` lagged behind, at most.
    lag: usize,
    /// Lines that it lagged behind its own pace when the outage ended.
    behind: usize,
    /// The longest that a write took.
    longest: Duration,
}

/// What Loki made of it when it was back.
struct Delivery {
    /// Until all was there that was written before.
    after: Option<Duration>,
    tally: Tally,
    /// How often its clock was set, if it was, and which times its lines have.
    clock: Option<(usize, Times)>,
}

/// How long it lasts.
fn length() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

/// How each container writes: some lines at once, a hundred times a second or less.
fn habit() -> Habit {
    let rate = (MOST / length().as_secs().max(1)).clamp(1, FASTEST);
    let pace = format!("{rate}/{}", (rate / 100).max(1));
    Habit { name: "steady", both: false, widths: &[0], pace: pace.leak() }
}

/// A container for each Loki, and the one with `json-file` at the end.
fn start<'a>(scene: &'a Scene<'a>, lokis: &[Standin], habit: Habit) -> Vec<Subject<'a>> {
    let ours = KINDS.iter().zip(lokis).map(|(kind, loki)| {
        let draft = scene.bare_container(&kind.name.replace([' ', ','], ""), &scene.plugin.name);
        let url = if kind.name == SILENT { loki.push_url().replace("127.0.0.1", NAME) } else { loki.push_url() };
        draft.option("loki-url", &url)
    });
    let drafts = ours.chain([scene.bare_container("json-file", "json-file")]);
    thread::scope(|threads| {
        let start = |draft| threads.spawn(move || Writer::start(scene.engine, draft, habit));
        let starting: Vec<_> = drafts.map(start).collect();
        starting.into_iter().map(|thread| Subject::new(thread.join().expect("it starts"))).collect()
    })
}

/// Lets Loki be back, and waits until each has what was written before. The containers go on meanwhile.
fn come_back(names: &NameServer, lokis: &[Standin], subjects: &[Subject], patience: Duration) -> Vec<Option<Duration>> {
    let owed: Vec<usize> = subjects.iter().map(|subject| subject.writer.told().sum()).collect();
    let begin = Instant::now();
    names.speak();
    for loki in lokis {
        loki.heal();
        loki.come_back();
    }
    thread::scope(|threads| {
        let wait = |(loki, owed): (&Standin, usize)| {
            loki.wait_for(|state| state.count(&[]) >= owed, patience).then(|| begin.elapsed())
        };
        let waiting: Vec<_> = lokis.iter().zip(owed).map(|owing| threads.spawn(move || wait(owing))).collect();
        waiting.into_iter().map(|thread| thread.join().expect("it waits")).collect()
    })
}

#[test]
fn whatever_goes_wrong_for_long_costs_nobody_anything() {
    let names = NameServer::start("127.0.53.1");
    // An engine of its own, since its names are.
    let engine = Engine::start();
    let resolv_conf = engine.folder("names").join("resolv.conf");
    fs::write(&resolv_conf, names.resolv_conf()).unwrap();
    assert!(engine.mount(&format!("--bind {} /etc/resolv.conf", resolv_conf.display())), "a resolv.conf of its own");
    let plugin = engine.install("loki-rs-soak", &["RING_BUDGET=90%"]);
    let disk = Disk::ext4(&plugin, DISK);
    let (scene, habit) = (Scene::with("soak", &plugin), habit());
    let lokis = KINDS.each_ref().map(kinds::Kind::loki);
    let mut subjects = start(&scene, &lokis, habit);
    // The plugin then has what it needs when all goes well.
    for loki in &lokis {
        assert!(loki.wait_for(|state| state.count(&[]) >= 2 * habit.rate(), patience()), "lines arrive");
    }

    let (memory, files) = (plugin.memory(), plugin.files());
    let freezer = disk.as_ref().map(|disk| Freezer::start(disk.path()));
    names.fall_silent();
    let mut clocks: Vec<Option<Clock>> = KINDS.iter().zip(&lokis).map(|(kind, loki)| kind.begin(loki)).collect();
    let begin = Instant::now();
    subjects.iter_mut().for_each(Subject::begin);
    let mut most = memory;
    while begin.elapsed() < length() {
        subjects.iter_mut().for_each(Subject::look);
        clocks.iter_mut().flatten().for_each(Clock::look);
        most = most.max(plugin.memory());
        thread::sleep(PAUSE);
    }
    let lasted = begin.elapsed();
    subjects.iter_mut().for_each(|subject| subject.end(begin));
    let (memory_after, files_after) = (plugin.memory(), plugin.files());
    most = most.max(memory_after);
    for ((kind, loki), subject) in KINDS.iter().zip(&lokis).zip(&subjects) {
        let stored = loki.count(&[]);
        let is_away = stored <= subject.before + habit.rate();
        assert!(is_away || !kind.is_outage(), "a Loki that was away has {stored} lines");
    }

    clocks.iter_mut().flatten().for_each(Clock::end);
    // What came in ten minutes takes a while to pass on, and the machine may be busy.
    let patience = patience() + lasted / 10;
    let arrivals = come_back(&names, &lokis, &subjects, patience);
    let hangs = freezer.map(Freezer::end);
    engine.docker(["stop"].into_iter().chain(subjects.iter().map(|subject| subject.writer.container.name.as_str())));
    let judge = |(at, after): (usize, Option<Duration>)| {
        let (loki, subject): (&Standin, &Subject) = (&lokis[at], &subjects[at]);
        let tally = subject.writer.judge_loki(loki).remove(0);
        let container = &subject.writer.container;
        let times = || Times::of(&container.name, &times::own(container), loki);
        let clock = clocks[at].as_ref().map(|clock| (clock.steps, times()));
        Delivery { after, tally, clock }
    };
    let deliveries: Vec<_> = arrivals.into_iter().enumerate().map(judge).collect();

    println!("\n{} s of everything, {} lines a second from each container", lasted.as_secs(), habit.rate());
    print(&subjects, &deliveries);
    println!("memory {memory} KiB before, {memory_after} KiB after, {most} KiB at most");
    println!("open files {files} before, {files_after} after");
    match hangs {
        Some(Hangs { times, longest }) => println!("the disk hung {times} times, for {longest:.1?} at most"),
        None => println!("the disk did not hang: this machine has no loop device for it"),
    }

    let (theirs, ours) = subjects.split_last().expect("there is one for each kind and one more");
    let hung = hangs.unwrap_or_default().longest;
    let allowed = (habit.rate() as f64 * (ALLOWED + hung).as_secs_f64()) as usize;
    for (subject, kind) in ours.iter().zip(&KINDS) {
        let name = kind.name;
        assert!(subject.longest <= theirs.longest + ALLOWED + hung, "{name}: a write took {:?}", subject.longest);
        assert!(subject.behind <= theirs.behind + allowed, "{name}: {} lines behind its pace", subject.behind);
        assert!(subject.lag <= theirs.lag + allowed, "{name}: docker logs was {} lines behind", subject.lag);
    }
    assert!(most <= memory + GROWTH * KINDS.len() as u64, "an outage takes memory");
    assert!(files_after <= files + SPARE, "an outage takes descriptors");
    for (delivery, kind) in deliveries.iter().zip(&KINDS) {
        let (name, owed) = (kind.name, delivery.tally.owed);
        assert!(delivery.after.is_some(), "{name}: not all lines arrive when Loki is back");
        assert_eq!(delivery.tally, Tally { owed, ..Tally::default() }, "{name}: once and in order");
        if let Some((steps, times)) = delivery.clock {
            assert!(times.shifted > 0, "{name}: the clock was never wrong");
            assert_eq!(times.wrong, 0, "{name}: each line has its own time, or has it beside it");
            assert!(times.falls <= steps, "{name}: times fall, and not because the clock was set back");
        }
    }
}

fn print(subjects: &[Subject], deliveries: &[Delivery]) {
    println!(
        "{:12}{:>10}{:>16}{:>10}{:>10} {:>14}{:>9}{:>9}{:>9}",
        "", "lines", "longest write", "behind", "log lags", "arrived after", "missing", "invented", "doubled"
    );
    for (at, subject) in subjects.iter().enumerate() {
        let kind = KINDS.get(at).map_or("json-file", |kind| kind.name);
        let (written, longest) = (subject.writer.told().sum(), format!("{:.1?}", subject.longest));
        print!("{kind:12}{written:10}{longest:>16}{:10}{:10}", subject.behind, subject.lag);
        match deliveries.get(at) {
            Some(Delivery { after, tally: Tally { missing, invented, doubled, .. }, clock }) => {
                let after = after.map_or("never".to_owned(), |after| format!("{after:.1?}"));
                println!(" {after:>14}{missing:9}{invented:9}{doubled:9}");
                if let Some((steps, Times { shifted, wrong, falls, .. })) = clock {
                    println!(
                        "{:12}set {steps} times: {shifted} lines with original_time, {wrong} with a wrong time, {falls} falls",
                        ""
                    );
                }
            }
            None => println!(),
        }
    }
}

// === impl Subject ===

impl<'a> Subject<'a> {
    fn new(writer: Writer<'a>) -> Self {
        Self { writer, before: 0, lag: 0, behind: 0, longest: Duration::ZERO }
    }

    fn begin(&mut self) {
        self.before = self.writer.told().sum();
    }

    /// Holds the last line of `docker logs` against what was written before it was asked for.
    fn look(&mut self) {
        let written = self.writer.told().sum();
        let shown = self.writer.container.logs(&["--tail", "1"]);
        let shown = Habit::number(shown.stdout.trim_ascii_end()).unwrap_or_default();
        self.lag = self.lag.max(written.saturating_sub(shown));
    }

    fn end(&mut self, begin: Instant) {
        let due = begin.elapsed().as_secs_f64() * self.writer.habit.rate() as f64;
        let told = self.writer.told();
        self.behind = (due as usize).saturating_sub(told.sum() - self.before);
        self.longest = told.longest;
    }
}
