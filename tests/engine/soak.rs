//! An outage that lasts, of every kind at once, while a container for each kind writes as ever. `make soak` makes it ten
//! minutes. Loki is away, refuses, or hangs; a proxy answers in its place; no name server answers.
//!
//! A container with `json-file` writes beside them, for what the machine does to any container. Held against it: how
//! long writes took, and how far `docker logs` lagged behind what was written, which shows at once what pipes would hide
//! for some seconds. The plugin's memory and descriptors are as they were, and when Loki is back it has every line
//! within seconds, once and in order.

use super::oracle::{Habit, Tally, Writer};
use super::stage::{Engine, Scene, patience};
use crate::harness::name_server::NameServer;
use crate::standin::{Failure, Limits, Standin, Times};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// How each container writes: twenty lines at once, a hundred times a second.
const HABIT: Habit = Habit { name: "steady", both: false, widths: &[0], pace: "2000/20" };

/// The name of a kind of outage, and how it comes.
type Kind = (&'static str, fn(&Standin));

/// The kind of which the URL has a name, and the name.
const SILENT: &str = "no DNS";
const NAME: &str = "loki.example";

const KINDS: [Kind; 12] = [
    ("unreachable", Standin::vanish),
    ("refusing", Standin::go_away),
    ("hanging", Standin::go_deaf),
    ("500", |loki| answer(loki, 500, "Ingester is shutting down")),
    ("429", |loki| answer(loki, 429, "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec)")),
    ("260", |loki| answer(loki, 260, "ingestion is blocked until 2030-01-01")),
    ("401", |loki| answer(loki, 401, "no org id")),
    ("page, 200", |loki| proxy(loki, 200, None)),
    ("page, 400", |loki| proxy(loki, 400, None)),
    ("page, 502", |loki| proxy(loki, 502, None)),
    ("429, after", |loki| proxy(loki, 429, Some("2"))),
    // Connections that are there would be used on.
    (SILENT, Standin::go_away),
];

/// What a write may take longer than with `json-file`. Less than any timeout of pushes or calls.
const ALLOWED: Duration = Duration::from_secs(1);

/// What the plugin's memory may grow by for each Loki that is away, in KiB: a batch as it was read and as it is sent,
/// and memory that is kept for the next one. Holding the lines of ten minutes would take fifty megabytes each.
const GROWTH: u64 = 4 * 1024;

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
}

/// What stands in front of Loki answers in its place.
fn proxy(loki: &Standin, code: u16, retry_after: Option<&str>) {
    let body = format!("<html><head><title>{code}</title></head><body>nginx</body></html>");
    let (content_type, retry_after) = ("text/html".into(), retry_after.map(str::to_owned));
    loki.fail(Failure::Proxy { code, content_type, body, retry_after }, Times::UntilHealed);
}

fn answer(loki: &Standin, code: u16, body: &str) {
    loki.fail(Failure::Status { code, body: body.into() }, Times::UntilHealed);
}

/// How long the outage lasts.
fn length() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

/// A container for each Loki, and the one with `json-file` at the end.
fn start<'a>(scene: &'a Scene<'a>, lokis: &[Standin]) -> Vec<Subject<'a>> {
    let ours = KINDS.iter().zip(lokis).map(|((kind, _), loki)| {
        let draft = scene.bare_container(&kind.replace([' ', ','], ""), &scene.plugin.name);
        let url = if *kind == SILENT { loki.push_url().replace("127.0.0.1", NAME) } else { loki.push_url() };
        draft.option("loki-url", &url)
    });
    let drafts = ours.chain([scene.bare_container("json-file", "json-file")]);
    thread::scope(|threads| {
        let start = |draft| threads.spawn(|| Writer::start(scene.engine, draft, HABIT));
        let starting: Vec<_> = drafts.map(start).collect();
        starting.into_iter().map(|thread| Subject::new(thread.join().expect("it starts"))).collect()
    })
}

/// Lets Loki be back, and judges what it gets. The containers go on until all is there that they wrote before.
fn come_back(
    scene: &Scene,
    names: &NameServer,
    lokis: &[Standin],
    subjects: &[Subject],
    lasted: Duration,
) -> Vec<Delivery> {
    // What came in ten minutes takes a while to pass on, and the machine may be busy.
    let patience = patience() + lasted / 10;
    let owed: Vec<usize> = subjects.iter().map(|subject| subject.writer.told().sum()).collect();
    let begin = Instant::now();
    names.speak();
    for loki in lokis {
        loki.heal();
        loki.come_back();
    }
    let arrivals: Vec<_> = thread::scope(|threads| {
        let wait = |(loki, owed): (&Standin, usize)| {
            loki.wait_for(|state| state.count(&[]) >= owed, patience).then(|| begin.elapsed())
        };
        let waiting: Vec<_> = lokis.iter().zip(owed).map(|owing| threads.spawn(move || wait(owing))).collect();
        waiting.into_iter().map(|thread| thread.join().expect("it waits")).collect()
    });
    let names = subjects.iter().map(|subject| subject.writer.container.name.as_str());
    scene.engine.docker(["stop"].into_iter().chain(names));
    let judge = |((after, loki), subject): ((Option<Duration>, &Standin), &Subject)| {
        let tally = subject.writer.judge_loki(loki).remove(0);
        Delivery { after, tally }
    };
    arrivals.into_iter().zip(lokis).zip(subjects).map(judge).collect()
}

#[test]
fn an_outage_of_any_kind_costs_nobody_anything() {
    let names = NameServer::start("127.0.53.1");
    // An engine of its own, since its names are.
    let engine = Engine::start();
    let resolv_conf = engine.folder("names").join("resolv.conf");
    fs::write(&resolv_conf, names.resolv_conf()).unwrap();
    assert!(engine.mount(&format!("--bind {} /etc/resolv.conf", resolv_conf.display())), "a resolv.conf of its own");
    let plugin = engine.install("loki-rs-soak", &[]);
    let scene = Scene::with("soak", &plugin);
    let lokis = KINDS.map(|_| Standin::builder().limits(Limits::generous()).start());
    let mut subjects = start(&scene, &lokis);
    // The plugin then has what it needs when all goes well.
    for loki in &lokis {
        assert!(loki.wait_for(|state| state.count(&[]) >= 2 * HABIT.rate(), patience()), "lines arrive");
    }

    let (memory, files) = (plugin.memory(), plugin.files());
    names.fall_silent();
    for ((_, fail), loki) in KINDS.iter().zip(&lokis) {
        fail(loki);
    }
    let begin = Instant::now();
    subjects.iter_mut().for_each(Subject::begin);
    let mut most = memory;
    while begin.elapsed() < length() {
        subjects.iter_mut().for_each(Subject::look);
        most = most.max(plugin.memory());
        thread::sleep(PAUSE);
    }
    let lasted = begin.elapsed();
    subjects.iter_mut().for_each(|subject| subject.end(begin));
    let (memory_after, files_after) = (plugin.memory(), plugin.files());
    most = most.max(memory_after);
    for (loki, subject) in lokis.iter().zip(&subjects) {
        let stored = loki.count(&[]);
        assert!(stored <= subject.before + HABIT.rate(), "a Loki that was away has {stored} lines");
    }

    let deliveries = come_back(&scene, &names, &lokis, &subjects, lasted);
    println!("\n{} s without Loki, {} lines a second from each container", lasted.as_secs(), HABIT.rate());
    print(&subjects, &deliveries);
    println!("memory {memory} KiB before, {memory_after} KiB after, {most} KiB at most");
    println!("open files {files} before, {files_after} after");

    let (theirs, ours) = subjects.split_last().expect("there is one for each kind and one more");
    for (subject, (kind, _)) in ours.iter().zip(KINDS) {
        let second = HABIT.rate();
        assert!(subject.longest <= theirs.longest + ALLOWED, "{kind}: a write took {:?}", subject.longest);
        assert!(subject.behind <= theirs.behind + second, "{kind}: {} lines behind its pace", subject.behind);
        assert!(subject.lag <= theirs.lag + second, "{kind}: docker logs was {} lines behind", subject.lag);
    }
    assert!(most <= memory + GROWTH * KINDS.len() as u64, "an outage takes memory");
    assert!(files_after <= files + SPARE, "an outage takes descriptors");
    for (delivery, (kind, _)) in deliveries.iter().zip(KINDS) {
        let owed = delivery.tally.owed;
        assert!(delivery.after.is_some(), "{kind}: not all lines arrive when Loki is back");
        assert_eq!(delivery.tally, Tally { owed, ..Tally::default() }, "{kind}: once and in order");
    }
}

fn print(subjects: &[Subject], deliveries: &[Delivery]) {
    println!(
        "{:12}{:>10}{:>16}{:>10}{:>10} {:>14}{:>9}{:>9}{:>9}",
        "", "lines", "longest write", "behind", "log lags", "arrived after", "missing", "invented", "doubled"
    );
    for (at, subject) in subjects.iter().enumerate() {
        let kind = KINDS.get(at).map_or("json-file", |(kind, _)| kind);
        let (written, longest) = (subject.writer.told().sum(), format!("{:.1?}", subject.longest));
        print!("{kind:12}{written:10}{longest:>16}{:10}{:10}", subject.behind, subject.lag);
        match deliveries.get(at) {
            Some(Delivery { after, tally: Tally { missing, invented, doubled, .. } }) => {
                let after = after.map_or("never".to_owned(), |after| format!("{after:.1?}"));
                println!(" {after:>14}{missing:9}{invented:9}{doubled:9}");
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
        let due = begin.elapsed().as_secs_f64() * HABIT.rate() as f64;
        let told = self.writer.told();
        self.behind = (due as usize).saturating_sub(told.sum() - self.before);
        self.longest = told.longest;
    }
}
