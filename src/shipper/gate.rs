//! A gate is a circuit [`Breaker`] at which many shippers wait.
//!
//! There is one for each destination and tenant, for rate limits and rejected credentials, and one for each host, for
//! failed connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::Uri;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::breaker::{Admission, Breaker, Standing};
use loki::transport::{Tls, Transport};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Gate {
    breaker: Mutex<Breaker>,
    changed: watch::Sender<()>,
}

/// The right to one push, whose result must be reported; a pass that is dropped counts as abandoned.
#[derive(Debug)]
pub struct Pass {
    gate: Option<Arc<Gate>>,
    who: Standing,
    is_probe: bool,
}

/// The key of connections that fail together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostKey {
    /// `http` or `https`.
    pub scheme: String,
    /// Name or address as in the URL, and the port.
    pub authority: String,
    /// The proxy that is used, without credentials.
    pub proxy: Option<String>,
    /// Trusted certificates and the client's identity: a handshake may fail because of them.
    pub tls: Tls,
}

/// The gates of all hosts in use.
#[derive(Debug, Default)]
pub struct Hosts(Mutex<HashMap<HostKey, Weak<Gate>>>);

// === impl Gate ===

impl Gate {
    /// Whether the breaker is closed and remembers no failure.
    pub fn is_at_rest(&self) -> bool {
        self.breaker().is_at_rest()
    }

    /// Whether the breaker is open, so that only probes go.
    pub fn is_open(&self) -> bool {
        self.breaker().is_open()
    }

    /// Whether a push may go now, without taking the right to it.
    pub fn look(&self, who: Standing) -> Admission {
        self.breaker().look(Instant::now(), who)
    }

    /// Waits until a push may go. Of several waiting shippers the first to call [`Gate::enter`] gets it.
    pub async fn wait(&self, who: Standing) {
        let mut changed = self.changed.subscribe();
        while let Admission::Wait(until) = self.look(who) {
            tokio::select! {
                () = sleep_until(until) => {}
                // `self` holds the sender, so this never fails.
                _ = changed.changed() => {}
            }
        }
    }

    /// Takes the right to one push, if it may go now.
    pub fn enter(self: &Arc<Self>, who: Standing) -> Option<Pass> {
        let mut breaker = self.breaker();
        let is_probe = breaker.is_open();
        let admission = breaker.admit(Instant::now(), who);
        (admission == Admission::Go).then(|| Pass { gate: Some(self.clone()), who, is_probe })
    }

    /// A pass for a push that ignores the breaker.
    pub fn pass(self: &Arc<Self>, who: Standing) -> Pass {
        Pass { gate: Some(self.clone()), who, is_probe: false }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pass ===

impl Pass {
    /// The same pass for a stream that is known only now.
    #[must_use]
    pub fn of(mut self, stream: u64) -> Self {
        self.who.stream = stream;
        self
    }

    /// Reports an answer that is no failure of the gate's key.
    pub fn succeeded(mut self) {
        if let Some(gate) = self.gate.take()
            && gate.breaker().succeeded(Instant::now())
        {
            gate.changed.send_replace(());
        }
    }

    /// Reports a failure whose cause may be the gate's key; the answer asks to wait for `asked`.
    pub fn failed(mut self, backoff: &Backoff, asked: Option<Duration>) {
        if let Some(gate) = self.gate.take() {
            gate.breaker().failed(Instant::now(), self.who.stream, backoff, asked);
            // When half-open, one more push may go.
            gate.changed.send_replace(());
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.breaker().abandoned(Instant::now(), self.who, self.is_probe);
            gate.changed.send_replace(());
        }
    }
}

// === impl HostKey ===

impl HostKey {
    /// The key of connections for requests to `url`.
    pub fn new(url: &str, transport: &Transport) -> Self {
        let uri: Uri = url.parse().unwrap_or_default();
        let scheme = uri.scheme_str().unwrap_or_default().to_owned();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let authority = format!("{}:{port}", uri.host().unwrap_or_default());
        let proxy = transport.proxy.as_ref().filter(|proxy| proxy.is_for(&uri)).map(|proxy| proxy.uri.to_string());
        Self { scheme, authority, proxy, tls: transport.tls.clone() }
    }
}

// === impl Hosts ===

impl Hosts {
    /// The gate of a host, shared by all its destinations.
    pub fn gate(&self, key: HostKey) -> Arc<Gate> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = hosts.get(&key).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::default();
        hosts.insert(key, Arc::downgrade(&gate));
        gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_to_one_host_in_one_way_shares_a_gate() {
        let hosts = Hosts::default();
        let key = |url| HostKey::new(url, &Transport::default());
        let one = hosts.gate(key("http://loki/loki/api/v1/push"));
        assert!(Arc::ptr_eq(&one, &hosts.gate(key("http://loki:80/behind/a/prefix"))));
        for other in ["http://loki:3100/", "https://loki/", "http://loki2/"] {
            assert!(!Arc::ptr_eq(&one, &hosts.gate(key(other))), "{other}");
        }
        let proxied = HostKey { proxy: Some("http://proxy".into()), ..key("http://loki/") };
        assert!(!Arc::ptr_eq(&one, &hosts.gate(proxied)));
        drop(one);
        assert_eq!(hosts.0.lock().unwrap().values().filter(|gate| gate.strong_count() > 0).count(), 0);
    }
}
