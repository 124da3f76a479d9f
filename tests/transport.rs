//! The way to Loki: TLS, authorization, proxies, each against a stand-in that insists on it.
//!
//! ```text
//! plugin ──HTTPS──▶ front ──HTTP──▶ standin        plugin ──CONNECT or whole URLs──▶ proxy ──▶ front or standin
//! ```
//!
//! * [`stage`]: the front, which ends TLS, the proxy, and certificates for both;
//! * [`tls`]: whom the plugin trusts, and who it is;
//! * [`auth`]: passwords, tokens and headers, and files that change;
//! * [`proxy`]: the way round;
//! * [`secrets`]: whatever happens, nothing of them is in what the plugin says or leaves for others to read.

mod auth;
mod proxy;
mod secrets;
pub mod stage;
mod tls;
