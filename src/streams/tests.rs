//! Tests of dockerd's calls against one registry, with a disk that hangs and panics, for single containers.

mod hand_over;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::time::{advance, sleep, timeout};

use super::evict::Policy;
use super::former;
use super::record::Record;
use super::registry::{Registry, Setup, StartError};
use super::start::START_PATIENCE;
use crate::config::{PluginDefaults, RingBudget};
use base::pools::Pool;
use dockerd::info::Info;
use dockerd::{Entry, Source, frame};

/// A registry, and a fake dockerd that holds the FIFOs open.
struct Host {
    dir: TempDir,
    registry: Registry,
    fifos: Vec<File>,
    /// Whether a ring hangs, see [`Host::hang`].
    hangs: Arc<AtomicBool>,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(&dir);
        Self { dir, registry, fifos: Vec::new(), hangs: Arc::default() }
    }

    async fn adopted() -> Self {
        let host = Self::new();
        host.registry.adopt().await;
        host
    }

    /// A FIFO that dockerd holds open.
    fn fifo(&mut self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        self.fifos.push(OpenOptions::new().read(true).write(true).open(&path).unwrap());
        path
    }

    /// Prints a line into FIFO number `at`.
    fn print(&mut self, at: usize, line: &[u8]) {
        let mut framed = Vec::new();
        frame::encode_for_reader(&Entry { source: Source::Stdout, time: 1, line, chunk: None }, &mut framed);
        self.fifos[at].write_all(&framed).unwrap();
    }

    /// Runs `hook` before a ring is opened.
    fn before_open(&self, hook: impl Fn(&str) + Send + Sync + 'static) {
        assert!(self.registry.inner.before_open.set(Box::new(hook)).is_ok());
    }

    /// Makes the opening of this container's ring hang until the barrier is passed.
    fn hang(&self, name: &'static str) -> Arc<Barrier> {
        let barrier = Arc::new(Barrier::new(2));
        let (hung, hangs) = (barrier.clone(), self.hangs.clone());
        self.before_open(move |id| {
            if id == name {
                hangs.store(true, Ordering::Release);
                hung.wait();
            }
        });
        barrier
    }

    /// Returns once a ring hangs. Paused time stands still from then on; while a call waits for a thread, it moves past
    /// every timeout.
    async fn until_one_hangs(&self) {
        while !self.hangs.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
    }

    fn is_unknown(&self, container: &str, file: &PathBuf) -> bool {
        let table = self.registry.table();
        let known = table.streams.contains_key(file) || table.containers.contains_key(container);
        drop(table);
        !known && !self.registry.inner.records.has(file)
    }
}

fn registry(dir: &TempDir) -> Registry {
    Registry::new(Setup {
        state_dir: dir.path().join("state"),
        hostname: "host".into(),
        defaults: PluginDefaults::default(),
        mistakes: Vec::new(),
        intake: Handle::current(),
        shipping: Handle::current(),
        counters: Default::default(),
        sent: Default::default(),
        pipelines: Arc::default(),
    })
}

fn info(container: &str) -> Info {
    let config = BTreeMap::from([("loki-url".to_owned(), "http://127.0.0.1:9/loki/api/v1/push".to_owned())]);
    Info { container_id: container.into(), container_name: format!("/{container}"), config, ..Info::default() }
}

/// Far less than any timeout, for calls that must not wait.
const AT_ONCE: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_container_whose_ring_hangs_makes_no_call_for_another_wait() {
    let mut host = Host::adopted().await;
    let (hung, other) = (host.fifo("hung"), host.fifo("other"));
    let barrier = host.hang("hung");
    let registry = host.registry.clone();
    let start = tokio::spawn(async move { registry.start(hung, info("hung")).await });
    host.until_one_hangs().await;
    host.registry.start(other.clone(), info("other")).await.unwrap();
    host.registry.reader("other").await.unwrap();
    host.registry.stop(&other).await;
    host.registry.view();
    barrier.wait();
    start.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_the_disk_does_not_answer_is_refused_and_leaves_nothing() {
    let mut host = Host::adopted().await;
    let (hung, again) = (host.fifo("hung"), host.fifo("again"));
    let barrier = host.hang("hung");
    let (registry, file) = (host.registry.clone(), hung.clone());
    let start = tokio::spawn(async move { registry.start(file, info("hung")).await });
    host.until_one_hangs().await;
    advance(START_PATIENCE).await;
    let refused = start.await.unwrap().unwrap_err();
    assert!(matches!(refused, StartError::Slow), "{refused}");
    assert!(refused.to_string().contains("has not answered for 5 s"), "{refused}");
    // A second start, and a `docker logs`, wait for the first and not longer.
    let waiting = [
        tokio::spawn({
            let (registry, file) = (host.registry.clone(), again.clone());
            async move { registry.start(file, info("hung")).await }
        }),
        tokio::spawn({
            let registry = host.registry.clone();
            async move { registry.reader("hung").await.map(drop) }
        }),
    ];
    tokio::task::yield_now().await;
    advance(START_PATIENCE).await;
    for call in waiting {
        assert!(matches!(call.await.unwrap(), Err(StartError::Slow)));
    }
    barrier.wait();
    drop(host.registry.claim("hung").await);
    assert!(host.is_unknown("hung", &hung) && host.is_unknown("hung", &again));
}

#[tokio::test]
async fn a_start_that_panics_is_refused_in_a_sentence_and_leaves_nothing() {
    let mut host = Host::adopted().await;
    let (broken, other) = (host.fifo("broken"), host.fifo("other"));
    host.before_open(|id| assert_ne!(id, "broken", "a bug"));
    let refused = host.registry.start(broken.clone(), info("broken")).await.unwrap_err();
    assert!(refused.to_string().contains("bug of the plugin"), "{refused}");
    assert!(host.is_unknown("broken", &broken));
    host.registry.start(other, info("other")).await.unwrap();
    // The claim on the container was released.
    let refused = host.registry.start(broken, info("broken")).await.unwrap_err();
    assert!(matches!(refused, StartError::Broken(_)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_call_during_recovery_waits_for_its_own_container_alone() {
    let mut host = Host::new();
    let files: Vec<_> = ["hung", "other"].map(|name| host.fifo(name)).into();
    for (file, name) in files.iter().zip(["hung", "other"]) {
        host.registry.inner.records.save(&Record { file: file.clone(), info: info(name) }).unwrap();
    }
    let new = host.fifo("new");
    let barrier = host.hang("hung");
    let registry = host.registry.clone();
    let adoption = tokio::spawn(async move { registry.adopt().await });
    host.until_one_hangs().await;
    host.registry.start(new, info("new")).await.unwrap();
    host.registry.reader("other").await.unwrap();
    host.registry.stop(&files[1]).await;
    assert!(!host.registry.is_adopted());
    // A stop is answered while the ring hangs.
    let registry = host.registry.clone();
    let hung = files[0].clone();
    let stop = tokio::spawn(async move { registry.stop(&hung).await });
    tokio::task::yield_now().await;
    advance(Duration::from_secs(1)).await;
    stop.await.unwrap();
    barrier.wait();
    adoption.await.unwrap();
    assert!(host.registry.is_adopted());
    assert!(host.registry.table().streams.contains_key(&files[0]), "it is read");
}

/// More containers than there are threads for adoption, and each takes for ever: a ring that hangs, or options that compile for long.
/// A call that waits for them is refused when its patience ends.
#[tokio::test]
async fn containers_that_are_slow_to_adopt_hold_up_no_first_call_for_another() {
    let mut host = Host::new();
    let names: [_; 2 * Pool::Adopt.threads()] = std::array::from_fn(|at| format!("slow-{at}"));
    for name in &names {
        let file = host.fifo(name);
        host.registry.inner.records.save(&Record { file, info: info(name) }).unwrap();
    }
    let new = host.fifo("new");
    let (closed, open) = mpsc::channel::<()>();
    let (open, hangs) = (Mutex::new(open), host.hangs.clone());
    host.before_open(move |id| {
        if id.starts_with("slow-") {
            hangs.store(true, Ordering::Release);
            let _ = open.lock().unwrap().recv();
        }
    });
    let registry = host.registry.clone();
    let adoption = tokio::spawn(async move { registry.adopt().await });
    host.until_one_hangs().await;
    host.registry.start(new.clone(), info("new")).await.unwrap();
    host.registry.reader("new").await.unwrap();
    host.registry.stop(&new).await;
    host.registry.view();
    assert!(!host.registry.is_adopted());
    drop(closed);
    adoption.await.unwrap();
    let table = host.registry.table();
    assert!(names.iter().all(|name| table.containers.contains_key(name)), "all are taken up in the end");
}

#[tokio::test]
async fn a_panic_over_one_record_keeps_no_other_container_from_being_resumed() {
    let mut host = Host::new();
    let names = ["a", "broken", "c"];
    let files: Vec<_> = names.map(|name| host.fifo(name)).into();
    for (file, name) in files.iter().zip(names) {
        host.registry.inner.records.save(&Record { file: file.clone(), info: info(name) }).unwrap();
    }
    host.before_open(|id| assert_ne!(id, "broken", "a bug"));
    host.registry.adopt().await;
    let table = host.registry.table();
    let read = files.iter().map(|file| table.streams.contains_key(file)).collect::<Vec<_>>();
    assert_eq!(read, [true, false, true]);
    assert!(table.strays.contains(&files[1]), "its container is not stuck");
    assert!(table.resuming.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_claim_excludes_others_until_it_is_dropped() {
    let host = Host::new();
    let claim = host.registry.claim("c").await;
    assert!(host.registry.try_claim("c").is_none() && host.registry.try_claim("d").is_some());
    assert!(timeout(AT_ONCE, host.registry.claim("c")).await.is_err());
    drop(claim);
    drop(host.registry.claim("c").await);
    host.registry.unclaimed("c").await;
}

#[tokio::test]
async fn the_record_of_a_stream_whose_fifo_cannot_be_opened_now_stays() {
    let host = Host::new();
    let [gone, loops] = ["gone", "loops"].map(|name| host.dir.path().join(name));
    std::os::unix::fs::symlink(&loops, &loops).unwrap();
    for (file, name) in [(&gone, "gone"), (&loops, "loops")] {
        host.registry.inner.records.save(&Record { file: file.clone(), info: info(name) }).unwrap();
    }
    host.registry.adopt().await;
    let records = &host.registry.inner.records;
    assert_eq!((records.has(&gone), records.has(&loops)), (false, true));
}

#[tokio::test]
async fn lines_that_wait_keep_the_description_that_the_process_before_has_written() {
    let mut host = Host::adopted().await;
    let (before, after) = (host.fifo("before"), host.fifo("after"));
    host.registry.start(before, info("c")).await.unwrap();
    let mut follow = host.registry.reader("c").await.unwrap().follow;
    host.print(0, b"waits");
    follow.wait_for(|to| to.next_seq > 0).await.unwrap();
    let next = registry(&host.dir);
    next.inner.known.send_replace(true);
    next.start(after, Info { container_name: "/renamed".into(), ..info("c") }).await.unwrap();
    let former: Vec<_> = former::load(&next.ring_dir("c"), 0).unwrap().into_iter().map(|former| former.info).collect();
    assert_eq!(former, [info("c")]);
}

#[tokio::test(start_paused = true)]
async fn lines_of_a_container_are_taken_up_when_the_start_that_had_its_claim_has_failed() {
    let mut host = Host::adopted().await;
    let file = host.fifo("before");
    host.registry.start(file.clone(), info("c")).await.unwrap();
    let mut follow = host.registry.reader("c").await.unwrap().follow;
    host.print(0, b"waits");
    follow.wait_for(|to| to.next_seq > 0).await.unwrap();
    let next = registry(&host.dir);
    next.inner.records.remove(&file);
    let start = next.claim("c").await;
    let adopted = tokio::spawn({
        let next = next.clone();
        async move { next.adopt().await }
    });
    // Paused time moves only while no task runs.
    tokio::time::sleep(AT_ONCE).await;
    drop(start);
    adopted.await.unwrap();
    assert!(next.table().containers.contains_key("c"));
}

#[tokio::test(start_paused = true)]
async fn docker_logs_of_a_ring_that_the_disk_does_not_give_is_refused_in_time() {
    let host = Host::adopted().await;
    let ring = host.registry.ring_dir("c");
    std::fs::create_dir_all(&ring).unwrap();
    // Opening this FIFO blocks until a process writes to it.
    let hangs = ring.join("cursor-hangs");
    mkfifo(&hangs, Mode::S_IRWXU).unwrap();
    let registry = host.registry.clone();
    let read = tokio::spawn(async move { registry.reader("c").await.map(drop) });
    tokio::task::yield_now().await;
    advance(START_PATIENCE).await;
    assert!(matches!(read.await.unwrap(), Err(StartError::Slow)));
    drop(OpenOptions::new().write(true).open(&hangs).unwrap());
}

#[tokio::test(start_paused = true)]
async fn resumed_rings_are_synced_at_once() {
    let mut host = Host::adopted().await;
    let file = host.fifo("fifo");
    host.registry.start(file, info("c")).await.unwrap();
    let streams = host.dir.path().join("state/streams");
    let is_synced =
        || fs::read_dir(&streams).unwrap().all(|entry| entry.unwrap().path().extension() == Some("json".as_ref()));
    assert!(!is_synced());
    let next = registry(&host.dir);
    let policy = Policy { retention: Duration::MAX, budget: RingBudget::Share(50) };
    tokio::spawn(crate::app::adopt_and_keep(next, policy));
    // Less than the time between two rounds.
    sleep(Duration::from_secs(1)).await;
    assert!(is_synced());
}
