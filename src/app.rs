//! The only file that knows everybody: settings → hold the state → bind → adopt → serve → drain.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use crate::config::Settings;
use crate::confine::{self, Confinement};
use crate::docker::routes::Routes;
use crate::docker::server;
use crate::shipper;
use crate::status::{self, report::Reporter};
use crate::streams::evict::Policy;
use crate::streams::registry::Setup;
use crate::streams::{self, Registry, labels};
use base::disk::{self, hold::Hold};
use base::pools::{self, Pool};
use promtail::pipeline::Registries;
use telemetry::{logging, summary};

/// Threads that read FIFOs and do nothing else.
const INTAKE_THREADS: usize = 2;

/// Threads for dockerd's calls and `docker logs`. They never wait for a disk.
const CONTROL_THREADS: usize = 2;

/// Threads for pushes. They read and write rings, and may be busy with pipelines, so dockerd's calls are not theirs.
const SHIPPING_THREADS: usize = 2;

/// What the plugin waits for at its end beside pushes: dockerd kills it after ten seconds.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long the plugin waits for another process to let go of the state before it ends: one that is being replaced takes two
/// seconds at most. dockerd goes on trying to reach the socket for longer than this.
const OTHER_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks whether that process has let go.
const OTHER_LOOK: Duration = Duration::from_millis(20);

/// A disk that has not said for so long whether there is another process hangs: the socket comes first then.
const SILENT: Duration = Duration::from_millis(250);

/// What keeps the plugin from serving.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel gives no threads or no signals.
    #[error("the plugin cannot start: {0}")]
    Start(#[from] io::Error),
    /// dockerd could not reach it.
    #[error("the plugin's socket {}: {source}", path.display())]
    Bind {
        /// Where dockerd looks for it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two processes would take the state for their own.
    #[error("another process of the plugin works with the state in {}; end it, or set another STATE_DIR", .0.display())]
    Held(PathBuf),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot begin to. Later trouble is logged and lived with.
pub fn run(settings: Settings) -> Result<(), RunError> {
    let log = logging::init(settings.log_level, settings.log_format);
    raise_file_limit();
    let confinement = confine::confine(&settings);
    let control = runtime("control", CONTROL_THREADS)?;
    let intake = runtime("intake", INTAKE_THREADS)?;
    let shipping = runtime("shipping", SHIPPING_THREADS)?;
    control.spawn(log.clone().keep_honest());
    let outcome = control.block_on(serve(settings, &confinement, &intake, &shipping));
    // What is in the ring stays there; nothing else is worth waiting for.
    intake.shutdown_background();
    shipping.shutdown_background();
    control.shutdown_background();
    log.finish();
    outcome
}

async fn serve(
    settings: Settings,
    confinement: &Confinement,
    intake: &Runtime,
    shipping: &Runtime,
) -> Result<(), RunError> {
    // PID 1 of its container ignores SIGTERM unless it asks for it; dockerd would wait ten seconds and kill.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (is_held, mut other) = watch::channel(false);
    let mut holding = tokio::spawn(hold(settings.state_dir.clone(), is_held));
    let mut held = None;
    tokio::select! {
        outcome = &mut holding => held = Some(outcome),
        () = sleep(SILENT) => {}
    }
    if held.is_none() && *other.borrow_and_update() {
        tokio::select! {
            outcome = &mut holding => held = Some(outcome),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
    if let Some(Ok(Err(error))) = held {
        return Err(error);
    }
    // dockerd looks for the socket half a second after the start: listen first, look at the disk afterwards.
    let listener =
        disk::bind(&settings.socket).map_err(|source| RunError::Bind { path: settings.socket.clone(), source })?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %settings.socket.display(),
        state = %settings.state_dir.display(),
        "loki-rs serves"
    );
    info!(%confinement, "privileges were given up");
    for mistake in &settings.mistakes {
        error!(
            setting = mistake.key,
            reason = mistake.reason,
            "a setting of the plugin cannot be used; new containers are refused until it is set right"
        );
    }
    let mut counters = prometheus_client::registry::Registry::default();
    let counting =
        (streams::counters::Counters::register(&mut counters), shipper::counters::Counters::register(&mut counters));
    let (pipelines, shown) = (Arc::<Registries>::default(), settings.clone());
    let policy = Policy { retention: settings.ring_retention, budget: settings.ring_budget };
    let registry = Registry::new(Setup {
        state_dir: settings.state_dir,
        hostname: labels::hostname(),
        defaults: settings.defaults,
        mistakes: settings.mistakes,
        intake: intake.handle().clone(),
        shipping: shipping.handle().clone(),
        counters: counting.0,
        sent: counting.1,
        pipelines: pipelines.clone(),
    });
    let status = settings.metrics_addr.map(|addr| {
        let routes = status::Routes::new(Reporter::new(registry.clone(), &shown), Arc::new(counters), pipelines);
        tokio::spawn(status::server::serve(addr, routes))
    });
    let server = tokio::spawn(server::serve(listener, Routes::new(registry.clone())));
    let syncer = tokio::spawn({
        let registry = registry.clone();
        async move { registry.keep_synced().await }
    });
    // Beside the signals, which are answered while a disk hangs.
    let mut upkeep = tokio::spawn({
        let registry = registry.clone();
        async move {
            let hold = match held {
                Some(held) => held,
                None => holding.await,
            };
            let hold = hold.unwrap_or(Ok(None))?;
            adopt_and_keep(registry, policy).await;
            Ok(hold)
        }
    });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Ok(Err(error)) = &mut upkeep => return Err(error),
    }
    info!("loki-rs ends; what was not sent stays on disk");
    server.abort();
    registry.shut_down().await;
    syncer.abort();
    // How old rings are is saved for the next process, if the disk takes it at once.
    let _hold = timeout(LAST_WORDS, upkeep).await;
    if let Some(status) = status {
        status.abort();
    }
    let _ = std::fs::remove_file(&settings.socket);
    Ok(())
}

/// Takes the state for this process alone, and says in `other` that another one has it. Without locks in the
/// file system the result is `None`.
async fn hold(dir: PathBuf, other: watch::Sender<bool>) -> Result<Option<Hold>, RunError> {
    let mut since = None;
    loop {
        let state = dir.clone();
        match Pool::Adopt.run(move || Hold::take(&state)).await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(Some(hold)) => return Ok(Some(hold)),
            Ok(None) => {
                other.send_replace(true);
                if since.get_or_insert_with(Instant::now).elapsed() >= OTHER_PATIENCE {
                    return Err(RunError::Held(dir));
                }
                sleep(OTHER_LOOK).await;
            }
            Err(error) => {
                warn!(state = %dir.display(), %error, "the state cannot be locked: a second process that used it would not be noticed");
                return Ok(None);
            }
        }
    }
}

/// Recovers what the previous process left, then runs maintenance until the plugin goes down. Maintenance waits for recovery:
/// until then, streams to resume look like orphans, and their rings like those of stopped containers.
pub(crate) async fn adopt_and_keep(registry: Registry, policy: Policy) {
    registry.adopt().await;
    let mut tasks = JoinSet::new();
    let (syncer, accountant, tidier, watcher) = (registry.clone(), registry.clone(), registry.clone(), registry);
    tasks.spawn(async move { syncer.sync_all().await });
    tasks.spawn(async move { accountant.keep_account().await });
    tasks.spawn(async move { tidier.keep_tidy(policy).await });
    tasks.spawn(async move { watcher.keep_watch(summary::EVERY).await });
    while tasks.join_next().await.is_some() {}
}

fn runtime(name: &str, threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(pools::THREADS)
        .thread_name(name)
        .enable_all()
        .build()
}

/// A container takes three file descriptors; a plugin that dockerd starts with the usual soft limit of 1,024 would be full
/// with 340 of them.
fn raise_file_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files cannot be raised; each container takes three");
    }
}
