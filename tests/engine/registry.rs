//! A registry for plugins: as much of the Docker Registry HTTP API V2 as `docker plugin push`, `install` and `upgrade`
//! ask for.
//!
//! dockerd speaks plain HTTP to a registry on loopback without configuration. There is no login, an upload comes in one
//! piece, and everything is in memory. Content is stored under its digest, which is in the answer: dockerd fails if it
//! is not the expected one.
//!
//! ```text
//! HEAD, GET  /v2/NAME/blobs/DIGEST                 is it there; its bytes
//! POST       /v2/NAME/blobs/uploads/               where to put a blob
//! PUT        /v2/NAME/blobs/uploads/               a blob
//! HEAD, GET  /v2/NAME/manifests/TAG or DIGEST      a list of blobs
//! PUT        /v2/NAME/manifests/TAG                the same; the tag means this one from now on
//! ```

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ring_crypto::digest::{SHA256, digest};
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};

/// What came, or what a tag means.
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A running registry. It ends with the value.
pub struct Registry {
    address: SocketAddr,
    _runtime: Runtime,
}

/// What was pushed, in all repositories.
#[derive(Default)]
struct Shelf {
    /// By digest: blobs, and manifests with their type.
    content: HashMap<String, (Option<HeaderValue>, Bytes)>,
    /// Digests of manifests, by `NAME/manifests/TAG`.
    tags: HashMap<String, String>,
}

// === impl Registry ===

impl Registry {
    pub fn start() -> Self {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(run(listener));
        Self { address, _runtime: runtime }
    }

    /// What a plugin is called that is in this registry.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

async fn run(listener: TcpListener) {
    let shelf: Arc<Mutex<Shelf>> = Arc::default();
    while let Ok((stream, _)) = listener.accept().await {
        let shelf = shelf.clone();
        let service = service_fn(move |request| {
            let shelf = shelf.clone();
            async move { Ok::<_, Infallible>(serve(request, &shelf).await) }
        });
        // An error is the client's: it went away.
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn serve(request: Request<Incoming>, shelf: &Mutex<Shelf>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return empty(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    let path = head.uri.path().trim_start_matches("/v2/");
    let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    match (&head.method, path) {
        (&Method::GET | &Method::HEAD, _) => shelf.show(path, head.method == Method::HEAD),
        (&Method::POST, path) if path.ends_with("/blobs/uploads/") => {
            with(empty(StatusCode::ACCEPTED), LOCATION, head.uri.path())
        }
        (&Method::PUT, path) if path.ends_with("/blobs/uploads/") => {
            with(empty(StatusCode::CREATED), DIGEST, &shelf.take(None, body))
        }
        (&Method::PUT, path) if path.contains("/manifests/") => {
            let digest = shelf.take(head.headers.get(CONTENT_TYPE).cloned(), body);
            shelf.tags.insert(path.to_owned(), digest.clone());
            with(empty(StatusCode::CREATED), DIGEST, &digest)
        }
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

// === impl Shelf ===

impl Shelf {
    /// Keeps what came, and gives its digest.
    fn take(&mut self, kind: Option<HeaderValue>, content: Bytes) -> String {
        let hash = digest(&SHA256, &content);
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("sha256:{hash}");
        self.content.insert(name.clone(), (kind, content));
        name
    }

    /// What there is under a tag or a digest.
    fn show(&self, path: &str, without_body: bool) -> Response<Full<Bytes>> {
        let last = path.rsplit('/').next().unwrap_or_default();
        let digest = self.tags.get(path).map_or(last, String::as_str);
        let Some((kind, content)) = self.content.get(digest) else { return empty(StatusCode::NOT_FOUND) };
        let body = if without_body { Bytes::new() } else { content.clone() };
        let mut answer = with(Response::new(Full::new(body)), DIGEST, digest);
        answer.headers_mut().insert(CONTENT_LENGTH, content.len().into());
        if let Some(kind) = kind {
            answer.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        answer
    }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn with(mut answer: Response<Full<Bytes>>, name: HeaderName, value: &str) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    answer
}
