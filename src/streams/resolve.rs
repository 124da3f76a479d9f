//! What a container's options come to, and the one rule for options and files that cannot be used.
//!
//! | | its options or labels cannot be used | a file that they name cannot be used |
//! | --- | --- | --- |
//! | a container that has started before | starts, is read into its ring, and not sent: nothing but a new start of the container or of the plugin can change its options | starts, is read into its ring, and sent when the file can be used, which is looked at again every [`LOOK`] |
//! | a new one | is refused in one sentence | is refused in one sentence |
//!
//! A new one is refused for a setting of the plugin that cannot be used, too. The rule goes by what is on disk, its ring or a
//! [note](super::started), because dockerd makes the same call for `docker start` and for `docker logs` of a stopped container, and nothing in the call
//! tells one from the other: `docker logs` has to work whatever the options say, and neither a start at boot nor a
//! restart, which nobody watches, may fail for a file. Options of a container that was created cannot be changed, so
//! that whoever sees the refusal is the one who has typed them.
//!
//! Files on the way to a destination (certificates, passwords, tokens) are waited for by its
//! [link](loki::transport::Link), so that one destination does not wait for the files of another. Files of a pipeline
//! are waited for here, for all destinations: no line may go without its stages.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::container::Container;
use super::labels::{self, ContainerLabels};
use super::registry::{Registry, StartError};
use crate::config::pipeline::Configured;
use crate::config::{Destination as Target, StreamOptions};
use crate::shipper::Stages;
use crate::shipper::destination::Destination;
use base::lock;
use base::pools::Pool;
use dockerd::info::Info;
use ring::cursors::Name;
use telemetry::throttle::Throttle;

/// Between two looks at files that cannot be used.
pub const LOOK: Duration = Duration::from_secs(2);

/// Options that can be used. No file that they name has been looked at.
#[derive(Debug)]
pub(super) struct Resolved {
    pub options: StreamOptions,
    pub labels: ContainerLabels,
    /// At least one, in the order of the options.
    pub destinations: Vec<Arc<Destination>>,
}

impl Resolved {
    /// The names of a container's cursors: what tells its destinations apart.
    pub fn names(&self, container: &str) -> Vec<Name> {
        self.options.destinations.iter().map(|target| cursor_of(target, container)).collect()
    }
}

/// The name of a container's cursor for a destination.
pub(super) fn cursor_of(target: &Target, container: &str) -> Name {
    Name { now: target.id(container), former: Some(target.former_id()) }
}

/// How a container is to be logged.
#[derive(Debug)]
pub(super) enum Way {
    /// Its lines are sent, through these stages; absent while they are to be opened.
    Shipped(Box<Resolved>, Option<Stages>),
    /// Its lines are read into its ring and not sent, for this reason.
    Kept(StartError),
}

// === impl Registry ===

impl Registry {
    /// What a container's options come to with the plugin's settings.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn resolve(&self, info: &Info) -> Result<Box<Resolved>, StartError> {
        let options = StreamOptions::parse(&info.config, &self.inner.setup.defaults)?;
        let labels = labels::build(info, &options.labels, &self.inner.setup.hostname).map_err(StartError::Unfit)?;
        let destinations = self.destinations(&options, &labels)?;
        Ok(Box::new(Resolved { options, labels, destinations }))
    }

    /// Whether a container has started before: it has lines, is being logged, or is remembered. Waits for the disk.
    pub(super) fn has_started(&self, container: &str) -> bool {
        lock::may_wait();
        let is_open = self.table().containers.contains_key(container);
        is_open || self.ring_dir(container).exists() || self.inner.started.has(container)
    }

    /// Remembers that a container has started, where its ring does not tell. Waits for the disk.
    pub(super) fn remember(&self, container: &str) {
        if !self.ring_dir(container).exists() {
            self.inner.started.remember(container);
        }
    }

    /// How to log a container that is being started, by the [rule](self).
    ///
    /// # Errors
    /// When it is new, and anything that it needs cannot be used.
    pub(super) async fn way(
        &self,
        info: &Info,
        resolved: Result<Box<Resolved>, StartError>,
        has_started: bool,
    ) -> Result<Way, StartError> {
        if has_started {
            return Ok(resolved.map_or_else(Way::Kept, |resolved| Way::Shipped(resolved, None)));
        }
        if !self.inner.setup.mistakes.is_empty() {
            let mistakes: Vec<_> = self.inner.setup.mistakes.iter().map(ToString::to_string).collect();
            return Err(StartError::Settings(mistakes.join("; ")));
        }
        match resolved {
            Ok(resolved) => {
                let stages = self.check_files(&resolved.options).await.map_err(StartError::Unfit)?;
                Ok(Way::Shipped(resolved, Some(stages)))
            }
            // All mistakes are told at once.
            Err(StartError::Unfit(mut mistakes)) => {
                let (registry, config) = (self.clone(), info.config.clone());
                // It compiles what options ask for, which is not for a thread that answers dockerd.
                let parsed =
                    Pool::Start.run(move || StreamOptions::parse(&config, &registry.inner.setup.defaults)).await;
                let options = parsed.map_err(|panic| StartError::Broken(panic.to_string()))??;
                mistakes.extend(self.check_files(&options).await.err().unwrap_or_default());
                Err(StartError::Unfit(mistakes))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at all files that a new container's options name, and opens those of its pipeline.
    async fn check_files(&self, options: &StreamOptions) -> Result<Stages, Vec<String>> {
        let mut wrong = Vec::new();
        for destination in &options.destinations {
            if let Err(errors) = destination.check_files().await {
                wrong.extend(errors.0.iter().map(ToString::to_string));
            }
        }
        // Destinations share their files.
        wrong.dedup();
        let pipeline = match &options.pipeline {
            Some(configured) => configured.open().await.unwrap_or_else(|reason| {
                wrong.push(reason);
                None
            }),
            None => None,
        };
        if wrong.is_empty() { Ok(Stages::Ready(pipeline)) } else { Err(wrong) }
    }

    /// Opens the files of a container's pipeline, again and again until they can be used; gives what its shippers wait
    /// for. Ends with the container.
    pub(super) fn open_later(&self, container: &Arc<Container>, configured: &Configured) -> watch::Receiver<Stages> {
        let (stages, receiver) = watch::channel(Stages::Opening);
        let opening = open(Arc::downgrade(container), container.over(), configured.clone(), stages);
        self.inner.shippers.lock().spawn_on(
            {
                let mut shutdown = self.inner.shutdown.subscribe();
                async move {
                    tokio::select! {
                        () = opening => {}
                        _ = shutdown.wait_for(|down| *down) => {}
                    }
                }
            },
            &self.inner.setup.shipping,
        );
        receiver
    }
}

/// Opens stages until they can be used, or the container is over.
async fn open(
    container: Weak<Container>,
    mut over: watch::Receiver<bool>,
    configured: Configured,
    stages: watch::Sender<Stages>,
) {
    let mut waits = None;
    loop {
        let opened = configured.open().await;
        let Some(container) = container.upgrade() else { return };
        match opened {
            Ok(pipeline) => {
                if container.set_unusable(None).is_some() {
                    info!(container = %container.name, "the files that options name can be used now; lines are sent");
                }
                stages.send_replace(Stages::Ready(pipeline));
                return;
            }
            Err(reason) => {
                let waits = waits.get_or_insert_with(|| {
                    Throttle::new(&container.name, |container, _, reason| {
                        warn!(%container, %reason, "lines are buffered on disk until the files that options name can be used");
                    })
                });
                waits.lasts(|| reason.clone());
                container.set_unusable(Some(reason));
            }
        }
        drop(container);
        tokio::select! {
            () = sleep(LOOK) => {}
            // Its sender goes with the container.
            _ = over.wait_for(|over| *over) => return,
        }
    }
}
