//! Stages in a row, and what an entry meets on its way through them.

use std::path::PathBuf;

use super::entry::Entry;
use super::fields::Wrong;
use super::tally::Tally;
use base::files::Folders;
use go_compat::work::{Excess, STEP, Work};

/// The reason under which lines are counted that cost too much.
pub const TOO_COSTLY: &str = "too_costly";

/// Units for each stage, whatever it does.
const STAGE: u64 = STEP;

/// What lines have cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Units of work.
    pub spent: u64,
    /// Lines that cost too much, and were dropped.
    pub overruns: u64,
    /// Why the last of them did.
    pub excess: Option<Excess>,
}

/// One step of a pipeline. What it keeps from line to line is its own, and bounded.
pub trait Stage: CloneStage + Send + Sync {
    /// Looks at one entry and changes it.
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow;

    /// Lets go what has waited long enough at `time`.
    fn tick(&mut self, _time: i64, _cx: &mut Context<'_>, _out: &mut Vec<Entry>) {}

    /// Lets go what it has held since before the line with this number: too much has come meanwhile. It goes on as behind
    /// a wait that was too long.
    fn let_go(&mut self, _before: u64, _cx: &mut Context<'_>, _out: &mut Vec<Entry>) {}

    /// Lets go everything: no more lines will come.
    fn finish(&mut self, _cx: &mut Context<'_>, _out: &mut Vec<Entry>) {}

    /// When [`Stage::tick`] has something to do.
    fn deadline(&self) -> Option<i64> {
        None
    }

    /// The first sequence number of what is held.
    fn held_since(&self) -> Option<u64> {
        None
    }

    /// About how many bytes it holds.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Adds the files that it names.
    fn files(&self, _to: &mut Vec<PathBuf>) {}

    /// Opens the files that it names, in folders that they may be in, before the first entry. May wait for a file system.
    ///
    /// # Errors
    /// Each that cannot be used.
    fn open(&mut self, _folders: &Folders) -> Result<(), Vec<Wrong>> {
        Ok(())
    }

    /// Whether there are stages inside, which tell of themselves.
    fn is_nested(&self) -> bool {
        false
    }
}

/// What becomes of an entry.
#[derive(Debug)]
pub enum Flow {
    /// It goes on to the next stage.
    Pass,
    /// It ends here.
    Drop,
    /// The stage has taken it, and may let go of it later.
    Hold,
    /// These go on in its place.
    Emit(Vec<Entry>),
}

/// What stages have around them.
pub struct Context<'a> {
    /// The time of day, in nanoseconds since 1970.
    pub now: i64,
    pub tally: &'a mut Tally,
    /// The time before which no other entry should follow; set by `limit`.
    pub not_before: Option<i64>,
    /// Somebody who wants to see what each stage does.
    pub watch: Option<&'a mut dyn Watch>,
    /// Whether something was taken to be held.
    pub holds_more: bool,
    /// What the lines cost that cost too much, or were looked at before the one that is looked at now.
    spent: u64,
    /// Lines that cost too much, and why the last one did.
    overruns: u64,
    excess: Option<Excess>,
    work: Work,
    depth: usize,
    told: usize,
    /// The stages that this is inside of, with their depth, and whether they have been named.
    inside: Vec<(usize, &'static str, bool)>,
}

/// Somebody who is told what each stage did.
pub trait Watch {
    /// Stages inside of this one are next.
    fn enter(&mut self, depth: usize, name: &str);

    /// `after` is what goes on, nothing when the entry was dropped or is held.
    fn stage(&mut self, depth: usize, name: &str, before: &Entry, flow: &Flow, after: &[Entry]);
}

/// Stages in a row.
#[derive(Clone, Default)]
pub struct Chain(Vec<Link>);

#[derive(Clone)]
struct Link {
    name: &'static str,
    stage: Box<dyn Stage>,
}

/// Asks a stage for what it lets go.
type Release<'a> = &'a mut dyn FnMut(&mut dyn Stage, &mut Context<'_>, &mut Vec<Entry>);

/// A clone behind a `dyn`: state is copied, what was compiled is shared.
pub trait CloneStage {
    fn clone_stage(&self) -> Box<dyn Stage>;
}

impl<T: Stage + Clone + 'static> CloneStage for T {
    fn clone_stage(&self) -> Box<dyn Stage> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Stage> {
    fn clone(&self) -> Self {
        self.as_ref().clone_stage()
    }
}

// === impl Context ===

impl<'a> Context<'a> {
    pub fn new(now: i64, tally: &'a mut Tally) -> Self {
        Self {
            now,
            tally,
            not_before: None,
            watch: None,
            holds_more: false,
            spent: 0,
            overruns: 0,
            excess: None,
            work: Work::of_line(),
            depth: 0,
            told: 0,
            inside: Vec::new(),
        }
    }

    /// What the line may still cost that is looked at. A stage whose charge fails is to drop the line.
    #[inline]
    pub fn work(&mut self) -> &mut Work {
        &mut self.work
    }

    /// What all lines have cost, how many cost too much, and why the last of them did.
    pub fn cost(&self) -> Cost {
        Cost { spent: self.spent + self.work.spent(), overruns: self.overruns, excess: self.excess }
    }

    /// Another line is next.
    fn next_line(&mut self) {
        self.spent += self.work.spent();
        self.work = Work::of_line();
    }

    /// A line cost too much: it ends here.
    #[cold]
    fn overrun(&mut self) {
        self.overruns += 1;
        self.excess = self.work.excess();
        self.tally.dropped(TOO_COSTLY);
        self.next_line();
    }

    /// Drops an entry and counts it.
    pub fn drop(&mut self, reason: &str) -> Flow {
        self.tally.dropped(reason);
        Flow::Drop
    }

    /// Asks for no other entry before `time`.
    pub fn wait_until(&mut self, time: i64) {
        self.not_before = self.not_before.max(Some(time));
    }
}

// === impl Chain ===

impl Chain {
    pub fn push(&mut self, name: &'static str, stage: Box<dyn Stage>) {
        self.0.push(Link { name, stage });
    }

    /// Adds the stages of another chain behind these.
    pub fn append(&mut self, mut other: Chain) {
        self.0.append(&mut other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the files that stages name.
    pub fn files(&self, to: &mut Vec<PathBuf>) {
        self.0.iter().for_each(|link| link.stage.files(to));
    }

    /// Opens the files that stages name.
    ///
    /// # Errors
    /// Each that cannot be used.
    pub fn open(&mut self, folders: &Folders) -> Result<(), Vec<Wrong>> {
        let opened = self.0.iter_mut().map(|link| link.stage.open(folders));
        let wrongs: Vec<_> = opened.filter_map(Result::err).flatten().collect();
        if wrongs.is_empty() { Ok(()) } else { Err(wrongs) }
    }

    /// Sends an entry through all stages. What comes out is added to `out`.
    pub fn run(&mut self, mut entry: Entry, cx: &mut Context<'_>, out: &mut Vec<Entry>) {
        entry.seed();
        cx.depth += 1;
        self.from(0, entry, cx, out);
        cx.depth -= 1;
    }

    /// The same for a stage that has this chain inside: its own flow for the entry.
    pub fn run_inside(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        let mut out = Vec::with_capacity(1);
        self.run(std::mem::take(entry), cx, &mut out);
        match out.len() {
            0 => Flow::Hold,
            1 => {
                *entry = out.swap_remove(0);
                Flow::Pass
            }
            _ => Flow::Emit(out),
        }
    }

    /// Lets go what has waited long enough.
    pub fn tick(&mut self, time: i64, cx: &mut Context<'_>, out: &mut Vec<Entry>) {
        self.release(cx, out, &mut |stage, cx, due| stage.tick(time, cx, due));
    }

    /// Lets go what has been held since before this line.
    pub fn let_go(&mut self, before: u64, cx: &mut Context<'_>, out: &mut Vec<Entry>) {
        self.release(cx, out, &mut |stage, cx, due| stage.let_go(before, cx, due));
    }

    /// Lets go everything.
    pub fn finish(&mut self, cx: &mut Context<'_>, out: &mut Vec<Entry>) {
        self.release(cx, out, &mut |stage, cx, due| stage.finish(cx, due));
    }

    /// About how many bytes its stages hold.
    pub fn held_bytes(&self) -> usize {
        self.0.iter().map(|link| link.stage.held_bytes()).sum()
    }

    pub fn deadline(&self) -> Option<i64> {
        self.0.iter().filter_map(|link| link.stage.deadline()).min()
    }

    pub fn held_since(&self) -> Option<u64> {
        self.0.iter().filter_map(|link| link.stage.held_since()).min()
    }

    fn from(&mut self, start: usize, mut entry: Entry, cx: &mut Context<'_>, out: &mut Vec<Entry>) {
        for at in start..self.0.len() {
            let Link { name, stage } = &mut self.0[at];
            let before = cx.watch.is_some().then(|| entry.clone());
            let told = cx.told;
            if before.is_some() {
                cx.inside.push((cx.depth, *name, false));
            }
            let flow = match cx.work.charge(STAGE + entry.line.len() as u64) {
                Ok(()) => stage.process(&mut entry, cx),
                Err(_) => Flow::Drop,
            };
            cx.inside.pop();
            if let Some(before) = before {
                // Stages inside have told what they did; it need not be said twice.
                let silent = stage.is_nested() && cx.told > told && matches!(flow, Flow::Pass | Flow::Emit(_));
                if !silent {
                    tell(cx, name, &before, &flow, &entry);
                }
            }
            if cx.work.is_over() {
                // Whatever the stage made of it: it may have been there to redact it.
                return cx.overrun();
            }
            match flow {
                Flow::Pass => {}
                Flow::Drop => return,
                Flow::Hold => {
                    cx.holds_more = true;
                    return;
                }
                Flow::Emit(entries) => {
                    cx.holds_more = true;
                    for entry in entries {
                        cx.next_line();
                        self.from(at + 1, entry, cx, out);
                    }
                    return;
                }
            }
        }
        out.push(entry);
    }

    fn release(&mut self, cx: &mut Context<'_>, out: &mut Vec<Entry>, take: Release<'_>) {
        cx.depth += 1;
        // From the first to the last: what one lets go, a later one may take and let go in turn.
        for at in 0..self.0.len() {
            let mut due = Vec::new();
            take(self.0[at].stage.as_mut(), cx, &mut due);
            for entry in due {
                cx.next_line();
                self.from(at + 1, entry, cx, out);
            }
        }
        cx.depth -= 1;
    }
}

fn tell(cx: &mut Context<'_>, name: &str, before: &Entry, flow: &Flow, entry: &Entry) {
    let depth = cx.depth;
    cx.told += 1;
    let Some(watch) = &mut cx.watch else { return };
    for (depth, name, named) in &mut cx.inside {
        if !std::mem::replace(named, true) {
            watch.enter(*depth, name);
        }
    }
    let after = match flow {
        Flow::Pass => std::slice::from_ref(entry),
        Flow::Drop | Flow::Hold => &[],
        Flow::Emit(entries) => entries,
    };
    watch.stage(depth, name, before, flow, after);
}
