//! Checks the result: every line is in Loki, or was counted as dropped, or was printed shortly before a power loss.
//!
//! No line is invented or out of order, and a line that was sent twice was the same each time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::dockerd::CHUNK;
use super::loki::Stored;
use super::world::World;

/// The longest delay of lines to a Loki that accepts them, after it had time to recover.
const LATE: Duration = Duration::from_secs(60);

/// A line that a Loki lacks and that has no excuse.
#[derive(Debug)]
pub struct Missing {
    pub loki: String,
    pub container: usize,
    /// The index among the container's lines.
    pub at: usize,
}

/// Lines that a Loki lacks although they are for it.
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

/// Adds all violations.
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
    let line = |missing: &Missing| &world.oracle.containers[&missing.container][missing.at];
    // Lines dropped before the ring are lost for all Lokis.
    let counted = world.dropped + world.thrown_away * world.lokis.len() as u64;
    // Lines that could not be read back from the disk are counted in bytes.
    let mut bytes: Vec<_> = missing.iter().map(|missing| least_of(line(missing).text.len()) as u64).collect();
    bytes.sort_unstable();
    let uncounted = (missing.len() as u64).saturating_sub(counted);
    let bytes: u64 = bytes.iter().take(uncounted as usize).sum();
    if bytes > world.garbage * world.lokis.len() as u64 {
        let mut told = format!("{} lines are lost and {counted} counted:", missing.len());
        for group in missing
            .chunk_by(|one, next| (&one.loki, one.container, one.at + 1) == (&next.loki, next.container, next.at))
        {
            let (first, last) = (&group[0], &group[group.len() - 1]);
            let (since, until) = (line(first).at.as_secs_f64(), line(last).at.as_secs_f64());
            let Missing { loki, container, at } = first;
            _ = write!(told, " {at} to {} of c{container} for {loki}, printed at {since:.3} to {until:.3} s;", last.at);
        }
        found.push(told);
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

/// The smallest missing part of a line of `len` bytes: one of its chunks.
fn least_of(len: usize) -> usize {
    if len.is_multiple_of(CHUNK) { CHUNK } else { len % CHUNK }
}

/// Lines of a tenant that Loki accepts arrive in time, whatever happens to other tenants and other Lokis.
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
            // The first entry sent for each line.
            let mut first = BTreeMap::new();
            for entry in &entries {
                let known = world.oracle.find(&entry.line).filter(|(container, at)| {
                    let container = &world.containers[*container];
                    let line = &world.oracle.containers[&container.number][*at];
                    let source = ["stdout", "stderr"][line.source];
                    let has_name = |name: &String| labels.contains(&format!("container_name=\"{name}\""));
                    // The name at that time may not have survived.
                    let forgets = world.may_differ_from(container.number, line.at);
                    let names = if forgets { &container.runs[..] } else { &container.runs[line.run - 1..line.run] };
                    names.iter().any(has_name)
                        && labels.contains(&format!("source=\"{source}\""))
                        && container.options["loki-url"].contains(&loki.name)
                        && container.tenant(source) == tenant
                });
                let Some((container, at)) = known else {
                    if !world.oracle.is_rest(&entry.line, CHUNK) {
                        let text = String::from_utf8_lossy(&entry.line);
                        found.push(format!("{stream} has a line that it must not have: {text:.200}"));
                    }
                    continue;
                };
                let before = first.entry((container, at)).or_insert(entry);
                if *before != entry && !world.may_differ(container, before.arrived, entry.arrived) {
                    found.push(format!(
                        "{stream} has line {at} twice, and not the same: at {} and {}, {:?} and {:?}",
                        before.time, entry.time, before.metadata, entry.metadata
                    ));
                }
            }
            let order: Vec<_> = first.iter().collect();
            let is_wrong = |pair: &&[(&(usize, usize), &&Stored)]| {
                let [((container, _), one), (_, next)] = pair else { return false };
                one.time >= next.time && !world.may_differ(*container, one.arrived, next.arrived)
            };
            if let Some([((_, at), one), ((_, next_at), next)]) = order.windows(2).find(is_wrong) {
                let (time, next_time) = (one.time, next.time);
                found.push(format!("{stream} has line {at} behind line {next_at}, times {time} and {next_time}"));
            }
        }
    }
}
