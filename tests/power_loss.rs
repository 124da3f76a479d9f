//! A power loss costs no synced line, and invents none, on common file systems.
//!
//! The plugin's state is on a file system in a file. That file is copied at a random instant with a reflink, which is
//! atomic: the copy is what the disk had at that moment. It is mounted, the plugin is started on it with another boot
//! id, and the containers are started again. The result is compared with what was synced and what the containers print:
//!
//! * synced lines are shown by `docker logs`, and are in each Loki;
//! * no line is there that was not printed, none is out of order, none comes twice from one process;
//! * lines that are printed afterwards are shown and reach each Loki;
//! * lines that cannot be sent, because their stream is unknown, are logged.
//!
//! `make power-loss N=40` asks for more images; `POWER_LOSS_SEED` repeats the instants.

mod disk;
mod judge;
mod play;

use crate::harness::dockerd::now;
use disk::Disks;
use play::Play;

/// The number of images of all file systems together.
fn images() -> usize {
    std::env::var("POWER_LOSS_IMAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

#[test]
fn a_power_loss_costs_nothing_that_was_synced_on_ext4() {
    images_of("ext4");
}

#[test]
fn a_power_loss_costs_nothing_that_was_synced_on_xfs() {
    images_of("xfs");
}

fn images_of(kind: &str) {
    let disks = match Disks::new(kind) {
        Ok(disks) => disks,
        Err(reason) => return eprintln!("skipped: no power loss on {kind}: {reason}"),
    };
    let seed = std::env::var("POWER_LOSS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now);
    eprintln!("POWER_LOSS_SEED={seed}");
    let mut play = Play::begin(&disks, seed as u64);
    let images: Vec<_> = (0..images().div_ceil(2)).map(|at| play.power_fails(&disks, at)).collect();
    let lokis = play.end(&disks);
    let judged: Vec<_> = images.iter().map(|image| judge::judge(&disks, &lokis, image)).collect();
    assert!(judged.iter().any(|owed| *owed > 0), "nothing was synced before any power loss");
    eprintln!("{kind}: {} images, {} lines were owed", images.len(), judged.iter().sum::<usize>());
}
