//! Path to handler. A mistake becomes status 200 and `{"Err": …}`, see the [protocol](super).

use std::fmt::Display;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::convert::Infallible;
use tokio::time::timeout;
use tracing::{info, warn};

use super::read_logs;
use crate::streams::{Registry, START_PATIENCE, StartError};
use base::refusal::clipped;
use dockerd::messages::{Answer, ReadConfig, ReadLogs, StartLogging, StopLogging};

/// dockerd bounds neither labels nor environment of a container; this bounds what a call may cost.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// Bytes of a refusal, which dockerd shows to the user. Options are refused in one sentence each.
const LONGEST_REFUSAL: usize = 16 * 1024;

/// What a handler gives back.
pub type Body = BoxBody<Bytes, Infallible>;

/// All handlers.
#[derive(Clone, Debug)]
pub struct Routes {
    registry: Registry,
}

// === impl Routes ===

impl Routes {
    /// Handlers over `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Answers one call.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "every call of the plugin protocol is a POST");
        }
        let path = head.uri.path();
        let body = match Limited::new(body, LARGEST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return failed(path, format!("the body of the call cannot be read: {error}")),
        };
        match path {
            "/Plugin.Activate" => json(r#"{"Implements":["LogDriver"]}"#.into()),
            "/LogDriver.Capabilities" => json(r#"{"Cap":{"ReadLogs":true},"Err":""}"#.into()),
            "/LogDriver.StartLogging" => self.start(path, &body).await,
            "/LogDriver.StopLogging" => self.stop(&body).await,
            "/LogDriver.ReadLogs" => self.read(path, &body).await,
            _ => text(StatusCode::NOT_FOUND, "this is a log driver: it answers /Plugin.Activate and /LogDriver.*"),
        }
    }

    async fn start(&self, path: &str, body: &[u8]) -> Response<Body> {
        let call: StartLogging = match parse(body) {
            Ok(call) => call,
            Err(why) => return failed(path, why),
        };
        let (name, id) = (call.info.name().to_owned(), call.info.id12().to_owned());
        match self.registry.start(call.file, call.info).await {
            Ok(()) => {
                info!(container = name, id, "logging");
                ok()
            }
            Err(error) => {
                warn!(container = name, id, %error, "not logging");
                failed(path, error)
            }
        }
    }

    async fn stop(&self, body: &[u8]) -> Response<Body> {
        match parse::<StopLogging>(body) {
            Ok(call) => self.registry.stop(&call.file).await,
            // A retry: the name is gone, see the protocol.
            Err(_) => self.registry.drain_all().await,
        }
        ok()
    }

    async fn read(&self, path: &str, body: &[u8]) -> Response<Body> {
        let call: ReadLogs = match parse(body) {
            Ok(call) => call,
            Err(why) => return failed(path, why),
        };
        match opened(&self.registry, &call.info.container_id, call.config).await {
            Ok(pieces) => Response::new(pieces.boxed()),
            // The body of an answer with status 200 would be taken for frames.
            Err(error) => failed(path, error),
        }
    }
}

/// What a container printed, as it is to be shown. Waits five seconds at most.
///
/// # Errors
/// See [`Registry::reader`].
pub(crate) async fn opened(
    registry: &Registry,
    container: &str,
    config: ReadConfig,
) -> Result<read_logs::Pieces, StartError> {
    // A disk may hang when the ring is opened and when its first entry is looked for.
    let body = timeout(START_PATIENCE, async {
        let reader = registry.reader(container).await?;
        Ok(read_logs::body(reader, config).await)
    });
    body.await.unwrap_or(Err(StartError::Slow))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.is_empty() {
        return Err(
            "the call has no body; dockerd repeats a call without it when the connection broke: try again".into()
        );
    }
    // dockerd writes a newline behind the value, and only the first value of a body counts.
    let mut values = serde_json::Deserializer::from_slice(body).into_iter();
    match values.next() {
        Some(Ok(call)) => Ok(call),
        Some(Err(error)) => Err(flaw(&error)),
        None => Err("the call's body is blank".into()),
    }
}

/// What is wrong with a body. Nothing of the body is shown: it may be a secret, and of any length.
fn flaw(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "a field is missing or has another type",
        Category::Syntax => "it is not JSON",
        Category::Eof | Category::Io => "it is incomplete",
    };
    let (line, column) = (error.line(), error.column());
    format!("the call's body is not what the plugin protocol says: {what} (line {line}, column {column})")
}

fn ok() -> Response<Body> {
    json(r#"{"Err":""}"#.into())
}

fn failed(path: &str, why: impl Display) -> Response<Body> {
    let err = clipped(why.to_string(), LONGEST_REFUSAL);
    // ReadLogs answers with frames when the status is 200.
    if path == "/LogDriver.ReadLogs" {
        return text(StatusCode::INTERNAL_SERVER_ERROR, &err);
    }
    let answer = Answer { err };
    json(serde_json::to_vec(&answer).unwrap_or_else(|_| br#"{"Err":"the error cannot be told"}"#.to_vec()).into())
}

fn json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed());
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, body: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_bounded_and_shows_nothing_of_a_body() {
        for body in [
            r#"{"File": "f", "Info": {"ContainerEnv": "TOKEN=hunter2"}}"#,
            r#"{"File": "f", "Info": {"Config": {"loki-password": ["hunter2"]}}}"#,
            r#"{"File": "f", "Info": {"hunter2": 1}"#,
            "hunter2",
        ] {
            let reason = parse::<StartLogging>(body.as_bytes()).unwrap_err();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
        let since = r#"{"Info": {}, "Config": {"Since": "hunter2"}}"#;
        let reason = parse::<ReadLogs>(since.as_bytes()).unwrap_err();
        assert_eq!(
            reason,
            "the call's body is not what the plugin protocol says: a field is missing or has another type (line 1, \
             column 43)"
        );
        for path in ["/LogDriver.StartLogging", "/LogDriver.ReadLogs"] {
            let body = failed(path, "é".repeat(1 << 20)).into_body().collect().await.unwrap().to_bytes();
            assert!((LONGEST_REFUSAL..LONGEST_REFUSAL + 64).contains(&body.len()), "{}", body.len());
        }
    }
}
