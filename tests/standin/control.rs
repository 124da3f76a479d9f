//! The stand-in's own endpoints, for a demo where it is a process by itself.
//!
//! ```text
//! POST /standin/fail      order a failure, in JSON:
//!      {"kind": "status", "code": 429, "body": "slow down", "times": 3}
//!      {"kind": "proxy", "code": 502, "content_type": "text/html", "body": "<html>", "retry_after": "7"}
//!      {"kind": "stall", "code": 400, "body": "…"}      the body is announced and does not come
//!      {"kind": "early", "code": 413, "above_bytes": 20000}   answers before the body is read, and closes
//!      {"kind": "redirect", "to": "http://127.0.0.1:1/"}
//!      {"kind": "hang"}
//!      {"kind": "delay", "ms": 2000}
//!      {"kind": "slow_read", "bytes_per_second": 10000}
//!      {"kind": "reset", "after_bytes": 1000}
//!      {"kind": "store_then_status", "code": 500, "body": "…"}
//!      {"kind": "store_then_reset"}
//!      {"kind": "store_then_hang"}
//!      {"kind": "refuse", "ms": 5000}      connections are refused for that time
//!      {"kind": "deaf", "ms": 5000}        connections are accepted, and nothing of them is read
//!      {"kind": "vanish", "ms": 5000}      packets vanish: connections time out
//!      {"kind": "silence"}                 connections that there are fall silent, new ones are served
//!      any of them but the last four with "times": N (without it: until healed)
//!      and with "only": {"container_name": "web"} (only requests with such a stream)
//! POST /standin/heal      take all orders back
//! GET  /standin/requests  the requests so far; ?last=N for the last N
//! ```

use super::answer::Answer;
use super::faults::Rule;
use super::form;
use super::server::{Door, Manner};
use super::state::{Request, Shared};
use http_body_util::{BodyExt, Limited};
use hyper::Method;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Most bytes of an order.
const LARGEST: usize = 1 << 16;

pub async fn serve(request: hyper::Request<Incoming>, shared: &Shared, door: &Door) -> Answer {
    let path = request.uri().path().trim_start_matches("/standin/").to_owned();
    let parameters = form::parameters(request.uri().query().unwrap_or_default());
    match (request.method(), path.as_str()) {
        (&Method::POST, "heal") => {
            shared.change(|state| state.script.heal());
            Answer::empty(204)
        }
        (&Method::GET, "requests") => requests(shared, &parameters),
        (&Method::POST, "fail") => match Limited::new(request.into_body(), LARGEST).collect().await {
            Ok(body) => match fail(&body.to_bytes(), shared, door) {
                Ok(()) => Answer::empty(204),
                Err(sentence) => Answer::error(400, sentence),
            },
            Err(error) => Answer::error(400, format!("the order did not come whole: {error}")),
        },
        _ => Answer::error(404, "the stand-in has POST /standin/fail, POST /standin/heal and GET /standin/requests"),
    }
}

fn fail(body: &[u8], shared: &Shared, door: &Door) -> Result<(), String> {
    let order: Value = serde_json::from_slice(body).map_err(|error| format!("the order is not JSON: {error}"))?;
    let manner = match order.get("kind").and_then(Value::as_str) {
        Some("refuse") => Some(Manner::Away),
        Some("deaf") => Some(Manner::Deaf),
        Some("vanish") => Some(Manner::Vanished),
        _ => None,
    };
    if order.get("kind").and_then(Value::as_str) == Some("silence") {
        door.silence();
        return Ok(());
    }
    if let Some(manner) = manner {
        let time = order.get("ms").and_then(Value::as_u64);
        let time = time.ok_or("\"ms\" must say for how many milliseconds")?;
        door.turn_for(manner, Duration::from_millis(time));
        return Ok(());
    }
    let rule = Rule::from_json(&order)?;
    shared.change(|state| state.script.add(rule));
    Ok(())
}

fn requests(shared: &Shared, parameters: &[(String, String)]) -> Answer {
    let last = parameters.iter().find(|(name, _)| name == "last");
    let last = last.and_then(|(_, number)| number.parse().ok()).unwrap_or(usize::MAX);
    let state = shared.look();
    let skip = state.requests.len().saturating_sub(last);
    let shown = state.requests[skip..].iter().map(|request| show(request, state.started));
    Answer::json(&Value::Array(shown.collect()))
}

fn show(request: &Request, started: Instant) -> Value {
    let streams = request.streams.iter();
    let streams = streams.map(|(labels, entries)| json!({"labels": labels, "entries": entries}));
    let headers = request.headers.iter();
    let headers = headers.map(|(name, value)| match name.as_str() {
        // A demo is shown to people.
        "authorization" => (name.clone(), json!("(hidden)")),
        _ => (name.clone(), json!(value)),
    });
    json!({
        "at_ms": request.at.saturating_duration_since(started).as_millis() as u64,
        "method": request.method,
        "path": request.path,
        "headers": headers.collect::<serde_json::Map<_, _>>(),
        "status": request.status_answered,
        "answer": request.answer,
        "streams": streams.collect::<Vec<_>>(),
        "compressed_bytes": request.compressed_bytes,
        "uncompressed_bytes": request.uncompressed_bytes,
    })
}
