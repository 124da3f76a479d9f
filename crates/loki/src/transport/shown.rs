//! URLs that are safe to show.
//!
//! Gateways and hosted services accept keys in a URL's path or query, so of both only words of the API are shown. URLs
//! whose hidden parts differ are distinguished by a few digits of a checksum: `https://gate/***/loki/api/v1/push#3f2a`.
//! They are too few to find a secret.

/// Words in the paths of push APIs.
const KNOWN: [&str; 6] = ["loki", "api", "v1", "push", "insert", ""];

/// A URL without user info, safe to show.
pub fn shown(url: &str) -> String {
    let path = url.find("://").map_or(0, |scheme| scheme + 3);
    let path = url[path..].find(['/', '?']).map_or(url.len(), |at| path + at);
    let (server, rest) = url.split_at(path);
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let words = path.split('/').map(|word| if KNOWN.contains(&word) { word } else { "***" });
    let shown = format!("{server}{}{}", words.collect::<Vec<_>>().join("/"), if query.is_some() { "?***" } else { "" });
    if shown == url { shown } else { format!("{shown}#{:04x}", crc32fast::hash(url.as_bytes()) & 0xffff) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_api_are_shown_and_nothing_else() {
        for (url, expected) in [
            ("http://loki:3100/loki/api/v1/push", "http://loki:3100/loki/api/v1/push"),
            ("http://[::1]:3100/", "http://[::1]:3100/"),
            ("http://loki", "http://loki"),
            ("https://gate/team-a/loki/api/v1/push", "https://gate/***/loki/api/v1/push#"),
            ("https://logs/hook/hunter2", "https://logs/***/***#"),
            ("https://logs/loki/api/v1/push?apikey=hunter2", "https://logs/loki/api/v1/push?***#"),
            ("https://logs?apikey=hunter2/x", "https://logs?***#"),
        ] {
            let shown = shown(url);
            assert!(!shown.contains("hunter2") && !shown.contains("team-a"), "{shown}");
            match expected.strip_suffix('#') {
                Some(_) => assert_eq!(shown[..shown.len() - 4], *expected, "{url}"),
                None => assert_eq!(shown, expected),
            }
        }
    }

    #[test]
    fn what_is_hidden_is_told_apart() {
        assert_ne!(shown("https://gate/team-a/loki/api/v1/push"), shown("https://gate/team-b/loki/api/v1/push"));
    }
}
