//! Compares a disk after a power loss with what was synced and what is printed.

use std::collections::BTreeSet;
use std::fs;

use super::disk::Disks;
use super::play::{Image, Lokis, NAMES, container, line};
use crate::harness::dockerd::{Dockerd, Query, lines};
use crate::harness::plugin::Start;
use crate::harness::{assert_eventually, assert_same, lines_in};

/// Lines that each container prints after the power loss.
const NEW: usize = 20;

/// Starts the plugin and the containers on an image. Returns how many lines were expected.
pub fn judge(disks: &Disks, lokis: &Lokis, image: &Image) -> usize {
    lokis.well.forget();
    lokis.away.forget();
    lokis.away.heal();
    let disk = disks.mount(&image.path);
    let boot_id = disks.path("boot-id");
    fs::write(&boot_id, "11111111-2222-3333-4444-555555555555\n").expect("a file beside the images");
    let what = image.path.display();
    let plugin = Start::default().state_in(&disk.state()).boot_id(&boot_id).start();
    let dockerd = Dockerd::new(&plugin);
    let containers = NAMES.map(|name| container(&dockerd, lokis, name));
    let new: Vec<Vec<String>> =
        NAMES.iter().map(|name| (0..NEW).map(|at| format!("{name} new {at:03}")).collect()).collect();
    let synced = |name: &str| image.synced.get(name).copied().unwrap_or_default();
    // The one that was done is not started again, and what it wrote is sent all the same.
    let sent_of_job = || lines_in(&lokis.away, "job").len();
    assert_eventually!(sent_of_job() >= synced("job"), "{what}: lines of a container that is done are sent");
    let runs: Vec<_> = containers[1..].iter().map(|container| container.start()).collect();
    for (run, new) in runs.iter().zip(&new[1..]) {
        let output = usize::from(run.container().name() == "open");
        run.print(output, format!("{}\n", new.join("\n")).as_bytes());
    }
    for (run, new) in runs.iter().zip(&new[1..]) {
        let name = run.container().name();
        for loki in [Some(&lokis.well), (name != "open").then_some(&lokis.away)].into_iter().flatten() {
            let are_there = || lines_in(loki, name).iter().filter(|line| new.contains(line)).count() == NEW;
            assert_eventually!(are_there(), "{what}: new lines of {name} are sent: {:?}", lines_in(loki, name).last());
        }
        // Across the numbers that were passed over. The line that was open is an entry without an end, before them.
        let all = lines(&run.logs(Query::all()));
        let count = all.len().saturating_sub(1).min(NEW + 7);
        let last = lines(&run.logs(Query::all().tail(count as i64)));
        assert_same(&last, &all[all.len() - count..]);
    }
    // By now it would be on its way. To show it is to start it, with options that are known again.
    let is_accounted_for =
        sent_of_job() > 0 || plugin.log().contains("lines of a container that is gone cannot be sent");
    for (at, name) in NAMES.iter().enumerate() {
        let shown = if at == 0 { containers[0].lines() } else { lines(&runs[at - 1].logs(Query::all())) };
        assert!(
            at > 0 || shown.is_empty() || is_accounted_for,
            "{what}: the log does not say that lines of {name} cannot be sent"
        );
        let mut places = vec![("docker logs", shown), ("well", lines_in(&lokis.well, name))];
        if *name != "open" {
            places.push(("away", lines_in(&lokis.away, name)));
        }
        let none = BTreeSet::new();
        for (place, there) in &places {
            // Of the line that was open there are its letters alone, before one of the other output.
            let there = there.iter().map(|line| line.trim_start_matches('x'));
            let numbered: Vec<&str> = there.filter(|line| !line.is_empty()).collect();
            let invented = numbered.iter().find(|line| !is_printed(image, name, line, &new[at]));
            assert_eq!(invented, None, "{what}: {place} has a line of {name} that was not printed");
            let unordered = numbered.windows(2).find(|pair| pair[0] >= pair[1]);
            assert_eq!(unordered, None, "{what}: {place} has lines of {name} out of order, or twice");
            if *name == "job" && *place == "well" {
                continue;
            }
            let before = if *place == "well" { &image.sent[*name] } else { &none };
            let has: BTreeSet<_> = numbered.into_iter().collect();
            let owed = (0..synced(name)).map(|at| line(name, at));
            let missing: Vec<_> = owed.filter(|line| !has.contains(line.as_str()) && !before.contains(line)).collect();
            assert!(
                missing.is_empty(),
                "{what}: {place} lacks {} of {} synced lines of {name}: {:?}\n{}",
                missing.len(),
                synced(name),
                missing.first(),
                plugin.log()
            );
        }
    }
    for run in runs {
        run.stop();
    }
    image.synced.values().sum()
}

/// Whether a container has printed a line, before the power loss or after it.
fn is_printed(image: &Image, name: &str, text: &str, new: &[String]) -> bool {
    let number = text.strip_prefix(name).and_then(|rest| rest.trim_start().split(' ').next()?.parse::<usize>().ok());
    let is_old = number.is_some_and(|at| at < image.printed[name] && line(name, at) == text);
    is_old || new.iter().any(|line| line == text)
}
