//! The plugin is killed again and again while ten containers write in different ways. An oracle outside of the plugin
//! checks that no line is missing and none invented, in `docker logs` and in Loki.

use super::oracle::{Habit, Tally, Writer};
use super::stage::{Engine, Plugin, Scene, eventually, patience};
use crate::harness::kills;
use crate::standin::{Failure, Limits, Times};
use std::thread;
use std::time::{Duration, Instant};

/// Short lines and long ones, above the 16 KiB at which dockerd cuts, to one output and to both, in bursts that fill
/// pipes and at rates that do not.
const HABITS: [Habit; 10] = [
    Habit { name: "flood", both: false, widths: &[100], pace: "10000/5000" },
    Habit { name: "flood-both", both: true, widths: &[100], pace: "6000/3000" },
    Habit { name: "wide", both: false, widths: &[10_000], pace: "200/200" },
    Habit { name: "short", both: false, widths: &[0], pace: "2000" },
    Habit { name: "short-both", both: true, widths: &[0, 0, 40], pace: "2000" },
    Habit { name: "steady", both: false, widths: &[100], pace: "1000" },
    Habit { name: "long", both: false, widths: &[40_000], pace: "20" },
    Habit { name: "long-both", both: true, widths: &[20_000, 50, 50], pace: "60" },
    Habit { name: "mixed", both: true, widths: &[10, 300, 6000, 16_383, 16_384, 16_385, 0], pace: "100/7" },
    Habit { name: "rare", both: false, widths: &[200], pace: "5" },
];

/// Kills that one set of containers lives through. After more of them the next set takes over, so that any number of
/// kills fits into memory.
const ROUND: usize = 50;

/// Loki answers so late that most kills hit a push that Loki has stored, before its answer.
const LATE: Duration = Duration::from_millis(50);

/// The time between two checks whether a burst has begun, which takes some ten milliseconds.
const LOOK: Duration = Duration::from_micros(500);

/// The most that may come again after a kill: `loki-batch-size`, and the line that passes it.
const BATCH: usize = (1 << 20) + 40_000;

/// What was judged: the output of a container, `docker logs`, Loki.
#[derive(Default)]
struct Table {
    lines: Vec<(String, Tally, Tally)>,
}

/// Waits for the first lines of the next burst, and looks so often that it is not over yet.
fn wait_for_burst(writer: &Writer) {
    let (told, deadline) = (writer.told(), Instant::now() + patience());
    while writer.told() == told {
        assert!(Instant::now() < deadline, "{} writes again", writer.habit.name);
        thread::sleep(LOOK);
    }
}

/// Kills the plugin `kills` times, and checks what a set of containers wrote meanwhile.
fn round(plugin: &Plugin, number: usize, kills: usize, table: &mut Table) {
    let scene = Scene::with(&format!("kills-{number}"), plugin);
    scene.loki.change_limits(|limits| *limits = Limits::generous());
    scene.loki.fail(Failure::Delay(LATE), Times::UntilHealed);
    // Rings that hold it all.
    let draft = |name| scene.container(name).option("loki-batch-wait", "100ms").option("max-size", "1g");
    let start = &|habit: Habit| Writer::start(scene.engine, draft(habit.name), habit);
    let writers = thread::scope(|threads| {
        let starting = HABITS.map(|habit| threads.spawn(move || start(habit)));
        starting.map(|thread| thread.join().expect("it starts"))
    });
    let each_second: usize = HABITS.iter().map(Habit::rate).sum();
    let mut random = fastrand::Rng::with_seed(number as u64);
    for kill in 0..kills {
        let seen = scene.loki.count(&[]) + random.usize(each_second / 10..each_second);
        assert!(scene.loki.wait_for(|state| state.count(&[]) >= seen, patience()), "lines arrive");
        let told = writers.each_ref().map(Writer::told);
        plugin.kill_after(|| match kill % 3 {
            // When the plugin has its hands in a pipe that is full.
            0 => wait_for_burst(&writers[0]),
            1 => wait_for_burst(&writers[2]),
            _ => {}
        });
        for (writer, told) in writers.iter().zip(told) {
            eventually("the container goes on", || writer.told().sum() > told.sum());
        }
    }
    for writer in &writers {
        assert_eq!(writer.container.inspect("{{.State.Running}}"), "true", "{} went on", writer.habit.name);
    }
    let names = writers.iter().map(|writer| writer.container.name.as_str());
    scene.engine.docker(["stop"].into_iter().chain(names));
    scene.loki.heal();
    for writer in &writers {
        assert_eq!(writer.container.inspect("{{.State.ExitCode}}"), "0", "{} ended well", writer.habit.name);
        let judged = writer.judge_docker_logs().into_iter().zip(writer.judge_loki(&scene.loki));
        for (output, (logs, loki)) in writer.outputs().iter().zip(judged) {
            table.lines.push((format!("{} {output}", writer.container.name), logs, loki));
        }
    }
}

#[test]
fn kills_under_load_lose_nothing_and_invent_nothing() {
    let engine = Engine::shared();
    let plugin = engine.install("loki-rs-kills", &[]);
    let mut table = Table::default();
    let kills = kills();
    for (number, first) in (0..kills).step_by(ROUND).enumerate() {
        round(&plugin, number, ROUND.min(kills - first), &mut table);
    }
    let (logs, loki) = table.print(kills);
    assert_eq!((logs.missing, logs.invented, logs.doubled), (0, 0, 0), "docker logs");
    assert_eq!((loki.missing, loki.invented), (0, 0), "Loki");
    assert!(loki.replayed <= BATCH, "more than what was on its way came again");
    for (name, _, loki) in table.lines {
        assert!(loki.replays <= kills.min(ROUND), "{name} came again {} times", loki.replays);
    }
    eventually("nothing is left of any stream", || plugin.leftovers().is_empty());
    plugin.disable();
}

// === impl Table ===

impl Table {
    /// Prints it, and gives the sums of `docker logs` and of Loki.
    fn print(&self, kills: usize) -> (Tally, Tally) {
        let (mut logs, mut loki) = (Tally::default(), Tally::default());
        println!("\n{kills} kills of the plugin{:20}docker logs{:>42}", "", "Loki");
        println!(
            "{:28}{:>9} {:>9}{:>9}{:>9} {:>9}{:>9}{:>9}{:>9}",
            "container, output", "owed", "missing", "invented", "doubled", "missing", "invented", "doubled", "replays"
        );
        let show = |name: &str, logs: &Tally, loki: &Tally| {
            println!(
                "{name:28}{:9} {:9}{:9}{:9} {:9}{:9}{:9}{:9}",
                logs.owed,
                logs.missing,
                logs.invented,
                logs.doubled,
                loki.missing,
                loki.invented,
                loki.doubled,
                loki.replays
            );
        };
        for (name, in_logs, in_loki) in &self.lines {
            show(name, in_logs, in_loki);
            logs += *in_logs;
            loki += *in_loki;
        }
        show("all", &logs, &loki);
        println!("{} bytes came again at once, at most", loki.replayed);
        (logs, loki)
    }
}
