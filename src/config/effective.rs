//! The options that are in force for a container, and the source of each value.

use serde::Serialize;

use super::departure::Departure;
use super::destination::{TypedUrl, hide_user_info, separate};
use super::options::{self as keys, OPTIONS};
use super::{PluginDefaults, RawOptions};
use base::refusal::quote;

/// An option that has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effective {
    pub key: String,
    /// The value, safe to show: it contains no secret.
    pub value: String,
    pub origin: Origin,
}

/// The source of a value. Later variants take precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The default in the table of options.
    BuiltIn,
    /// A setting of the plugin, by this name.
    Plugin(&'static str),
    /// The container, or daemon.json: dockerd copies its options into the container.
    Container,
}

/// The options in force, in the order of the table; unknown options come last.
pub fn effective(container: &RawOptions, defaults: &PluginDefaults) -> Vec<Effective> {
    let departure = Departure::of(container, defaults);
    let mut found = Vec::new();
    for spec in OPTIONS.iter().filter(|spec| spec.key != keys::CACHE) {
        // An empty URL counts as unset.
        let own = container.get(spec.key).filter(|value| spec.key != keys::LOKI_URL || !value.trim().is_empty());
        let own = own.map(|value| (value, Origin::Container));
        let plugin = || defaults.get(spec.key).filter(|_| !departure.withholds(spec.key));
        let plugin = || Some((plugin()?, Origin::Plugin(spec.env?)));
        let built_in = || Some((spec.default?, Origin::BuiltIn));
        if let Some((value, origin)) = own.or_else(plugin).or_else(built_in) {
            found.push(Effective { key: spec.key.to_owned(), value: shown(spec.key, value), origin });
        }
    }
    // Stages of a container replace those of the plugin, whichever option sets them.
    let forms = [keys::LOKI_PIPELINE_STAGES, keys::LOKI_PIPELINE_STAGE_FILE];
    if forms.iter().any(|key| container.get(key).is_some_and(|text| !text.is_empty())) {
        found.retain(|option| option.origin == Origin::Container || !forms.contains(&option.key.as_str()));
    }
    for (key, value) in container.0.iter().filter(|(key, _)| OPTIONS.iter().all(|spec| spec.key != key.as_str())) {
        // The value of an unknown option may be a secret.
        let value = if keys::spec(key).is_some() { quote(value) } else { "***".into() };
        found.push(Effective { key: key.clone(), value, origin: Origin::Container });
    }
    found
}

/// A value without secrets, on one line.
fn shown(key: &str, value: &str) -> String {
    match key {
        keys::LOKI_PASSWORD | keys::LOKI_HEADERS if !value.is_empty() => "***".into(),
        _ if value.contains("-----BEGIN") => "(PEM text)".into(),
        keys::LOKI_URL => {
            let shown =
                |url: &str| TypedUrl::parse(url).map_or_else(|_| hide_user_info(url), |url| url.url.to_string());
            let urls: Vec<_> = separate(value).into_iter().map(shown).collect();
            quote(&urls.join(","))
        }
        keys::LOKI_PROXY_URL => quote(&hide_user_info(value)),
        _ => quote(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_counts_before_the_plugin_and_the_plugin_before_the_table() {
        let container = RawOptions(
            [("loki-timeout", "3s"), ("loki-typo", "hunter2"), ("cache-disabled", "true"), ("loki-url", " ")]
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
        );
        let plugin = PluginDefaults::new([
            ("loki-timeout", "5s"),
            ("loki-batch-wait", "2s"),
            ("loki-url", "http://plugin/loki"),
        ]);
        let found = effective(&container, &plugin);
        let of =
            |key: &str| found.iter().find(|found| found.key == key).map(|found| (found.value.as_str(), found.origin));
        assert_eq!(of("loki-timeout"), Some(("\"3s\"", Origin::Container)));
        assert_eq!(of("loki-batch-wait"), Some(("\"2s\"", Origin::Plugin("LOKI_BATCH_WAIT"))));
        assert_eq!(of("loki-batch-size"), Some(("\"1048576\"", Origin::BuiltIn)));
        assert_eq!(of("loki-typo"), Some(("***", Origin::Container)));
        assert_eq!(of("cache-disabled"), Some(("\"true\"", Origin::Container)));
        assert_eq!(of("loki-url"), Some(("\"http://plugin/loki\"", Origin::Plugin("LOKI_URL"))));
        assert_eq!(of("loki-tenant-id"), None);
    }

    #[test]
    fn what_is_kept_from_a_container_is_not_in_force() {
        let container = RawOptions([("loki-url".into(), "http://elsewhere".into())].into());
        let plugin = PluginDefaults::new([("loki-url", "http://plugin/x"), ("loki-username", "operator")]);
        assert!(effective(&container, &plugin).iter().all(|found| found.key != "loki-username"));
        assert!(effective(&RawOptions::default(), &plugin).iter().any(|found| found.key == "loki-username"));
    }

    #[test]
    fn nothing_secret_is_shown() {
        for (key, value) in [
            ("loki-password", "hunter2"),
            ("loki-headers", "X-Key=hunter2"),
            ("loki-tls-key-file", "-----BEGIN PRIVATE KEY-----\\nhunter2"),
            ("loki-url", "http://me:hunter2@loki/x,https://me:hunter2@other/x"),
            ("loki-url", "http://me:hunt,er2@loki/x"),
            ("loki-url", "http://loki/hook/hunter2?key=hunter2"),
            ("loki-url", "loki:3100?key=hunter2"),
            ("loki-url", "me:hunter2@loki:3100"),
            ("loki-url", "http://a/x,me:hunter2@loki:3100"),
            ("loki-proxy-url", "http://me:hunter2@proxy:3128"),
            ("loki-proxy-url", "me:hunter2@proxy:3128"),
        ] {
            assert!(!shown(key, value).contains("hunt"), "{key}: {}", shown(key, value));
        }
        assert_eq!(shown("loki-url", "http://a/loki,http://b/api"), "\"http://a/loki,http://b/api\"");
    }
}
