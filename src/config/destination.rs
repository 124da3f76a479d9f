//! A destination: the push URL, the credentials for it, and its timeout.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use ring_crypto::digest::{SHA256, digest};
use url::Url;

use super::options::{OptionError, OptionErrors};
use base::files;
use base::refusal::Refusal;
use loki::transport::Transport;
use loki::transport::shown::shown;

/// The path of Loki's push API.
pub const PUSH_PATH: &str = "/loki/api/v1/push";

/// A URL that works with a Loki on the same host and default settings; error messages show it.
pub const EXAMPLE_URL: &str = "http://localhost:3100/loki/api/v1/push";

/// One Loki, one tenant, one set of credentials.
///
/// Equal destinations share connections, so this is the key of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    pub url: PushUrl,
    pub credentials: Option<Credentials>,
    /// TLS, proxy and authentication.
    pub transport: Transport,
    /// The tenant, sent as `X-Scope-OrgID`.
    pub tenant_id: Option<String>,
    /// How long one push may take, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Whether any 2xx without a body counts as accepted, for endpoints that are compatible with Loki.
    pub accepts_any_2xx: bool,
}

/// The URL of pushes: http or https, with a host and a path, without user info.
///
/// A secret may be in its path or query, so it is shown as [`shown`] returns it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PushUrl(Url);

/// The user info of a URL, percent-decoded. Shown as `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    username: String,
    password: String,
}

/// The parts of a `loki-url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedUrl {
    pub url: PushUrl,
    pub credentials: Option<Credentials>,
    /// What was corrected, for the log.
    pub note: Option<String>,
}

// === impl Destination ===

impl Destination {
    /// Identifies the destination among those of a container, in characters that a file name may have. It stays the same
    /// when credentials change.
    ///
    /// Half of a SHA-256, so two URLs do not share an id. A secret may be in the path or query of a URL, so the
    /// container's id is hashed before it: a table of the hashes of likely URLs is useless.
    pub fn id(&self, container: &str) -> String {
        let hash = digest(&SHA256, [container, self.url.as_str()].join("\n").as_bytes());
        hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The checksum that earlier releases used as an id; two URLs can share it.
    pub fn former_id(&self) -> String {
        format!("{:08x}", crc32fast::hash(self.url.as_str().as_bytes()))
    }

    /// Checks whether the files for pushes can be used. Waits at most [`files::PATIENCE`] for a file system that hangs.
    ///
    /// # Errors The mistake of each file that cannot be used.
    pub async fn check_files(&self) -> Result<(), OptionErrors> {
        let transport = self.transport.clone();
        let checked = files::look(self.transport.folders(), move || transport.check()).await;
        let flaws = match checked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(flaws)) => flaws,
            Err(silent) => self.transport.unread(silent),
        };
        let errors = flaws.into_iter().map(|flaw| OptionError::new(flaw.option, flaw.reason));
        Err(OptionErrors(errors.collect()))
    }
}

// === impl PushUrl ===

impl PushUrl {
    /// The whole URL, for requests.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.as_str()))
    }
}

impl fmt::Debug for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushUrl({self})")
    }
}

// === impl Credentials ===

impl Credentials {
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Credentials {
        let (username, password) = (username.into(), password.into());
        Credentials { username, password }
    }

    /// The value of the `Authorization` header: HTTP Basic, RFC 7617.
    pub fn authorization(&self) -> String {
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", STANDARD.encode(pair))
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

// === impl TypedUrl ===

/// The largest number of URLs of one container: each needs a reader of the ring, a copy of the state of stages, and
/// connections.
pub const MOST_URLS: usize = 16;

impl TypedUrl {
    /// Parses `loki-url`: one URL, or several separated by commas.
    ///
    /// A comma is legal in a URL and in a password, so it separates only before another `http://` or `https://`.
    pub fn parse_all(typed: &str) -> Result<Vec<TypedUrl>, Refusal> {
        let mut all = Vec::<TypedUrl>::new();
        for typed in separate(typed) {
            let url = TypedUrl::parse(typed)?;
            let parts = url.url.as_url();
            if parts.path().contains(',') || parts.host_str().is_some_and(|host| host.contains(',')) {
                let reason = "is not an http or https URL to push to: it has a comma (begin each of several URLs with \
                              http:// or https://, and write a comma in a path as %2C)";
                return Err(refuse(typed.trim_ascii(), reason));
            }
            if all.iter().any(|other| other.url == url.url) {
                return Err(refuse(typed.trim_ascii(), "is there twice (name each Loki once)"));
            }
            if all.len() == MOST_URLS {
                let reason = format!("is one URL too many (at most {MOST_URLS} are taken)");
                return Err(refuse(typed.trim_ascii(), reason));
            }
            all.push(url);
        }
        Ok(all)
    }

    /// Parses one URL.
    ///
    /// It is stricter than Grafana's driver, which accepts any text and then loses every line. A URL without a path
    /// gets Loki's; any other path is kept, as for a proxy or gateway.
    pub fn parse(typed: &str) -> Result<TypedUrl, Refusal> {
        let text = typed.trim_ascii();
        let Some(scheme) = scheme_length(text) else {
            let reason = format!("is not an http or https URL (try {})", suggestion(text));
            return Err(refuse(text, reason));
        };
        // The URL standard would skip additional slashes and take the path for the host.
        if text[scheme..].starts_with(['/', '\\']) {
            let reason = format!("is not an http or https URL: empty host (try {EXAMPLE_URL})");
            return Err(refuse(text, reason));
        }
        let mut url = Url::parse(text)
            .map_err(|error| refuse(text, format!("is not an http or https URL: {error} (try {EXAMPLE_URL})")))?;
        if url.fragment().is_some() {
            let reason = "is not an http or https URL to push to: it has a fragment (write a # in \
                          a password as %23, and leave out any other)";
            return Err(refuse(text, reason));
        }
        // A / or ? in a password ends the user info early. The rest of the password would then be part of the path,
        // which is shown and sent.
        if url.path().contains('@') || url.query().is_some_and(|query| query.contains('@')) {
            let reason = "is not an http or https URL to push to: it has an @ behind the host \
                          (write / ? @ in a password as %2F %3F %40, and an @ in a path as %40)";
            return Err(refuse(text, reason));
        }
        let credentials = take_credentials(&mut url)
            .ok_or_else(|| refuse(text, "is not an http or https URL: its user info is no UTF-8"))?;
        let mut note = None;
        if matches!(url.path(), "" | "/") {
            url.set_path(PUSH_PATH);
            note = Some(format!("it has no path, so lines go to {}", shown(url.as_str())));
        } else if let Some(path) = url.path().strip_suffix('/').filter(|path| path.ends_with(PUSH_PATH)) {
            // Loki answers 404 there.
            let path = path.to_owned();
            url.set_path(&path);
            note = Some(format!("Loki knows no path that ends with /, so lines go to {}", shown(url.as_str())));
        }
        let url = PushUrl(url);
        Ok(TypedUrl { url, credentials, note })
    }
}

/// Moves the user info out of the URL. `None` if it does not decode to UTF-8.
pub(super) fn take_credentials(url: &mut Url) -> Option<Option<Credentials>> {
    if url.username().is_empty() && url.password().is_none() {
        return Some(None);
    }
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8().ok()?;
        Some(decoded.into_owned())
    };
    let username = decode(url.username())?;
    let password = decode(url.password().unwrap_or_default())?;
    // Both calls succeed for every URL that has a host.
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(Some(Credentials { username, password }))
}

/// Bytes of `http://` or `https://` at the start, in any case.
pub(super) fn scheme_length(text: &str) -> Option<usize> {
    ["http://", "https://"]
        .into_iter()
        .find(|scheme| {
            let start = text.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .map(str::len)
}

/// The comma-separated URLs, see [`TypedUrl::parse_all`].
pub fn separate(typed: &str) -> Vec<&str> {
    let mut rest = typed.trim_end_matches(|c: char| c == ',' || c.is_ascii_whitespace());
    let mut all = Vec::new();
    while !rest.is_empty() {
        let mut commas = rest.match_indices(',').map(|(at, _)| at);
        let end = commas.find(|at| scheme_length(rest[at + 1..].trim_ascii_start()).is_some()).unwrap_or(rest.len());
        all.push(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    all
}

/// A URL, or a text in its place, without its query and without anything that may be user info.
///
/// Only a valid scheme is trusted to be one: in `user:p//w@host`, the password has slashes too.
pub fn hide_user_info(text: &str) -> String {
    let hide_query = |text: &str| text.split_once('?').map_or(text.to_owned(), |(before, _)| format!("{before}?***"));
    let Some(at) = text.rfind('@') else { return hide_query(text) };
    let scheme = scheme_length(text).unwrap_or(0).min(at);
    format!("{}***{}", &text[..scheme], hide_query(&text[at..]))
}

/// An error for `text` that shows nothing that may be user info.
pub(super) fn refuse(text: &str, reason: impl Into<String>) -> Refusal {
    Refusal::new(&hide_user_info(text), reason)
}

/// The URL that was probably meant: with `http://`, without user info, and with Loki's path.
fn suggestion(text: &str) -> String {
    let host = text.rsplit('@').next().unwrap_or_default();
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    // A single word is seldom the name of a host.
    if !host.contains([':', '.']) {
        return EXAMPLE_URL.to_owned();
    }
    match TypedUrl::parse(&format!("http://{host}")) {
        Ok(meant) => hide_user_info(meant.url.as_str()),
        Err(_) => EXAMPLE_URL.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loki::transport::Secret;

    #[test]
    fn several_urls_have_commas_between_them() {
        for (typed, urls) in [
            ("http://a/x", vec!["http://a/x"]),
            ("http://a/x,", vec!["http://a/x"]),
            ("http://a/x,https://b/y", vec!["http://a/x", "https://b/y"]),
            (" http://a/x , http://b/y ,\n", vec!["http://a/x", "http://b/y"]),
            ("http://u:p,w@a/x,http://b/?q=1,2", vec!["http://a/x", "http://b/loki/api/v1/push?q=1,2"]),
        ] {
            let parsed = TypedUrl::parse_all(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
            let parsed: Vec<_> = parsed.iter().map(|url| url.url.as_str().to_owned()).collect();
            assert_eq!(parsed, urls, "{typed}");
        }
        for (typed, words) in [
            ("http://a/x,localhost:3100", "it has a comma"),
            ("http://a,b:3100", "it has a comma"),
            ("http://a/x,http://a/x", "is there twice"),
            ("http://a/x,http://u:secret@a/x", "is there twice"),
            ("http://a/x,http://", "empty host"),
            ("ftp://a,http://b", "is not an http or https URL"),
        ] {
            let error = TypedUrl::parse_all(typed).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("secret"), "{typed}: {error}");
        }
    }

    #[test]
    fn urls_that_are_used() {
        for (typed, url, authorization, note) in [
            ("http://loki:3100/loki/api/v1/push", "http://loki:3100/loki/api/v1/push", None, false),
            ("https://loki", "https://loki/loki/api/v1/push", None, true),
            ("http://loki:3100/", "http://loki:3100/loki/api/v1/push", None, true),
            ("HTTP://LOKI:3100/x", "http://loki:3100/x", None, false),
            (" http://loki/x\n", "http://loki/x", None, false),
            ("http://loki/a/b/?q=1", "http://loki/a/b/?q=1", None, false),
            ("http://[::1]:3100/x", "http://[::1]:3100/x", None, false),
            ("http://loki_1:3100/x", "http://loki_1:3100/x", None, false),
            ("http://u:p@loki/x", "http://loki/x", Some("Basic dTpw"), false),
            ("http://u:p%40s%2Fs@loki/x", "http://loki/x", Some("Basic dTpwQHMvcw=="), false),
            ("http://u:p@ss@loki/x", "http://loki/x", Some("Basic dTpwQHNz"), false),
            ("http://u@loki", "http://loki/loki/api/v1/push", Some("Basic dTo="), true),
            ("http://:p@loki/x", "http://loki/x", Some("Basic OnA="), false),
            ("http://@loki/x", "http://loki/x", None, false),
        ] {
            let parsed = TypedUrl::parse(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!(parsed.url.as_str(), url);
            let header = parsed.credentials.as_ref().map(Credentials::authorization);
            assert_eq!(header.as_deref(), authorization, "{typed}");
            let expected = note.then(|| format!("it has no path, so lines go to {}", shown(url)));
            assert_eq!(parsed.note, expected);
        }
    }

    #[test]
    fn a_push_path_has_no_slash_at_its_end() {
        for (typed, url) in [
            ("http://loki:3100/loki/api/v1/push/", "http://loki:3100/loki/api/v1/push"),
            ("http://gate/team-a/loki/api/v1/push/?q=1", "http://gate/team-a/loki/api/v1/push?q=1"),
        ] {
            let parsed = TypedUrl::parse(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!(parsed.url.as_str(), url);
            assert_eq!(
                parsed.note,
                Some(format!("Loki knows no path that ends with /, so lines go to {}", shown(url)))
            );
        }
    }

    #[test]
    fn the_number_of_urls_is_bounded() {
        let urls = |count: usize| (0..count).map(|at| format!("http://loki-{at}/x")).collect::<Vec<_>>().join(",");
        assert_eq!(TypedUrl::parse_all(&urls(MOST_URLS)).unwrap().len(), MOST_URLS);
        let error = TypedUrl::parse_all(&urls(MOST_URLS + 1)).unwrap_err().to_string();
        assert_eq!(error, "\"http://loki-16/x\" is one URL too many (at most 16 are taken)");
    }

    #[test]
    fn urls_that_are_refused() {
        const FRAGMENT: &str = "is not an http or https URL to push to: it has a fragment (write \
                                a # in a password as %23, and leave out any other)";
        const AT: &str = "is not an http or https URL to push to: it has an @ behind the host \
                          (write / ? @ in a password as %2F %3F %40, and an @ in a path as %40)";
        let scheme = |url: &str| format!("is not an http or https URL (try {url})");
        let broken = |why: &str| format!("is not an http or https URL: {why} (try {EXAMPLE_URL})");
        for (typed, shown, reason) in [
            ("localhost:3100", "localhost:3100", scheme(EXAMPLE_URL)),
            ("loki.lan", "loki.lan", scheme("http://loki.lan/loki/api/v1/push")),
            ("loki:3100/x", "loki:3100/x", scheme("http://loki:3100/x")),
            ("ftp://loki:3100", "ftp://loki:3100", scheme("http://loki:3100/loki/api/v1/push")),
            ("foo", "foo", scheme(EXAMPLE_URL)),
            ("", "", scheme(EXAMPLE_URL)),
            ("http:loki", "http:loki", scheme(EXAMPLE_URL)),
            ("secret:pw@loki:3100", "***@loki:3100", scheme("http://loki:3100/loki/api/v1/push")),
            ("secret:pw//x@loki", "***@loki", scheme(EXAMPLE_URL)),
            ("ftp://u:secret@loki", "***@loki", scheme(EXAMPLE_URL)),
            ("http://", "http://", broken("empty host")),
            ("http:///x", "http:///x", broken("empty host")),
            ("http://u:secret@", "http://***@", broken("empty host")),
            ("http://u:secret@bad host/", "http://***@bad host/", broken("invalid international domain name")),
            ("http://u:secret/w@loki/x", "http://***@loki/x", broken("invalid port number")),
            ("http://loki:port/", "http://loki:port/", broken("invalid port number")),
            ("http://u:80/secret@loki/x", "http://***@loki/x", AT.to_owned()),
            ("http://u:80?secret@loki/x", "http://***@loki/x", AT.to_owned()),
            ("http://u:80#secret@loki/x", "http://***@loki/x", FRAGMENT.to_owned()),
            ("http://loki/x#y", "http://loki/x#y", FRAGMENT.to_owned()),
            (
                "http://u:%ff@loki/x",
                "http://***@loki/x",
                "is not an http or https URL: its user info is no UTF-8".to_owned(),
            ),
        ] {
            let error = TypedUrl::parse(typed).unwrap_err();
            assert_eq!(error.to_string(), format!("\"{shown}\" {reason}"), "{typed}");
            assert!(!format!("{error:?}").contains("secret"));
        }
    }

    fn parse(typed: &str) -> Destination {
        let TypedUrl { url, credentials, .. } = TypedUrl::parse(typed).unwrap();
        let timeout = Duration::from_secs(10);
        Destination {
            url,
            credentials,
            transport: Transport::default(),
            tenant_id: None,
            timeout,
            accepts_any_2xx: false,
        }
    }

    #[test]
    fn urls_of_one_checksum_have_two_ids() {
        let (one, two) = (parse("http://a/8755d764"), parse("http://a/4170cb18"));
        assert_eq!((one.former_id(), two.former_id()), ("2bda08e9".into(), "2bda08e9".into()));
        assert_ne!(one.id("c"), two.id("c"));
        assert_ne!(one.id("c"), one.id("d"), "a key in a URL is not to be looked up");
        assert_eq!(one.id("c"), parse("http://user:secret@a/8755d764").id("c"), "credentials may change");
        assert!(one.id("c").len() == 32 && one.id("c").bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn a_destination_shows_no_secret_and_is_a_key() {
        let one = parse("http://user:secret@loki/x");
        let shown = format!("{one:?} {} {}", one.url, one.credentials.clone().unwrap());
        assert!(!shown.contains("secret") && !shown.contains("user"), "{shown}");
        assert_eq!(one, parse("http://user:secret@loki/x"));
        assert_ne!(one, parse("http://user:other@loki/x"));
        let pool = std::collections::HashSet::from([one.clone(), one.clone(), parse("http://loki/x")]);
        assert_eq!(pool.len(), 2);
        let other =
            Transport { proxy: None, headers: vec![(hyper::header::FROM, Secret::new("x"))], ..one.transport.clone() };
        assert_ne!(one, Destination { transport: other, ..one.clone() });
    }
}
