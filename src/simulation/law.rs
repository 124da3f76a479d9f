//! What must hold at the end: every line is with Loki, or was counted as lost, or was printed shortly before a power
//! loss; none is invented, none is out of order, and what was sent twice was the same.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dockerd::CHUNK;
use super::world::World;

/// Lines are with a Loki that accepts them after so long, and had a while before to recover from what was.
const LATE: Duration = Duration::from_secs(60);

/// A line that a Loki has not got and that has no excuse.
#[derive(Debug)]
pub struct Missing {
    pub loki: String,
    pub container: usize,
    /// Which of the container's lines.
    pub at: usize,
}

/// Lines that are not with a Loki that they are for.
pub fn missing(world: &World) -> Vec<Missing> {
    let mut missing = Vec::new();
    for loki in &world.lokis {
        for container in &world.containers {
            if !container.options["loki-url"].contains(&loki.name) {
                continue;
            }
            let lines = world.oracle.containers.get(&container.number).into_iter().flatten().enumerate();
            missing.extend(
                lines
                    .filter(|(_, line)| line.excuse.is_none() && !loki.has(line.text.as_bytes()))
                    .map(|(at, _)| Missing { loki: loki.name.clone(), container: container.number, at }),
            );
        }
    }
    missing
}

/// Adds what was violated.
pub fn judge(world: &mut World) {
    let mut found = world.violations.clone();
    judge_losses(world, &mut found);
    judge_streams(world, &mut found);
    judge_lateness(world, &mut found);
    found.extend(super::disk::with(|disk| std::mem::take(&mut disk.violations)));
    found.dedup();
    world.violations = found;
}

fn judge_losses(world: &World, found: &mut Vec<String>) {
    let missing = missing(world);
    let bytes: usize =
        missing.iter().map(|missing| world.oracle.containers[&missing.container][missing.at].text.len()).sum();
    if missing.len() as u64 > world.dropped && bytes as u64 > world.discarded {
        let first = &missing[0];
        let line = &world.oracle.containers[&first.container][first.at];
        found.push(format!(
            "{} lines are lost and {} counted ({} bytes discarded); the first is line {} of c{}, printed at {:.3} s in run {}, for {}",
            missing.len(), world.dropped, world.discarded, first.at, first.container, line.at.as_secs_f64(), line.run, first.loki
        ));
    }
    if world.refused > 0 && !world.schedule.refuses() {
        found.push(format!("{} lines are counted as refused, and Loki has refused none for good", world.refused));
    }
    for container in &world.containers {
        if container.running.is_some() {
            found.push(format!("c{} could not be stopped", container.number));
        }
    }
}

/// Lines of a tenant that Loki accepts arrive, whatever becomes of other tenants and other Lokis.
fn judge_lateness(world: &World, found: &mut Vec<String>) {
    for loki in &world.lokis {
        for ((tenant, labels), entries) in loki.streams() {
            let late = entries.iter().find_map(|entry| {
                let (container, at) = world.oracle.find(&entry.line)?;
                let line = &world.oracle.containers[&container][at];
                let due = line.at + LATE;
                let undisturbed = entry.arrived > due
                    && loki.accepted(&tenant, line.at.saturating_sub(LATE), due)
                    && world.was_quiet(&loki.name, line.at.saturating_sub(LATE), due);
                undisturbed.then(|| {
                    format!(
                        "line {at} of c{container}, printed at {:.3} s, arrived at {:.3} s",
                        line.at.as_secs_f64(),
                        entry.arrived.as_secs_f64()
                    )
                })
            });
            found.extend(late.map(|late| format!("{} {tenant} {labels} has lines late: {late}", loki.name)));
        }
    }
}

fn judge_streams(world: &World, found: &mut Vec<String>) {
    for loki in &world.lokis {
        for ((tenant, labels), entries) in loki.streams() {
            let stream = format!("{} {tenant} {labels}", loki.name);
            // By line, what was sent of it first.
            let mut first = BTreeMap::new();
            for entry in &entries {
                let known = world.oracle.find(&entry.line).filter(|(container, at)| {
                    let container = &world.containers[*container];
                    let source = ["stdout", "stderr"][world.oracle.containers[&container.number][*at].source];
                    labels.contains(&format!("container_name=\"{}\"", container.name()))
                        && labels.contains(&format!("source=\"{source}\""))
                        && container.options["loki-url"].contains(&loki.name)
                        && container.tenant(source) == tenant
                });
                let Some((_, at)) = known else {
                    if !world.oracle.is_rest(&entry.line, CHUNK) {
                        let text = String::from_utf8_lossy(&entry.line);
                        found.push(format!("{stream} has a line that it must not have: {text:.200}"));
                    }
                    continue;
                };
                let before = first.entry(at).or_insert(entry);
                if *before != entry && !world.forgot {
                    found.push(format!(
                        "{stream} has line {at} twice, and not the same: at {} and {}, {:?} and {:?}",
                        before.time, entry.time, before.metadata, entry.metadata
                    ));
                }
            }
            let order: Vec<_> = first.iter().map(|(at, entry)| (entry.time, *at)).collect();
            if let Some(pair) = order.windows(2).find(|pair| pair[0].0 >= pair[1].0 && !world.forgot) {
                found.push(format!("{stream} has line {} behind line {}, times {pair:?}", pair[0].1, pair[1].1));
            }
        }
    }
}
