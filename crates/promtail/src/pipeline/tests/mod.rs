//! Scenes with whole pipelines: what comes out, what is held, and when.

mod bounding;
mod configuring;
mod counting;
mod extracting;
mod holding;
mod labelling;
mod limiting;
mod locating;
mod presets;
mod rewriting;

use super::*;

const SECOND: i64 = 1_000_000_000;

/// A pipeline, what came out of it, and the number of the next line.
struct Scene {
    pipeline: Pipeline,
    out: Vec<Entry>,
    seq: u64,
}

impl Scene {
    fn new(stages: &str) -> Self {
        let pipeline = Pipeline::parse(stages, Form::List).unwrap_or_else(|error| panic!("{error}"));
        Self { pipeline, out: Vec::new(), seq: 0 }
    }

    /// A line of stdout that is logged and read at `time`.
    fn line(&mut self, line: &str, time: i64) -> Option<i64> {
        self.labelled(line, time, "stdout")
    }

    fn labelled(&mut self, line: &str, time: i64, source: &str) -> Option<i64> {
        let labels = [("source", source)].into_iter().collect();
        let seq = SeqRange::one(self.seq);
        self.seq += 1;
        let line = line.as_bytes().to_vec();
        let entry = Entry { line, labels, timestamp: time, arrived: time, seq, ..Entry::default() };
        self.pipeline.process(entry, time, &mut self.out)
    }

    /// What has come out since the last look.
    fn came(&mut self) -> Vec<String> {
        self.out.drain(..).map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect()
    }

    fn came_with_seqs(&mut self) -> Vec<(String, u64, u64)> {
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        self.out.drain(..).map(|entry| (text(&entry.line), entry.seq.first, entry.seq.last)).collect()
    }
}

/// The one entry that becomes of a line.
fn one(stages: &str, line: &str) -> Option<Entry> {
    let mut scene = Scene::new(stages);
    scene.line(line, SECOND);
    scene.out.pop()
}

/// An extracted value as text, `null` when it has none.
fn extracted(stages: &str, line: &str, name: &str) -> Option<String> {
    let entry = one(stages, line)?;
    let value = entry.extracted.get(name)?;
    Some(value.text().map_or_else(|| "null".to_owned(), |text| String::from_utf8_lossy(&text).into_owned()))
}
