//! The lines that every container has printed, and the excuses of missing ones; only the simulation sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::time;

/// One line of one container.
#[derive(Clone, Debug)]
pub struct Printed {
    /// The whole text, unique among all lines.
    pub text: String,
    /// 0 for stdout, 1 for stderr.
    pub source: usize,
    /// The time since the beginning at which its last byte was in the pipe.
    pub at: Duration,
    /// The end of its frames in the bytes of its pipe.
    pub end: u64,
    /// The run of the container that printed it.
    pub run: usize,
    /// The reason why it may be missing.
    pub excuse: Option<&'static str>,
}

/// All lines of a container, in the order in which they were printed.
pub type Lines = Vec<Printed>;

/// The lines that all containers have printed.
#[derive(Debug, Default)]
pub struct Oracle {
    pub containers: BTreeMap<usize, Lines>,
    /// The container and index of each line, by text.
    by_text: BTreeMap<Vec<u8>, (usize, usize)>,
    /// Texts of more than one chunk, complete or not: the rest of one may be sent as a line.
    long: Vec<String>,
}

// === impl Oracle ===

impl Oracle {
    /// Records a line that a container has printed.
    pub fn printed(&mut self, container: usize, line: Printed) {
        let lines = self.containers.entry(container).or_default();
        self.by_text.insert(line.text.clone().into(), (container, lines.len()));
        lines.push(line);
    }

    /// The container that printed a text, and the index of the line.
    pub fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        self.by_text.get(text).copied()
    }

    /// Excuses lines printed since `since`, which may be missing.
    pub fn excuse(&mut self, why: &'static str, since: Duration) {
        for line in self.containers.values_mut().flatten().filter(|line| line.at >= since) {
            line.excuse.get_or_insert(why);
        }
    }

    /// Excuses lines of a run that end behind byte `landed` of its pipe.
    pub fn excuse_in_pipe(&mut self, container: usize, run: usize, landed: u64, why: &'static str) {
        let lines = self.containers.entry(container).or_default();
        for line in lines.iter_mut().filter(|line| line.run == run && line.end > landed) {
            line.excuse.get_or_insert(why);
        }
    }

    /// Excuses earlier lines of a container, which may be missing.
    pub fn excuse_of(&mut self, container: usize, why: &'static str, before: Duration) {
        for line in self.containers.entry(container).or_default().iter_mut().filter(|line| line.at <= before) {
            line.excuse.get_or_insert(why);
        }
    }

    /// Records that a container begins to print a line in chunks.
    pub fn begins(&mut self, text: &str) {
        self.long.push(text.into());
    }

    /// Whether a text is the rest of a line in chunks of `chunk` bytes.
    pub fn is_rest(&self, text: &[u8], chunk: usize) -> bool {
        self.long.iter().any(|long| {
            let begins = (0..long.len()).step_by(chunk).filter(|begin| long.as_bytes()[*begin..].starts_with(text));
            begins.map(|begin| begin + text.len()).any(|end| end == long.len() || end % chunk == 0)
        })
    }

    /// The number of all lines.
    pub fn len(&self) -> usize {
        self.by_text.len()
    }
}

/// The text of line `n` of a container, of `len` bytes or a few more.
pub fn text(container: usize, n: usize, len: usize) -> String {
    let mut text = format!("c{container} line {n} at {:?} ", time::passed());
    let filling =
        ["all work and no play ", "0123456789 ", "äöü ß € ", "{\"a\": 1, \"b\": \"c\"} "][(container + n) % 4];
    while text.len() < len {
        text.push_str(filling);
    }
    text
}
