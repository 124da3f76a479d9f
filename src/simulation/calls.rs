//! dockerd's calls of the plugin, each in its own task, with limits on their duration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::disk::FIFOS;
use super::life::Plugin;
use super::world::{Shared, World};
use super::{disk, kernel, log, time};
use crate::docker::routes;
use dockerd::frame;
use dockerd::messages::ReadConfig;

/// The limit of StopLogging, whatever hangs.
const STOP: Duration = Duration::from_millis(760);

/// The limit of other calls while the disk is slow.
const SLOW: Duration = Duration::from_millis(5100);

/// The limit of other calls otherwise.
const PROMPT: Duration = Duration::from_secs(1);

/// Lines printed this long ago are in the ring, also when the plugin was down for a while.
const SETTLED: Duration = Duration::from_secs(30);

/// Longer than any call may take; the simulation stops waiting then.
const FOR_EVER: Duration = Duration::from_secs(120);

/// Waits for a call, and reports one that takes too long; `None` when it never ends, or the plugin died before it
/// answered.
async fn timed<T>(world: &Shared, what: &str, stops: bool, call: impl Future<Output = T>) -> Option<T> {
    let begun = time::passed();
    let was_slow = world.borrow().delays.borrow().are_long();
    let answer = timeout(FOR_EVER, call).await.ok();
    let took = time::passed().saturating_sub(begun);
    let most = match was_slow || world.borrow().delays.borrow().are_long() {
        _ if stops => STOP,
        true => SLOW,
        false => PROMPT,
    };
    if took > most {
        world.borrow_mut().violated(format!("{what} took {:.3} s", took.as_secs_f64()));
    }
    answer.filter(|_| !is_dead())
}

fn is_dead() -> bool {
    disk::with(|disk| disk.is_dead())
}

/// A new process resumes the streams of the last one: dockerd repeats unanswered calls.
pub fn resume(world: &Shared, plugin: &Plugin) {
    for container in &world.borrow().containers {
        if container.starts {
            spawn_local(starting(world.clone(), plugin.clone(), container.number));
        }
        if container.stops {
            spawn_local(stopping(world.clone(), plugin.clone(), container.number));
        }
    }
}

/// `docker start`.
pub fn start(world: &Shared, plugin: Option<&Plugin>, container: usize) {
    let (Some(plugin), false) = (plugin.cloned(), world.borrow().containers[container].running.is_some()) else {
        return;
    };
    {
        let mut world = world.borrow_mut();
        let fifos = world.fifos.clone();
        world.containers[container].open(&fifos);
    }
    spawn_local(starting(world.clone(), plugin, container));
}

async fn starting(world: Shared, plugin: Plugin, container: usize) {
    let (call, info) = {
        let world = world.borrow();
        let container = &world.containers[container];
        (container.running.as_ref().map(|running| running.fifo.clone()), container.info())
    };
    let Some(fifo) = call else { return };
    let what = format!("StartLogging of c{container}");
    let started = timed(&world, &what, false, plugin.registry.start(fifo, info)).await;
    if is_dead() {
        // dockerd repeats the call.
        return;
    }
    let mut world = world.borrow_mut();
    match started {
        Some(Ok(())) => {
            let container = &mut world.containers[container];
            (container.starts, container.prints) = (false, true);
        }
        Some(Err(error)) => {
            log::note(&format!("{what}: {error}"));
            world.closes(container);
        }
        None => world.closes(container),
    }
}

/// The container exits: its output goes into the pipe, dockerd calls StopLogging, and then closes the pipe.
pub fn stop(world: &Shared, plugin: Option<&Plugin>, container: usize) {
    {
        let mut world = world.borrow_mut();
        let container = &mut world.containers[container];
        if !container.prints || container.stops {
            return;
        }
        (container.prints, container.stops) = (false, true);
    }
    if let Some(plugin) = plugin {
        spawn_local(stopping(world.clone(), plugin.clone(), container));
    }
}

async fn stopping(world: Shared, plugin: Plugin, container: usize) {
    // dockerd gives up on output that the pipe cannot take because no process reads it.
    while world.borrow().containers[container].is_stuck() && !world.borrow().containers[container].is_unrecorded {
        sleep(Duration::from_millis(5)).await;
    }
    let Some(fifo) = world.borrow().containers[container].running.as_ref().map(|running| running.fifo.clone()) else {
        return;
    };
    let what = format!("StopLogging of c{container}");
    if timed(&world, &what, true, plugin.registry.stop(&fifo)).await.is_some() {
        world.borrow_mut().closes(container);
    }
}

/// `docker logs`: the shown lines are the end of the printed ones, in order.
pub fn logs(world: &Shared, plugin: Option<&Plugin>, container: usize, tail: Option<u32>, follow: bool) {
    let Some(plugin) = plugin.cloned() else { return };
    if world.borrow().containers[container].runs.is_empty() {
        return;
    }
    let world = world.clone();
    spawn_local(async move { read(&world, &plugin, container, tail, follow).await });
}

/// `docker logs` of all containers, one after the other.
pub async fn read_all(world: &Shared, plugin: &Plugin) {
    let containers = world.borrow().containers.len();
    for container in 0..containers {
        if !world.borrow().containers[container].runs.is_empty() {
            read(world, plugin, container, None, false).await;
        }
    }
}

async fn read(world: &Shared, plugin: &Plugin, container: usize, tail: Option<u32>, follow: bool) {
    let what = format!("docker logs of c{container}");
    let stopped = stopped_fifo(world, container);
    if let Some((fifo, info)) = &stopped {
        let started = timed(world, &what, false, plugin.registry.start(fifo.clone(), info.clone())).await;
        if let Some(Err(error)) = started {
            log::note(&format!("{what}: {error}"));
        }
    }
    let id = world.borrow().containers[container].id();
    let config = ReadConfig { tail: tail.map_or(-1, i64::from), follow, ..ReadConfig::default() };
    match timed(world, &what, false, routes::opened(&plugin.registry, &id, config)).await {
        Some(Ok(mut body)) => {
            let reading = async {
                let mut bytes = Vec::new();
                while let Some(Ok(frame)) = body.frame().await {
                    bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                }
                bytes
            };
            if follow && stopped.is_none() {
                // A follower disconnects after a while.
                let _ = timeout(Duration::from_secs(20), reading).await;
            } else {
                let bytes = reading.await;
                if is_dead() {
                    return;
                }
                let lines = lines(&bytes);
                let mut world = world.borrow_mut();
                log::note(&format!("{what} shows {} lines", lines.len()));
                if let Err(why) = shown(&world, container, &lines, tail) {
                    world.violated(format!("{what}: {why}"));
                }
            }
        }
        Some(Err(error)) => log::note(&format!("{what}: {error}")),
        None => {}
    }
    if let Some((fifo, _)) = stopped {
        timed(world, &what, true, plugin.registry.stop(&fifo)).await;
        if let Some(name) = fifo.file_name() {
            let real = world.borrow().fifos.join(name);
            kernel::outside(|| drop(std::fs::remove_file(real)));
        }
    }
}

/// The FIFO that dockerd creates to read the log of a stopped container.
fn stopped_fifo(world: &Shared, container: usize) -> Option<(PathBuf, dockerd::info::Info)> {
    let world = world.borrow();
    let container = &world.containers[container];
    if container.running.is_some() {
        return None;
    }
    let name = format!("logs-{}-{}", container.number, fastrand::u32(..));
    kernel::outside(|| nix::unistd::mkfifo(&world.fifos.join(&name), nix::sys::stat::Mode::S_IRWXU)).ok()?;
    Some((Path::new(FIFOS).join(name), container.info()))
}

/// The lines in frames. Chunks are joined, as far as they go when some are missing.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut open) = (Vec::new(), [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())]);
    let mut entries = frame::entries(bytes);
    for entry in entries.by_ref() {
        let (id, text) = &mut open[entry.source.index()];
        let own = entry.chunk.map_or(&b""[..], |chunk| chunk.id);
        if !text.is_empty() && id.as_slice() != own {
            lines.push(std::mem::take(text));
        }
        own.clone_into(id);
        text.extend_from_slice(entry.line);
        // The last chunk of a line, and a whole line, end with a newline for dockerd.
        if text.pop_if(|last| *last == b'\n').is_some() {
            lines.push(std::mem::take(text));
        }
    }
    lines
}

/// Checks that lines are of the container, in order and each once, and that every gap has an excuse.
fn shown(world: &World, container: usize, lines: &[Vec<u8>], tail: Option<u32>) -> Result<(), String> {
    let (oracle, mut last) = (&world.oracle, None::<usize>);
    let printed = oracle.containers.get(&container).map_or(&[][..], Vec::as_slice);
    // A ring holds several lines of any length, and no fault takes all earlier lines.
    let kept = printed.iter().rev().take(3).filter(|line| line.excuse.is_none() && line.at + SETTLED < time::passed());
    let may_have_gone = world.bad_disk.is_some()
        || world.containers[container].damaged.is_some()
        || world.containers[container].options.contains_key("no-file")
        || world.schedule.is_tight();
    if tail.is_none_or(|tail| tail > 2) && lines.is_empty() && kept.count() == 3 && !may_have_gone {
        return Err("it shows nothing of what was printed".into());
    }
    for line in lines {
        match oracle.find(line) {
            Some((of, at)) if of == container => {
                if last.is_some_and(|last| last >= at) {
                    return Err(format!("it shows line {at} behind line {}", last.unwrap_or_default()));
                }
                // Lines that the disk refused may be missing.
                let is_whole = world.bad_disk.is_none() && world.containers[container].damaged.is_none();
                let gap = last.filter(|_| is_whole).map_or(at..at, |last| last + 1..at);
                if let Some(missing) =
                    gap.clone().find(|missing| oracle.containers[&container][*missing].excuse.is_none())
                {
                    return Err(format!("it does not show line {missing}, though lines before it and line {at}"));
                }
                last = Some(at);
            }
            _ if oracle.is_rest(line, super::dockerd::CHUNK) => {}
            _ => {
                return Err(format!(
                    "it shows a line that the container has not printed: {:.200}",
                    String::from_utf8_lossy(line)
                ));
            }
        }
    }
    Ok(())
}
