//! Connections to Loki: TLS, authorization, proxies, each with a server that requires it.
//!
//! ```text
//! plugin ──HTTPS──▶ front ──HTTP──▶ standin        plugin ──CONNECT or whole URLs──▶ proxy ──▶ front or standin
//! ```
//!
//! * [`stage`]: the front, which terminates TLS, the proxy, and certificates for both;
//! * [`tls`]: trusted certificates and the plugin's identity;
//! * [`auth`]: passwords, tokens and headers, and files that change;
//! * [`proxy`]: HTTP proxies;
//! * [`secrets`]: no secret is in the plugin's output or in a file that other users can read.

mod auth;
mod proxy;
mod secrets;
pub mod stage;
mod tls;
