//! Hints from an answer's headers: when to retry, and the server's time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use base::clock::unix_nanos;

/// The longest `Retry-After` that is honoured. A proxy that asks for a day, or that has a wrong clock, must not stop
/// shipping for longer than the default `loki-max-backoff`.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Facts from an answer's headers, whatever its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// How long to wait before the next request (`Retry-After`), at most [`LONGEST_RETRY_AFTER`]. Loki sends none; proxies do.
    pub retry_after: Option<Duration>,
    /// The time of day at the server (`Date`), in nanoseconds since 1970, whole seconds.
    pub date: Option<i64>,
}

// === impl Hints ===

impl Hints {
    /// Reads the headers. A malformed header counts as absent.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Self {
        let date = text(headers, DATE).and_then(http_date);
        // Both dates come from the server's clock, which may differ from this host's.
        let now = date.unwrap_or_else(unix_nanos);
        Self { retry_after: text(headers, RETRY_AFTER).and_then(|value| retry_after(value, now)), date }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Parses seconds or an HTTP date (RFC 9110, 10.2.3). A past date means now.
fn retry_after(value: &str, now: i64) -> Option<Duration> {
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number with too many digits is a long time too.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        Duration::from_nanos(u64::try_from(http_date(value)?.saturating_sub(now)).unwrap_or(0))
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// Any of the three forms of RFC 9110, 5.6.7, in nanoseconds since 1970.
fn http_date(value: &str) -> Option<i64> {
    let time: SystemTime = httpdate::parse_http_date(value).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:37Z, the example of RFC 9110.
    const THEN: i64 = 784_111_777_000_000_000;

    fn read(headers: &[(&'static str, &str)]) -> Hints {
        Hints::read(&headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (value, seconds) in [
            ("0", Some(0)),
            ("7", Some(7)),
            (" 30 ", Some(30)),
            ("301", Some(300)),
            ("86400", Some(300)),
            ("99999999999999999999999", Some(300)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(300)),
            ("", None),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let hints = read(&[date, ("retry-after", value)]);
            assert_eq!(hints.retry_after, seconds.map(Duration::from_secs), "{value:?}");
            assert_eq!(hints.date, Some(THEN));
        }
    }

    #[test]
    fn a_date_of_retry_after_is_held_against_the_clock_that_is_given() {
        let ten_later = "Sun, 06 Nov 1994 08:49:47 GMT";
        assert_eq!(retry_after(ten_later, THEN), Some(Duration::from_secs(10)));
        assert_eq!(retry_after(ten_later, i64::MAX), Some(Duration::ZERO));
        assert_eq!(retry_after(ten_later, i64::MIN), Some(LONGEST_RETRY_AFTER));
    }

    #[test]
    fn a_date_that_cannot_be_is_none() {
        for value in ["", "now", "Sun, 06 Nov 1994 08:49:37", "Fri, 31 Dec 9999 23:59:59 GMT", "1994-11-06T08:49:37Z"] {
            assert_eq!(read(&[("date", value)]), Hints::default(), "{value:?}");
        }
    }
}
