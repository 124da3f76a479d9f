//! The unix socket that dockerd connects to.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::routes::Routes;
use crate::disk;

/// Binds the socket, in place of one that a dead process left.
///
/// # Errors
/// When the directory or the socket cannot be made.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        disk::make_dir(dir)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

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
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        // dockerd connects and hangs up to see whether the plugin is there, and a `docker logs` can be interrupted.
        debug!(%error, "a connection of dockerd ended");
    }
}
