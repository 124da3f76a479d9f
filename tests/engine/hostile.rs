//! Hostile containers of every kind beside twenty ordinary ones, on one plugin.
//!
//! ```text
//! five ordinary containers alone ──▶ how long docker run, logs and stop take
//! ten ordinary containers start and write
//! hostile options ─────────────────▶ docker run is refused in a sentence      refused
//! hostile containers run ──────────▶ each kind is seen at work                running
//! ten more ordinary containers start
//! all twenty ──────────────────────▶ they write on, and every command answers ordinary
//! ```
//!
//! The comparison of times allows a multiple that a busy machine does not reach and a command that waits for a timeout does.

mod ordinary;
mod refused;
mod running;

use super::stage::{Engine, Plugin, Scene, eventually};
use crate::harness::status::Scrape;
use crate::standin::{Failure, Limits, Standin, Times};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ordinary::{Durations, Ordinary};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

/// Where the plugin serves its status, as it sees it.
const STATUS: &str = "/run/docker/logging/loki-rs/metrics.sock";

/// Credentials that the operator sets for the plugin.
const USERNAME: &str = "operator";
const PASSWORD: &str = "of-the-operator";

/// Longest line that Loki accepts: it answers 400 to longer ones, and repeats their labels.
const MAX_LINE: usize = 10_000;

/// Clients of the status page that connect without a request: more than the plugin keeps.
const IDLE: usize = 40;

/// Most memory that the plugin takes, in KiB: two threads evaluate lines, with 64 MiB of values each (`work::ROOM`), expressions of
/// one start take 128 MiB (`work::EXPRESSIONS`), and all that is bounded otherwise stays below 64 MiB here.
const MOST_MEMORY: u64 = 320 << 10;

/// Most bytes of `/metrics`: 16 MiB of series that containers make (`MAX_PAGE`), and the plugin's own.
const MOST_METRICS: usize = 20 << 20;

/// How many times as long as the slowest command alone each command may take.
const MULTIPLE: u32 = 20;

/// What the hostile containers meet.
struct Surroundings<'a> {
    scene: &'a Scene<'a>,
    /// A Loki that is not the operator's, and that wants the operator's credentials.
    foreign: Standin,
    status: PathBuf,
}

// === impl Surroundings ===

impl<'a> Surroundings<'a> {
    fn new(scene: &'a Scene<'a>) -> Self {
        let credentials = format!("Basic {}", STANDARD.encode(format!("{USERNAME}:{PASSWORD}")));
        let foreign = Standin::start();
        for loki in [&scene.loki, &foreign] {
            loki.demand("authorization", &credentials);
            loki.change_limits(|limits| *limits = Limits { max_line_size: MAX_LINE, ..Limits::generous() });
        }
        let refusal = Failure::Status { code: 403, body: "no such tenant".into() };
        scene.loki.fail_only(&[running::REFUSED_TENANT], refusal, Times::UntilHealed);
        // Where dockerd keeps the plugin's files, the name would be longer than the kernel takes for a socket.
        let status = PathBuf::from(format!("/proc/{}/root{STATUS}", scene.plugin.pid().expect("it runs")));
        eventually("the status page is served", || status.exists());
        Self { scene, foreign, status }
    }

    fn metrics(&self) -> Scrape {
        Scrape::at(&self.status)
    }

    /// Whether the plugin has logged a text about a container. dockerd's log has it in quotes.
    fn is_logged(&self, container: &str, what: &str) -> bool {
        let id = &self.scene.plugin.id;
        let container = format!("container={container} ");
        self.scene.engine.log().lines().any(|line| {
            line.contains(id) && line.contains(what) && format!("{line} ").replace('"', " ").contains(&container)
        })
    }
}

/// Installs a plugin whose settings name this scene's Loki and the operator's credentials.
fn set(plugin: &Plugin, loki: &Standin) {
    plugin.disable();
    let url = format!("LOKI_URL={}", loki.push_url());
    let (username, password) = (format!("LOKI_USERNAME={USERNAME}"), format!("LOKI_PASSWORD={PASSWORD}"));
    let status = format!("METRICS_ADDR=unix:{STATUS}");
    plugin.engine.docker(["plugin", "set", &plugin.name, &url, &username, &password, &status]);
    plugin.engine.docker(["plugin", "enable", "--timeout", "0", &plugin.name]);
}

/// The most memory that the process has had, in KiB.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

#[test]
fn twenty_containers_log_on_beside_hostile_ones_of_every_kind() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-hostile", &[]);
    let scene = Scene::with("hostile", &plugin);
    set(&plugin, &scene.loki);
    let surroundings = Surroundings::new(&scene);
    let pid = plugin.pid();

    let mut alone = Durations::default();
    let control = ordinary::start(&scene, "control", 5, &mut alone);
    ordinary::all_write_on(&scene, &control);
    ordinary::end(&scene, control, &mut alone);

    let mut beside = Durations::default();
    let mut twenty: Vec<Ordinary> = ordinary::start(&scene, "early", 10, &mut Durations::default());
    let idle: Vec<UnixStream> = (0..IDLE).map(|_| UnixStream::connect(&surroundings.status).unwrap()).collect();
    let hostile = thread::scope(|scope| {
        let refusals = scope.spawn(|| refused::all_are_refused(&surroundings, &twenty[0]));
        let hostile = running::start(&surroundings);
        refusals.join().expect("every refusal is a sentence");
        hostile
    });
    twenty.extend(ordinary::start(&scene, "late", 10, &mut beside));
    ordinary::all_write_on(&scene, &twenty);
    running::expect_at_work(&surroundings, &hostile);
    ordinary::all_write_on(&scene, &twenty);
    ordinary::end(&scene, twenty, &mut beside);
    println!("alone: {alone}\nbeside hostile containers: {beside}");
    beside.expect_within(alone.slowest() * MULTIPLE);

    let metrics = surroundings.metrics();
    assert_eq!(
        metrics.value("loki_rs_unusable_containers", &[]),
        running::FAIL_CLOSED,
        "containers that failed closed"
    );
    assert!(metrics.text.len() < MOST_METRICS, "/metrics has {} bytes", metrics.text.len());
    refused::expect_few_warnings(&surroundings);
    assert_eq!(plugin.pid(), pid, "the plugin has not died");
    let peak = peak_memory(pid.expect("it runs"));
    println!("the plugin took {peak} KiB at most");
    assert!(peak < MOST_MEMORY, "the plugin took {peak} KiB");
    drop((idle, hostile));
}
