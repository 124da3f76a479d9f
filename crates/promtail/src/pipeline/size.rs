//! How large the labels and the structured metadata of a line may be.
//!
//! What a stage makes of a few bytes may have a megabyte. A stream remembers its labels, in several places and from batch to
//! batch, so they are bounded for each line: a stage that adds to them asks before the line goes on.

use super::chain::{Context, Flow};
use super::entry::Entry;
use go_compat::work::Excess;

/// Bytes of the names and values of all labels of a line, the tenant included. Loki accepts 46,080 by default: 15 labels with
/// names of 1,024 bytes and values of 2,048.
pub const MOST_LABELS: usize = 64 << 10;

/// Bytes of the names and values of the structured metadata that stages add to a line. Loki accepts 64 KB by default.
pub const MOST_METADATA: usize = 256 << 10;

impl Context<'_> {
    /// Lets a line go on whose labels and structured metadata are not too large.
    pub fn pass(&mut self, entry: &Entry) -> Flow {
        let labels: usize = entry.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        let metadata: usize = entry.structured_metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if labels > MOST_LABELS || metadata > MOST_METADATA {
            self.work().exceed(Excess::Size);
            return Flow::Drop;
        }
        Flow::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_LABELS, MOST_METADATA};
    use crate::pipeline::{Entry, Form, Pipeline};

    /// The number of lines that come out, and of those that cost too much, when `value` has this many bytes.
    fn run(stages: &str, bytes: usize) -> (usize, u64) {
        let text = format!("- template: {{source: value, template: '{{{{repeat {bytes} \"x\"}}}}'}}\n{stages}");
        let mut pipeline = Pipeline::parse(&text, Form::List).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut out = Vec::new();
        pipeline.process(Entry { line: b"1".to_vec(), ..Entry::default() }, 0, &mut out);
        (out.len(), pipeline.take_cost().overruns)
    }

    #[test]
    fn labels_tenant_and_structured_metadata_of_a_line_are_bounded() {
        for (stages, most) in [
            ("- labels: {l: value}", MOST_LABELS - "l".len()),
            ("- labels: {l: value}\n- labels: {m: value}", MOST_LABELS / 2 - "l".len()),
            ("- tenant: {source: value}", MOST_LABELS - "__tenant_id__".len()),
            ("- structured_metadata: {l: value}", MOST_METADATA - "l".len()),
            ("- structured_metadata: {l: value}\n- structured_metadata: {m: value}", MOST_METADATA / 2 - "l".len()),
        ] {
            assert_eq!(run(stages, most), (1, 0), "{stages}");
            assert_eq!(run(stages, most + 1), (0, 1), "{stages}");
        }
    }

    #[test]
    fn static_labels_are_bounded() {
        let stages = |bytes: usize| format!("- static_labels: {{l: '{}'}}", "x".repeat(bytes));
        assert_eq!(run(&stages(MOST_LABELS - "l".len()), 1), (1, 0));
        assert_eq!(run(&stages(MOST_LABELS), 1), (0, 1));
    }
}
