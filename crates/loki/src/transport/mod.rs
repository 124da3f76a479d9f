//! How a request gets to Loki, and as whom: TLS, proxy, authorization, further headers. A leaf.
//!
//! * [`Transport`]: what was asked for, validated and without a look at any file; part of the key of the connection pool;
//! * [`material`]: certificates, keys and secrets, given as text or as a file;
//! * [`link`]: the connections, made anew when a file has changed;
//! * [`names`]: addresses of hosts, without waiting for a silent name server;
//! * [`tls`]: whom to trust, and who to be; [`proxy`]: the way round; [`connector`]: one connection;
//! * [`Secret`]: text that nothing prints; [`shown`]: URLs as they may be shown.
//!
//! A file is read when a container starts, where an unusable one is refused, and again when it has changed. One that
//! cannot be used later keeps what was last read of it in use: rotation is seldom one step.

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

/// How to get to Loki, and as whom. The default is what most have: public certificates, no proxy, nobody in particular.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Transport {
    pub tls: Tls,
    pub proxy: Option<Proxy>,
    /// Whom to be, when the URL does not say it.
    pub authorization: Option<Authorization>,
    /// Headers of every request, with values that HTTP can carry. Any of them may be a key to something.
    pub headers: Vec<(HeaderName, Secret)>,
}

/// Whom to trust, and who to be, behind an https URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates that are trusted *instead of* the public ones, as with Grafana's driver.
    pub ca: Option<Material>,
    /// A chain and its private key, in PEM; both or none.
    pub identity: Option<(Material, Material)>,
    /// The name to ask for and to look for in the certificate, instead of the URL's host.
    pub server_name: Option<String>,
    /// Believes every certificate.
    pub insecure: bool,
}

/// What `Authorization` says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authorization {
    /// RFC 7617.
    Basic { username: Secret, password: Option<Material> },
    /// RFC 6750.
    Bearer(Material),
}

// === impl Transport ===

impl Transport {
    /// Looks whether all files can be used.
    ///
    /// # Errors
    /// What is wrong with each that cannot.
    pub fn check(&self) -> Result<(), Vec<Flaw>> {
        link::Contents::read(self).and_then(|contents| tls::config(&self.tls, &contents).map_err(|flaw| vec![flaw]))?;
        Ok(())
    }

    /// What is to be said of files that were not read in time.
    pub fn unread(&self, silent: Silent) -> Vec<Flaw> {
        self.materials().filter(|material| material.is_file()).map(|material| material.unread(silent)).collect()
    }

    /// The folders of all files.
    pub fn folders(&self) -> Vec<PathBuf> {
        let named = self.materials().filter_map(Material::named);
        named.flat_map(Named::paths).map(|path| files::folder(&path)).collect()
    }

    /// All that is text or a file.
    fn materials(&self) -> impl Iterator<Item = &Material> {
        let identity = self.tls.identity.as_ref().map(|(certificate, key)| [certificate, key]);
        let secret = self.authorization.as_ref().and_then(|authorization| match authorization {
            Authorization::Basic { password, .. } => password.as_ref(),
            Authorization::Bearer(token) => Some(token),
        });
        self.tls.ca.iter().chain(identity.into_iter().flatten()).chain(secret)
    }
}

/// A header's value that shows itself to nobody.
fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}
