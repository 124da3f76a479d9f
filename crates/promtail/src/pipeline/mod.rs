//! Promtail's pipelines: stages that change, annotate, merge and drop lines before they are sent.
//!
//! ```text
//!            ┌────────────────────────── Pipeline ─────────────────────────┐
//! Entry ────▶│ chain: stage ─▶ stage ─▶ match { chain } ─▶ stage ─▶ …       │────▶ entries
//! (seq, now) └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! What a configuration does in Promtail it does here, down to what is not in Promtail's documentation: which scalars a
//! field takes, when a value counts as present, what a failure leaves behind. Each stage's module has a table of its
//! fields; [`fields`] decodes them, [`config`] reads the whole, [`chain`] runs it, [`entry`] is what it runs on.
//!
//! A pipeline is one synchronous object and belongs to one container. It reads no clock: its caller says what time
//! it is, and asks three things of it.
//!
//! * [`Pipeline::held_since`]: entries carry the sequence numbers of their lines; this is the first one that has not come
//!   out yet, because it is part of a block that goes on. A cursor must not pass it.
//! * [`Pipeline::next_deadline`]: when [`Pipeline::tick`] would let go of something. To be called only when there is no
//!   line left to read: while there are, it is their own time of arrival that ends a wait, so that the same lines
//!   make the same entries however late they are read.
//! * What [`Pipeline::process`] returns: with `limit`, the time before which no other line should follow. The pipeline
//!   itself never sleeps.
//!
//! What is kept from line to line is bounded: blocks of `multiline` and `cri` in bytes and number, each and together, times of `timestamp`
//! and buckets of `limit` in number, series of `metrics` in number. What a line may cost is bounded as well, see [`go_compat::work`]: one that
//! costs more is dropped and counted, for the stage that it did not get through may have been there to redact it.
//!
//! In five points this differs from Promtail on purpose. Lines that `cri` holds when the input ends come out instead of
//! being lost. `sampling` decides by sequence number, so that a line which is sent again is not judged again. `limit` with
//! `drop`, `older_than` of `drop`, the time that `pack` gives and the year that `timestamp` guesses go by when a line was
//! logged, not by when it is read. What is held while 10,000 other lines come is let go of. And `geoip` looks IPv4 addresses
//! up as such. One field is not Promtail's, `own_time` of `multiline`; [`presets`] use it.

pub mod chain;
pub mod config;
pub mod entry;
pub mod exposition;
pub mod fields;
pub mod jmespath;
pub mod json_text;
pub mod pattern;
pub mod presets;
pub mod recent;
pub mod registries;
pub mod registry;
pub mod size;
pub mod stages;
pub mod tally;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use chain::Cost;
use chain::{Chain, Context, Watch};
pub use config::{Form, PipelineError};
pub use entry::{Entry, Extracted, Labels, SeqRange, Value};
pub use registries::Registries;
pub use registry::Registry;
use tally::Tally;

use base::files::Folders;

/// Bytes that all stages of a pipeline hold together. With more they let go of everything, as at the end of the input.
pub const MOST_HELD: usize = 8 << 20;

/// The stages of one container with their state. A clone of one that has seen nothing is a pipeline for another reader of
/// the same lines: what was compiled is shared.
#[derive(Clone)]
pub struct Pipeline {
    chain: Chain,
    tally: Tally,
    /// Since it was asked for.
    cost: Cost,
}

/// A configuration that can be used, but for the files that its stages name: none of them has been looked at.
#[derive(Clone)]
pub struct Draft(Chain);

// === impl Draft ===

impl Draft {
    /// Reads a configuration and compiles its stages. Touches no file.
    ///
    /// # Errors
    /// Every stage that cannot be used, with its place.
    pub fn parse(text: &str, form: Form) -> Result<Self, PipelineError> {
        config::read(text, form).map(Self)
    }

    /// Whether lines come out as they go in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Files that stages name, as they name them.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        self.0.files(&mut files);
        files
    }

    /// Opens the files that stages name, in folders that they may be in. It is for a thread that may wait.
    ///
    /// # Errors
    /// Every file that cannot be used, with its stage's place.
    pub fn open(&self, folders: &Folders) -> Result<Pipeline, PipelineError> {
        let mut chain = self.0.clone();
        chain.open(folders)?;
        Ok(Pipeline { chain, tally: Tally::new(Some(Arc::default())), cost: Cost::default() })
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draft")
    }
}

// === impl Pipeline ===

impl Pipeline {
    /// Reads a configuration, opens the files that its stages name, wherever they are, and makes its stages ready.
    ///
    /// # Errors
    /// Every stage that cannot be, with its place.
    pub fn parse(text: &str, form: Form) -> Result<Self, PipelineError> {
        Draft::parse(text, form)?.open(&Folders::any())
    }

    /// These stages, and behind them those of another.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.chain.append(other.chain);
        self
    }

    /// Counts in this registry, or nothing: who has a pipeline for each of several destinations counts in one.
    #[must_use]
    pub fn counting_in(self, registry: Option<Arc<Registry>>) -> Self {
        Self { tally: Tally::new(registry), ..self }
    }

    /// Where stages count.
    pub fn registry(&self) -> Option<&Registry> {
        self.tally.registry()
    }

    /// Lines that `before` has run are run again from a copy of what it was: their events are not counted again.
    pub fn repeat(&mut self, before: &Self) {
        self.tally.repeat(&before.tally);
    }

    /// No line that was run so far will be run again.
    pub fn settle(&mut self) {
        self.tally.settle();
    }

    /// Whether lines come out as they go in.
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// Sends one line through the stages. What comes out, of this line or of earlier ones, is added to `out`.
    ///
    /// Returned is the time before which no other line should follow, if a stage asks for a pause.
    pub fn process(&mut self, entry: Entry, now: i64, out: &mut Vec<Entry>) -> Option<i64> {
        self.run(entry, now, out, None)
    }

    /// [`Pipeline::process`], with each stage being told of.
    pub fn inspect(&mut self, entry: Entry, now: i64, out: &mut Vec<Entry>, watch: &mut dyn Watch) -> Option<i64> {
        self.run(entry, now, out, Some(watch))
    }

    /// Lets go what has waited long enough for more lines.
    pub fn tick(&mut self, now: i64, out: &mut Vec<Entry>) -> Option<i64> {
        self.with(now, |chain, cx| chain.tick(now, cx, out))
    }

    /// Lets go what has been held since before the line with this number.
    pub fn let_go(&mut self, before: u64, now: i64, out: &mut Vec<Entry>) -> Option<i64> {
        self.with(now, |chain, cx| chain.let_go(before, cx, out))
    }

    /// Lets go everything that is held: the input has ended.
    pub fn flush(&mut self, now: i64, out: &mut Vec<Entry>) -> Option<i64> {
        self.with(now, |chain, cx| chain.finish(cx, out))
    }

    /// When [`Pipeline::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<i64> {
        self.chain.deadline()
    }

    /// The first sequence number that has not come out and was not dropped.
    pub fn held_since(&self) -> Option<u64> {
        self.chain.held_since()
    }

    /// What the lines have cost that were run since the last call.
    pub fn take_cost(&mut self) -> Cost {
        std::mem::take(&mut self.cost)
    }

    fn run(&mut self, entry: Entry, now: i64, out: &mut Vec<Entry>, watch: Option<&mut dyn Watch>) -> Option<i64> {
        self.with(now, |chain, cx| {
            if chain.deadline().is_some_and(|deadline| deadline <= entry.arrived) {
                chain.tick(entry.arrived, cx, out);
            }
            if let Some(watch) = watch {
                cx.watch = Some(watch);
            }
            chain.run(entry, cx, out);
            if cx.holds_more && chain.held_bytes() > MOST_HELD {
                chain.finish(cx, out);
            }
        })
    }

    fn with<'a>(&'a mut self, now: i64, run: impl FnOnce(&mut Chain, &mut Context<'a>)) -> Option<i64> {
        let mut cx = Context::new(now, &mut self.tally);
        run(&mut self.chain, &mut cx);
        let Cost { spent, overruns, excess } = cx.cost();
        let not_before = cx.not_before;
        self.cost.spent += spent;
        self.cost.overruns += overruns;
        self.cost.excess = excess.or(self.cost.excess);
        not_before
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipeline")
    }
}

#[cfg(test)]
mod tests;
