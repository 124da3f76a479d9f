//! What containers wrote, and a judge that compares `docker logs` and Loki with it.
//!
//! The numbers of written lines come from outside of everything that is tested: a [`Writer`] records them for each
//! output in a file on the host. Each line contains its number, which determines the rest of the line, see [`Habit`].
//! So a judge can tell of each line whether it was ever written, is complete, in its place or repeated, and how many
//! are missing.

use super::stage::{Container, Draft, Engine, eventually, patience, text};
use crate::standin::Standin;
use std::fs;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::time::Duration;

/// How a container writes.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    pub name: &'static str,
    /// To stdout and to stderr, by turns, or to stdout alone.
    pub both: bool,
    /// Bytes of a line, in turn; 0 is as few as it takes.
    pub widths: &'static [usize],
    /// How fast, in chatter's words: lines a second, and how many at once.
    pub pace: &'static str,
}

/// A container that writes by a habit until it is stopped.
pub struct Writer<'a> {
    pub container: Container<'a>,
    pub habit: Habit,
    told: PathBuf,
}

/// What a container says that it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Lines, by output.
    pub lines: [usize; 2],
    /// The longest that a write took.
    pub longest: Duration,
}

/// Checks the lines of one output one by one.
struct Judge {
    habit: Habit,
    output: usize,
    /// The time of each expected line, once it was seen.
    times: Vec<Option<i64>>,
    /// The place of the last one, and of the one that comes next if all goes well.
    last: Option<usize>,
    next: usize,
    /// Bytes of lines that came again, since it went back.
    again: usize,
    tally: Tally,
}

/// What the judge found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub owed: usize,
    pub missing: usize,
    /// Lines that were never written, torn, out of order, or repeated as if they were new.
    pub invented: usize,
    /// Lines that were repeated with the same time.
    pub doubled: usize,
    /// How often lines began to come again, and the most bytes that came again then.
    pub replays: usize,
    pub replayed: usize,
}

// === impl Habit ===

impl Habit {
    /// The n-th line, as chatter writes it.
    pub fn line(&self, n: usize) -> Vec<u8> {
        let mut line = format!("line {n}").into_bytes();
        if line.len() < self.width(n) {
            line.push(b' ');
            line.resize(self.width(n), b'a' + (n % 26) as u8);
        }
        line
    }

    /// Lines a second.
    pub fn rate(&self) -> usize {
        let (rate, _) = self.pace.split_once('/').unwrap_or((self.pace, ""));
        rate.parse().expect("a pace begins with a rate")
    }

    /// The number of a line, if it begins as lines do.
    pub fn number(line: &[u8]) -> Option<usize> {
        let digits = line.strip_prefix(b"line ")?.split(|byte| *byte == b' ').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn width(&self, n: usize) -> usize {
        self.widths[(n - 1) % self.widths.len()]
    }

    /// At which place of an output the n-th line stands, from 0, if it goes there.
    fn place(&self, output: usize, n: usize) -> Option<usize> {
        let at = n.checked_sub(1)?;
        let (at, of) = if self.both { (at / 2, at % 2) } else { (at, 0) };
        (of == output).then_some(at)
    }

    fn steps(&self, told: &str) -> Vec<String> {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        let to = if self.both { "both" } else { "stdout" };
        vec![
            format!("tell:{told}"),
            format!("to:{to}"),
            format!("width:{}", widths.join(",")),
            format!("lines:1000000000@{}", self.pace),
        ]
    }
}

// === impl Writer ===

impl<'a> Writer<'a> {
    /// Starts one, and waits until it writes.
    pub fn start(engine: &Engine, draft: Draft<'a>, habit: Habit) -> Self {
        let folder = engine.folder(&format!("told/{}", draft.name()));
        let steps = habit.steps("/told/lines");
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let container = draft.argument(&format!("--volume={}:/told", folder.display())).start(&steps);
        let writer = Self { container, habit, told: folder.join("lines") };
        // The file is there before there is anything in it.
        let has_told = || fs::metadata(&writer.told).is_ok_and(|file| file.len() > 0);
        eventually("the container writes", || has_told() && writer.told().sum() > 0);
        writer
    }

    /// The last record, which is a moment old.
    pub fn told(&self) -> Told {
        let look = || fs::read_to_string(&self.told).unwrap();
        let mut told = look();
        loop {
            // It may be written to while it is read.
            let again = look();
            if again == told {
                break;
            }
            told = again;
        }
        let numbers: Vec<usize> = told.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let &[out, err, longest] = &numbers[..] else { panic!("chatter tells \"{told}\"") };
        Told { lines: [out, err], longest: Duration::from_micros(longest as u64) }
    }

    /// The outputs that it writes to, by the name that the label `source` has.
    pub fn outputs(&self) -> &'static [&'static str] {
        if self.habit.both { &["stdout", "stderr"] } else { &["stdout"] }
    }

    /// What `docker logs` shows, by output.
    pub fn judge_docker_logs(&self) -> Vec<Tally> {
        let logs = self.container.logs(&[]);
        let shown = [logs.stdout, logs.stderr];
        let judge = |output: usize| {
            let mut judge = self.judge(output);
            for line in shown[output].split_inclusive(|byte| *byte == b'\n') {
                // A line without its end is torn.
                judge.look(line.strip_suffix(b"\n").unwrap_or_default(), 0);
            }
            judge.tally
        };
        (0..self.outputs().len()).map(judge).collect()
    }

    /// What Loki has, by output, when nothing is missing any more or nothing comes.
    pub fn judge_loki(&self, loki: &Standin) -> Vec<Tally> {
        let judge = |(output, source): (usize, &&str)| {
            let labels = [("container_name", self.container.name.as_str()), ("source", *source)];
            let mut enough = self.told().lines[output];
            loop {
                let came = loki.wait_for(|state| state.count(&labels) >= enough, patience());
                let mut judge = self.judge(output);
                loki.each(&labels, |line, time, _| judge.look(line, time));
                if judge.tally.missing == 0 || !came {
                    break judge.tally;
                }
                // Those that came twice do not count.
                enough = loki.count(&labels) + 1;
            }
        };
        self.outputs().iter().enumerate().map(judge).collect()
    }

    fn judge(&self, output: usize) -> Judge {
        Judge::new(self.habit, output, self.told().lines[output])
    }
}

// === impl Told ===

impl Told {
    /// Lines of both outputs.
    pub fn sum(&self) -> usize {
        self.lines.iter().sum()
    }
}

// === impl Judge ===

impl Judge {
    fn new(habit: Habit, output: usize, owed: usize) -> Self {
        let tally = Tally { owed, missing: owed, ..Tally::default() };
        Self { habit, output, times: vec![None; owed], last: None, next: 0, again: 0, tally }
    }

    /// Looks at the next line. `time` is what tells it from others with the same words.
    fn look(&mut self, line: &[u8], time: i64) {
        let place = Habit::number(line).and_then(|n| Some((n, self.habit.place(self.output, n)?)));
        let place = place.filter(|(n, at)| *at < self.times.len() && self.habit.line(*n) == line);
        let Some((_, at)) = place else {
            if self.tally.invented == 0 {
                println!("never written: \"{}\"", text(&line[..line.len().min(200)]));
            }
            self.tally.invented += 1;
            return;
        };
        if self.last.is_some_and(|last| at <= last) {
            self.tally.replays += 1;
            self.again = 0;
        }
        self.last = Some(at);
        match self.times[at].replace(time) {
            Some(first) if first == time => {
                self.tally.doubled += 1;
                self.again += line.len();
                self.tally.replayed = self.tally.replayed.max(self.again);
            }
            Some(_) => self.tally.invented += 1,
            None => {
                self.tally.missing -= 1;
                if at < self.next {
                    self.tally.invented += 1;
                }
            }
        }
        self.next = self.next.max(at + 1);
    }
}

// === impl Tally ===

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.owed += other.owed;
        self.missing += other.missing;
        self.invented += other.invented;
        self.doubled += other.doubled;
        self.replays += other.replays;
        self.replayed = self.replayed.max(other.replayed);
    }
}

#[test]
fn the_judge_finds_what_is_planted() {
    let habit = Habit { name: "judged", both: true, widths: &[0, 20, 30], pace: "1" };
    let judged = |planted: &[(&[u8], i64)]| {
        let mut judge = Judge::new(habit, 1, 5);
        planted.iter().for_each(|(line, time)| judge.look(line, *time));
        judge.tally
    };
    let lines = [2, 4, 6, 8, 10].map(|n| habit.line(n));
    assert_eq!(lines[..2], [&b"line 2 cccccccccccccc"[..20], b"line 4"]);
    let [one, two, three, four, five] = lines.each_ref().map(Vec::as_slice);
    let good = [(one, 1), (two, 2), (three, 3), (four, 4), (five, 5)];
    let all = Tally { owed: 5, ..Tally::default() };
    assert_eq!(judged(&good), all);
    assert_eq!(judged(&[]), Tally { missing: 5, ..all });
    assert_eq!(judged(&[&good[..2], &good[3..]].concat()), Tally { missing: 1, ..all });
    // A line of the other output, a torn one, one that was never written, and invalid ones.
    for planted in [&b"line 1"[..], &three[..29], b"line 12", b"line 0", b"line", b""] {
        assert_eq!(judged(&[&good[..], &[(planted, 6)]].concat()), Tally { invented: 1, ..all }, "{planted:?}");
    }
    let swapped = judged(&[good[0], good[2], good[1], good[3], good[4]]);
    assert_eq!((swapped.missing, swapped.invented), (0, 1));
    // Batches again, of the last of which Loki knew the second half.
    let again = judged(&[&good[..2], &good[..4], &good[1..3], &good[4..]].concat());
    let bytes = [two, three].concat().len();
    assert_eq!(again, Tally { doubled: 4, replays: 2, replayed: bytes, ..all });
    let again = judged(&[&good[..4], &[(three, 7)], &good[4..]].concat());
    assert_eq!((again.invented, again.doubled), (1, 0), "another time makes another line");
}
