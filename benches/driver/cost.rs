//! Processor time for each line, in the same run as the floor, and how many lines a second are read.

use std::time::{Duration, Instant};

use loki::encode::Metadata;

use crate::harness::dockerd::Run;
use crate::process::{self, Syscalls};
use crate::stage::{Stage, Writing, median, write_all, write_each};
use crate::{floor, load};

/// Turns, of which the median counts.
const TURNS: usize = 5;

/// The costs of one turn, for each line.
pub struct Cost {
    pub cpu_us: f64,
    pub floor_us: f64,
    /// Lines a second that left the FIFOs.
    pub taken: f64,
    /// Lines a second that came to the sink.
    pub sent: f64,
    /// System calls for a thousand lines, where the kernel tells.
    pub syscalls: Option<f64>,
    pub wire_bytes: f64,
    pub memory_kib: u64,
}

pub fn play() {
    println!(
        "| lines | containers | taken a second | sent a second | µs a line | floor | ratio | calls for 1,000 | bytes sent a line | resident |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (what, containers, lines, length, write) in [
        ("100 bytes", 1, 3_000_000, 100, Run::write as Writing),
        ("100 bytes, a write(2) each", 1, 1_000_000, 100, write_each),
        ("1,000 bytes", 1, 400_000, 1000, Run::write),
        ("100 bytes", 4, 750_000, 100, Run::write),
    ] {
        let frames = load::frames(lines, length);
        let turns: Vec<Cost> = (0..TURNS).map(|_| play_to(&frames, lines, containers, write, |_| None)).collect();
        let of = |value: fn(&Cost) -> f64| median(turns.iter().map(value).collect());
        // In a separate turn, because counting makes the process slower.
        let syscalls = play_to(&frames, lines, containers, write, Syscalls::count).syscalls;
        println!(
            "| {what} | {containers} | {:.2} M | {:.2} M | {:.3} | {:.3} | {:.2} | {} | {:.0} | {:.1} MB |",
            of(|turn| turn.taken) / 1e6,
            of(|turn| turn.sent) / 1e6,
            of(|turn| turn.cpu_us),
            of(|turn| turn.floor_us),
            of(|turn| turn.cpu_us / turn.floor_us),
            syscalls.map_or("not counted".into(), |calls| format!("{calls:.1}")),
            of(|turn| turn.wire_bytes),
            of(|turn| turn.memory_kib as f64) / 1024.0,
        );
    }
}

/// Containers write `lines` lines each, which are in `frames`.
pub fn measure(frames: &[u8], lines: usize, containers: usize) -> Cost {
    play_to(frames, lines, containers, Run::write, |_| None)
}

fn play_to(frames: &[u8], lines: usize, containers: usize, write: Writing, count: fn(u32) -> Option<Syscalls>) -> Cost {
    let floor = floor_of(frames);
    let stage = Stage::new();
    let runs = stage.start(containers);
    let pid = stage.plugin.pid();
    let syscalls = count(pid);
    let (used, start) = (process::processor_time(pid), Instant::now());
    write_all(&runs, frames, write);
    let taken = start.elapsed();
    let all = (lines * containers) as f64;
    stage.sink.wait_for((lines * containers) as u64);
    let sent = start.elapsed();
    let used = process::processor_time(pid) - used;
    let syscalls = syscalls.and_then(Syscalls::stop).map(|calls| calls as f64 * 1000.0 / all);
    let memory_kib = process::kib(pid, "VmHWM");
    for run in runs {
        run.stop();
    }
    let us = |time: Duration, lines: f64| time.as_secs_f64() * 1e6 / lines;
    Cost {
        cpu_us: us(used, all),
        floor_us: us(floor, lines as f64),
        taken: all / taken.as_secs_f64(),
        sent: all / sent.as_secs_f64(),
        syscalls,
        wire_bytes: stage.sink.bytes() as f64 / all,
        memory_kib,
    }
}

/// The floor for the stream that the plugin makes of these frames.
fn floor_of(frames: &[u8]) -> Duration {
    let labels = "{container_name=\"bench-0\",host=\"localhost\",source=\"stdout\"}";
    let metadata = Metadata::new([("container_id", &*"0123456789abcdef".repeat(4)), ("image_name", "busybox:1")]);
    floor::run(frames, labels, &metadata)
}
