//! The unix socket that dockerd connects to.
//!
//! Served with `hyper` itself: `hyperlocal`'s server answers one connection at a time and closes it after each
//! answer, and dockerd has several calls under way, some of which last as long as a `docker logs -f`. The tests call
//! through `hyperlocal`'s client.

use std::convert::Infallible;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::routes::Routes;

/// Bytes that a connection buffers in each direction: heads are short, and a `docker logs` without a reader must not hold
/// much.
const LARGEST_BUFFER: usize = 32 << 10;

/// Answers calls until the task is dropped. Connections are kept open for as long as dockerd likes: closing an idle
/// one can race with its next call, which it would then repeat without a body.
pub async fn serve(listener: UnixListener, routes: Routes) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, routes.clone()))),
            Err(error) => {
                // Out of file descriptors, most likely; calls wait in the backlog until some are free.
                warn!(%error, "cannot accept a connection of dockerd");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, routes: Routes) {
    let service = service_fn(|request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(LARGEST_BUFFER);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        // dockerd connects and hangs up to see whether the plugin is there, and a `docker logs` can be interrupted.
        debug!(%error, "a connection of dockerd ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PluginDefaults;
    use crate::streams::Registry;
    use crate::streams::registry::Setup;
    use http_body_util::{BodyExt, Empty};
    use hyper::body::Bytes;
    use hyper::{Method, Request};
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use hyperlocal::{UnixConnector, Uri};
    use tokio::runtime::Handle;

    /// The rest of the tests speak as dockerd does, byte for byte; this one as any HTTP client.
    #[tokio::test]
    async fn any_client_that_speaks_http_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("made/plugin.sock");
        let registry = Registry::new(Setup {
            state_dir: dir.path().join("state"),
            hostname: "host".into(),
            defaults: PluginDefaults::default(),
            mistakes: Vec::new(),
            intake: Handle::current(),
            shipping: Handle::current(),
            counters: Default::default(),
            sent: Default::default(),
            pipelines: std::sync::Arc::default(),
        });
        tokio::spawn(serve(base::disk::bind(&socket).unwrap(), Routes::new(registry)));
        let client: Client<UnixConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(UnixConnector);
        for (method, path, status, answer) in [
            (Method::POST, "/Plugin.Activate", 200, r#"{"Implements":["LogDriver"]}"#),
            (Method::POST, "/LogDriver.Capabilities", 200, r#"{"Cap":{"ReadLogs":true},"Err":""}"#),
            (Method::POST, "/VolumeDriver.Create", 404, "this is a log driver"),
            (Method::GET, "/Plugin.Activate", 405, "every call of the plugin protocol is a POST"),
        ] {
            let request = Request::builder().method(method).uri(Uri::new(&socket, path)).body(Empty::new()).unwrap();
            let response = client.request(request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(answer.as_bytes()), "{path}: {body:?}");
        }
    }
}
