//! Resolves host names without waiting for a name server that is silent.
//!
//! Names are resolved by the C library (`getaddrinfo`) on the bounded threads of [`Pool::Names`]. It reads `/etc/hosts`
//! and `/etc/resolv.conf` like every other program on the host: search domains, options, IPv6, several servers, and
//! both files again when they have changed. A resolver in Rust (hickory-resolver) could be cancelled, but would add
//! about a tenth to the program, and would treat details of these files differently. `getaddrinfo` blocks a thread as
//! long as `resolv.conf` says, half a minute and more. So:
//!
//! * one look-up for each host is in flight, and later callers wait for the same one;
//! * callers wait only for a while, and the look-up continues without them;
//! * while a look-up hangs or fails, the addresses that were found last stay in use;
//! * nothing else is cached: each new connection starts a look-up, and connections are few.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tower_service::Service;

use base::pools::Pool;

/// How long a caller waits for the first addresses of a host. `resolv.conf` gives a server five seconds by default; a second server may still answer.
const PATIENCE: Duration = Duration::from_secs(PATIENCE_SECONDS);
const PATIENCE_SECONDS: u64 = 8;

/// How long a caller waits when earlier addresses are known.
const PATIENCE_WITH_OLD: Duration = Duration::from_secs(1);

/// How long addresses stay in use without a name server. Longer than its outages last; short enough that lines do not
/// go to a new owner of the address.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest number of remembered hosts; options name few. Beyond it the least recently used ones are forgotten, and
/// look-ups in flight bound the number of new ones.
const MOST_HOSTS: usize = 256;

type LookUp = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The result of a look-up.
type Found = Result<Arc<[IpAddr]>, Arc<str>>;

/// Resolves names; clones share the addresses.
#[derive(Clone)]
pub struct Names {
    look_up: Arc<LookUp>,
    hosts: Arc<Mutex<HashMap<Box<str>, Host>>>,
}

#[derive(Debug)]
struct Host {
    flight: Option<watch::Receiver<Option<Found>>>,
    /// The addresses that were found last, and when.
    good: Option<(Arc<[IpAddr]>, Instant)>,
    used: Instant,
}

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// No name server has answered so far.
    #[error("no name server answered for {0} within {PATIENCE_SECONDS} s")]
    Silent(Box<str>),
    /// The look-up failed.
    #[error("{0} cannot be resolved: {1}")]
    Failed(Box<str>, Arc<str>),
    /// Too many look-ups are in flight.
    #[error("{0} is not looked up: {MOST_HOSTS} other names wait for a name server")]
    Full(Box<str>),
}

// === impl Names ===

impl Names {
    /// The resolver of the whole plugin.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: OnceLock<Names> = OnceLock::new();
        SHARED.get_or_init(|| Self::with(system)).clone()
    }

    /// A resolver with another look-up than the system's.
    fn with(look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { look_up: Arc::new(look_up), hosts: Arc::default() }
    }

    /// The addresses of a host.
    ///
    /// # Errors When there are none, or a name server is silent and no earlier addresses are known.
    pub async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, NameError> {
        let (mut flight, old) = self.flight(host)?;
        let patience = if old.is_some() { PATIENCE_WITH_OLD } else { PATIENCE };
        let landed = timeout(patience, flight.wait_for(Option::is_some)).await;
        // An inner error means that the runtime shuts down.
        let found = landed.ok().and_then(|landed| landed.ok()?.clone());
        match (found, old) {
            (Some(Ok(addresses)), _) | (Some(Err(_)) | None, Some(addresses)) => Ok(addresses),
            (Some(Err(why)), None) => Err(NameError::Failed(host.into(), why)),
            (None, None) => Err(NameError::Silent(host.into())),
        }
    }

    /// The look-up of a host that is in flight, or a new one, and the earlier addresses.
    #[expect(clippy::type_complexity, reason = "both are used at once and nowhere else")]
    fn flight(&self, host: &str) -> Result<(watch::Receiver<Option<Found>>, Option<Arc<[IpAddr]>>), NameError> {
        let now = Instant::now();
        let mut hosts = self.hosts();
        if !hosts.contains_key(host) && hosts.len() >= MOST_HOSTS {
            let idle = hosts.iter().filter(|(_, host)| host.flight.is_none());
            let oldest = idle.min_by_key(|(_, host)| host.used).map(|(name, _)| name.clone());
            hosts.remove(&oldest.ok_or_else(|| NameError::Full(host.into()))?);
        }
        let entry = hosts.entry(host.into()).or_insert(Host { flight: None, good: None, used: now });
        entry.used = now;
        let old = entry.good.as_ref().filter(|(_, at)| now.duration_since(*at) < OLDEST).map(|(good, _)| good.clone());
        if let Some(flight) = &entry.flight {
            return Ok((flight.clone(), old));
        }
        let (tell, flight) = watch::channel(None);
        entry.flight = Some(flight.clone());
        drop(hosts);
        let (names, host) = (self.clone(), Box::<str>::from(host));
        // The look-up runs beside the caller, which may give up.
        tokio::spawn(async move {
            let (look_up, asked) = (names.look_up.clone(), host.clone());
            let found = match Pool::Names.run(move || look_up(&asked)).await {
                Ok(Ok(addresses)) if addresses.is_empty() => Err("it has no address".into()),
                Ok(Ok(addresses)) => Ok(addresses.into()),
                Ok(Err(error)) => Err(error.to_string().into()),
                Err(error) => Err(error.to_string().into()),
            };
            names.landed(&host, &found);
            tell.send_replace(Some(found));
        });
        Ok((flight, old))
    }

    fn landed(&self, host: &str, found: &Found) {
        if let Some(entry) = self.hosts().get_mut(host) {
            entry.flight = None;
            if let Ok(addresses) = found {
                entry.good = Some((addresses.clone(), Instant::now()));
            }
        }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<Box<str>, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Names").field(&self.hosts().len()).finish()
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NameError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NameError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NameError>> {
        // Always ready: `flight` bounds the look-ups.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        Box::pin(async move {
            let addresses = names.resolve(name.as_str()).await?;
            // The connector sets the port.
            let addresses: Vec<_> = addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

/// Asks the C library. Waits for name servers.
fn system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;
    use base::pools;

    /// A name server that answers each look-up with an address from its number, or not at all, after a delay.
    struct Server {
        names: Names,
        asked: Arc<AtomicUsize>,
        answers: Arc<Mutex<VecDeque<Option<u8>>>>,
        takes: Rc<Cell<Duration>>,
    }

    impl Server {
        fn new(answers: &[Option<u8>]) -> Self {
            let asked = Arc::new(AtomicUsize::new(0));
            let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<_>>()));
            let takes = Rc::new(Cell::new(Duration::ZERO));
            let delay = takes.clone();
            pools::test::simulate(move |_| delay.get());
            let (counted, left) = (asked.clone(), answers.clone());
            let names = Names::with(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = left.lock().unwrap().pop_front().flatten();
                answer.map(|last| vec![IpAddr::from([10, 0, 0, last])]).ok_or_else(|| io::Error::other("no such name"))
            });
            Self { names, asked, answers, takes }
        }

        async fn resolve(&self, host: &str) -> Result<u8, String> {
            match self.names.resolve(host).await {
                Ok(addresses) => match addresses[0] {
                    IpAddr::V4(address) => Ok(address.octets()[3]),
                    IpAddr::V6(_) => unreachable!("the server has none"),
                },
                Err(error) => Err(error.to_string()),
            }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            pools::test::reset();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_up_a_host_is_in_flight_and_callers_do_not_wait_for_its_end() {
        let server = Server::new(&[Some(1), Some(2)]);
        server.takes.set(Duration::from_secs(40));
        let begun = Instant::now();
        let mut all = JoinSet::new();
        for _ in 0..100 {
            let names = server.names.clone();
            all.spawn(async move { names.resolve("loki").await.map_err(|error| error.to_string()) });
        }
        for answer in all.join_all().await {
            assert_eq!(answer, Err("no name server answered for loki within 8 s".into()));
        }
        assert_eq!(begun.elapsed(), PATIENCE);
        // Later callers join it, and are answered when it ends.
        tokio::time::sleep_until(begun + Duration::from_secs(39)).await;
        assert_eq!(server.resolve("loki").await, Ok(1));
        assert_eq!(begun.elapsed(), Duration::from_secs(40));
        assert_eq!(server.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_addresses_are_used_on_while_a_look_up_hangs_or_fails_but_not_for_ever() {
        let server = Server::new(&[Some(1), Some(2), None]);
        assert_eq!(server.resolve("loki").await, Ok(1));
        server.takes.set(Duration::from_secs(40));
        let begun = Instant::now();
        assert_eq!(server.resolve("loki").await, Ok(1));
        assert_eq!(begun.elapsed(), PATIENCE_WITH_OLD);
        tokio::time::sleep_until(begun + Duration::from_secs(41)).await;
        server.takes.set(Duration::ZERO);
        // The result of the look-up that hung is used while the next one fails.
        assert_eq!(server.resolve("loki").await, Ok(2));
        tokio::time::sleep(OLDEST).await;
        assert_eq!(server.resolve("loki").await, Err("loki cannot be resolved: no such name".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_failure_nor_a_success_is_remembered_in_place_of_a_look_up() {
        let server = Server::new(&[None, Some(1), Some(2)]);
        assert_eq!(server.resolve("loki").await, Err("loki cannot be resolved: no such name".into()));
        assert_eq!(server.resolve("loki").await, Ok(1));
        assert_eq!(server.resolve("loki").await, Ok(2));
        assert_eq!(server.answers.lock().unwrap().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_that_are_remembered_have_an_end() {
        let server = Server::new(&[]);
        for at in 0..2 * MOST_HOSTS {
            let _ = server.resolve(&format!("host-{at}")).await;
        }
        assert_eq!(server.names.hosts().len(), MOST_HOSTS);
        server.takes.set(Duration::from_secs(100));
        let mut all = JoinSet::new();
        for at in 0..MOST_HOSTS {
            let names = server.names.clone();
            all.spawn(async move { names.resolve(&format!("silent-{at}")).await.is_err() });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(server.resolve("one-more").await.unwrap_err().contains("256 other names wait"));
        all.shutdown().await;
    }

    #[tokio::test]
    async fn the_system_knows_this_machine_and_addresses() {
        let addresses = Names::shared().resolve("localhost").await.unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
        assert!(Names::shared().resolve("no-such-name.invalid").await.is_err());
    }
}
