//! Streams that are held back in their own lane: what continues without them, and how lanes join again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::shipper::scope::Key;
use ::loki::encode::proto::Entry;

const NO_PIPELINE: Option<&str> = None;

/// Five tenants, one of them the destination's own.
const BY_TENANT: Option<&str> =
    Some("[{regex: {expression: '^(?P<t>t[0-3]) '}}, {tenant: {source: t}}, {labels: {t: }}]");

fn collector(scene: &Scene, pipeline: Option<&str>, batch_size: usize) -> Collector {
    let pipeline =
        pipeline.map(|text| promtail::pipeline::Pipeline::parse(text, promtail::pipeline::Form::List).unwrap());
    let saved = ring::Cursor::open(&scene.dir.path().join("cursor")).unwrap().saved();
    let mut plan = Plan { pipeline, ..plan(batch_size) };
    for (stream, source) in plan.streams.iter_mut().zip(Source::ALL) {
        stream.as_mut().unwrap().pairs = vec![("source".into(), source.as_str().into())];
    }
    Collector::new(&scene.ring, saved, &plan)
}

/// The entries that Loki got, by stream, in their order.
#[derive(Debug, Default)]
struct Came(BTreeMap<(Option<String>, String), Vec<Entry>>);

impl Came {
    /// Acknowledges a batch whose stream is not rejected, and keeps its entries.
    fn take(&mut self, collector: &mut Collector, at: usize) {
        let tenant = collector.tenant(at).map(str::to_owned);
        let Some(batch) = collector.batch(at) else { return };
        let message = snap::raw::Decoder::new().decompress_vec(&batch.body()).unwrap();
        let stream = PushRequest::decode(&message[..]).unwrap().streams.remove(0);
        self.0.entry((tenant, stream.labels)).or_default().extend(stream.entries);
        collector.acknowledge(at, 0);
    }

    fn all(&mut self, collector: &mut Collector) {
        (0..collector.batches()).for_each(|at| self.take(collector, at));
    }

    fn lines(&self, of: &str) -> Vec<String> {
        let of = self.0.iter().filter(|((_, labels), _)| labels.contains(of));
        of.flat_map(|(_, entries)| entries.iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned()))
            .collect()
    }
}

#[test]
fn one_output_goes_on_without_the_other_and_takes_it_back() {
    let scene = Scene::new();
    for at in 0..20 {
        scene.write(if at % 2 == 0 { "stdout" } else { "stderr" }, &format!("{at}"), None);
    }
    let (mut first, mut came) = (collector(&scene, NO_PIPELINE, 20), Came::default());
    collect(&mut first, false);
    let key = first.key(0);
    let mut behind = first.fork(&key);
    assert!(first.batch(0).is_none(), "it is the other's");
    came.all(&mut first);
    while first.next_seq() < 20 {
        collect(&mut first, false);
        came.all(&mut first);
    }
    assert_eq!((came.lines("stderr").len(), came.lines("stdout").len()), (10, 0));
    assert_eq!((first.checkpoint().0.seq, behind.checkpoint().0.seq), (20, 0));
    assert!(!first.may_absorb(&behind));

    behind.end_at(first.end());
    while behind.next_seq() < 20 {
        collect(&mut behind, false);
        came.all(&mut behind);
    }
    let even: Vec<_> = (0..10).map(|at| (2 * at).to_string()).collect();
    assert_eq!(came.lines("stdout"), even);
    assert!(first.may_absorb(&behind));
    first.absorb(behind, &key);
    scene.write("stdout", "last", None);
    collect(&mut first, false);
    came.all(&mut first);
    let times: Vec<_> =
        came.0.values().map(|entries| entries.iter().map(|e| e.timestamp.unwrap().nanos).collect::<Vec<_>>()).collect();
    let rising: Vec<i32> = (0..11).collect();
    assert_eq!(times, [&rising[..10], &rising[..]], "each stream's own, as if nothing had happened");
}

#[test]
fn a_long_line_that_is_not_whole_does_not_go_back() {
    let scene = Scene::new();
    scene.write("stdout", "a", None);
    scene.write("stdout", "long ", Some((1, false)));
    let (mut first, mut came) = (collector(&scene, NO_PIPELINE, 1 << 20), Came::default());
    collect(&mut first, false);
    let key = first.key(0);
    let mut behind = first.fork(&key);
    // It was read into the first before that was forked.
    first.rewind();
    collect(&mut first, false);
    behind.end_at(first.end());
    collect(&mut behind, false);
    came.all(&mut behind);
    assert!(behind.next_seq() == first.next_seq() && !first.may_absorb(&behind));
    scene.write("stdout", "line", Some((2, true)));
    collect(&mut first, false);
    behind.end_at(first.end());
    collect(&mut behind, false);
    came.all(&mut behind);
    assert!(first.may_absorb(&behind));
    assert_eq!(came.lines("stdout"), ["a", "long line"]);
}

#[test]
fn a_tenant_that_is_refused_goes_alone_with_all_its_streams() {
    let scene = Scene::new();
    for at in 0..40 {
        scene.write(["stdout", "stderr"][at / 4 % 2], &format!("t{} {at}", at % 4), None);
    }
    let (mut first, mut came) = (collector(&scene, BY_TENANT, 1 << 20), Came::default());
    collect(&mut first, false);
    let refused: Vec<_> = (0..first.batches()).filter(|at| first.tenant(*at) == Some("t1")).collect();
    assert_eq!(refused.len(), 2);
    // Loki accepted one of its streams before it rejected the tenant.
    came.take(&mut first, refused[0]);
    let key = Key::Tenant(Some("t1".into()));
    let mut behind = first.fork(&key);
    assert!(first.batch(refused[1]).is_none());
    came.all(&mut first);
    assert_eq!(first.checkpoint().0.seq, 40);
    assert_eq!(came.0.values().map(Vec::len).sum::<usize>(), 35);
    behind.end_at(first.end());
    collect(&mut behind, false);
    came.all(&mut behind);
    assert!(first.may_absorb(&behind));
    first.absorb(behind, &key);
    assert!(came.0.values().all(|entries| entries.len() == 5), "each once");
}

#[test]
fn a_lane_does_not_go_back_into_one_that_has_passed_what_it_owes() {
    let scene = Scene::new();
    scene.write("stdout", "t2 long ", Some((1, false)));
    scene.write("stderr", "t2 short", None);
    let (mut first, mut came) = (collector(&scene, BY_TENANT, 1 << 20), Came::default());
    collect(&mut first, false);
    let key = first.key(0);
    let mut behind = first.fork(&key);
    // The first lane has only an incomplete line, and goes back to where that begins.
    scene.write("stdout", "t2 line", Some((2, true)));
    collect(&mut first, false);
    first.rewind();
    behind.end_at(first.end());
    collect(&mut behind, false);
    assert!(behind.next_seq() == first.next_seq() && !first.may_absorb(&behind));
    collect(&mut first, false);
    came.all(&mut first);
    behind.end_at(first.end());
    collect(&mut behind, false);
    came.all(&mut behind);
    assert!(first.may_absorb(&behind));
    assert_eq!(came.0.values().map(Vec::len).sum::<usize>(), 2);
}

#[test]
fn a_lane_that_the_ring_overtakes_goes_back_where_nothing_more_is_to_be_read() {
    for pipeline in [NO_PIPELINE, BY_TENANT] {
        let scene = Scene::of(64 << 10);
        for at in 0..20 {
            scene.write("stdout", &format!("t{} {at}", at % 2), None);
            scene.write("stderr", &format!("t3 {at}"), None);
        }
        let (mut first, mut came) = (collector(&scene, pipeline, 1 << 20), Came::default());
        first.until.lower(40);
        collect(&mut first, false);
        let key = first.key(0);
        let mut behind = first.fork(&key);
        came.all(&mut first);
        assert_eq!(first.checkpoint().0.seq, 40);
        // Lines of a later plan overwrite unsent lines of the lane.
        while scene.ring.oldest().seq <= 40 {
            scene.write("stdout", &"x".repeat(1000), None);
        }
        behind.end_at(first.end());
        behind.rewind();
        collect(&mut behind, false);
        assert!(first.may_absorb(&behind), "{pipeline:?}");
        let lost = behind.take_toll().lost.overwritten;
        first.absorb(behind, &key);
        assert!(came.0.values().map(Vec::len).sum::<usize>() as u64 + lost >= 40, "{pipeline:?}");
        assert_eq!(first.checkpoint().0.seq, 40);
    }
}

#[test]
fn what_a_lane_has_lost_and_not_counted_is_counted_by_the_next_process() {
    let scene = Scene::of(64 << 10);
    for at in 0..4 {
        scene.write("stdout", &format!("{at}"), None);
    }
    let mut first = collector(&scene, NO_PIPELINE, 1 << 20);
    collect(&mut first, false);
    let mut behind = first.fork(&first.key(0));
    while scene.ring.oldest().seq <= 4 {
        scene.write("stdout", &"x".repeat(1000), None);
    }
    behind.rewind();
    let counted = behind.take_toll().lost.overwritten;
    let (position, note) = behind.checkpoint();
    let mut next = Collector::new(&scene.ring, Some((position, note.bytes())), &plan(1 << 20));
    collect(&mut next, false);
    (0..2).for_each(|at| next.acknowledge(at, 0));
    assert_eq!(counted + next.take_toll().lost.overwritten, scene.ring.oldest().seq);
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        source: bool,
        tenant: usize,
        chunk: Option<bool>,
    },
    /// A round of a lane; some of its streams are rejected.
    Round {
        lane: usize,
        refused: Vec<bool>,
    },
    /// The process dies, and the next one begins with the saved cursor.
    Die,
}

fn step(deaths: bool) -> impl Strategy<Value = Step> {
    let chunk = prop_oneof![6 => Just(None), 1 => any::<bool>().prop_map(Some)];
    prop_oneof![
        6 => (any::<bool>(), 0usize..5, chunk).prop_map(|(source, tenant, chunk)| Step::Write { source, tenant, chunk }),
        6 => (0usize..4, proptest::collection::vec(proptest::bool::weighted(0.3), 12))
            .prop_map(|(lane, refused)| Step::Round { lane, refused }),
        u32::from(deaths) => Just(Step::Die),
    ]
}

/// The lanes as the shipper keeps them.
struct Lanes {
    first: Collector,
    behind: Vec<(Key, Collector, bool)>,
    came: Came,
}

impl Lanes {
    fn new(first: Collector) -> Self {
        Self { first, behind: Vec::new(), came: Came::default() }
    }

    fn round(&mut self, lane: usize, refused: &[bool], ended: bool) {
        let is_refused = |at: usize| refused.get(at).copied().unwrap_or(false);
        if lane == 0 || self.behind.is_empty() {
            collect(&mut self.first, ended);
            let mut forked = Vec::new();
            for at in 0..self.first.batches() {
                if self.first.batch(at).is_none() {
                    continue;
                }
                if !is_refused(at) {
                    self.came.take(&mut self.first, at);
                } else if self.behind.len() + forked.len() < 3 {
                    let key = self.first.key(at);
                    let lane = self.first.fork(&key);
                    forked.push((key, lane, false));
                } else {
                    self.first.rewind();
                    break;
                }
            }
            self.behind.extend(forked);
        } else {
            let end = self.first.end();
            let at = lane % self.behind.len();
            let (_, behind, may_join) = &mut self.behind[at];
            if self.first.is_empty() {
                behind.end_at(end);
            }
            collect(behind, ended);
            *may_join = (0..behind.batches()).all(|at| behind.batch(at).is_none() || !is_refused(at));
            if *may_join {
                self.came.all(behind);
            } else {
                behind.rewind();
            }
        }
        let mut at = 0;
        while at < self.behind.len() {
            let (_, behind, may_join) = &self.behind[at];
            if *may_join && self.first.may_absorb(behind) {
                let (key, behind, _) = self.behind.remove(at);
                self.first.absorb(behind, &key);
            } else {
                at += 1;
            }
        }
    }

    /// Retries until everything is accepted.
    fn finish(&mut self) {
        for _ in 0..200 {
            for lane in 0..=self.behind.len() {
                self.round(lane, &[], true);
            }
        }
        assert!(
            self.behind.is_empty(),
            "all went back: {:?}",
            self.behind.iter().map(|(key, ..)| key).collect::<Vec<_>>()
        );
    }
}

/// The entries that Loki gets without any failure.
fn undisturbed(scene: &Scene, pipeline: Option<&str>) -> Came {
    let mut lanes = Lanes::new(collector(scene, pipeline, 60));
    lanes.finish();
    lanes.came
}

fn play(steps: &[Step], pipeline: Option<&str>) -> (Scene, Lanes) {
    let scene = Scene::new();
    let mut lanes = Lanes::new(collector(&scene, pipeline, 60));
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Write { source, tenant, chunk } => {
                let chunk = chunk.map(|last| (if last { 2 } else { 1 }, last));
                scene.write(if *source { "stdout" } else { "stderr" }, &format!("t{tenant} {at}"), chunk);
            }
            Step::Round { lane, refused } => lanes.round(*lane, refused, false),
            Step::Die => {}
        }
    }
    lanes.finish();
    (scene, lanes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_refused_and_when_every_line_comes_once_with_its_own_bytes(
        steps in proptest::collection::vec(step(false), 1..80),
    ) {
        let (scene, lanes) = play(&steps, NO_PIPELINE);
        prop_assert_eq!(lanes.came.0, undisturbed(&scene, NO_PIPELINE).0);
    }

    #[test]
    fn with_a_pipeline_too(steps in proptest::collection::vec(step(false), 1..80)) {
        let (scene, lanes) = play(&steps, BY_TENANT);
        prop_assert_eq!(lanes.came.0, undisturbed(&scene, BY_TENANT).0);
    }
}
