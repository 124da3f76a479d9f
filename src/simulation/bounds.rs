//! Bounds that must hold at every moment: disk space of rings, and requests and bytes in flight to a Loki.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::kernel;
use super::world::World;
use crate::config::RingOptions;
use crate::shipper::budget::TOTAL;
use crate::shipper::slots::{FAILED_SHARE, IN_FLIGHT, OVERDUE_SHARE};

/// The smallest ring budget, whatever the options say: dockerd's entries need this much.
const LEAST_BUDGET: u64 = 512 * 1024;

/// The most bytes of small files beside the segments: descriptions, former ones, and cursors, each twice while
/// replaced.
const SMALL_FILES: u64 = 256 * 1024;

/// Bounds that are exceeded now, each reported once.
pub fn broken(world: &mut World) -> Vec<String> {
    let mut broken = Vec::new();
    let nameless = kernel::outside(|| nameless(&world.state));
    for container in &mut world.containers {
        let dir = world.state.join("rings").join(container.id());
        let (named, others) = kernel::outside(|| taken(&dir));
        let segments = named + nameless.iter().filter(|(path, _)| path.starts_with(&dir)).map(|(_, n)| n).sum::<u64>();
        let most = container.budget.max(LEAST_BUDGET);
        if (segments > most || others > SMALL_FILES) && !std::mem::replace(&mut container.is_too_large, true) {
            broken.push(format!(
                "the ring of c{} takes {segments} bytes of {most}, and {others} beside them",
                container.number
            ));
        }
    }
    let mut bytes = 0;
    for loki in &world.lokis {
        let most = loki.most_at_once();
        bytes += most.bytes;
        if most.requests > IN_FLIGHT + FAILED_SHARE + OVERDUE_SHARE {
            broken.push(format!("{} had {} requests at once", loki.name, most.requests));
        }
    }
    if bytes > TOTAL {
        broken.push(format!("{bytes} bytes were on their way at once"));
    }
    broken
}

/// Bytes on disk of the segments in a folder, and of its other files.
fn taken(dir: &Path) -> (u64, u64) {
    let (mut segments, mut others) = (0, 0);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        // Includes segments under construction, and those that were set aside.
        let is_segment = entry.file_name().as_encoded_bytes().starts_with(b"000000");
        *if is_segment { &mut segments } else { &mut others } += metadata.blocks() * 512;
    }
    (segments, others)
}

/// Bytes on disk of files below a folder that were removed and are still open.
fn nameless(below: &Path) -> Vec<(PathBuf, u64)> {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().map(|entry| entry.path());
    let nameless = open.filter_map(|fd| {
        let path = fs::read_link(&fd).ok()?;
        let is_nameless = path.starts_with(below) && path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)");
        // The plugin may close it meanwhile.
        Some((path, fs::metadata(fd).ok().filter(|_| is_nameless)?.blocks() * 512))
    });
    nameless.collect()
}

/// The ring budget by a container's options.
pub fn budget(options: &std::collections::BTreeMap<String, String>) -> u64 {
    RingOptions::salvage(options, &crate::config::PluginDefaults::default()).budget()
}
