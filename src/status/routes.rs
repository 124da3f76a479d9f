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
use tokio::sync::Semaphore;

use super::Report;
use super::host;
use super::metrics;
use super::page;
use super::report::Reporter;
use super::verdict::Verdict;
use base::pools::Pool;
use promtail::pipeline::{Registries, exposition};

const PLAIN: &str = "text/plain; charset=utf-8";

/// Looks at once. The threads that they are made on are also those that containers are started on.
const MOST_LOOKS: usize = 2;

/// All answers.
#[derive(Clone, Debug)]
pub struct Routes {
    reporter: Reporter,
    counters: Arc<Counters>,
    pipelines: Arc<Registries>,
    looks: Looks,
}

/// The right to look.
#[derive(Clone, Debug)]
struct Looks(Arc<Semaphore>);

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
        Self { reporter, counters, pipelines, looks: Looks(Arc::new(Semaphore::new(MOST_LOOKS))) }
    }

    /// Answers one request; one that came over loopback only if it asks for this machine by a [name of its own](host).
    pub async fn answer<B>(&self, request: &Request<B>, is_loopback: bool) -> Response<Full<Bytes>> {
        if is_loopback && !host::is_ours(request, self.reporter.host()) {
            let reason = "on loopback this answers to addresses, localhost and the host's name alone: a proxy in front of it \
                          has to send one of them as Host\n";
            return reply(StatusCode::MISDIRECTED_REQUEST, PLAIN, reason);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal =
                reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "this only shows: GET and HEAD are answered\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/" => self.made("the page", Self::page).await,
            "/metrics" => self.made("the metrics", Self::metrics).await,
            "/status.json" => self.made("the status", Self::json).await,
            "/live" => reply(StatusCode::OK, PLAIN, "live\n"),
            "/ready" if self.reporter.is_ready() => reply(StatusCode::OK, PLAIN, "ready\n"),
            "/ready" => {
                let reason = "not ready: what the process before this one left is being taken up\n";
                reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reason)
            }
            _ => reply(StatusCode::NOT_FOUND, PLAIN, "there are /, /status.json, /metrics, /live and /ready\n"),
        }
    }

    async fn made(&self, what: &str, make: fn(&Self) -> Option<Response<Full<Bytes>>>) -> Response<Full<Bytes>> {
        let routes = self.clone();
        // `None` also when the plugin goes down.
        self.looks.look(move || make(&routes)).await.flatten().unwrap_or_else(|| failed(what))
    }

    fn metrics(&self) -> Option<Response<Full<Bytes>>> {
        let own = metrics::text(&self.counters, self.reporter.report()).ok()?;
        let now = base::clock::unix_nanos();
        let of_pipelines = exposition::text(&self.pipelines.collect(now));
        Some(reply(StatusCode::OK, metrics::CONTENT_TYPE, own + &of_pipelines))
    }

    fn page(&self) -> Option<Response<Full<Bytes>>> {
        let page = page::html(&self.reporter.report()).ok()?;
        let mut page = reply(StatusCode::OK, "text/html; charset=utf-8", page);
        // Without its own policy it has one by which nothing is allowed.
        let policy = HeaderValue::from_str(page::policy()).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        Some(page)
    }

    fn json(&self) -> Option<Response<Full<Bytes>>> {
        let report = self.reporter.report();
        let json = serde_json::to_vec_pretty(&Told { verdict: Verdict::of(&report), report }).ok()?;
        Some(reply(StatusCode::OK, "application/json", json))
    }
}

// === impl Looks ===

impl Looks {
    /// Looks on a thread that may wait. A client that asks and hangs up again and again does not start one look beside the
    /// other: each keeps its place until it has ended, whether or not somebody waits for it.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place = self.0.clone().acquire_owned().await.ok()?;
        let looked = Pool::Status.run(move || {
            let _place = place;
            look()
        });
        looked.await.ok()
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn who_asks_and_hangs_up_again_and_again_takes_no_more_threads_than_others() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let looks = Looks(Arc::new(Semaphore::new(MOST_LOOKS)));
        let (begun, (release, gate)) = (Arc::new(AtomicUsize::new(0)), mpsc::channel::<()>());
        let gate = Arc::new(std::sync::Mutex::new(gate));
        runtime.block_on(async {
            for _ in 0..20 {
                let (looks, begun, gate) = (looks.clone(), begun.clone(), gate.clone());
                let asked = tokio::spawn(async move {
                    let slow = move || {
                        begun.fetch_add(1, Ordering::SeqCst);
                        // Until the end of the test.
                        let _ = gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
                    };
                    looks.look(slow).await
                });
                tokio::time::sleep(Duration::from_millis(10)).await;
                asked.abort();
            }
        });
        assert_eq!(begun.load(Ordering::SeqCst), MOST_LOOKS);
        drop(release);
        assert_eq!(runtime.block_on(looks.look(|| 7)), Some(7), "who waits has a turn when they have ended");
    }
}
