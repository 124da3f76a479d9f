//! Connections and authentication for requests to Loki: TLS, proxy, authorization, additional headers.
//!
//! * [`Transport`]: the validated options, without access to files; part of the key of the connection pool;
//! * [`material`]: certificates, keys and secrets, given as text or as a file;
//! * [`link`]: the connections, replaced when a file has changed;
//! * [`names`]: addresses of hosts, without waiting for a silent name server;
//! * [`tls`]: trusted certificates and the client's identity; [`proxy`]: the HTTP proxy; [`connector`]: one connection;
//! * [`Secret`]: text that is never printed; [`shown`]: URLs that are safe to show.
//!
//! Files are read when a container starts, which is refused if one is unusable, and again when they have changed. If a
//! changed file is unusable, the last good content stays in use: rotation is seldom one step.

pub mod connector;
pub mod link;
pub mod material;
pub mod names;
pub mod proxy;
mod secret;
pub mod shown;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated;
pub mod tls;

use std::path::PathBuf;

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::header::InvalidHeaderValue;

use base::files::{self, Named, Silent};
pub use link::Link;
pub use material::{Flaw, Material};
pub use proxy::{NoProxy, Proxy};
pub use secret::Secret;

/// TLS, proxy and authentication of requests. The default is the common case: public certificates, no proxy, no
/// credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Transport {
    pub tls: Tls,
    pub proxy: Option<Proxy>,
    /// Credentials, when the URL has none.
    pub authorization: Option<Authorization>,
    /// Headers of every request, with values that HTTP can carry. Each value may be a secret.
    pub headers: Vec<(HeaderName, Secret)>,
}

/// Trusted certificates and the client's identity for an https URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates that are trusted *instead of* the public ones, as with Grafana's driver.
    pub ca: Option<Material>,
    /// The client's certificate chain and private key, in PEM; both or none.
    pub identity: Option<(Material, Material)>,
    /// The name to send and to verify in the certificate, instead of the URL's host.
    pub server_name: Option<String>,
    /// Skips certificate verification (insecure).
    pub insecure: bool,
}

/// The content of `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authorization {
    /// Basic authentication, RFC 7617.
    Basic { username: Secret, password: Option<Material> },
    /// A bearer token, RFC 6750.
    Bearer(Material),
}

// === impl Transport ===

impl Transport {
    /// Checks whether all files can be used.
    ///
    /// # Errors A flaw for each file that cannot.
    pub fn check(&self) -> Result<(), Vec<Flaw>> {
        link::Contents::read(self).and_then(|contents| tls::config(&self.tls, &contents).map_err(|flaw| vec![flaw]))?;
        Ok(())
    }

    /// Flaws for files that were not read in time.
    pub fn unread(&self, silent: Silent) -> Vec<Flaw> {
        self.materials().filter(|material| material.is_file()).map(|material| material.unread(silent)).collect()
    }

    /// The folders of all files.
    pub fn folders(&self) -> Vec<PathBuf> {
        let named = self.materials().filter_map(Material::named);
        named.flat_map(Named::paths).map(|path| files::folder(&path)).collect()
    }

    /// All texts and files.
    fn materials(&self) -> impl Iterator<Item = &Material> {
        let identity = self.tls.identity.as_ref().map(|(certificate, key)| [certificate, key]);
        let secret = self.authorization.as_ref().and_then(|authorization| match authorization {
            Authorization::Basic { password, .. } => password.as_ref(),
            Authorization::Bearer(token) => Some(token),
        });
        self.tls.ca.iter().chain(identity.into_iter().flatten()).chain(secret)
    }
}

/// A header value that `Debug` does not show.
fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}
