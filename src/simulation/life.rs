//! Successive lives of the plugin, and the time between them.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::schedule::Action;
use super::world::{Shared, World};
use super::{calls, disk, law, log, network, time};
use crate::app;
use crate::config::PluginDefaults;
use crate::shipper::counters::Counters;
use crate::streams::Registry;
use crate::streams::registry::Setup;
use base::pools;

/// The time in which the plugin must send all lines once all faults have ended.
const RECOVERY: Duration = Duration::from_secs(1800);

/// The running plugin.
#[derive(Clone)]
pub struct Plugin {
    pub registry: Registry,
    pub counters: Counters,
    pub discarded: crate::streams::counters::Counters,
}

/// The end of a life of the plugin.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Killed; the next life begins after this time.
    Killed(Duration),
    PowerLost(Duration),
    Stopped(Duration),
    /// The time between two lives has passed.
    Begins,
    /// The simulation is over.
    Over,
}

/// Plays a schedule to its end.
pub fn play_all(world: World) -> World {
    let world = Rc::new(std::cell::RefCell::new(world));
    let mut actions: VecDeque<_> = world.borrow().schedule.actions.clone().into();
    let mut down = Some(Duration::ZERO);
    loop {
        let (ending, plugin) = live(&world, &mut actions, down);
        if let Some(plugin) = &plugin {
            world.borrow_mut().count(plugin);
        }
        down = match ending {
            Ending::Begins => None,
            Ending::Over => break,
            Ending::Killed(down) | Ending::Stopped(down) => {
                world.borrow_mut().was_killed();
                Some(down)
            }
            Ending::PowerLost(down) => {
                world.borrow_mut().lost_power();
                Some(down)
            }
        };
        disk::with(disk::Disk::revive);
    }
    Rc::into_inner(world).expect("the last life is over").into_inner()
}

/// Plays one life of the plugin, or the time between two.
fn live(
    world: &Shared,
    actions: &mut VecDeque<(Duration, Action)>,
    down: Option<Duration>,
) -> (Ending, Option<Plugin>) {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&world.borrow().schedule.seed.to_le_bytes()));
    let runtime = builder.build().expect("a runtime");
    let local = LocalSet::new();
    let then = time::now();
    let (ending, plugin, now) = local.block_on(&runtime, async {
        time::go_on_from(then);
        network::connect(world.borrow().ways.clone());
        let delays = world.borrow().delays.clone();
        pools::test::simulate(move |pool| delays.borrow_mut().of(pool));
        let plugin = down.is_none().then(|| begin(world));
        let ending = play(world, actions, plugin.as_ref(), down).await;
        if let (Ending::Stopped(_), Some(plugin)) = (ending, &plugin) {
            plugin.registry.shut_down().await;
        }
        disk::with(disk::Disk::die);
        world.borrow_mut().ended(plugin.is_some());
        (ending, plugin, time::now())
    });
    drop(local);
    drop(runtime);
    time::stop_at(now);
    (ending, plugin)
}

/// Starts the plugin as `app` does.
fn begin(world: &Shared) -> Plugin {
    let (counters, discarded) = (Counters::default(), crate::streams::counters::Counters::default());
    let registry = Registry::new(Setup {
        state_dir: world.borrow().state.clone(),
        hostname: "host".into(),
        defaults: PluginDefaults::default(),
        mistakes: Vec::new(),
        intake: Handle::current(),
        shipping: Handle::current(),
        counters: discarded.clone(),
        sent: counters.clone(),
        pipelines: std::sync::Arc::default(),
    });
    let syncing = registry.clone();
    tokio::spawn(async move { syncing.keep_synced().await });
    tokio::spawn(app::adopt_and_keep(registry.clone(), world.borrow().schedule.policy));
    log::note("the plugin starts");
    world.borrow_mut().began();
    Plugin { registry, counters, discarded }
}

/// Plays actions until this life ends.
async fn play(
    world: &Shared,
    actions: &mut VecDeque<(Duration, Action)>,
    plugin: Option<&Plugin>,
    down: Option<Duration>,
) -> Ending {
    let begins = down.map(|down| time::passed() + down);
    let end = world.borrow().schedule.end;
    let died = disk::with(|disk| disk.died());
    let mut down_after_death = Duration::ZERO;
    if let Some(plugin) = plugin {
        calls::resume(world, plugin);
    }
    loop {
        let more = world.borrow_mut().print();
        // The content of a pipe is only seen when the clock moves, so it must move soon.
        let soon = time::passed() + Duration::from_millis(1);
        let next = actions.front().map_or(end, |(at, _)| *at);
        let wake = begins.into_iter().chain(more).chain([next.max(soon)]).min().unwrap_or(next);
        tokio::select! {
            biased;
            () = died.notified() => return Ending::Killed(down_after_death),
            () = time::until(wake.min(soon.max(time::passed()))) => {}
        }
        tokio::select! {
            biased;
            () = died.notified() => return Ending::Killed(down_after_death),
            () = time::until(wake) => {}
        }
        if begins.is_some_and(|begins| begins <= time::passed()) {
            return Ending::Begins;
        }
        while let Some((_, action)) = actions.pop_front_if(|(at, _)| *at <= time::passed()) {
            log::note(&format!("{action:?}"));
            match action {
                Action::Kill { down } if plugin.is_some() => return Ending::Killed(down),
                Action::Restart { down } if plugin.is_some() => return Ending::Stopped(down),
                Action::PowerLoss { down } => return Ending::PowerLost(down),
                Action::KillAtCall { calls, down } if plugin.is_some() => {
                    down_after_death = down;
                    disk::with(|disk| disk.die_after(calls));
                }
                Action::Start(container) => calls::start(world, plugin, container),
                Action::Stop(container) => calls::stop(world, plugin, container),
                Action::Logs { container, tail, follow } => calls::logs(world, plugin, container, tail, follow),
                other => world.borrow_mut().change(&other),
            }
            world.borrow_mut().look();
        }
        if actions.is_empty() && time::passed() >= end {
            let Some(plugin) = plugin else { return Ending::Begins };
            recover(world, plugin).await;
            return Ending::Over;
        }
    }
}

/// All faults have ended: containers stop, and the plugin sends all unsent lines.
async fn recover(world: &Shared, plugin: &Plugin) {
    log::note("all faults end");
    disk::with(|disk| disk.revive());
    world.borrow_mut().mend();
    let containers = world.borrow().containers.len();
    let end = time::passed() + RECOVERY;
    let mut judged = None;
    while time::passed() < end {
        (0..containers).for_each(|container| calls::stop(world, Some(plugin), container));
        world.borrow_mut().print();
        sleep(Duration::from_secs(1)).await;
        let is_over = world.borrow().containers.iter().all(|container| container.running.is_none());
        let counted = plugin.counters.dropped().values().sum::<u64>() + world.borrow().dropped;
        let arrived = world.borrow().lokis.iter().map(|loki| loki.lines()).sum::<usize>();
        // The search for missing lines is slow.
        if is_over
            && judged.replace((arrived, counted)) != Some((arrived, counted))
            && law::missing(&world.borrow()).len() as u64 <= counted
        {
            break;
        }
    }
    // Everything that is sent twice has been sent by now.
    sleep(Duration::from_secs(60)).await;
    // A call that hangs must not prevent the end of the simulation.
    let _ = timeout(RECOVERY, calls::read_all(world, plugin)).await;
    world.borrow_mut().look();
    log::note("the end");
}
