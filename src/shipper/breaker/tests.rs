//! Tests of the state machine row by row, and of its invariants.

use proptest::prelude::*;

use super::*;

const fn clean(stream: u64) -> Standing {
    Standing { stream, has_failed: false }
}

const fn failed(stream: u64) -> Standing {
    Standing { stream, has_failed: true }
}

fn backoff() -> Backoff {
    Backoff::try_new(Duration::from_millis(500), Duration::from_secs(5)).unwrap()
}

/// A breaker that three streams have opened at `now`.
fn open(now: Instant, asked: Option<Duration>) -> Breaker {
    let mut breaker = Breaker::default();
    for stream in 0..3 {
        assert!(!breaker.is_open());
        assert_eq!(breaker.failed(now, stream, &backoff(), asked), stream == 2);
    }
    breaker
}

fn wait(admission: Admission, now: Instant) -> Option<Duration> {
    match admission {
        Admission::Go => None,
        Admission::Wait(until) => Some(until - now),
    }
}

#[test]
fn one_stream_that_fails_for_ever_opens_nothing() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for _ in 0..1000 {
        assert!(!breaker.failed(now, 7, &backoff(), None));
    }
    assert_eq!(breaker.admit(now, clean(8)), Admission::Go);
}

#[test]
fn a_success_between_failures_keeps_it_closed() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for stream in 0..100 {
        assert!(!breaker.failed(now, stream, &backoff(), None));
        if stream % 2 == 1 {
            breaker.succeeded(now);
        }
    }
    assert!(!breaker.is_open());
}

#[test]
fn open_lets_one_probe_go_at_a_time_with_growing_pauses() {
    let mut now = Instant::now();
    let mut breaker = open(now, None);
    let mut probes = Vec::new();
    let begin = now;
    while now - begin < Duration::from_secs(60) {
        while breaker.admit(now, failed(probes.len() as u64)) == Admission::Go {
            probes.push(now - begin);
            breaker.failed(now, probes.len() as u64, &backoff(), None);
        }
        now += Duration::from_millis(10);
    }
    assert!(probes[0] >= Duration::from_millis(500), "{probes:?}");
    assert!((12..=17).contains(&probes.len()), "a probe in five seconds after the first four: {probes:?}");
}

#[test]
fn a_stream_that_has_not_failed_probes_at_once() {
    let now = Instant::now();
    let mut breaker = open(now, None);
    assert!(wait(breaker.admit(now, failed(0)), now).is_some());
    assert_eq!(breaker.admit(now, clean(9)), Admission::Go);
    assert!(wait(breaker.admit(now, clean(10)), now).is_some(), "one at a time");
    breaker.succeeded(now);
    assert_eq!(breaker.admit(now, failed(0)), Admission::Go);
}

#[test]
fn retry_after_holds_for_every_stream() {
    let now = Instant::now();
    let asked = Some(Duration::from_secs(30));
    let mut breaker = open(now, asked);
    assert_eq!(wait(breaker.admit(now, clean(9)), now), asked);
    assert_eq!(wait(breaker.admit(now, failed(1)), now), asked);
    let later = now + Duration::from_secs(30);
    assert_eq!(breaker.admit(later, failed(1)), Admission::Go);
    breaker.failed(later, 1, &backoff(), asked);
    assert_eq!(wait(breaker.admit(later, failed(2)), later), asked, "asked again by the answer to a probe");
}

#[test]
fn the_first_success_lets_the_others_go_gradually() {
    let now = Instant::now();
    let mut breaker = open(now, None);
    let mut at_once = Vec::new();
    breaker.succeeded(now);
    while !breaker.is_at_rest() {
        let mut out = 0;
        while out < 100 && breaker.admit(now, failed(out)) == Admission::Go {
            out += 1;
        }
        at_once.push(out);
        for _ in 0..out {
            breaker.abandoned(now, failed(0), false);
        }
        breaker.succeeded(now);
    }
    assert_eq!(at_once, [2, 4, 8]);
    assert_eq!(breaker.admit(now, failed(0)), Admission::Go);
}

#[test]
fn a_push_that_hangs_does_not_hold_up_those_behind_it_when_half_open() {
    let now = Instant::now();
    let mut breaker = open(now, None);
    breaker.succeeded(now);
    for stream in 0..2 {
        assert_eq!(breaker.admit(now, failed(stream)), Admission::Go);
    }
    assert_eq!(wait(breaker.admit(now, failed(2)), now), Some(OVERDUE));
    assert_eq!(breaker.admit(now + OVERDUE, failed(2)), Admission::Go);
}

#[derive(Clone, Debug)]
enum Step {
    /// A stream asks, and its push ends in this way after `takes` milliseconds.
    Push {
        stream: u64,
        takes: u64,
        end: End,
    },
    Pass {
        milliseconds: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    Failure { asked: Option<u64> },
    Abandoned,
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        3 => Just(End::Success),
        6 => proptest::option::weighted(0.2, 0u64..300_000).prop_map(|asked| End::Failure { asked }),
        1 => Just(End::Abandoned),
    ];
    prop_oneof![
        4 => (0u64..20, 0u64..12_000, end).prop_map(|(stream, takes, end)| Step::Push { stream, takes, end }),
        1 => (0u64..8_000).prop_map(|milliseconds| Step::Pass { milliseconds }),
    ]
}

proptest! {
    /// Invariants: no wait is longer than the longest requested delay; as soon as pushes succeed all may go; and while
    /// the breaker is open, two probes of one kind are at least the shortest backoff apart.
    #[test]
    fn nobody_waits_for_ever_and_no_storm_comes_about(steps in proptest::collection::vec(step(), 1..200)) {
        let begin = Instant::now();
        let mut now = begin;
        let mut breaker = Breaker::default();
        let mut has_failed = [false; 20];
        let mut out: Vec<(Instant, Standing, bool, End)> = Vec::new();
        let mut probed: [Option<Instant>; 2] = [None; 2];
        let longest = Duration::from_secs(300);
        for step in steps {
            let until = match &step {
                Step::Pass { milliseconds } => now + Duration::from_millis(*milliseconds),
                Step::Push { .. } => now,
            };
            out.sort_by_key(|(at, ..)| *at);
            while out.first().is_some_and(|(at, ..)| *at <= until) {
                let (at, who, is_probe, end) = out.remove(0);
                let stream = who.stream;
                now = now.max(at);
                let was_open = breaker.is_open();
                match end {
                    End::Success => {
                        has_failed[stream as usize] = false;
                        breaker.succeeded(now);
                        prop_assert!(!breaker.is_open());
                    }
                    End::Failure { asked } => {
                        has_failed[stream as usize] = true;
                        breaker.failed(now, stream, &backoff(), asked.map(Duration::from_millis));
                    }
                    End::Abandoned => {
                        breaker.abandoned(now, who, is_probe);
                        probed = [None; 2];
                    }
                }
                if !was_open && breaker.is_open() {
                    probed = [None; 2];
                }
            }
            now = until;
            let Step::Push { stream, takes, end } = step else { continue };
            let who = Standing { stream, has_failed: has_failed[stream as usize] };
            let was_open = breaker.is_open();
            match breaker.admit(now, who) {
                Admission::Go => {
                    if was_open {
                        let last = &mut probed[usize::from(who.has_failed)];
                        if let Some(last) = *last {
                            prop_assert!(now - last >= Duration::from_millis(500));
                        }
                        *last = Some(now);
                    }
                    out.push((now + Duration::from_millis(takes), who, was_open, end));
                }
                Admission::Wait(until) => {
                    prop_assert!(until > now && until - now <= longest);
                    prop_assert_eq!(breaker.look(until, who), Admission::Go, "it may go when it was told to");
                }
            }
        }
        for _ in 0..5 {
            breaker.succeeded(now);
        }
        prop_assert!(breaker.is_at_rest());
    }
}
