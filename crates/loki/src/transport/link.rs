//! The connections to one destination, replaced when a file that they depend on has changed.
//!
//! Files are checked before a push, every two seconds at most. When one has changed, all are read. The result replaces
//! the connections only if it is usable as a whole: a new certificate waits for its key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, PROXY_AUTHORIZATION};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use super::connector::Connector;
use super::material::{Flaw, Stamp};
use super::shown::shown;
use super::{Authorization, Material, Transport, sensitive, tls};
use base::files;
use telemetry::throttle::Throttle;

/// The time between two checks of the files.
const LOOK: Duration = Duration::from_secs(2);

/// How long idle connections are kept. Loki closes them after 120 s, so no push meets a connection that is closing.
const IDLE: Duration = Duration::from_secs(60);

/// Idle connections that are kept open to a destination.
const IDLE_CONNECTIONS: usize = 8;

/// The connections to one destination.
#[derive(Debug)]
pub struct Link {
    transport: Transport,
    /// The URL that requests go to.
    target: Uri,
    /// How long it may take to connect.
    patience: Duration,
    state: Mutex<State>,
    /// Becomes true when the files were checked for the first time.
    first: watch::Sender<bool>,
    unusable: Throttle,
}

/// The connections and headers of requests.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The pool.
    pub http: Client<Connector, Full<Bytes>>,
    /// Headers of every request.
    pub headers: HeaderMap,
    contents: Arc<Contents>,
    connector: Connector,
    /// The number of this pool, so that each is dropped only once.
    pool: u64,
}

/// The contents of the files.
#[derive(Default, PartialEq, Eq)]
pub struct Contents {
    pub(super) ca: Option<Vec<u8>>,
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    authorization: Option<HeaderValue>,
}

#[derive(Debug)]
struct State {
    /// The files' stamps when they were last read.
    stamps: Option<Vec<Option<Stamp>>>,
    ready: Result<Ready, Vec<Flaw>>,
    /// When the files were last checked.
    looked: Option<Instant>,
    /// Whether a check is running; a file system that hangs is asked only once.
    looking: bool,
}

/// A running check. When it is dropped, finished or not, the next one may start.
struct Looking(Arc<Link>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.state().looking = false;
    }
}

// === impl Contents ===

impl Contents {
    /// Reads all files.
    ///
    /// # Errors A flaw for each file that cannot be read.
    pub fn read(transport: &Transport) -> Result<Contents, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let mut keep = |read: Result<Vec<u8>, Flaw>| read.map_err(|flaw| flaws.push(flaw)).ok();
        let ca = transport.tls.ca.as_ref().and_then(|ca| keep(ca.read()));
        let identity = transport.tls.identity.as_ref().and_then(|(certificate, key)| {
            let (certificate, key) = (keep(certificate.read()), keep(key.read()));
            certificate.zip(key)
        });
        let authorization = transport.authorization.as_ref().and_then(|authorization| {
            let value = authorization.value();
            value.map_err(|flaw| flaws.push(flaw)).ok()
        });
        if flaws.is_empty() { Ok(Contents { ca, identity, authorization }) } else { Err(flaws) }
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents(***)")
    }
}

// === impl Authorization ===

impl Authorization {
    fn value(&self) -> Result<HeaderValue, Flaw> {
        match self {
            Authorization::Basic { username, password } => {
                let password = password.as_ref().map(|password| password.read_secret()).transpose()?;
                let pair = format!("{}:{}", username.expose(), password.unwrap_or_default().expose());
                let value = sensitive(&format!("Basic {}", STANDARD.encode(pair)));
                value.map_err(|_| Flaw { option: "loki-username", reason: "cannot be sent".into() })
            }
            Authorization::Bearer(token) => {
                let secret = token.read_secret()?;
                let value = sensitive(&format!("Bearer {}", secret.expose()));
                value.map_err(|_| token.flaw("has characters that a header cannot carry"))
            }
        }
    }
}

// === impl Link ===

impl Link {
    /// Connections to `target`. None is opened and no file is read yet, so a file system that hangs delays only pushes
    /// to this destination.
    pub fn new(transport: Transport, target: Uri, patience: Duration) -> Arc<Link> {
        let name: Arc<str> = shown(&target.to_string()).into();
        let state = State { stamps: None, ready: Err(Vec::new()), looked: None, looking: false };
        let unusable = Throttle::new(&name, |destination, _, reason| {
            warn!(%destination, %reason, "files that changed cannot be used; what was read of them before is used on");
        });
        let (state, first) = (Mutex::new(state), watch::Sender::new(false));
        Arc::new(Link { transport, target, patience, state, first, unusable })
    }

    /// Returns the connections and headers for a request. Checks the files when that is due.
    ///
    /// # Errors When the files could not be used so far, with a sentence for each.
    pub async fn ready(self: &Arc<Self>) -> Result<Ready, String> {
        if self.is_due() {
            let looking = Looking(self.clone());
            if let Err(silent) = files::look(self.transport.folders(), move || looking.0.look()).await
                && *self.first.borrow()
            {
                self.unusable.lasts(|| sentences(&self.transport.unread(silent)));
            }
        }
        let mut first = self.first.subscribe();
        // `self` holds the sender.
        match timeout(files::PATIENCE, first.wait_for(|looked| *looked)).await {
            Ok(_) => self.state().ready.clone().map_err(|flaws| sentences(&flaws)),
            Err(_) => Err(sentences(&self.transport.unread(files::Silent))),
        }
    }

    /// Drops the pool of a request that found a dead connection: the others have been idle as long, and each would cost
    /// a timeout. Only the first report for a pool has an effect; requests in flight are not affected.
    pub fn renew(&self, used: &Ready) {
        if let Ok(ready) = &mut self.state().ready
            && ready.pool == used.pool
        {
            ready.http = pool(ready.connector.clone());
            ready.pool += 1;
        }
    }

    /// Whether the caller must check the files, with a [`Looking`].
    fn is_due(&self) -> bool {
        let has_files = self.transport.materials().any(Material::is_file);
        let mut state = self.state();
        let due = state.looked.is_none_or(|looked| has_files && looked.elapsed() >= LOOK) && !state.looking;
        state.looking |= due;
        due
    }

    /// Reads files that have changed. Waits for the disk.
    fn look(&self) {
        // Stamps are taken before the files are read, so that a change meanwhile is seen the next time.
        let stamps: Vec<_> = self.transport.materials().map(|material| material.stamp()).collect();
        let before = {
            let state = self.state();
            let unchanged = state.stamps.as_ref().is_some_and(|before| {
                self.transport.materials().zip(stamps.iter().zip(before)).all(|(material, (now, then))| {
                    !material.is_file() || then.zip(*now).is_some_and(|(then, now)| then.still_holds(&now))
                })
            });
            if unchanged { None } else { Some(state.ready.clone().ok()) }
        };
        let made = before.map(|before| (self.make(before.as_ref()), before));
        let mut state = self.state();
        state.looked = Some(Instant::now());
        let Some((made, before)) = made else { return };
        match (made, before) {
            (Err(flaws), Some(_)) => {
                // The stamps stay unchanged, so that the next check retries.
                drop(state);
                self.unusable.lasts(|| sentences(&flaws));
            }
            (made, before) => {
                let renewed = matches!((&made, &before), (Ok(now), Some(then)) if now.contents != then.contents);
                // A file that could not be read is retried, whatever its stamp.
                state.stamps = made.is_ok().then_some(stamps);
                state.ready = made;
                drop(state);
                self.first.send_replace(true);
                if renewed {
                    info!(
                        destination = shown(&self.target.to_string()),
                        "files have changed, and what is in them is used from now on"
                    );
                }
            }
        }
    }

    /// Makes connections and headers; the pool stays when nothing that it depends on has changed.
    fn make(&self, before: Option<&Ready>) -> Result<Ready, Vec<Flaw>> {
        let contents = Contents::read(&self.transport)?;
        let tls = &self.transport.tls;
        let same = before
            .filter(|before| (&before.contents.ca, &before.contents.identity) == (&contents.ca, &contents.identity));
        let (http, connector, pool) = match same {
            Some(before) => (before.http.clone(), before.connector.clone(), before.pool),
            None => {
                let config = tls::config(tls, &contents).map_err(|flaw| vec![flaw])?;
                let name = tls.server_name.clone().and_then(|name| ServerName::try_from(name).ok());
                let connector = Connector::new(config, name.as_ref(), self.transport.proxy.as_ref(), self.patience);
                (pool(connector.clone()), connector, before.map_or(0, |before| before.pool + 1))
            }
        };
        Ok(Ready { http, headers: self.headers(&contents), contents: Arc::new(contents), connector, pool })
    }

    fn headers(&self, contents: &Contents) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.transport.headers {
            // The value was validated with the options.
            if let Ok(value) = sensitive(value.expose()) {
                headers.append(name, value);
            }
        }
        if let Some(authorization) = &contents.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        // With https only the proxy gets this header, see `Connector`.
        let asked = self.transport.proxy.as_ref().filter(|proxy| proxy.is_for(&self.target));
        if let Some(authorization) = asked.and_then(|proxy| proxy.authorization.as_ref())
            && self.target.scheme_str() == Some("http")
            && let Ok(authorization) = sensitive(authorization.expose())
        {
            headers.insert(PROXY_AUTHORIZATION, authorization);
        }
        headers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pool without connections.
fn pool(connector: Connector) -> Client<Connector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

fn sentences(flaws: &[Flaw]) -> String {
    let sentences: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}
