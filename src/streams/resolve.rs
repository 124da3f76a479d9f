//! Resolves a container's options, with one rule for options and files that cannot be used.
//!
//! | | its options or labels cannot be used | a file that they name cannot be used |
//! | --- | --- | --- |
//! | a container that has started before | starts, is read into its ring, and not sent: nothing but a new start of the container or of the plugin can change its options | starts, is read into its ring, and sent when the file can be used, which is looked at again every [`LOOK`] |
//! | a new one | is refused in one sentence | is refused in one sentence |
//!
//! A setting of the plugin that cannot be used refuses a new container too. A container counts as new unless the disk
//! has its ring or a [note](super::started). dockerd makes the same call for `docker start` and for `docker logs` of a
//! stopped container, and the call does not distinguish them. But `docker logs` must work whatever the options say, and
//! an unattended restart must not fail for a file. Options of a created container cannot be changed, so the user who
//! sees the error is the one who typed them.
//!
//! The [link](loki::transport::Link) of a destination waits for its files (certificates, passwords, tokens), so that
//! one destination does not wait for the files of another. This module waits for the files of a pipeline, for all
//! destinations: no line may be sent without its stages.

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

/// The time between two checks of files that cannot be used.
pub const LOOK: Duration = Duration::from_secs(2);

/// Valid options. The files that they name are not checked yet.
#[derive(Debug)]
pub(super) struct Resolved {
    pub options: StreamOptions,
    pub labels: ContainerLabels,
    /// At least one, in the order of the options.
    pub destinations: Vec<Arc<Destination>>,
}

impl Resolved {
    /// The names of a container's cursors, which identify its destinations.
    pub fn names(&self, container: &str) -> Vec<Name> {
        self.options.destinations.iter().map(|target| cursor_of(target, container)).collect()
    }
}

/// The name of a container's cursor for a destination.
pub(super) fn cursor_of(target: &Target, container: &str) -> Name {
    Name { now: target.id(container), former: Some(target.former_id()) }
}

/// The way in which a container is logged.
#[derive(Debug)]
pub(super) enum Way {
    /// Its lines are sent, through these stages; `None` while they are not open yet.
    Shipped(Box<Resolved>, Option<Stages>),
    /// Its lines are read into its ring and not sent, for this reason.
    Kept(StartError),
}

// === impl Registry ===

impl Registry {
    /// Resolves a container's options with the plugin's settings.
    ///
    /// # Errors
    /// All errors in them.
    pub(super) fn resolve(&self, info: &Info) -> Result<Box<Resolved>, StartError> {
        let options = StreamOptions::parse(&info.config, &self.inner.setup.defaults)?;
        let labels = labels::build(info, &options.labels, &self.inner.setup.hostname).map_err(StartError::Unfit)?;
        let destinations = self.destinations(&options, &labels)?;
        Ok(Box::new(Resolved { options, labels, destinations }))
    }

    /// Whether a container has started before: it has a ring, a stream or a note. Waits for the disk.
    pub(super) fn has_started(&self, container: &str) -> bool {
        lock::may_wait();
        let is_open = self.table().containers.contains_key(container);
        is_open || self.ring_dir(container).exists() || self.inner.started.has(container)
    }

    /// Notes that a container has started, unless its ring shows that. Waits for the disk.
    pub(super) fn remember(&self, container: &str) {
        if !self.ring_dir(container).exists() {
            self.inner.started.remember(container);
        }
    }

    /// Decides how to log a container that starts, by the [rule](self).
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
            // All errors are reported at once.
            Err(StartError::Unfit(mut mistakes)) => {
                let (registry, config) = (self.clone(), info.config.clone());
                // Parsing compiles expressions of the options, which must not block a thread that answers dockerd.
                let parsed =
                    Pool::Start.run(move || StreamOptions::parse(&config, &registry.inner.setup.defaults)).await;
                let options = parsed.map_err(|panic| StartError::Broken(panic.to_string()))??;
                mistakes.extend(self.check_files(&options).await.err().unwrap_or_default());
                Err(StartError::Unfit(mistakes))
            }
            Err(error) => Err(error),
        }
    }

    /// Checks all files that a new container's options name, and opens those of its pipeline.
    async fn check_files(&self, options: &StreamOptions) -> Result<Stages, Vec<String>> {
        let mut wrong = Vec::new();
        for destination in &options.destinations {
            if let Err(errors) = destination.check_files().await {
                wrong.extend(errors.0.iter().map(ToString::to_string));
            }
        }
        // Several destinations may name the same file.
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

    /// Opens the files of a container's pipeline, and retries until they can be used. Returns the channel that its
    /// shippers wait for. Ends with the container.
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

/// Opens stages, and retries until they can be used or the container ends.
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
            // The sender is dropped with the container.
            _ = over.wait_for(|over| *over) => return,
        }
    }
}
