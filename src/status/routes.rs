//! Path to answer.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry as Counters;
use serde::Serialize;

use super::Report;
use super::metrics;
use super::page;
use super::report::Reporter;
use super::verdict::Verdict;
use crate::pipeline::{Registries, exposition};

const PLAIN: &str = "text/plain; charset=utf-8";

/// All answers.
#[derive(Clone, Debug)]
pub struct Routes {
    reporter: Reporter,
    counters: Arc<Counters>,
    pipelines: Arc<Registries>,
}

/// `/status.json`.
#[derive(Debug, Serialize)]
struct Told {
    verdict: Verdict,
    #[serde(flatten)]
    report: Report,
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
            "/" => self.page().await,
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

    async fn page(&self) -> Response<Full<Bytes>> {
        let Some(page) = self.report().await.and_then(|report| page::html(&report).ok()) else {
            return failed("the page");
        };
        let mut page = reply(StatusCode::OK, "text/html; charset=utf-8", page);
        // Without its own policy it has one by which nothing is allowed.
        let policy = HeaderValue::from_str(page::policy()).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        page
    }

    async fn json(&self) -> Response<Full<Bytes>> {
        let told = |report: Report| serde_json::to_vec_pretty(&Told { verdict: Verdict::of(&report), report }).ok();
        match self.report().await.and_then(told) {
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
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn failed(what: &str) -> Response<Full<Bytes>> {
    reply(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{what} cannot be made now\n"))
}
