//! Path to answer.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry as Counters;

use super::Report;
use super::metrics;
use super::report::Reporter;
use crate::pipeline::{Registries, exposition};

const PLAIN: &str = "text/plain; charset=utf-8";

/// All answers.
#[derive(Clone, Debug)]
pub struct Routes {
    reporter: Reporter,
    counters: Arc<Counters>,
    pipelines: Arc<Registries>,
}

// === impl Routes ===

impl Routes {
    /// Answers from these.
    pub fn new(reporter: Reporter, counters: Arc<Counters>, pipelines: Arc<Registries>) -> Self {
        Self { reporter, counters, pipelines }
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal =
                reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "this only shows: GET and HEAD are answered\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/metrics" => self.metrics().await,
            "/status.json" => self.json().await,
            "/live" => reply(StatusCode::OK, PLAIN, "live\n"),
            "/ready" if self.reporter.is_ready() => reply(StatusCode::OK, PLAIN, "ready\n"),
            "/ready" => {
                let reason = "not ready: what the process before this one left is being taken up\n";
                reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reason)
            }
            _ => reply(StatusCode::NOT_FOUND, PLAIN, "there are /, /status.json, /metrics, /live and /ready\n"),
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        let Some(report) = self.report().await else { return failed("the metrics") };
        match metrics::text(&self.counters, report) {
            Ok(own) => {
                let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
                let of_pipelines = exposition::text(&self.pipelines.collect(now));
                reply(StatusCode::OK, metrics::CONTENT_TYPE, own + &of_pipelines)
            }
            Err(_) => failed("the metrics"),
        }
    }

    async fn json(&self) -> Response<Full<Bytes>> {
        match self.report().await.and_then(|report| serde_json::to_vec_pretty(&report).ok()) {
            Some(json) => reply(StatusCode::OK, "application/json", json),
            None => failed("the status"),
        }
    }

    /// On a thread that may wait. `None` when the plugin goes down.
    async fn report(&self) -> Option<Report> {
        let reporter = self.reporter.clone();
        tokio::task::spawn_blocking(move || reporter.report()).await.ok()
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn failed(what: &str) -> Response<Full<Bytes>> {
    reply(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{what} cannot be made now\n"))
}
