//! Boot: what the process before this one left is taken up.
//!
//! Streams that were not stopped are read again, from their [records](super::record): dockerd does not say
//! StartLogging a second time. Rings with lines that were not sent get their shipper back. dockerd's calls wait for
//! the first, not for the second.

use std::fs;
use std::path::Path;

use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::Info;
use super::labels;
use super::registry::{Registry, StartError, check_id, lock};
use super::retention;
use crate::config::StreamOptions;
use crate::config::settings::KEPT_FILES;
use crate::disk;
use crate::fifo::Fifo;
use crate::pools::Pool;
use crate::ring::INFO;

impl Registry {
    /// Takes up what the process before this one left: streams that were not stopped, and lines that were not sent.
    pub async fn adopt(&self) {
        let (registry, control) = (self.clone(), Handle::current());
        let adoption = Pool::Start.run(move || {
            // For whoever has something to put there; without it, nobody misses it.
            let _ = disk::make_dir(&registry.inner.setup.state_dir.join(KEPT_FILES));
            let (records, broken) = registry.inner.records.load();
            for path in broken {
                warn!(path = %path.display(), "the record of a stream cannot be read; its container must be restarted to be logged");
            }
            let mut adopted = 0;
            for record in records {
                match registry.start_now(&record, false, &control) {
                    Ok(()) => adopted += 1,
                    Err(StartError::Fifo { .. }) => registry.inner.records.remove(&record.file),
                    Err(error) => {
                        error!(container = record.info.name(), %error, "a container's lines are kept and not sent, until the plugin is enabled with settings that can be used");
                        if let Err(error) = registry.keep(&record, &control) {
                            error!(container = record.info.name(), %error, "a container is not logged any more; what it prints is lost");
                            if let Ok(fifo) = Fifo::open(&record.file) {
                                registry.throw_away(record.file, fifo);
                            }
                        }
                    }
                }
            }
            registry.inner.adopted.send_replace(true);
            registry.inner.setup.counters.adopted.inc_by(adopted);
            if adopted > 0 {
                info!(streams = adopted, "went on with containers that were being logged");
            }
            registry.adopt_rings(&control);
        });
        let _ = adoption.await;
        // Whatever happened above, dockerd must not wait for ever.
        self.inner.adopted.send_replace(true);
    }

    /// Rings that no stream belongs to, and that have lines which were not sent.
    fn adopt_rings(&self, control: &Handle) {
        for entry in fs::read_dir(self.rings_dir()).into_iter().flatten().flatten() {
            let dir = entry.path();
            let id = entry.file_name().to_string_lossy().into_owned();
            if let Err(error) = self.adopt_ring(&dir, &id, control) {
                warn!(container = id, %error, "lines of a container that is gone cannot be sent");
                if matches!(error, StartError::Ring(_)) || retention::unsent_on_disk(&dir, self.inner.boot) > 0 {
                    lock(&self.inner.stranded).insert(id);
                }
            }
        }
    }

    fn adopt_ring(&self, dir: &Path, id: &str, control: &Handle) -> Result<(), StartError> {
        check_id(id)?;
        let Some(info) = fs::read(dir.join(INFO)).ok().and_then(|bytes| serde_json::from_slice::<Info>(&bytes).ok())
        else {
            return Ok(());
        };
        let options = StreamOptions::parse(&info.config, &self.inner.setup.defaults)?;
        let labels = labels::build(&info, &options.labels, &self.inner.setup.hostname).map_err(StartError::Unfit)?;
        let destinations = self.destinations(&options, &labels)?;
        let mut table = self.table();
        if info.container_id == id && !table.containers.contains_key(id) {
            let (container, shippers) = self.open_container(&mut table, &info, &options, &labels, destinations)?;
            // It leaves at once when there is nothing to send.
            self.launch(shippers, &container, control);
        }
        Ok(())
    }
}
