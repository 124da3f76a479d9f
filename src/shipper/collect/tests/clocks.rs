//! Clocks that are set, on the host and at Loki: no line is dropped for its timestamp.

use super::loki::{HOUR, Loki, MINUTE, SECOND, Stored};
use super::*;
use crate::shipper::verdict::{Verdict, verdict};
use ::loki::PushError;
use promtail::pipeline::{Form, Pipeline};
use proptest::prelude::*;
use ring::Cursor;

/// How long a push takes, in nanoseconds.
const ON_THE_WAY: i64 = SECOND / 1000;

/// The fate of a batch.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is pushed, and the answer arrives.
    Answered,
    /// The request is lost without an answer.
    Lost,
    /// Loki stores it, and the answer is lost.
    Unanswered,
    /// The process dies before it is sent.
    Dies,
    /// The process dies after Loki has stored it.
    DiesBehind,
    /// A proxy rejects the request for its size.
    TooLarge,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Prints lines, `apart` nanoseconds from each other.
    Print { source: Source, lines: u8, apart: i64 },
    /// Sets the host's clock this far ahead of the right time.
    Host(i64),
    /// Lets time pass.
    Pass(i64),
    /// A round of pushes; its batches have these fates in turn.
    Push([Fate; 3]),
}

/// The error of each clock, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    loki: i64,
    /// The clock of the proxy in front of Loki that dates its answers; `None`: they have no date.
    date: Option<i64>,
}

/// A container that prints, its shipper, and Loki.
struct World {
    scene: Scene,
    clocks: Clocks,
    collector: Collector,
    loki: Loki,
    pipeline: Option<Pipeline>,
    /// The right time.
    now: i64,
    /// How far the host's clock is ahead.
    host: i64,
    is_dated: bool,
    printed: [Vec<String>; 2],
}

// === impl World ===

impl World {
    fn new(clocks: Clocks, stages: Option<&str>) -> Self {
        let scene = Scene::new();
        let pipeline = stages.map(|stages| Pipeline::parse(stages, Form::List).unwrap());
        let collector = Collector::new(&scene.ring, None, &Self::plan(&pipeline));
        let (loki, printed) = (Loki::default(), [Vec::new(), Vec::new()]);
        Self { scene, clocks, collector, loki, pipeline, now: NOW, host: 0, is_dated: false, printed }
    }

    /// Batches of a few lines.
    fn plan(pipeline: &Option<Pipeline>) -> Plan {
        let mut plan = plan(200);
        plan.pipeline = pipeline.clone();
        for (stream, source) in plan.streams.iter_mut().zip(Source::ALL) {
            stream.as_mut().unwrap().pairs = vec![("source".into(), source.as_str().into())];
        }
        plan
    }

    fn print(&mut self, source: Source) {
        let printed = &mut self.printed[source.index()];
        let line = format!("{} {}", source.as_str(), printed.len());
        printed.push(line.clone());
        self.scene.write_at(self.now + self.host, source.as_str(), &line, None);
    }

    fn clock(&self) -> Now {
        let date = self.clocks.date.filter(|_| self.is_dated);
        // A date has whole seconds.
        let loki = date.map(|ahead| (self.now + ahead).div_euclid(SECOND) * SECOND);
        Now { host: self.now + self.host, loki }
    }

    fn save(&self) {
        let (position, note) = self.collector.checkpoint();
        self.cursor().save(position, note.bytes()).unwrap();
    }

    fn cursor(&self) -> Cursor {
        Cursor::open(&self.scene.dir.path().join("cursor")).unwrap()
    }

    fn die(&mut self) {
        self.collector = Collector::new(&self.scene.ring, self.cursor().saved(), &Self::plan(&self.pipeline));
        self.is_dated = false;
    }

    /// One round, as the shipper does it.
    fn push(&mut self, fates: impl IntoIterator<Item = Fate>) {
        let mut fates = fates.into_iter().chain(std::iter::repeat(Fate::Answered));
        let (published, now) = (Published::default(), self.clock());
        self.collector.collect(&published, false, true, &now);
        if self.collector.is_clamped() {
            self.save();
        }
        for at in 0..self.collector.batches() {
            let Some(batch) = self.collector.batch(at) else { continue };
            let (body, entries) = (batch.body(), batch.entries());
            let fate = fates.next().unwrap();
            self.now += ON_THE_WAY;
            let answer = match fate {
                Fate::Answered | Fate::Unanswered | Fate::DiesBehind => {
                    self.loki.push(&body, self.now + self.clocks.loki)
                }
                _ => Ok(()),
            };
            match fate {
                Fate::Answered => self.is_dated = true,
                Fate::Lost | Fate::Unanswered => return self.collector.rewind(),
                Fate::Dies | Fate::DiesBehind => return self.die(),
                Fate::TooLarge => {
                    self.collector.split(at);
                    return self.collector.rewind();
                }
            }
            if let Err(text) = answer {
                let refused = verdict(&PushError::status(400, text.as_bytes()), entries, 1, None);
                let Verdict::Clamp { refusal, dropped } = refused else { panic!("{refused:?} of {text}") };
                let now = self.clock();
                let helps = self.collector.clamp(at, &refusal, dropped, &now);
                assert!(helps || refusal.too_new.is_some(), "lines are dropped: {text}");
                return self.collector.rewind();
            }
            self.collector.acknowledge(at, 0);
            self.save();
        }
        self.save();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Print { source, lines, apart } => {
                for _ in 0..lines {
                    self.print(source);
                    self.now += apart;
                }
            }
            Step::Host(ahead) => self.host = ahead,
            Step::Pass(time) => self.now += time,
            Step::Push(fates) => self.push(fates),
        }
    }

    /// Lets minutes pass until Loki has everything.
    fn end(&mut self) {
        let all = self.printed.iter().map(Vec::len).sum::<usize>() as u64;
        for _ in 0..600 {
            self.push([]);
            if self.collector.checkpoint().0.seq == all {
                return;
            }
            self.now += SECOND;
        }
        panic!("{:?} of {all} lines", self.collector.checkpoint().0.seq);
    }

    /// The lines of an output in their last copy; earlier copies must be equal.
    fn stored(&self, source: Source) -> Vec<Stored> {
        let all: Vec<_> =
            self.loki.stored.values().flatten().filter(|(_, line, _)| line.starts_with(source.as_str())).collect();
        let of = |line: &String| -> Stored {
            let mut forms: Vec<_> = all.iter().filter(|(_, other, _)| other == line).collect();
            forms.dedup();
            assert!(forms.len() == 1, "{line} is there as {forms:?} under {:?}", self.clocks);
            (*forms[forms.len() - 1]).clone()
        };
        self.printed[source.index()].iter().map(of).collect()
    }

    fn assert_whole(&self) {
        for source in Source::ALL {
            let stored = self.stored(source);
            for pair in stored.windows(2) {
                assert!(pair[0].0 < pair[1].0, "out of order under {:?}: {pair:?}", self.clocks);
            }
        }
    }
}

/// A minute of lines each second, pushed every few seconds, while the host's clock is `ahead`.
fn a_minute(world: &mut World, ahead: i64) {
    world.host = ahead;
    for second in 0..60 {
        world.print(Source::Stdout);
        world.now += SECOND;
        if second % 5 == 0 {
            (0..3).for_each(|_| world.push([]));
        }
    }
}

const RIGHT: Clocks = Clocks { loki: 0, date: Some(0) };

#[test]
fn lines_of_a_clock_that_was_ahead_and_of_the_time_after_arrive_in_order_and_near_their_time() {
    for ahead in [5 * MINUTE, 30 * MINUTE, 90 * MINUTE, 150 * MINUTE, 8 * HOUR] {
        for date in [Some(0), None] {
            let mut world = World::new(Clocks { date, ..RIGHT }, None);
            for ahead in [0, ahead, 0, ahead, 0] {
                a_minute(&mut world, ahead);
            }
            world.end();
            world.assert_whole();
            if date.is_some() && ahead > 10 * MINUTE {
                for (at, (time, _, own)) in world.stored(Source::Stdout).into_iter().enumerate() {
                    let printed = NOW + at as i64 * SECOND;
                    assert!((time - printed).abs() < 10 * SECOND, "{} s apart", (time - printed) / SECOND);
                    assert_eq!(own.is_some(), at / 60 % 2 == 1, "{own:?} of line {at}");
                }
            }
        }
    }
}

/// Stored lines of a batch whose others were rejected, and those of a batch without an answer.
#[test]
fn what_loki_has_stored_of_a_batch_gets_no_other_time_when_it_is_sent_again() {
    for date in [Some(0), None] {
        // Ahead by as much as Loki accepts, by more, and right again, while Loki's clock is unknown.
        let mut world = World::new(Clocks { date, ..RIGHT }, None);
        for ahead in [8 * MINUTE, 3 * HOUR, 0] {
            world.host = ahead;
            (0..2).for_each(|_| world.print(Source::Stdout));
            world.now += SECOND;
        }
        world.end();
        world.assert_whole();
        // The first line is too far behind the last one when both come again.
        let mut world = World::new(Clocks { date, ..RIGHT }, None);
        world.print(Source::Stdout);
        world.now += 2 * HOUR;
        world.print(Source::Stdout);
        world.push([Fate::Unanswered]);
        world.end();
        world.assert_whole();
        assert!(world.stored(Source::Stdout).iter().all(|(_, _, own)| own.is_none()));
    }
}

#[test]
fn what_is_clamped_is_saved_before_it_is_sent_and_the_same_after_a_kill() {
    for fate in [Fate::Dies, Fate::DiesBehind, Fate::Unanswered, Fate::TooLarge] {
        let mut world = World::new(RIGHT, None);
        world.print(Source::Stdout);
        world.push([]);
        world.host = HOUR;
        (0..3).for_each(|_| world.print(Source::Stdout));
        world.push([fate]);
        // Much later, with more behind it.
        world.now += 20 * MINUTE;
        (0..3).for_each(|_| world.print(Source::Stdout));
        world.end();
        world.assert_whole();
        let stored = world.stored(Source::Stdout);
        assert!(stored[1].0 < NOW + SECOND && stored[6].0 >= NOW + 20 * MINUTE, "{fate:?}: {stored:?}");
    }
}

#[test]
fn the_clock_of_loki_may_be_wrong_and_that_of_its_proxy_too() {
    for loki in [-8 * HOUR, -15 * MINUTE, 15 * MINUTE, 8 * HOUR] {
        for date in [Some(loki), Some(0), None] {
            let mut world = World::new(Clocks { loki, date }, None);
            a_minute(&mut world, 0);
            a_minute(&mut world, HOUR);
            a_minute(&mut world, 0);
            world.end();
            world.assert_whole();
        }
    }
}

#[test]
fn a_clock_of_loki_that_is_set_back_by_hours_costs_time_and_no_line() {
    let mut world = World::new(Clocks { loki: 3 * HOUR, date: Some(3 * HOUR) }, None);
    world.host = 3 * HOUR;
    (0..3).for_each(|_| world.print(Source::Stdout));
    world.push([]);
    // The stream accepts nothing now that the distributor accepts.
    (world.host, world.clocks) = (0, RIGHT);
    (0..3).for_each(|_| world.print(Source::Stdout));
    for _ in 0..5 * 60 {
        world.push([]);
        world.now += MINUTE;
    }
    world.end();
    assert_eq!(world.stored(Source::Stdout).len(), 6);
}

/// Loki's oldest accepted time passes the given timestamps again and again, and it names whole seconds.
#[test]
fn lines_that_are_too_old_for_minutes_get_a_later_time_each_time_loki_refuses_it() {
    for stages in [None, Some("[{regex: {expression: '(?P<odd>[13579])$'}}]")] {
        for apart in [130, 470, 990] {
            let mut world = World::new(RIGHT, stages);
            world.host = -8 * 24 * HOUR;
            for _ in 0..5 * MINUTE / (apart * SECOND / 1000) {
                world.print(Source::Stdout);
                world.push([]);
                world.now += apart * SECOND / 1000;
            }
            world.end();
            world.assert_whole();
        }
    }
}

#[test]
fn times_that_a_stage_reads_eight_hours_ahead_are_clamped_and_survive_a_kill() {
    let stages = "[{regex: {expression: '^(?P<t>\\S+) '}}, {timestamp: {source: t, format: RFC3339}}]";
    for fate in [Fate::Answered, Fate::DiesBehind, Fate::Unanswered] {
        let mut world = World::new(RIGHT, Some(stages));
        let mut lines = Vec::new();
        for second in 0..4 {
            let read = jiff::Timestamp::from_nanosecond((world.now + 8 * HOUR).into()).unwrap();
            let line = format!("{read} line {second}");
            world.scene.write_at(world.now, "stdout", &line, None);
            lines.push(line);
            world.now += SECOND;
            // The clock is known from the second push on.
            world.push([if second == 3 { fate } else { Fate::Answered }]);
            world.push([]);
        }
        world.now += MINUTE;
        world.push([]);
        let mut stored: Vec<_> = world.loki.stored.values().flatten().cloned().collect();
        stored.dedup();
        assert_eq!(stored.iter().map(|(_, line, _)| line.clone()).collect::<Vec<_>>(), lines, "{fate:?}: {stored:?}");
        for (time, line, own) in stored {
            assert!((NOW..=NOW + 10 * SECOND).contains(&time));
            let own: jiff::Timestamp = own.unwrap().parse().unwrap();
            assert_eq!(own, line.split(' ').next().unwrap().parse().unwrap());
        }
    }
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Unanswered),
        1 => Just(Fate::Dies),
        1 => Just(Fate::DiesBehind),
        1 => Just(Fate::TooLarge),
    ]
}

/// With `is_old`, lines are also older than Loki accepts: lines of a push without an answer may get another timestamp
/// in a replay.
fn any_step(is_old: bool) -> impl Strategy<Value = Step> {
    let source = prop_oneof![Just(Source::Stdout), Just(Source::Stderr)];
    let apart = prop_oneof![Just(0), Just(1), Just(SECOND), Just(MINUTE)];
    let oldest = if is_old { -8 * 24 * HOUR } else { -9 * HOUR };
    let ahead = prop_oneof![2 => Just(0), 3 => proptest::sample::select(vec![
        oldest, -8 * HOUR, -90 * MINUTE, -30 * MINUTE, 5 * MINUTE, 30 * MINUTE, 90 * MINUTE, 150 * MINUTE, 8 * HOUR,
    ])];
    prop_oneof![
        4 => (source, 1..6_u8, apart).prop_map(|(source, lines, apart)| Step::Print { source, lines, apart }),
        2 => ahead.prop_map(Step::Host),
        1 => proptest::sample::select(vec![SECOND, 90 * SECOND, 20 * MINUTE, 3 * HOUR]).prop_map(Step::Pass),
        5 => [any_fate(), any_fate(), any_fate()].prop_map(Step::Push),
    ]
}

fn any_clocks() -> impl Strategy<Value = Clocks> {
    let wrong = vec![-3 * HOUR, -15 * MINUTE, 0, 0, 0, 15 * MINUTE, 3 * HOUR];
    let date = prop_oneof![4 => Just(None), 6 => proptest::sample::select(wrong.clone()).prop_map(Some)];
    (proptest::sample::select(wrong), date, any::<bool>())
        .prop_map(|(loki, date, is_its_own)| Clocks { loki, date: if is_its_own { Some(loki) } else { date } })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_line_arrives_in_one_form_and_in_order_whatever_clocks_and_processes_do(
        clocks in any_clocks(),
        steps in proptest::collection::vec(any_step(false), 1..40),
    ) {
        let mut world = World::new(clocks, None);
        steps.into_iter().for_each(|step| world.step(step));
        world.host = 0;
        world.print(Source::Stdout);
        world.end();
        world.assert_whole();
    }

    #[test]
    fn with_a_pipeline_every_line_arrives_whatever_clocks_and_processes_do(
        clocks in any_clocks(),
        steps in proptest::collection::vec(any_step(true), 1..30),
    ) {
        let mut world = World::new(clocks, Some("[{regex: {expression: '(?P<odd>[13579])$'}}, {labels: {odd: }}]"));
        steps.into_iter().for_each(|step| world.step(step));
        world.host = 0;
        world.print(Source::Stdout);
        world.end();
        for source in Source::ALL {
            for line in &world.printed[source.index()] {
                prop_assert!(world.loki.stored.values().flatten().any(|(_, stored, _)| stored == line), "{} is missing", line);
            }
        }
    }
}
