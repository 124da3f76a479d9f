//! The client sends one POST to `/loki/api/v1/push` over a pool of connections that all containers of a destination
//! share.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, SERVER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::capture_connection;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{Kind, Seen};
use super::error::{MOST, PushError, Status};
use super::hints::Hints;
use super::pace::Pace;
use crate::transport::link::Ready;
use crate::transport::{Link, Secret, Transport};

/// The largest part of an answer to a request other than a push that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// How long the body of an answer may take. A server that stalls there has sent its status already, and Loki writes
/// both at once.
const BODY_PATIENCE: Duration = Duration::from_secs(2);

/// Pushes to one URL with one tenant and one set of credentials.
#[derive(Debug)]
pub struct Client {
    link: Arc<Link>,
    uri: Uri,
    tenant: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    accepts_any_2xx: bool,
    pace: Mutex<Pace>,
}

/// The URL, tenant and credentials of a client.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The push URL, without user info.
    pub url: &'a str,
    /// `X-Scope-OrgID`.
    pub tenant: Option<&'a str>,
    /// TLS, proxy and authentication.
    pub transport: &'a Transport,
    /// The value of `Authorization` from the user info of the URL.
    pub authorization: Option<&'a Secret>,
    /// How long the status of the answer may take; the body has a little longer.
    pub timeout: Duration,
    /// Whether any 2xx except 260, without a body, counts as accepted (`loki-accept-any-2xx`).
    pub accepts_any_2xx: bool,
}

/// The result of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `Ok` means that Loki accepted the lines: 204, or what `loki-accept-any-2xx` allows.
    pub outcome: Result<(), PushError>,
    /// Hints from the headers, whatever the status; empty without an answer.
    pub hints: Hints,
}

/// A URL or header value that HTTP cannot carry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(String);

// === impl Client ===

impl Client {
    /// A client for `target`. Connections and files are opened with the first push.
    ///
    /// # Errors
    /// When the URL, tenant or credentials cannot be put into a request; secrets are not repeated.
    pub fn new(target: &Target<'_>) -> Result<Self, TargetError> {
        let uri: Uri =
            target.url.parse().map_err(|_| TargetError("the push URL is not one that HTTP can carry".into()))?;
        let header = |what: &str, value: Option<&str>, secret: bool| {
            let header = value.map(HeaderValue::from_str).transpose();
            let mut header =
                header.map_err(|_| TargetError(format!("the {what} has characters that a header cannot carry")))?;
            if let Some(header) = &mut header {
                header.set_sensitive(secret);
            }
            Ok::<_, TargetError>(header)
        };
        Ok(Self {
            link: Link::new(target.transport.clone(), uri.clone(), target.timeout),
            uri,
            tenant: header("tenant id", target.tenant, false)?,
            authorization: header("user name or password", target.authorization.map(Secret::expose), true)?,
            timeout: target.timeout,
            accepts_any_2xx: target.accepts_any_2xx,
            pace: Mutex::default(),
        })
    }

    /// Sends one body, as `tenant` or else as the target's tenant. 260 is an error: a 2xx that stored nothing.
    pub async fn push(&self, body: Bytes, tenant: Option<&str>) -> Answer {
        let (bytes, halvings) = (body.len(), self.pace().halvings());
        let (answer, was_connected) = self.exchange(body, tenant).await;
        match &answer.outcome {
            Ok(()) => self.pace().answered(bytes, halvings, Instant::now().into_std()),
            Err(PushError::Timeout | PushError::Transport(_)) if was_connected => {
                self.pace().stalled(bytes, halvings, Instant::now().into_std());
            }
            // A proxy, or Loki behind it, gave up waiting for the body.
            Err(PushError::Status(status)) if matches!(status.code, 408 | 504) => {
                self.pace().stalled(bytes, halvings, Instant::now().into_std());
            }
            // A failed connection or another answer says nothing about the size.
            Err(_) => {}
        }
        answer
    }

    /// The bytes of lines that a batch should have, where `typed` is configured: fewer while requests time out.
    #[must_use]
    pub fn batch_size(&self, typed: usize) -> usize {
        self.pace().batch_size(typed)
    }

    /// Sends a GET request to the same server, by path and query. Returns the status and the body, up to a bound.
    ///
    /// # Errors When there is no answer.
    pub async fn get(&self, path_and_query: &str) -> Result<(u16, Vec<u8>), PushError> {
        let asked = async {
            let mut parts = self.uri.clone().into_parts();
            let path = path_and_query.parse();
            parts.path_and_query = Some(path.map_err(|error| PushError::Transport(format!("{error}")))?);
            let uri = Uri::from_parts(parts).map_err(|error| PushError::Transport(error.to_string()))?;
            let ready = self.link.ready().await.map_err(PushError::Unready)?;
            let request = self.request(Method::GET, uri, Bytes::new(), None, &ready);
            let response = ready.http.request(request).await.map_err(|error| transport(&error))?;
            let code = response.status().as_u16();
            Ok((code, Body::read(response.into_body(), LONGEST_ANSWER, self.timeout).await.bytes))
        };
        timeout(self.timeout, asked).await.unwrap_or(Err(PushError::Timeout))
    }

    /// Sends one request; also returns whether there was a connection for it.
    async fn exchange(&self, body: Bytes, tenant: Option<&str>) -> (Answer, bool) {
        let failed = |error| Answer { outcome: Err(error), hints: Hints::default() };
        // Lines must never be sent as another tenant.
        let Ok(tenant) = tenant.map(HeaderValue::from_str).transpose() else {
            return (failed(PushError::Transport("the tenant id is not one that HTTP can carry".into())), false);
        };
        let patience = self.pace().patience(body.len());
        let deadline = Instant::now() + self.timeout * patience;
        let ready = match timeout_at(deadline, self.link.ready()).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(why)) => return (failed(PushError::Unready(why)), false),
            Err(_) => return (failed(PushError::Timeout), false),
        };
        let mut request = self.request(Method::POST, self.uri.clone(), body, tenant.as_ref(), &ready);
        let connection = capture_connection(&mut request);
        let response = match timeout_at(deadline, ready.http.request(request)).await {
            Ok(Ok(response)) => response,
            silent => {
                let was_connected = connection.connection_metadata().is_some();
                if was_connected {
                    // This connection, and all that were idle beside it, may be dead.
                    self.link.renew(&ready);
                }
                let error = silent.map_or(PushError::Timeout, |broken| {
                    broken.err().map_or(PushError::Timeout, |error| transport(&error))
                });
                return (failed(error), was_connected);
            }
        };
        (self.judge(response).await, true)
    }

    async fn judge(&self, response: Response<Incoming>) -> Answer {
        let (head, body) = response.into_parts();
        let body = if head.status == StatusCode::NO_CONTENT {
            Body::default()
        } else {
            Body::read(body, MOST, BODY_PATIENCE).await
        };
        let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let code = head.status.as_u16();
        let seen = Seen { code, content_type: text(CONTENT_TYPE), body: &body.bytes, is_whole: body.is_whole };
        let status = Status::new(&seen, text(SERVER));
        let outcome = match status.kind {
            Kind::Accepted => Ok(()),
            Kind::Unconfirmed if self.accepts_any_2xx => Ok(()),
            _ => Err(PushError::Status(status)),
        };
        Answer { outcome, hints: Hints::read(&head.headers) }
    }

    fn request(
        &self,
        method: Method,
        uri: Uri,
        body: Bytes,
        tenant: Option<&HeaderValue>,
        ready: &Ready,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        let is_push = method == Method::POST;
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.extend(ready.headers.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("loki-rs/", env!("CARGO_PKG_VERSION"))));
        if is_push {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        }
        if let Some(tenant) = tenant.or(self.tenant.as_ref()) {
            headers.insert("x-scope-orgid", tenant.clone());
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn transport(error: &hyper_util::client::legacy::Error) -> PushError {
    PushError::Transport(chain(error))
}

/// The beginning of a body.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    /// Whether this is the whole body.
    is_whole: bool,
}

// === impl Body ===

impl Body {
    /// Reads until the end, the bound, or a stall: the status is enough. The rest is not worth waiting for; the
    /// connection is then closed, not reused.
    async fn read(mut body: Incoming, most: usize, patience: Duration) -> Self {
        let mut read = Self::default();
        let reading = async {
            while read.bytes.len() <= most {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        let data = frame.data_ref().map_or(&[][..], |data| data);
                        read.bytes.extend_from_slice(data);
                    }
                    Some(Err(_)) => return,
                    None => return read.is_whole = true,
                }
            }
        };
        let _ = timeout(patience, reading).await;
        if read.bytes.len() > most {
            read.bytes.truncate(most);
            read.is_whole = false;
        }
        read
    }
}

/// An error and its causes in one line: hyper's own text alone is "client error (Connect)".
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
