//! Many containers, one after another and at once: what they take is given back.

use crate::harness::{Scene, assert_eventually};
use crate::standin::{Limits, Standin};

use crate::harness::plugin::Start;

/// A stand-in that has room for the streams of so many containers.
fn roomy() -> Scene {
    let limits = Limits { max_global_streams_per_user: 10_000, ..Limits::default() };
    Scene::with(Start::default(), Standin::builder().limits(limits))
}

#[test]
fn two_thousand_containers_one_after_another_leave_no_memory_and_no_descriptors() {
    let scene = roomy();
    let round = |from: usize, to: usize| {
        for at in from..to {
            let run = scene.container(&format!("c{at}")).start();
            run.out_all(["one", "two", "three"]);
            run.stop();
        }
        let count = 3 * to;
        let came = scene.loki.wait_for(|state| state.count(&[]) >= count, crate::harness::patience());
        assert!(came, "Loki has {} of {count}", scene.loki.count(&[]));
        assert_eventually!(scene.plugin.files_of_containers() == 0, "all descriptors are given back");
        assert_eventually!(scene.plugin.names_in("streams").is_empty(), "no record is left");
        scene.plugin.memory()
    };
    // The first few hundred make the allocator and the pools as large as they will be.
    let before = round(0, 500);
    let after = round(500, 2000);
    let grown = after.saturating_sub(before);
    assert!(grown < 8 * 1024, "fifteen hundred more containers left {grown} KiB, {before} KiB before");
}

#[test]
fn three_hundred_containers_at_once_are_all_served() {
    let scene = roomy();
    let runs: Vec<_> = (0..300).map(|at| scene.container(&format!("c{at}")).start()).collect();
    for second in 0..5 {
        for run in &runs {
            run.out(format!("line {second}"));
        }
    }
    let came = scene.loki.wait_for(|state| state.count(&[]) >= 1500, crate::harness::patience());
    assert!(came, "Loki has {} of 1500", scene.loki.count(&[]));
    let memory = scene.plugin.memory();
    assert!(memory < 100 * 1024, "three hundred containers take {memory} KiB");
    for run in runs {
        assert_eq!(run.lines().len(), 5);
        run.stop();
    }
}
