//! A container's lanes: one path to each destination, with the options of the lines in it.

use std::sync::Arc;

use tokio::sync::watch;

use super::container::{Activity, Container, Lane};
use super::labels::ContainerLabels;
use super::registry::{Registry, StartError};
use super::resolve::Resolved;
use super::sources;
use crate::config::StreamOptions;
use crate::config::pipeline::Configured;
use crate::shipper::backoff::Backoff;
use crate::shipper::until::Until;
use crate::shipper::{self, Plan, Shipper, Stages};
use dockerd::Source;
use dockerd::info::Info;
use promtail::pipeline::{self, Pipeline};
use ring::Ring;

/// Pipeline stages that are ready, or are still being read from files.
#[derive(Clone)]
enum Awaited {
    Ready(Option<Pipeline>),
    Later(watch::Receiver<Stages>),
}

impl Registry {
    /// Creates a container of an open ring, for the lines from `sent` on. Lines printed under a former description are
    /// sent by that description; `now` applies to later ones, once another container has replaced this one.
    pub(super) fn assemble(
        &self,
        (ring, activity): (Arc<Ring>, Arc<Activity>),
        sent: u64,
        now: (&Info, &Resolved, Option<&Stages>),
    ) -> Result<(Arc<Container>, Vec<Shipper>), StartError> {
        let former = self.printed_under(&ring, sent, sent, now.0)?;
        let (until, (info, resolved, stages)) =
            former.as_ref().map_or((u64::MAX, now), |(until, info, resolved)| (*until, (info, &**resolved, None)));
        let options = &resolved.options;
        let lanes = (0..resolved.destinations.len()).map(|at| lane(info, resolved, at, until)).collect();
        let who = (info.container_id.as_str(), info.name());
        let container =
            Container::new(who, (ring, activity), (resolved.names(&info.container_id), lanes), options.ring.no_file)?;
        let stages = self.stages(&container, stages, options);
        // The lines go through a pipeline for each destination, and count in the first.
        let mut counts = options.pipeline.is_some().then(|| self.inner.setup.pipelines.for_container());
        let mut shippers = Vec::new();
        for (at, lane) in container.lanes().iter().enumerate() {
            shippers.push(self.shipper(&container, (at, lane), resolved, stages.clone(), counts.take()));
        }
        Ok((container, shippers))
    }

    /// Switches lane `at` of a container to its next way, up to entry `until`; returns the shipper for it.
    pub(super) fn next_way(
        &self,
        container: &Arc<Container>,
        at: usize,
        until: u64,
        (info, resolved): (&Info, &Resolved),
    ) -> Shipper {
        let lane = lane(info, resolved, at, until);
        let stages = self.stages(container, None, &resolved.options);
        let is_counted = at == 0 && resolved.options.pipeline.is_some();
        let counts = is_counted.then(|| self.inner.setup.pipelines.for_container());
        let shipper = self.shipper(container, (at, &lane), resolved, stages, counts);
        container.set_lane(at, lane);
        shipper
    }

    /// The stages of a container's lines, or a channel that reports when they are ready.
    fn stages(&self, container: &Arc<Container>, known: Option<&Stages>, options: &StreamOptions) -> Awaited {
        match (known, &options.pipeline) {
            (Some(Stages::Ready(pipeline)), _) => Awaited::Ready(pipeline.clone()),
            (_, Some(configured)) if configured.names_files() => Awaited::Later(self.open_later(container, configured)),
            (_, configured) => Awaited::Ready(configured.as_ref().and_then(Configured::ready)),
        }
    }

    /// Creates a shipper for one lane of a container.
    fn shipper(
        &self,
        container: &Arc<Container>,
        (at, lane): (usize, &Lane),
        resolved: &Resolved,
        stages: Awaited,
        counts: Option<Arc<pipeline::Registry>>,
    ) -> Shipper {
        let ready = match &stages {
            Awaited::Ready(pipeline) => pipeline.clone().map(|pipeline| pipeline.counting_in(counts.clone())),
            Awaited::Later(_) => None,
        };
        let shipper = Shipper::new(
            &container.ring,
            (container.cursors.clone(), at),
            Plan { until: lane.until.clone(), ..plan(&resolved.options, &resolved.labels, ready) },
            lane.destination.clone(),
            container.live(),
            self.inner.shutdown.subscribe(),
            lane.events.clone(),
        );
        match stages {
            Awaited::Ready(_) => shipper,
            Awaited::Later(stages) => shipper.awaiting(stages, counts),
        }
    }
}

/// Creates the lane to destination `at`, for lines below `until`.
fn lane(info: &Info, resolved: &Resolved, at: usize, until: u64) -> Lane {
    let destination = resolved.destinations[at].clone();
    // Otherwise the log would not show which destination lost lines.
    let is_one_of_several = resolved.destinations.len() > 1;
    let name =
        if is_one_of_several { format!("{} to {}", info.name(), destination.name()) } else { info.name().to_owned() };
    let events = shipper::events::Events::new(&name.into(), destination.counters().clone());
    Lane { destination, events: Arc::new(events), batch_wait: resolved.options.batch.wait, until: Until::new(until) }
}

fn stream(stream: &sources::Stream) -> shipper::Stream {
    let pairs = stream.labels.iter().map(|(name, value)| (name.as_str().to_owned(), value.to_owned()));
    shipper::Stream { labels: stream.labels.to_string(), pairs: pairs.collect(), tenant: stream.tenant.clone() }
}

/// Converts the options and labels of a container into a plan for its shipper.
fn plan(options: &StreamOptions, labels: &ContainerLabels, pipeline: Option<Pipeline>) -> Plan {
    Plan {
        until: Until::default(),
        streams: Source::ALL.map(|source| labels.stream(source).map(stream)),
        pipeline,
        metadata: labels.structured_metadata(),
        batch_size: options.batch.size_bytes,
        batch_wait: options.batch.wait,
        protects: options.ring.block.is_some(),
        forgets: options.ring.no_file,
        attempts: options.retry.attempts,
        backoff: Backoff::try_new(options.retry.min_backoff, options.retry.max_backoff).unwrap_or_default(),
    }
}
