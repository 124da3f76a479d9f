//! A container that prints on command.

use super::super::stage::{Container, Scene, difference, eventually};
use std::collections::HashSet;
use std::io::Write;
use std::process::Child;
use std::sync::mpsc;
use std::thread;

/// Lines of about 200 bytes that are written at once: less than what a plugin keeps in memory when Loki does not come
/// after.
pub const PIECE: usize = 7_000;

/// Pieces that are more than all pipes hold: 64 KiB of the container, as much of its shim, 1 MB of dockerd, 1 MiB of the
/// FIFO.
pub const MANY: usize = 3;

/// A container that prints on command.
pub struct Talker<'a> {
    scene: &'a Scene<'a>,
    pub container: Container<'a>,
    process: Child,
    input: Option<mpsc::Sender<Vec<u8>>>,
    pub said: Vec<String>,
}

// === impl Talker ===

impl<'a> Talker<'a> {
    pub fn start(scene: &'a Scene<'a>, name: &str) -> Self {
        let (container, mut process) = scene.container(name).option("loki-batch-wait", "100ms").start_echo();
        let mut stdin = process.stdin.take().unwrap();
        let (input, pieces) = mpsc::channel::<Vec<u8>>();
        // A container that is blocked must not block the test.
        thread::spawn(move || pieces.into_iter().try_for_each(|piece| stdin.write_all(&piece)));
        Self { scene, container, process, input: Some(input), said: Vec::new() }
    }

    /// Prints `lines` lines.
    pub fn say(&mut self, lines: usize) {
        let from = self.said.len();
        self.said.extend((from..from + lines).map(|at| format!("{at:08} {}", "x".repeat(190))));
        let piece = self.said[from..].join("\n") + "\n";
        self.input.as_ref().unwrap().send(piece.into_bytes()).unwrap();
    }

    /// Prints this many pieces, as fast as possible.
    pub fn say_at_once(&mut self, pieces: usize) {
        (0..pieces).for_each(|_| self.say(PIECE));
    }

    /// The same, each piece when Loki has the one before.
    pub fn say_much(&mut self) {
        for _ in 0..MANY {
            self.say(PIECE);
            self.must_be_in_loki();
        }
    }

    #[track_caller]
    pub fn must_be_in_loki(&self) {
        self.scene.expect_lines(&self.container, &self.said);
    }

    /// The same when the plugin was killed: what was on its way then has come twice.
    #[track_caller]
    pub fn must_have_arrived(&self) {
        eventually("Loki has every line", || {
            let there: HashSet<String> = self.scene.lines(&self.container).into_iter().collect();
            self.said.iter().all(|line| there.contains(line))
        });
    }

    /// The last lines are in `docker logs`.
    #[track_caller]
    pub fn must_be_shown(&self) {
        let last = &self.said[self.said.len().saturating_sub(100)..];
        eventually("docker logs is current", || self.container.lines(&["--tail", "100"]) == last);
    }

    /// All lines are.
    #[track_caller]
    pub fn all_must_be_shown(&self) {
        self.must_be_shown();
        assert_eq!(difference(&self.container.lines(&[]), &self.said), None, "docker logs");
    }

    /// Ends it, which waits until all was printed.
    pub fn end(&mut self) {
        self.input.take();
        assert_eq!(self.container.wait(), 0);
        self.process.wait().unwrap();
    }
}
