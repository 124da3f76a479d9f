//! What is answered to a request: a status, a text, and the few headers that Loki sets.
//!
//! Rule: success of a push is 204 without a body. Errors are `text/plain`, those of a push end in a
//! line feed. There is never a `Retry-After`.

use serde_json::Value;

pub const TEXT: &str = "text/plain; charset=utf-8";
pub const JSON: &str = "application/json; charset=UTF-8";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub content_type: Option<&'static str>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// What a proxy sets beside it.
    pub headers: Vec<(&'static str, String)>,
    /// The body is announced and never comes.
    pub stalls: bool,
    /// The connection is closed behind it, whatever of the request was not read.
    pub closes: bool,
}

// === impl Answer ===

impl Answer {
    /// 204, or any other status that says everything by itself.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            body: String::new(),
            content_type: None,
            location: None,
            headers: Vec::new(),
            stalls: false,
            closes: false,
        }
    }

    /// The same answer from a server whose clock is `ahead` nanoseconds ahead of the right one.
    pub fn dated(mut self, ahead: i64) -> Self {
        let now = std::time::SystemTime::now();
        let shift = std::time::Duration::from_nanos(ahead.unsigned_abs());
        let date = if ahead < 0 { now.checked_sub(shift) } else { now.checked_add(shift) };
        if let Some(date) = date.filter(|_| ahead != 0) {
            self.headers.push(("date", httpdate::fmt_http_date(date)));
        }
        self
    }

    /// A text exactly as given.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { body: body.into(), content_type: Some(TEXT), ..Self::empty(status) }
    }

    /// A sentence, ended by a line feed.
    pub fn error(status: u16, sentence: impl Into<String>) -> Self {
        Self::text(status, sentence.into() + "\n")
    }

    pub fn json(value: &Value) -> Self {
        Self { body: format!("{value}\n"), content_type: Some(JSON), ..Self::empty(200) }
    }

    /// What a proxy answers in Loki's place.
    pub fn of_proxy(status: u16, content_type: &str, body: impl Into<String>, retry_after: Option<&str>) -> Self {
        let mut headers = vec![("server", "nginx/1.27.0".to_owned())];
        headers.extend((!content_type.is_empty()).then(|| ("content-type", content_type.to_owned())));
        headers.extend(retry_after.map(|value| ("retry-after", value.to_owned())));
        Self { body: body.into(), headers, ..Self::empty(status) }
    }

    pub fn redirect(to: impl Into<String>) -> Self {
        Self { location: Some(to.into()), ..Self::empty(301) }
    }
}
