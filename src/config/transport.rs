//! Parses the options about TLS, proxy, authorization and headers.
//!
//! A value may be a secret, so an error shows only paths and names. An empty value counts as unset, so that a container
//! can override the plugin's.

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use rustls::pki_types::ServerName;
use url::Url;

use super::destination::{Credentials, refuse, scheme_length, take_credentials};
use super::options::{self as keys, OptionError};
use super::parse;
use super::reader::Reader;
use super::settings::NO_PROXY;
use base::files::Named;
use base::refusal::{Refusal, quote};
use loki::transport::{Authorization, Material, NoProxy, Proxy, Secret, Tls, Transport};

/// The prefix of a value that is the text itself, not the path of a file.
const PEM: &str = "-----BEGIN";

/// The name of the URL's user info in messages.
const USER_INFO: &str = "the user info in loki-url";

/// Headers that HTTP or the driver sets itself, and what to use instead.
const TAKEN: [(&str, &str); 16] = [
    ("authorization", "use loki-username or loki-bearer-token-file"),
    ("connection", ""),
    ("content-encoding", ""),
    ("content-length", ""),
    ("content-type", ""),
    ("expect", ""),
    ("host", "use loki-url"),
    ("keep-alive", ""),
    ("proxy-authorization", "use loki-proxy-url"),
    ("proxy-connection", ""),
    ("te", ""),
    ("trailer", ""),
    ("transfer-encoding", ""),
    ("upgrade", ""),
    ("user-agent", ""),
    ("x-scope-orgid", "use loki-tenant-id"),
];

/// The source of an option. Later variants take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Speaker {
    Plugin,
    Container,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The transport. `url_says_who`: whether the URL has user info.
    pub(super) fn transport(&mut self, url_says_who: bool) -> Option<Transport> {
        let mistakes = self.errors.len();
        let tls = self.tls();
        let bypass = self.defaults.no_proxy();
        let mut proxy = self.optional(keys::LOKI_PROXY_URL, |text| proxy(text, bypass.cloned().unwrap_or_default()));
        if self.departure.trust && self.container.get(keys::LOKI_PROXY_URL).is_none() {
            // These credentials are the plugin's, and the certificate may belong to another server.
            proxy.iter_mut().for_each(|proxy| proxy.authorization = None);
        }
        if let (Some(_), Err(refusal)) = (&proxy, bypass) {
            self.errors.push(OptionError::new(NO_PROXY, refusal));
        }
        let authorization = self.authorization(url_says_who);
        let headers = self.said(keys::LOKI_HEADERS).map_or(Ok(Vec::new()), |(_, text)| headers(text));
        let headers = headers.map_err(|reason| self.errors.push(OptionError::new(keys::LOKI_HEADERS, reason)));
        let transport = Transport { tls, proxy, authorization, headers: headers.unwrap_or_default() };
        (self.errors.len() == mistakes).then_some(transport)
    }

    fn tls(&mut self) -> Tls {
        let ca = self.material(keys::LOKI_TLS_CA_FILE);
        let certificate = self.material(keys::LOKI_TLS_CERT_FILE);
        let key = self.material(keys::LOKI_TLS_KEY_FILE);
        if certificate.is_some() != key.is_some() {
            let (given, missing) = match certificate {
                Some(_) => (keys::LOKI_TLS_CERT_FILE, keys::LOKI_TLS_KEY_FILE),
                None => (keys::LOKI_TLS_KEY_FILE, keys::LOKI_TLS_CERT_FILE),
            };
            self.errors.push(OptionError::new(given, format!("is of no use without {missing} (give both or neither)")));
        }
        let server_name = self.optional(keys::LOKI_TLS_SERVER_NAME, server_name);
        let insecure = self.required(keys::LOKI_TLS_INSECURE_SKIP_VERIFY, parse::boolean);
        Tls { ca, identity: certificate.zip(key), server_name, insecure: insecure.unwrap_or_default() }
    }

    /// The authorization, unless the URL takes precedence. Two kinds at once are an error, unless one is the plugin's
    /// and the other the container's.
    fn authorization(&mut self, url_says_who: bool) -> Option<Authorization> {
        let url =
            url_says_who.then_some((if self.has_own_url() { Speaker::Container } else { Speaker::Plugin }, USER_INFO));
        let speaker = |key| self.said(key).map(|(who, _)| (who, key));
        let basic = [keys::LOKI_PASSWORD_FILE, keys::LOKI_PASSWORD, keys::LOKI_USERNAME];
        let basic = basic.into_iter().filter_map(speaker).max_by_key(|(who, _)| *who);
        let ways = [url, basic, speaker(keys::LOKI_BEARER_TOKEN_FILE)];
        let loudest = ways.iter().flatten().map(|(who, _)| *who).max()?;
        let mut loud = ways.into_iter().flatten().filter(|(who, _)| *who == loudest).map(|(_, key)| key);
        let first = loud.next()?;
        if let Some(other) = loud.next() {
            self.contradiction(other, first);
            return None;
        }
        match first {
            USER_INFO => None,
            keys::LOKI_BEARER_TOKEN_FILE => {
                let (_, path) = self.said(first)?;
                self.file(first, path).map(Authorization::Bearer)
            }
            _ => self.basic(first),
        }
    }

    /// Basic authentication; `given` is the option that asks for it.
    fn basic(&mut self, given: &str) -> Option<Authorization> {
        let (text, path) = (self.said(keys::LOKI_PASSWORD), self.said(keys::LOKI_PASSWORD_FILE));
        let password = match (text, path) {
            (Some((text, _)), Some((path, _))) if text == path => {
                self.contradiction(keys::LOKI_PASSWORD_FILE, keys::LOKI_PASSWORD);
                return None;
            }
            (Some((who, text)), path) if path.is_none_or(|(other, _)| other < who) => {
                Some(Material::text(keys::LOKI_PASSWORD, text))
            }
            (_, Some((_, path))) => Some(self.file(keys::LOKI_PASSWORD_FILE, path)?),
            _ => None,
        };
        let Some((_, username)) = self.said(keys::LOKI_USERNAME) else {
            let reason = format!("is of no use without {} (give both or neither)", keys::LOKI_USERNAME);
            self.errors.push(OptionError::new(given, reason));
            return None;
        };
        if username.contains(|c: char| c == ':' || c.is_control()) {
            let reason = "is not a name that basic authentication can carry (leave out colons and control characters)";
            self.errors.push(OptionError::new(keys::LOKI_USERNAME, reason));
            return None;
        }
        Some(Authorization::Basic { username: Secret::new(username), password })
    }

    pub(super) fn contradiction(&mut self, key: &str, other: &str) {
        self.errors.push(OptionError::new(key, format!("contradicts {other} (give one of them)")));
    }

    /// The value of an option and its source. A container that uses another way to Loki does not get credentials of the
    /// plugin.
    pub(super) fn said(&self, key: &str) -> Option<(Speaker, &'a str)> {
        let typed = self.container.get(key).map(|text| (Speaker::Container, text));
        let plugin = || self.defaults.get(key).filter(|_| !self.departure.withholds(key));
        let typed = typed.or_else(|| Some((Speaker::Plugin, plugin()?)));
        typed.filter(|(_, text)| !text.is_empty())
    }

    /// Certificates or a key: a file, or the text itself.
    fn material(&mut self, key: &'static str) -> Option<Material> {
        let (_, text) = self.said(key)?;
        match text.trim_start() {
            // In many places a value must be one line.
            pem if pem.starts_with(PEM) => Some(Material::text(key, pem.replace("\\n", "\n"))),
            _ => self.file(key, text),
        }
    }

    /// The file that an option names, in one of the allowed folders. `None` only when an error was recorded.
    pub(super) fn file(&mut self, key: &'static str, path: &str) -> Option<Material> {
        let named = self.defaults.folders().name(path);
        let named = named.map_err(|outside| {
            let refusal = Refusal::new(path, outside.to_string());
            self.errors.push(OptionError::new(key, refusal));
        });
        let named = named.ok()?;
        if self.is_withheld(&named) && self.container.get(key).is_some() {
            let reason = "names a file with a credential of the plugin, which is for the plugin's own URL, proxy and TLS \
                          settings (give the container a file of its own)";
            self.errors.push(OptionError::new(key, reason));
            return None;
        }
        Some(Material::file(key, named))
    }

    /// Whether a container that uses another way to Loki names a file that the settings reserve for the plugin's way.
    fn is_withheld(&self, file: &Named) -> bool {
        let folders = self.defaults.folders();
        let secrets = [keys::LOKI_PASSWORD_FILE, keys::LOKI_BEARER_TOKEN_FILE, keys::LOKI_TLS_KEY_FILE];
        let mut kept = secrets.into_iter().filter(|key| self.departure.withholds(key));
        kept.any(|key| {
            self.defaults.get(key).and_then(|path| folders.name(path).ok()).is_some_and(|kept| kept.meets(file))
        })
    }
}

// === parsers of single options ===

fn server_name(text: &str) -> Result<Option<String>, Refusal> {
    match text {
        "" => Ok(None),
        name if ServerName::try_from(name).is_ok() => Ok(Some(name.to_owned())),
        _ => Err(Refusal::new(text, "is not a host name (try loki.example.com)")),
    }
}

fn proxy(typed: &str, bypass: NoProxy) -> Result<Option<Proxy>, Refusal> {
    let text = typed.trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    let refused = || refuse(text, "is not an http or https URL of a proxy (try http://proxy.example.com:3128)");
    let scheme = scheme_length(text).ok_or_else(refused)?;
    // The URL standard would skip additional slashes.
    let mut url = Url::parse(text).ok().filter(|_| !text[scheme..].starts_with(['/', '\\'])).ok_or_else(refused)?;
    let credentials = take_credentials(&mut url).ok_or_else(refused)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(refused());
    }
    let uri: Uri = url.as_str().parse().map_err(|_| refused())?;
    let authorization = credentials.as_ref().map(Credentials::authorization).map(Secret::new);
    Ok(Some(Proxy { uri, authorization, bypass }))
}

/// Parses names and values; the error contains no value.
fn headers(text: &str) -> Result<Vec<(HeaderName, Secret)>, String> {
    let pairs = text.split(',').enumerate().map(|(at, pair)| {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("is not Name=value,Name=value (part {} has no =, try X-Team=a,X-Site=b)", at + 1))?;
        let name = name.trim();
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            // An invalid name may be part of a secret that contains a comma.
            format!(
                "is not Name=value,Name=value (part {} begins with no name of a header, try X-Team=a,X-Site=b)",
                at + 1
            )
        })?;
        if let Some((_, instead)) = TAKEN.iter().find(|(taken, _)| *taken == known.as_str()) {
            let instead = if instead.is_empty() { String::new() } else { format!(", {instead}") };
            return Err(format!("cannot set {} (that is the driver's{instead})", quote(name)));
        }
        HeaderValue::from_str(value).map_err(|_| {
            format!("has a value of {} that a header cannot carry (use ASCII without control characters)", quote(name))
        })?;
        Ok((known, Secret::new(value)))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::options::OptionErrors;
    use crate::config::{Destination, PluginDefaults, StreamOptions};
    use proptest::prelude::*;

    const URL: (&str, &str) = ("loki-url", "http://loki:3100/x");
    const WITH_USER: (&str, &str) = ("loki-url", "http://url:pw@loki:3100/x");

    fn parse(plugin: &[(&str, &str)], container: &[(&str, &str)]) -> Result<Destination, OptionErrors> {
        let container = container.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let container: BTreeMap<String, String> = container.collect();
        let options = StreamOptions::parse(&container, &PluginDefaults::new(plugin.iter().copied()))?;
        Ok(options.destinations[0].clone())
    }

    fn good(pairs: &[(&str, &str)]) -> Transport {
        parse(&[URL], pairs).unwrap_or_else(|errors| panic!("{pairs:?}: {errors}")).transport
    }

    fn file(option: &'static str, path: &str) -> Material {
        Material::file(option, PluginDefaults::default().folders().name(path).unwrap())
    }

    fn bad(pairs: &[(&str, &str)]) -> String {
        parse(&[URL], pairs).expect_err("a refusal").to_string()
    }

    #[test]
    fn a_file_is_a_path_or_the_text_itself() {
        for (value, expected) in [
            ("ca.pem", file("loki-tls-ca-file", "ca.pem")),
            ("a/ca.pem", file("loki-tls-ca-file", "a/ca.pem")),
            ("/etc/loki-rs/ca.pem", file("loki-tls-ca-file", "ca.pem")),
            ("-----BEGIN X-----\\na\\n", Material::text("loki-tls-ca-file", "-----BEGIN X-----\na\n")),
            (" -----BEGIN X-----\na", Material::text("loki-tls-ca-file", "-----BEGIN X-----\na")),
        ] {
            assert_eq!(good(&[("loki-tls-ca-file", value)]).tls.ca, Some(expected), "{value}");
        }
        // A token is not PEM text, even if it looks like it.
        let token = good(&[("loki-bearer-token-file", "-----BEGIN")]).authorization;
        assert_eq!(token, Some(Authorization::Bearer(file("loki-bearer-token-file", "-----BEGIN"))));
    }

    #[test]
    fn a_file_elsewhere_is_refused_without_a_look_at_it() {
        for (key, path) in [
            ("loki-tls-ca-file", "/etc/shadow"),
            ("loki-bearer-token-file", "../shadow"),
            ("loki-pipeline-stage-file", "/etc/loki-rs/../shadow"),
        ] {
            let expected = format!(
                "{key}: \"{path}\" is not below /etc/loki-rs (put the file there, and give its path in that folder)"
            );
            assert_eq!(bad(&[(key, path)]), expected);
        }
    }

    #[test]
    fn a_container_that_goes_another_way_cannot_name_the_plugins_secret_files() {
        let plugin = [URL, ("loki-username", "operator"), ("loki-password-file", "secrets/password")];
        let elsewhere = ("loki-url", "http://elsewhere");
        for path in ["secrets/password", "./secrets//password", "/etc/loki-rs/secrets/password"] {
            for own in [
                &[("loki-bearer-token-file", path)][..],
                &[("loki-username", "me"), ("loki-password-file", path)],
                &[("loki-pipeline-stage-file", path)],
            ] {
                let error = parse(&plugin, &[&[elsewhere], own].concat()).expect_err(path).to_string();
                assert!(error.contains("a credential of the plugin"), "{error}");
            }
            parse(&plugin, &[("loki-password-file", path)]).unwrap();
        }
        parse(&plugin, &[elsewhere, ("loki-username", "me"), ("loki-password-file", "secrets/own")]).unwrap();
    }

    #[test]
    fn names_and_booleans() {
        for name in ["loki", "loki.example.com", "10.0.0.1", "::1"] {
            assert_eq!(good(&[("loki-tls-server-name", name)]).tls.server_name.as_deref(), Some(name));
        }
        for name in ["lo ki", "https://loki", "loki:3100", "-", "a..b"] {
            let refusal = format!("loki-tls-server-name: {name:?} is not a host name (try loki.example.com)");
            assert_eq!(bad(&[("loki-tls-server-name", name)]), refusal);
        }
        for (text, insecure) in [("1", true), ("TRUE", true), ("f", false)] {
            assert_eq!(good(&[("loki-tls-insecure-skip-verify", text)]).tls.insecure, insecure);
        }
    }

    #[test]
    fn proxies_that_are_used() {
        for (typed, uri, authorization) in [
            ("http://proxy:3128", "http://proxy:3128/", None),
            ("HTTP://proxy/", "http://proxy/", None),
            (" https://proxy ", "https://proxy/", None),
            ("http://[::1]:3128", "http://[::1]:3128/", None),
            ("http://u:p@proxy:3128", "http://proxy:3128/", Some("Basic dTpw")),
            ("http://u:p%40s%2Fs@proxy", "http://proxy/", Some("Basic dTpwQHMvcw==")),
        ] {
            let proxy = good(&[("loki-proxy-url", typed)]).proxy.unwrap();
            assert_eq!(proxy.uri, uri);
            assert_eq!(proxy.authorization.as_ref().map(Secret::expose), authorization, "{typed}");
        }
    }

    #[test]
    fn proxies_that_are_refused() {
        for (typed, shown) in [
            ("proxy:3128", "proxy:3128"),
            ("socks5://proxy:1080", "socks5://proxy:1080"),
            ("http://", "http://"),
            ("http:///proxy", "http:///proxy"),
            ("http://proxy/path", "http://proxy/path"),
            ("http://proxy?a", "http://proxy?***"),
            ("http://u:secret@proxy#a", "http://***@proxy#a"),
            ("http://u:secret@bad host", "http://***@bad host"),
            ("u:secret@proxy", "***@proxy"),
        ] {
            let expected = "is not an http or https URL of a proxy (try http://proxy.example.com:3128)";
            assert_eq!(bad(&[("loki-proxy-url", typed)]), format!("loki-proxy-url: \"{shown}\" {expected}"));
        }
    }

    #[test]
    fn headers_are_pairs() {
        let headers = good(&[("loki-headers", "X-Team=a, x-site = b=c,X-Empty=")]).headers;
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("x-team", "a"), ("x-site", " b=c"), ("x-empty", "")]);
        for (typed, reason) in [
            ("hunter2", "is not Name=value,Name=value (part 1 has no =, try X-Team=a,X-Site=b)"),
            ("X-A=1,", "is not Name=value,Name=value (part 2 has no =, try X-Team=a,X-Site=b)"),
            (
                "X-A=hunter2,hunter2 2=",
                "is not Name=value,Name=value (part 2 begins with no name of a header, try X-Team=a,X-Site=b)",
            ),
            (
                "=hunter2",
                "is not Name=value,Name=value (part 1 begins with no name of a header, try X-Team=a,X-Site=b)",
            ),
            (
                "X-A=hunter2\n",
                "has a value of \"X-A\" that a header cannot carry (use ASCII without control characters)",
            ),
            ("Connection=hunter2", "cannot set \"Connection\" (that is the driver's)"),
            ("host=hunter2", "cannot set \"host\" (that is the driver's, use loki-url)"),
            (
                "Authorization=hunter2",
                "cannot set \"Authorization\" (that is the driver's, use loki-username or loki-bearer-token-file)",
            ),
            ("X-Scope-OrgID=hunter2", "cannot set \"X-Scope-OrgID\" (that is the driver's, use loki-tenant-id)"),
        ] {
            assert_eq!(bad(&[("loki-headers", typed)]), format!("loki-headers: {reason}"));
        }
        for (taken, _) in TAKEN {
            assert!(bad(&[("loki-headers", &format!("{taken}=x"))]).contains("cannot set"), "{taken}");
        }
    }

    #[test]
    fn contradictions_are_one_sentence_each() {
        for (pairs, expected) in [
            (
                vec![("loki-username", "me"), ("loki-password", "hunter2"), ("loki-password-file", "x")],
                "loki-password-file: contradicts loki-password (give one of them)",
            ),
            (
                vec![("loki-username", "me"), ("loki-bearer-token-file", "x")],
                "loki-bearer-token-file: contradicts loki-username (give one of them)",
            ),
            (
                vec![WITH_USER, ("loki-username", "me")],
                "loki-username: contradicts the user info in loki-url (give one of them)",
            ),
            (
                vec![WITH_USER, ("loki-bearer-token-file", "x")],
                "loki-bearer-token-file: contradicts the user info in loki-url (give one of them)",
            ),
            (
                vec![WITH_USER, ("loki-password", "hunter2")],
                "loki-password: contradicts the user info in loki-url (give one of them)",
            ),
            (
                vec![("loki-password", "hunter2")],
                "loki-password: is of no use without loki-username (give both or neither)",
            ),
            (
                vec![("loki-password-file", "x")],
                "loki-password-file: is of no use without loki-username (give both or neither)",
            ),
            (
                vec![("loki-username", "a:hunter2")],
                "loki-username: is not a name that basic authentication can carry (leave out colons and control \
                 characters)",
            ),
            (
                vec![("loki-tls-cert-file", "x")],
                "loki-tls-cert-file: is of no use without loki-tls-key-file (give both or neither)",
            ),
            (
                vec![("loki-tls-key-file", "-----BEGIN hunter2")],
                "loki-tls-key-file: is of no use without loki-tls-cert-file (give both or neither)",
            ),
        ] {
            assert_eq!(bad(&pairs), expected);
        }
    }

    #[test]
    fn the_container_has_the_say_over_the_plugin() {
        let basic = |username: &str, password: Material| {
            Some(Authorization::Basic { username: Secret::new(username), password: Some(password) })
        };
        let typed = Material::text("loki-password", "own");
        let token = file("loki-bearer-token-file", "t");
        let (me, password) = (("loki-username", "me"), ("loki-password", "own"));
        let (path, bearer) = (("loki-password-file", "p"), ("loki-bearer-token-file", "t"));
        for (plugin, container, expected, url_counts) in [
            (vec![URL, me, path], vec![password], basic("me", typed.clone()), false),
            (vec![URL, me, password], vec![path], basic("me", file("loki-password-file", "p")), false),
            (vec![URL, me, password], vec![bearer], Some(Authorization::Bearer(token.clone())), false),
            (vec![WITH_USER], vec![bearer], Some(Authorization::Bearer(token)), false),
            (vec![WITH_USER], vec![me, password], basic("me", typed), false),
            (vec![URL, me, password], vec![WITH_USER], None, true),
            (vec![URL, bearer], vec![WITH_USER], None, true),
            (vec![URL, bearer], vec![("loki-bearer-token-file", "")], None, false),
        ] {
            let destination = parse(&plugin, &container).unwrap_or_else(|errors| panic!("{container:?}: {errors}"));
            assert_eq!(destination.transport.authorization, expected, "{container:?}");
            assert_eq!(destination.credentials.is_some(), url_counts, "{container:?}");
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let destination = parse(
            &[URL],
            &[
                ("loki-username", "hunter2"),
                ("loki-password", "hunter2"),
                ("loki-headers", "X-Key=hunter2"),
                ("loki-proxy-url", "http://u:hunter2@proxy"),
                ("loki-tls-ca-file", "-----BEGIN hunter2"),
            ],
        );
        let destination = destination.unwrap();
        assert!(!format!("{destination:?}").contains("hunter2"), "{destination:?}");
        // Base64 is no encryption.
        let proxy = destination.transport.proxy.as_ref().unwrap().authorization.clone().unwrap();
        assert!(!format!("{destination:?}").contains(proxy.expose()), "{destination:?}");
    }

    proptest! {
        #[test]
        fn no_headers_make_it_panic(text in "\\PC{0,40}|[-A-Za-z=, ]{0,40}") {
            let _ = headers(&text);
        }
    }
}
