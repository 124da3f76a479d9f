//! The listener of `METRICS_ADDR`.
//!
//! That it cannot listen stops no container: it is said, and tried again. Requests are bounded in number and in time, for
//! any client that can reach the address can send anything, and read as slowly as it likes. When all connections are in
//! use, the one that has been idle the longest is closed for a new one.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::Routes;
use super::connections::{Connections, Place};
use crate::config::MetricsAddr;
use base::disk;
use telemetry::throttle::Throttle;

/// For the head of a request to come.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// A connection lasts as long at most. Prometheus keeps one open and makes another when that is closed.
const LONGEST_CONNECTION: Duration = Duration::from_secs(600);

/// Between tries to listen, and when there are no file descriptors.
const AGAIN: Duration = Duration::from_secs(5);

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Serves until the task is dropped.
pub async fn serve(addr: MetricsAddr, routes: Routes) {
    let trouble = Throttle::new(&"".into(), |_, _, reason| {
        tracing::error!("metrics and the status page are not served: {reason}");
    });
    let connections = Arc::<Connections>::default();
    loop {
        match listen(&addr).await {
            Ok(listener) => {
                info!(%addr, "metrics and the status page are served");
                let error = accept(&listener, &routes, &connections).await;
                trouble.lasts(|| format!("{addr}: {error}"));
            }
            Err(error) => trouble.lasts(|| format!("METRICS_ADDR {addr}: {error}")),
        }
        sleep(AGAIN).await;
    }
}

async fn listen(addr: &MetricsAddr) -> io::Result<Listener> {
    match addr {
        MetricsAddr::Tcp(addr) => TcpListener::bind(addr).await.map(Listener::Tcp),
        MetricsAddr::Unix(path) => disk::bind(path).map(Listener::Unix),
    }
}

/// Answers until no connection can be accepted.
async fn accept(listener: &Listener, routes: &Routes, connections: &Arc<Connections>) -> io::Error {
    loop {
        let place = connections.place().await;
        let accepted = match listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                let is_loopback = stream.local_addr().is_ok_and(|addr| addr.ip().to_canonical().is_loopback());
                answer(stream, routes, place, is_loopback);
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| answer(stream, routes, place, false)),
        };
        if let Err(error) = accepted {
            return error;
        }
    }
}

fn answer(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    routes: &Routes,
    place: Place,
    is_loopback: bool,
) {
    let routes = routes.clone();
    place.spawn(|place| async move {
        let service = service_fn(|request| {
            place.is_asked();
            let routes = routes.clone();
            async move { Ok::<_, Infallible>(routes.answer(&request, is_loopback).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .serve_connection(TokioIo::new(stream), service);
        if let Ok(Err(error)) = timeout(LONGEST_CONNECTION, connection).await {
            debug!(%error, "a connection to the status page ended");
        }
    });
}
