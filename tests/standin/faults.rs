//! Failures on command, and their order.
//!
//! Rule: only the push endpoint fails; queries and `/ready` go on, so that a test can look at what was stored. Failures
//! "for the next N requests" are used up in the order they were given. When none is left, a failure "until healed"
//! applies, of which there is one: a new one replaces it. A failure may be for requests with a certain label only;
//! those are checked after the body was read, and only if no other failure took the request.
//!
//! Loki itself refuses with 260, 400, 401, 413, 422, 429, 500 and 503; proxies in front of it add
//! 301, 403, 404, 502, 504, resets and silence.

use super::push::Push;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Answers this at once and stores nothing. 204 is possible, and a lie.
    Status { code: u16, body: String },
    /// Answers as a proxy does, with `Server: nginx/1.27.0`, and stores nothing.
    Proxy { code: u16, content_type: String, body: String, retry_after: Option<String> },
    /// Answers with the head of this at once, and never with the body that it announces; stores nothing.
    Stall { code: u16, body: String },
    /// Answers this when the head of the request has come, reads nothing of a body above `above_bytes`, and closes.
    Early { code: u16, above_bytes: u64 },
    /// Answers 301 and stores nothing.
    Redirect { to: String },
    /// Reads the request, stores nothing and never answers.
    Hang,
    /// Serves as usual, but answers only after this time. The data is stored at once.
    Delay(Duration),
    /// Serves as usual, but reads at most this many bytes of body a second.
    SlowRead { bytes_per_second: u64 },
    /// Resets the connection when `after_bytes` of body have come, and stores nothing.
    Reset { after_bytes: usize },
    /// Stores the data, then answers this.
    StoreThenStatus { code: u16, body: String },
    /// Stores the data, then resets the connection.
    StoreThenReset,
    /// Stores the data and never answers.
    StoreThenHang,
}

/// How long it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Next(usize),
    UntilHealed,
}

/// A failure, how often it happens, and its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub failure: Failure,
    pub times: Times,
    /// Labels a stream of the request must have; none: every request.
    pub only: Vec<(String, String)>,
}

/// The failures to come.
#[derive(Debug, Default)]
pub struct Script {
    next: VecDeque<Rule>,
    standing: Option<Rule>,
}

// === impl Script ===

impl Script {
    pub fn add(&mut self, rule: Rule) {
        match rule.times {
            Times::Next(0) => {}
            Times::Next(_) => self.next.push_back(rule),
            Times::UntilHealed => self.standing = Some(rule),
        }
    }

    pub fn heal(&mut self) {
        *self = Self::default();
    }

    /// The failure that awaits any request, if there is one.
    pub fn for_any(&mut self) -> Option<Failure> {
        self.take(|rule| rule.only.is_empty())
    }

    /// The failure that awaits a request with this content, if there is one.
    pub fn for_content(&mut self, push: &Push) -> Option<Failure> {
        self.take(|rule| {
            let mut streams = push.streams.iter();
            !rule.only.is_empty() && streams.any(|stream| rule.only.iter().all(|label| stream.labels.contains(label)))
        })
    }

    fn take(&mut self, applies: impl Fn(&Rule) -> bool) -> Option<Failure> {
        let Some(at) = self.next.iter().position(&applies) else {
            let standing = self.standing.as_ref().filter(|rule| applies(rule));
            return standing.map(|rule| rule.failure.clone());
        };
        let rule = &mut self.next[at];
        let failure = rule.failure.clone();
        match &mut rule.times {
            Times::Next(left) if *left > 1 => *left -= 1,
            _ => drop(self.next.remove(at)),
        }
        Some(failure)
    }
}

// === impl Rule ===

impl Rule {
    /// Reads the order of a `POST /standin/fail`; the table is in [`super::control`].
    pub fn from_json(order: &Value) -> Result<Self, String> {
        let number = |name: &str, default: u64| match order.get(name) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or(format!("{name:?} must be a whole number")),
        };
        let text = |name: &str| match order.get(name) {
            None => Ok(String::new()),
            Some(value) => match value.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(format!("{name:?} must be a string")),
            },
        };
        let code = |default| match number("code", default)? {
            code @ 200..=999 => Ok(code as u16),
            code => Err(format!("\"code\" must be a status from 200 to 999, and {code} is not")),
        };
        let failure = match text("kind")?.as_str() {
            "status" => Failure::Status { code: code(500)?, body: text("body")? },
            "proxy" => Failure::Proxy {
                code: code(502)?,
                content_type: text("content_type")?,
                body: text("body")?,
                retry_after: Some(text("retry_after")?).filter(|value| !value.is_empty()),
            },
            "stall" => Failure::Stall { code: code(500)?, body: text("body")? },
            "early" => Failure::Early { code: code(413)?, above_bytes: number("above_bytes", 0)? },
            "redirect" => Failure::Redirect { to: text("to")? },
            "hang" => Failure::Hang,
            "delay" => Failure::Delay(Duration::from_millis(number("ms", 1000)?)),
            "slow_read" => Failure::SlowRead { bytes_per_second: number("bytes_per_second", 1024)? },
            "reset" => Failure::Reset { after_bytes: number("after_bytes", 0)? as usize },
            "store_then_status" => Failure::StoreThenStatus { code: code(500)?, body: text("body")? },
            "store_then_reset" => Failure::StoreThenReset,
            "store_then_hang" => Failure::StoreThenHang,
            other => {
                return Err(format!(
                    "\"kind\" must be status, proxy, stall, early, redirect, hang, delay, slow_read, reset, store_then_status, \
                     store_then_reset, store_then_hang, refuse, deaf, vanish or silence, not {other:?}"
                ));
            }
        };
        let times = match order.get("times") {
            None => Times::UntilHealed,
            Some(_) => Times::Next(number("times", 1)? as usize),
        };
        let mut only = Vec::new();
        match order.get("only") {
            None => {}
            Some(Value::Object(labels)) => {
                for (name, value) in labels {
                    let value = value.as_str().ok_or("a label of \"only\" must be a string")?;
                    only.push((name.clone(), value.to_owned()));
                }
            }
            Some(_) => return Err("\"only\" must be an object of labels".into()),
        }
        Ok(Self { failure, times, only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(code: u16) -> Failure {
        Failure::Status { code, body: String::new() }
    }

    fn rule(failure: Failure, times: Times) -> Rule {
        Rule { failure, times, only: Vec::new() }
    }

    #[test]
    fn counted_failures_come_in_order_and_before_the_standing_one() {
        let mut script = Script::default();
        script.add(rule(status(500), Times::UntilHealed));
        script.add(rule(status(429), Times::Next(2)));
        script.add(rule(status(503), Times::Next(1)));
        script.add(rule(status(404), Times::Next(0)));
        let codes: Vec<Failure> = (0..5).filter_map(|_| script.for_any()).collect();
        assert_eq!(codes, [429, 429, 503, 500, 500].map(status));
        script.heal();
        assert_eq!(script.for_any(), None);
    }

    #[test]
    fn orders_in_json() {
        let read = |order: Value| Rule::from_json(&order);
        assert_eq!(read(json!({"kind": "status", "code": 429, "times": 3})), Ok(rule(status(429), Times::Next(3))));
        assert_eq!(
            read(json!({"kind": "reset", "after_bytes": 10, "only": {"a": "b"}})),
            Ok(Rule {
                failure: Failure::Reset { after_bytes: 10 },
                times: Times::UntilHealed,
                only: vec![("a".into(), "b".into())],
            })
        );
        for bad in [
            json!({}),
            json!({"kind": "x"}),
            json!({"kind": "status", "code": 7}),
            json!({"kind": "status", "code": "500"}),
            json!({"kind": "hang", "times": -1}),
            json!({"kind": "hang", "only": {"a": 1}}),
            json!([]),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
