use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const MIB: u64 = 1024 * 1024;

/// A ring of a container that stopped this many days ago; `None`: it runs.
fn ring(container: &str, bytes: u64, days: Option<u32>, unsent: u64) -> Found {
    Found {
        dir: container.into(),
        container: container.into(),
        bytes,
        age: days.unwrap_or_default() * DAY,
        written: SystemTime::UNIX_EPOCH,
        live: days.is_none(),
        unsent,
        keep: false,
        unreadable: false,
        sent: Vec::new(),
    }
}

fn kept(ring: Found) -> Found {
    Found { keep: true, ..ring }
}

fn with_sent(ring: Found, sent: &[u64]) -> Found {
    Found { sent: sent.to_vec(), ..ring }
}

fn policy(budget: u64) -> Policy {
    Policy { retention: 7 * DAY, budget: RingBudget::Bytes(budget) }
}

fn steps(all: &[Found], budget: u64) -> Vec<(&str, Step)> {
    let steps = choose(all, policy(budget), budget);
    steps.into_iter().map(|(at, step)| (all[at].container.as_str(), step)).collect()
}

fn removed(all: &[Found], budget: u64) -> Vec<&str> {
    let removed = steps(all, budget).into_iter().filter(|(_, step)| matches!(step, Step::Remove(_)));
    removed.map(|(container, _)| container).collect()
}

#[test]
fn a_sent_ring_is_evicted_when_its_container_stopped_long_ago() {
    let all = [
        ring("new", 1, Some(1), 0),
        ring("old", 1, Some(8), 0),
        ring("unsent", 1, Some(90), 5),
        kept(ring("kept", 1, Some(90), 0)),
        ring("live", 1, None, 0),
    ];
    assert_eq!(steps(&all, 1000), [("old", Step::Remove(Reason::Age))]);
}

#[test]
fn above_the_budget_sent_lines_go_before_unsent_ones_and_those_of_stopped_containers_first() {
    let all = [
        ring("unsent-old", 10 * MIB, Some(6), 5),
        with_sent(ring("unsent-new", 10 * MIB, Some(2), 5), &[4 * MIB, 4 * MIB]),
        ring("sent-new", 10 * MIB, Some(1), 0),
        ring("sent-old", 10 * MIB, Some(5), 0),
        kept(ring("kept", 10 * MIB, Some(6), 0)),
        with_sent(ring("live", 10 * MIB, None, 7), &[4 * MIB, 4 * MIB, MIB]),
    ];
    let budget = Step::Remove(Reason::Budget);
    for (budget_mib, expected) in [
        (60, vec![]),
        (59, vec![("sent-old", budget)]),
        (45, vec![("sent-old", budget), ("sent-new", budget)]),
        (39, vec![("sent-old", budget), ("sent-new", budget), ("unsent-new", Step::Trim(1))]),
        (30, vec![("sent-old", budget), ("sent-new", budget), ("unsent-new", Step::Trim(2)), ("live", Step::Trim(1))]),
        (23, vec![("sent-old", budget), ("sent-new", budget), ("unsent-new", Step::Trim(2)), ("live", Step::Trim(3))]),
    ] {
        assert_eq!(steps(&all, budget_mib * MIB), expected, "{budget_mib} MiB");
    }
    assert_eq!(removed(&all, 22 * MIB), ["sent-old", "sent-new", "kept"]);
    assert_eq!(removed(&all, 12 * MIB), ["sent-old", "sent-new", "kept", "unsent-old"]);
    assert_eq!(removed(&all, 0).len(), 5, "all that stopped");
}

#[test]
fn running_rings_are_trimmed_evenly_and_keep_what_docker_logs_needs() {
    let all = [
        with_sent(ring("large", 8 * MIB, None, 0), &[MIB; 7]),
        with_sent(ring("small", 2 * MIB, None, 0), &[MIB; 1]),
        with_sent(ring("unsent", 9 * MIB, None, 100), &[]),
    ];
    assert_eq!(steps(&all, 13 * MIB), [("large", Step::Trim(6))]);
    assert_eq!(steps(&all, 0), [("large", Step::Trim(7)), ("small", Step::Trim(1))]);
    let young = [with_sent(ring("young", FLOOR + 10, None, 0), &[11])];
    assert_eq!(steps(&young, 0), [], "less than the floor would stay");
}

#[test]
fn a_ring_that_cannot_be_read_is_not_evicted() {
    let unreadable = Found { unreadable: true, ..ring("a", 10, Some(100), 0) };
    assert_eq!(removed(&[unreadable, ring("b", 10, Some(100), 0)], 0), ["b"]);
}

#[test]
fn rings_that_stopped_at_one_time_are_evicted_in_the_order_of_their_last_writes() {
    let written = |container, at| Found {
        written: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
        ..ring(container, 10, Some(0), 0)
    };
    assert_eq!(removed(&[written("b", 2), written("a", 1), written("c", 3)], 10), ["a", "b"]);
}

prop_compose! {
    fn any_ring()(
        live in any::<bool>(), keep in any::<bool>(), days in 0..20u32, is_unsent in any::<bool>(),
        sent in prop::collection::vec(1..3 * MIB, 0..5), rest in 1..3 * MIB,
    ) -> Found {
        let bytes = sent.iter().sum::<u64>() + rest;
        let unsent = if is_unsent { 5 } else { 0 };
        Found { keep, ..with_sent(ring("c", bytes, (!live).then_some(days), unsent), &sent) }
    }
}

proptest! {
    #[test]
    fn sent_lines_are_evicted_before_unsent_ones_and_the_budget_is_kept_if_possible(
        all in prop::collection::vec(any_ring(), 0..12), budget in 0..40 * MIB,
    ) {
        let steps = choose(&all, policy(budget), budget);
        let step_of = |at: usize| steps.iter().find(|(of, _)| *of == at).map(|(_, step)| *step);
        prop_assert!((0..all.len()).all(|at| steps.iter().filter(|(of, _)| *of == at).count() <= 1));
        let left = |at: usize| match step_of(at) {
            None => all[at].bytes,
            Some(Step::Remove(_)) => 0,
            Some(Step::Trim(segments)) => {
                assert!(segments <= all[at].sent.len(), "only what was sent is trimmed");
                all[at].bytes - all[at].sent[..segments].iter().sum::<u64>()
            }
        };
        // Segments that could still be evicted without an unsent line.
        let can_be_trimmed = |at: usize, floor: u64| {
            let trimmed = match step_of(at) {
                None => 0,
                Some(Step::Trim(segments)) => segments,
                Some(Step::Remove(_)) => return false,
            };
            all[at].sent.get(trimmed).is_some_and(|next| left(at) - next >= floor)
        };
        let used: u64 = (0..all.len()).map(left).sum();
        let mut loses = false;
        for (at, ring) in all.iter().enumerate() {
            match step_of(at) {
                Some(Step::Remove(_)) => {
                    prop_assert!(!ring.live, "a running container's ring never goes");
                    loses |= ring.unsent > 0;
                }
                Some(Step::Trim(_)) if ring.live => prop_assert!(left(at) >= FLOOR.min(ring.bytes)),
                _ => {}
            }
        }
        let is_stopped_and_sent = |at: usize| !all[at].live && all[at].unsent == 0 && left(at) > 0;
        let indexes = 0..all.len();
        if loses {
            prop_assert!(!indexes.clone().any(is_stopped_and_sent), "sent rings go before unsent ones");
            prop_assert!(!indexes.clone().any(|at| all[at].live && can_be_trimmed(at, FLOOR)));
        }
        if used > budget {
            prop_assert!(!indexes.clone().any(|at| !all[at].live && left(at) > 0), "all that can go has gone");
            prop_assert!(!indexes.clone().any(|at| all[at].live && can_be_trimmed(at, FLOOR)));
        }
        let total: u64 = all.iter().map(|ring| ring.bytes).sum();
        if total <= budget {
            prop_assert!(steps.iter().all(|(_, step)| *step == Step::Remove(Reason::Age)), "no more goes than has to");
        }
    }
}
