//! A container starts under another description, with unsent lines of the former one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use super::super::rename::AGAIN;
use super::{Host, Info, former, info};
use ring::cursors;

/// A container whose lines are all dropped, so that its cursor moves without a Loki.
fn dropped(name: &str, url: &str) -> Info {
    let mut info = Info { container_name: format!("/{name}"), ..info("c") };
    info.config.insert("loki-url".into(), url.into());
    info.config.insert("loki-relabel-config".into(), "- action: drop".into());
    info
}

fn cursor(dir: &Path) -> PathBuf {
    let is_cursor = |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b"cursor-");
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(is_cursor).unwrap()
}

async fn eventually(is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not come to this");
}

const HERE: &str = "http://127.0.0.1:9/loki/api/v1/push";
const THERE: &str = "http://127.0.0.2:9/loki/api/v1/push";

/// A container that has started before and after a change, with two lines from before it. The second is sent, and the
/// disk refuses the cursor. Returns the cursor's file, which was moved away, and its path.
async fn changed(host: &mut Host, before: &Info, after: &Info) -> (PathBuf, PathBuf) {
    let files = [host.fifo("before"), host.fifo("after")];
    let (registry, dir) = (host.registry.clone(), host.registry.ring_dir("c"));
    let open = || registry.table().containers["c"].clone();
    registry.start(files[0].clone(), before.clone()).await.unwrap();
    host.print(0, b"one");
    eventually(|| open().sent.furthest_behind() == Some(1)).await;
    let (refused, aside) = (cursor(&dir), dir.join("aside"));
    fs::rename(&refused, &aside).unwrap();
    fs::create_dir(&refused).unwrap();
    host.print(0, b"two");
    eventually(|| open().sent.furthest_behind() == Some(2)).await;
    registry.start(files[1].clone(), after.clone()).await.unwrap();
    sleep(AGAIN * 3).await;
    (aside, refused)
}

fn formers(dir: &Path) -> Vec<(u64, Info)> {
    former::load(dir, 1).unwrap().into_iter().map(|former| (former.until, former.info)).collect()
}

/// Until the disk has the cursor, a kill sends the lines before the change again, under their own description.
#[tokio::test(start_paused = true)]
async fn lines_go_on_under_the_new_name_and_those_before_keep_theirs_while_the_disk_refuses_the_cursor() {
    let mut host = Host::adopted().await;
    let (before, after) = (dropped("before", HERE), dropped("after", HERE));
    let (aside, refused) = changed(&mut host, &before, &after).await;
    let (registry, dir) = (host.registry.clone(), host.registry.ring_dir("c"));
    let open = || registry.table().containers["c"].clone();
    host.print(1, b"three");
    eventually(|| open().sent.furthest_behind() == Some(3)).await;
    assert_eq!((formers(&dir), &*registry.view().containers[0].name), (vec![(2, before)], "after"));

    fs::remove_dir(&refused).unwrap();
    fs::rename(&aside, &refused).unwrap();
    let container = open();
    tokio::task::spawn_blocking(move || container.sync()).await.unwrap();
    assert_eq!(cursors::furthest_behind(&dir).map(|position| position.seq), Some(3));
}

/// The cursors of other destinations are in other files.
#[tokio::test(start_paused = true)]
async fn a_container_with_other_destinations_is_handed_over_once_the_disk_has_taken_how_far_it_was_sent() {
    let mut host = Host::adopted().await;
    let (before, after) = (dropped("before", HERE), dropped("after", THERE));
    let (aside, refused) = changed(&mut host, &before, &after).await;
    let (registry, dir) = (host.registry.clone(), host.registry.ring_dir("c"));
    let open = || registry.table().containers["c"].clone();
    assert_eq!((&*open().name, open().unusable()), ("before", None));
    assert_eq!(formers(&dir), [(2, before)]);

    fs::remove_dir(&refused).unwrap();
    fs::rename(&aside, &refused).unwrap();
    eventually(|| &*open().name == "after").await;
    assert_eq!(cursors::furthest_behind(&dir).map(|position| position.seq), Some(2));
    assert_eq!(former::load(&dir, 0).unwrap(), []);
    host.print(1, b"three");
    eventually(|| open().sent.furthest_behind() == Some(3)).await;
}
