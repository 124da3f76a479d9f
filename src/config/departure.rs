//! A container departs if it uses another way to Loki than the plugin's settings; then it gets no credentials of the
//! plugin.
//!
//! Every user who may start a container chooses its options. Credentials that are set for the plugin are therefore sent
//! only to the plugin's own URL, through its own proxy, under its own TLS settings. A container that changes one of
//! these must set its own. A tenant id is no secret and stays.

use super::destination::TypedUrl;
use super::options::{self as keys, RawOptions, spec};
use super::parse;
use super::settings::PluginDefaults;

/// Settings that are only for the plugin's own way to Loki, because each is a credential or identifies the client.
const CREDENTIALS: [&str; 7] = [
    keys::LOKI_USERNAME,
    keys::LOKI_PASSWORD,
    keys::LOKI_PASSWORD_FILE,
    keys::LOKI_BEARER_TOKEN_FILE,
    keys::LOKI_HEADERS,
    keys::LOKI_TLS_CERT_FILE,
    keys::LOKI_TLS_KEY_FILE,
];

/// Options that decide which certificates are trusted.
const TRUST: [&str; 3] = [keys::LOKI_TLS_CA_FILE, keys::LOKI_TLS_SERVER_NAME, keys::LOKI_TLS_INSECURE_SKIP_VERIFY];

/// The options by which a container departs from the plugin's way to Loki.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Departure {
    /// The first option that names another server or proxy, or trusts other certificates.
    pub way: Option<&'static str>,
    /// Whether other certificates are trusted, so that the proxy may be another one, too.
    pub trust: bool,
}

// === impl Departure ===

impl Departure {
    pub fn of(container: &RawOptions, defaults: &PluginDefaults) -> Departure {
        let trust = TRUST.into_iter().find(|key| differs(key, container, defaults));
        let way = Some(keys::LOKI_URL).filter(|_| has_another_url(container, defaults));
        let way = way.or_else(|| Some(keys::LOKI_PROXY_URL).filter(|key| differs(key, container, defaults)));
        Departure { way: way.or(trust), trust: trust.is_some() }
    }

    /// Whether the container must not get the plugin's value of an option.
    pub fn withholds(&self, key: &str) -> bool {
        self.way.is_some() && CREDENTIALS.contains(&key)
    }

    /// A note for a container that does not get credentials of the plugin.
    pub fn note(&self, defaults: &PluginDefaults) -> Option<String> {
        let way = self.way?;
        let withheld = CREDENTIALS.into_iter().filter(|key| defaults.get(key).is_some());
        let names: Vec<_> = withheld.filter_map(|key| spec(key)?.env).collect();
        (!names.is_empty()).then(|| {
            let names = names.join(", ");
            format!("{way}: it is the container's own, so {names} of the plugin are not sent there (give the container its own)")
        })
    }
}

/// Whether the container names a server that the plugin's URL does not. An empty URL counts as unset.
fn has_another_url(container: &RawOptions, defaults: &PluginDefaults) -> bool {
    let Some(typed) = container.get(keys::LOKI_URL).filter(|url| !url.trim().is_empty()) else { return false };
    let read = |typed: &str| TypedUrl::parse_all(typed).ok();
    let (Some(own), Some(plugin)) = (read(typed), defaults.get(keys::LOKI_URL).and_then(read)) else { return true };
    own.iter().any(|own| plugin.iter().all(|plugin| plugin.url != own.url))
}

fn differs(key: &str, container: &RawOptions, defaults: &PluginDefaults) -> bool {
    let plugin = defaults.get(key).unwrap_or_default().trim();
    let Some(own) = container.get(key).map(str::trim) else { return false };
    if key == keys::LOKI_TLS_INSECURE_SKIP_VERIFY {
        // Turning verification on is harmless.
        let believes_all = |text: &str| parse::boolean(text).unwrap_or_default();
        return believes_all(own) && !believes_all(plugin);
    }
    own != plugin
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Destination, StreamOptions};

    const PLUGIN: &[(&str, &str)] = &[
        ("loki-url", "https://loki:3100,https://other"),
        ("loki-username", "operator"),
        ("loki-password", "hunter2"),
        ("loki-headers", "X-Key=hunter2"),
        ("loki-tls-ca-file", "ca.pem"),
        ("loki-tls-cert-file", "cert.pem"),
        ("loki-tls-key-file", "key.pem"),
        ("loki-proxy-url", "http://operator:hunter2@proxy:3128"),
        ("loki-tenant-id", "team"),
    ];

    fn read(plugin: &[(&str, &str)], container: &[(&str, &str)]) -> (Destination, Vec<String>) {
        let container: BTreeMap<_, _> =
            container.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let options = StreamOptions::parse(&container, &PluginDefaults::new(plugin.iter().copied()));
        let options = options.unwrap_or_else(|errors| panic!("{container:?}: {errors}"));
        (options.destinations[0].clone(), options.notes)
    }

    /// The plugin's credentials that a request of this container carries.
    fn carries(destination: &Destination) -> [bool; 3] {
        let transport = &destination.transport;
        [
            transport.authorization.is_some() || destination.credentials.is_some(),
            !transport.headers.is_empty(),
            transport.tls.identity.is_some(),
        ]
    }

    #[test]
    fn a_container_on_the_plugins_way_has_the_plugins_credentials() {
        for container in [
            &[][..],
            &[("loki-url", "")],
            &[("loki-url", "https://loki:3100/loki/api/v1/push")],
            &[("loki-url", "https://other")],
            &[("loki-tls-ca-file", "ca.pem"), ("loki-proxy-url", "http://operator:hunter2@proxy:3128")],
            &[("loki-tls-insecure-skip-verify", "false")],
            &[("loki-tenant-id", "another"), ("loki-timeout", "3s")],
        ] {
            let (destination, notes) = read(PLUGIN, container);
            assert_eq!(carries(&destination), [true; 3], "{container:?}");
            assert!(!notes.iter().any(|note| note.contains("the container's own")), "{notes:?}");
        }
    }

    #[test]
    fn a_container_that_goes_another_way_brings_its_own_credentials() {
        for container in [
            &[("loki-url", "https://elsewhere")][..],
            &[("loki-url", "http://loki:3100")],
            &[("loki-url", "https://loki:3101")],
            &[("loki-url", "https://loki:3100/another/path")],
            &[("loki-url", "https://loki:3100,https://elsewhere")],
            &[("loki-proxy-url", "http://elsewhere:3128")],
            &[("loki-proxy-url", "")],
            &[("loki-tls-ca-file", "own.pem")],
            &[("loki-tls-ca-file", "")],
            &[("loki-tls-server-name", "elsewhere")],
            &[("loki-tls-insecure-skip-verify", "T")],
        ] {
            let (destination, notes) = read(PLUGIN, container);
            assert_eq!(carries(&destination), [false; 3], "{container:?}");
            assert_eq!(destination.tenant_id.as_deref(), Some("team"), "{container:?}");
            let expected = format!(
                "{}: it is the container's own, so LOKI_USERNAME, LOKI_PASSWORD, LOKI_HEADERS, LOKI_TLS_CERT_FILE, \
                 LOKI_TLS_KEY_FILE of the plugin are not sent there (give the container its own)",
                container[0].0
            );
            assert!(notes.contains(&expected), "{notes:?}");
            let own = [container, &[("loki-username", "me"), ("loki-password", "own")]].concat();
            assert!(carries(&read(PLUGIN, &own).0)[0], "{container:?}");
        }
    }

    #[test]
    fn user_info_of_the_plugins_url_goes_its_own_way_only() {
        let plugin = [("loki-url", "https://operator:hunter2@loki")];
        assert!(read(&plugin, &[]).0.credentials.is_some());
        for way in [("loki-proxy-url", "http://elsewhere"), ("loki-tls-insecure-skip-verify", "true")] {
            assert_eq!(read(&plugin, &[way]).0.credentials, None, "{way:?}");
        }
        let own = [("loki-url", "https://me:own@elsewhere")];
        assert!(read(&plugin, &own).0.credentials.is_some());
    }

    #[test]
    fn a_proxy_is_told_the_plugins_password_unless_another_may_pass_for_it() {
        let tells =
            |container: &[(&str, &str)]| read(PLUGIN, container).0.transport.proxy.unwrap().authorization.is_some();
        assert!(tells(&[]));
        assert!(tells(&[("loki-url", "https://elsewhere")]));
        for (key, value) in [("loki-tls-insecure-skip-verify", "true"), ("loki-tls-ca-file", "own.pem")] {
            assert!(!tells(&[(key, value)]), "{key}");
        }
    }
}
