//! Invariants of the budget: it is never exceeded, every request is served, and one route leaves room for the others.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;

use super::*;

fn route(number: u64) -> Route {
    Route::new(number, None)
}

async fn take(budget: &Arc<Budget>, number: u64, want: u64) -> Option<Share> {
    timeout(Duration::from_millis(1), budget.share(route(number), want)).await.ok()
}

#[tokio::test(start_paused = true)]
async fn a_share_has_room_for_what_was_wanted_and_is_given_back() {
    let budget = Arc::<Budget>::default();
    let share = take(&budget, 1, 2 << 20).await.unwrap();
    // Rounding may take some bytes.
    assert!(share.room() + 10 >= 2 << 20);
    drop(share);
    assert_eq!(take(&budget, 1, 0).await.unwrap().bytes, SMALLEST);
    assert_eq!(budget.state().ledger.free, TOTAL);
    assert!(budget.state().ledger.held.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_route_that_hangs_leaves_room_for_the_next_and_waits_for_itself() {
    let budget = Arc::<Budget>::default();
    let mut hung = Vec::new();
    while let Some(share) = take(&budget, 1, 3 << 20).await {
        hung.push(share);
    }
    for other in 2..12 {
        hung.push(take(&budget, other, 3 << 20).await.expect("there is a reserve"));
    }
    let waits = tokio::spawn({
        let budget = budget.clone();
        async move { budget.share(route(1), 1).await.bytes }
    });
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    hung.clear();
    assert_eq!(waits.await.unwrap(), SMALLEST);
}

#[tokio::test(start_paused = true)]
async fn what_was_compressed_makes_room_for_hundreds_that_hang() {
    let budget = Arc::<Budget>::default();
    let mut hung = Vec::new();
    for number in 0..200 {
        let mut share = take(&budget, number, 1 << 20).await.expect("the smallest share is there");
        share.shrink_to(100 << 10);
        hung.push(share);
    }
    assert!(take(&budget, 1000, 1 << 20).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_no_longer_waits_leaves_nothing_behind() {
    let budget = Arc::<Budget>::default();
    let mut all = Vec::new();
    for number in 0.. {
        let Some(share) = take(&budget, number, 0).await else { break };
        all.push(share);
    }
    assert!(budget.state().waiting.is_empty() && budget.state().ledger.queue.is_empty());
    all.clear();
    assert_eq!(budget.state().ledger.free, TOTAL);
}

#[derive(Clone, Debug)]
enum Step {
    Ask { route: u64, want: u64 },
    Shrink { which: usize, to: u64 },
    Answer { which: usize },
    Withdraw { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u64..30, 0u64..5 << 20).prop_map(|(route, want)| Step::Ask { route, want }),
        3 => (any::<usize>(), 0u64..1 << 20).prop_map(|(which, to)| Step::Shrink { which, to }),
        3 => any::<usize>().prop_map(|which| Step::Answer { which }),
        1 => any::<usize>().prop_map(|which| Step::Withdraw { which }),
    ]
}

proptest! {
    #[test]
    fn it_is_never_exceeded_and_whoever_asks_is_served(steps in proptest::collection::vec(step(), 1..300)) {
        let mut ledger = Ledger::default();
        let mut held: Vec<(Route, u64)> = Vec::new();
        let mut asked = Vec::new();
        for step in steps {
            match step {
                Step::Ask { route: number, want } => asked.push(ledger.ask(route(number), want)),
                Step::Shrink { which, to } if !held.is_empty() => {
                    let at = which % held.len();
                    let (route, bytes) = &mut held[at];
                    let rest = bytes.saturating_sub(to);
                    *bytes -= rest;
                    ledger.give_back(route, rest, false);
                }
                Step::Answer { which } if !held.is_empty() => {
                    let (route, bytes) = held.remove(which % held.len());
                    ledger.give_back(&route, bytes, true);
                }
                Step::Withdraw { which } if !asked.is_empty() => {
                    ledger.withdraw(asked.remove(which % asked.len()));
                }
                _ => {}
            }
            for (number, route, bytes) in ledger.serve() {
                asked.retain(|asked| *asked != number);
                prop_assert!(bytes >= SMALLEST);
                held.push((route, bytes));
            }
            let out: u64 = held.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(out + ledger.free, TOTAL);
            // A route without a share waits only when less than the smallest share is free.
            let has_nothing = |ticket: &Ticket| !ledger.held.contains_key(&ticket.route);
            prop_assert!(ledger.free < SMALLEST || !ledger.queue.iter().any(has_nothing));
        }
        while let Some((route, bytes)) = held.pop() {
            ledger.give_back(&route, bytes, true);
            held.extend(ledger.serve().into_iter().map(|(_, route, bytes)| (route, bytes)));
        }
        prop_assert!(ledger.queue.is_empty() && ledger.held.is_empty() && ledger.free == TOTAL);
    }
}
