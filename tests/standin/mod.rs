//! A fake Grafana Loki: everything that a client of the push API can observe, in one process.
//!
//! It is a real HTTP server on loopback. It reads what Loki reads, rejects what Loki rejects with the same status and
//! the same sentence, forgets what Loki forgets, and fails on command. Its behaviour was compared with a real Loki
//! scenario by scenario (`tests/loki_contract.rs`), so a test that passes against it says something about the real one.
//!
//! ```text
//!  a request ──▶ server ──▶ routes ──▶ push ──────▶ distributor ──▶ store
//!               (port,     (path,     (body to    (limits, rates,  (order, duplicates,
//!                resets)    tenant,    streams)    what answer)     what is kept)
//!                           faults)                                     │
//!  a question ──▶ server ──▶ routes ──▶ query, selector ◀───────────────┘
//! ```
//!
//! - [`port`] listening, leaving, vanishing; [`server`] the connections; [`routes`] who is asked;
//!   [`visit`] a request on its way; [`control`] the orders over HTTP; [`answer`] what is answered
//! - [`push`] from bytes to entries, with [`proto`], [`labels`] and [`quoted`] strings
//! - [`distributor`] the order of the questions; [`limits`] verdicts without a memory;
//!   [`metadata`] and [`level`] what Loki changes and adds; [`bucket`] rates
//! - [`store`] verdicts with a memory; [`query`], [`selector`] and [`form`] what can be asked
//! - [`faults`] failures on command; [`state`] all of it behind one lock; [`clock`] times
//! - [`client`] a small HTTP client for tests; `main.rs` the same as a process, for a demo
//!
//! What it does not do: spread hot streams over shards, keep chunks, serve OTLP, tail, or answer
//! more of the query language than a selector with line filters and a count of it.
//!
//! ```ignore
//! let loki = Standin::start();
//! loki.fail(Failure::Status { code: 503, body: "later".into() }, Times::Next(2));
//! // … point a driver at loki.url() …
//! assert!(loki.wait_for(|state| state.count(&[("container_name", "web")]) == 3, PATIENCE));
//! ```

#![allow(dead_code, unused_imports, reason = "the demo and each test use a part of this")]

mod answer;
mod bucket;
pub mod client;
mod clock;
mod control;
mod distributor;
mod faults;
mod form;
mod labels;
mod level;
mod limits;
mod metadata;
mod port;
pub mod proto;
mod push;
mod query;
pub mod quoted;
mod routes;
mod selector;
mod server;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod visit;

pub use faults::{Failure, Times};
pub use limits::Limits;
pub use state::{Request, State, Stored};

use faults::Rule;
use server::{Manner, Server};
use state::Shared;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A running stand-in. Dropping it stops it.
pub struct Standin {
    server: Server,
    shared: Arc<Shared>,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Builder {
    limits: Limits,
    auth: bool,
    address: SocketAddr,
}

// === impl Builder ===

impl Builder {
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With `true` every request needs a tenant in `X-Scope-OrgID`.
    pub fn auth(mut self, enabled: bool) -> Self {
        self.auth = enabled;
        self
    }

    /// 0, as without a call, takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.address.set_port(port);
        self
    }

    /// The listening address; loopback by default.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Starts it. Panics if the port cannot be had, which is an error of the test.
    pub fn start(self) -> Standin {
        let address = self.address;
        self.try_start().unwrap_or_else(|error| panic!("the stand-in cannot listen on {address}: {error}"))
    }

    pub fn try_start(self) -> io::Result<Standin> {
        let shared = Arc::new(Shared::new(self.limits, self.auth));
        let server = Server::start(self.address, Arc::clone(&shared))?;
        Ok(Standin { server, shared })
    }
}

// === impl Standin ===

impl Standin {
    /// With Loki's default limits, without tenants, on a free port.
    pub fn start() -> Self {
        Self::builder().start()
    }

    pub fn builder() -> Builder {
        Builder { limits: Limits::default(), auth: false, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The URL that a client pushes to.
    pub fn push_url(&self) -> String {
        self.url() + routes::PUSH_PATHS[0]
    }

    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// Orders a failure of pushes; [`faults`] says how orders add up.
    pub fn fail(&self, failure: Failure, times: Times) {
        self.fail_only(&[], failure, times);
    }

    /// Orders a failure of those pushes that have a stream with all these labels.
    pub fn fail_only(&self, labels: &[(&str, &str)], failure: Failure, times: Times) {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let only = labels.iter().map(owned).collect();
        let rule = Rule { failure, times, only };
        self.shared.change(|state| state.script.add(rule));
    }

    /// Takes back all failures. Requests that hang already go on hanging.
    pub fn heal(&self) {
        self.shared.change(|state| state.script.heal());
    }

    /// Drops all connections and refuses new ones; what was stored stays.
    pub fn go_away(&self) {
        self.turn(Manner::Away);
    }

    /// Accepts connections and reads not a byte of them, nor of those that there are.
    pub fn go_deaf(&self) {
        self.turn(Manner::Deaf);
    }

    /// Becomes unreachable: packets vanish. New connections are neither accepted nor refused, and existing ones stay,
    /// without data.
    pub fn vanish(&self) {
        self.turn(Manner::Vanished);
    }

    /// Connections that there are fall silent; new ones are served.
    pub fn silence(&self) {
        self.turn(Manner::Silent);
    }

    /// Is there again, on the same port. Connections that were not heard are reset.
    pub fn come_back(&self) {
        self.turn(Manner::There);
    }

    fn turn(&self, manner: Manner) {
        let turned = self.server.turn(manner);
        turned.unwrap_or_else(|error| panic!("the stand-in cannot be {manner:?}: {error}"));
    }

    /// Changes the limits from the next request on.
    pub fn change_limits(&self, change: impl FnOnce(&mut Limits)) {
        self.shared.change(|state| change(&mut state.limits));
    }

    /// Answers pushes with 401 that have not this header, from now on, as a gateway in front of Loki does.
    pub fn demand(&self, name: &str, value: &str) {
        self.shared.change(|state| state.demanded = Some((name.to_owned(), value.to_owned())));
    }

    /// Forgets all lines, streams and requests, but not the failures ordered.
    pub fn forget(&self) {
        self.shared.change(|state| {
            state.store.clear();
            state.requests.clear();
        });
    }

    /// Stored lines in the order of arrival.
    pub fn entries(&self) -> Vec<Stored> {
        self.shared.look().entries()
    }

    /// Text of the stored lines that have all these labels, in the order of arrival.
    pub fn lines(&self, labels: &[(&str, &str)]) -> Vec<Vec<u8>> {
        self.shared.look().lines(labels)
    }

    /// Shows the stored lines that have all these labels, with their times and structured metadata, in the order of
    /// arrival. Nothing is stored meanwhile.
    pub fn each(&self, labels: &[(&str, &str)], show: impl FnMut(&[u8], i64, &[(String, String)])) {
        self.shared.look().each(labels, show);
    }

    /// How many stored lines have all these labels.
    pub fn count(&self, labels: &[(&str, &str)]) -> usize {
        self.shared.look().count(labels)
    }

    /// Requests of every kind, in the order they were done with; those to `/standin/` are left out.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.look().requests().to_vec()
    }

    /// The requests behind the first `seen` of them.
    pub fn requests_since(&self, seen: usize) -> Vec<Request> {
        let state = self.shared.look();
        state.requests().get(seen..).unwrap_or_default().to_vec()
    }

    /// Those of the requests that went to a push endpoint.
    pub fn pushes(&self) -> Vec<Request> {
        self.shared.look().pushes().cloned().collect()
    }

    /// Waits until something is so; `false` if it was not in time. The condition is looked at after
    /// each change, and must ask the `State` it is given: asking the stand-in itself would wait for
    /// a lock that is held.
    #[must_use]
    pub fn wait_for(&self, condition: impl Fn(&State) -> bool, patience: Duration) -> bool {
        self.shared.wait_for(condition, patience)
    }
}
