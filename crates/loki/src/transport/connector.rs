//! Connects to Loki, directly or through a proxy.
//!
//! ```text
//! no proxy          TCP ─▶ (TLS) ─▶ requests
//! http target       TCP ─▶ (TLS to the proxy) ─▶ requests with the whole URL
//! https target      TCP ─▶ (TLS to the proxy) ─▶ CONNECT ─▶ TLS to Loki ─▶ requests
//! ```

use std::error::Error;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::names::Names;
use super::{Proxy, sensitive, tls};

type BoxError = Box<dyn Error + Send + Sync>;
type Inner = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes connections for hyper's pool.
#[derive(Clone, Debug)]
pub struct Connector {
    direct: HttpsConnector<HttpConnector<Names>>,
    proxied: Option<Proxied>,
    /// How long it may take to connect, TLS and proxy included.
    patience: Duration,
}

#[derive(Clone, Debug)]
struct Proxied {
    proxy: Arc<Proxy>,
    /// Connects to the proxy itself, under its own name.
    to_it: HttpsConnector<HttpConnector<Names>>,
    through_it: HttpsConnector<Tunnel<HttpsConnector<HttpConnector<Names>>>>,
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    io: Io,
    /// Whether the proxy needs absolute URLs.
    whole_urls: bool,
    /// Whether the other side accepts no more bytes, see [`Wire::or_sunk`].
    is_sunk: bool,
    /// Whether bytes were written and none were read since.
    is_owed: bool,
    /// Bytes read since something was written.
    answered: usize,
}

/// The stream below HTTP.
#[derive(Debug)]
#[cfg_attr(
    any(test, feature = "simulation"),
    expect(clippy::large_enum_variant, reason = "code that ships has one variant")
)]
enum Io {
    Net(MaybeHttpsStream<Inner>),
    #[cfg(any(test, feature = "simulation"))]
    Simulated(super::simulated::Io),
}

/// A connection attempt.
type Connecting = Pin<Box<dyn Future<Output = Result<Wire, BoxError>> + Send>>;

/// The largest part of an answer that is read, headers included, in bytes: more than is kept of any. hyper reads
/// interim answers (100, 103) without a limit and without a pause, so a server that sends nothing else would keep a
/// thread busy.
const LONGEST_ANSWER: usize = 2 << 20;

/// Bytes that are read at once. Answers are small, so copying them costs nothing.
const READ: usize = 8 << 10;

/// The answer is longer than [`LONGEST_ANSWER`].
#[derive(Debug, thiserror::Error)]
#[error("the answer has no end")]
struct Endless;

/// The connection attempt took longer than its time limit.
#[derive(Debug, thiserror::Error)]
#[error("the connection did not come about in time")]
struct GivenUp;

/// The proxy, by its address, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("by way of the proxy {0}")]
struct ByProxy(Uri, #[source] BoxError);

// === impl Connector ===

impl Connector {
    /// Makes connections; an attempt that takes longer than `patience` is given up.
    pub fn new(
        config: ClientConfig,
        name: Option<&ServerName<'static>>,
        proxy: Option<&Proxy>,
        patience: Duration,
    ) -> Connector {
        let config = Arc::new(config);
        let mut http = HttpConnector::new_with_resolver(Names::shared());
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(patience));
        let proxied = proxy.map(|proxy| {
            let to_it = tls::over(http.clone(), &config, None);
            let mut tunnel = Tunnel::new(proxy.uri.clone(), to_it.clone());
            if let Some(Ok(authorization)) = proxy.authorization.as_ref().map(|it| sensitive(it.expose())) {
                tunnel = tunnel.with_auth(authorization);
            }
            Proxied { proxy: Arc::new(proxy.clone()), to_it, through_it: tls::over(tunnel, &config, name) }
        });
        Connector { direct: tls::over(http, &config, name), proxied, patience }
    }
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Always ready: the inner connectors are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.connect(target);
        let patience = self.patience;
        // TLS and the proxy have no time limit of their own, and the pool continues a connection attempt whose request
        // is gone.
        Box::pin(async move { timeout(patience, connecting).await.unwrap_or_else(|_| Err(GivenUp.into())) })
    }
}

impl Connector {
    fn connect(&mut self, target: Uri) -> Connecting {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(dialing) = super::simulated::dial(&target) {
            return Box::pin(async move {
                Ok(Wire {
                    io: Io::Simulated(dialing.await?),
                    whole_urls: false,
                    is_sunk: false,
                    is_owed: false,
                    answered: 0,
                })
            });
        }
        let Some(proxied) = self.proxied.as_mut().filter(|proxied| proxied.proxy.is_for(&target)) else {
            let connecting = self.direct.call(target);
            return Box::pin(async move { Ok(Wire::over(MaybeHttpsStream::Http(connecting.await?), false)) });
        };
        let address = proxied.proxy.uri.clone();
        let blame = move |error| BoxError::from(ByProxy(address, error));
        if target.scheme_str() == Some("https") {
            let connecting = proxied.through_it.call(target);
            return Box::pin(async move { Ok(Wire::over(connecting.await.map_err(blame)?, false)) });
        }
        let connecting = proxied.to_it.call(proxied.proxy.uri.clone());
        Box::pin(async move {
            let io = MaybeHttpsStream::Http(connecting.await.map_err(blame)?);
            Ok(Wire::over(io, true))
        })
    }
}

// === impl Wire ===

impl Wire {
    fn over(io: MaybeHttpsStream<Inner>, whole_urls: bool) -> Self {
        Self { io: Io::Net(io), whole_urls, is_sunk: false, is_owed: false, answered: 0 }
    }

    /// Treats a connection that the other side has closed for writing as one that discards all bytes.
    ///
    /// A server may answer before it has read the body, and close, as a proxy does with 413. The answer has arrived,
    /// but hyper would not read it: it gives up at the first failed write. So the rest of the request is discarded, and
    /// what can be read decides, even if that is nothing.
    fn or_sunk<T>(&mut self, written: io::Result<T>, all: T) -> io::Result<T> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match written {
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) => {
                self.is_sunk = true;
                Ok(all)
            }
            written => written,
        }
    }
}

/// Calls a method of the stream below HTTP.
macro_rules! carry {
    ($wire:expr, $io:ident => $call:expr) => {
        match $wire {
            Io::Net($io) => $call,
            #[cfg(any(test, feature = "simulation"))]
            Io::Simulated($io) => $call,
        }
    };
}

impl Drop for Wire {
    /// Resets a connection whose request is given up. The kernel holds megabytes of the request and would still send
    /// them: a slow link would be busy, and Loki would store them.
    fn drop(&mut self) {
        match &self.io {
            // An error means that the connection is gone already.
            Io::Net(io) if self.is_owed => drop(under(under(io)).inner().set_zero_linger()),
            _ => {}
        }
    }
}

/// The stream below TLS, if there is TLS.
fn under<T>(io: &MaybeHttpsStream<T>) -> &T {
    match io {
        MaybeHttpsStream::Http(io) => io,
        MaybeHttpsStream::Https(io) => io.inner().get_ref().0.inner(),
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        carry!(&self.io, io => io.connected()).proxy(self.whole_urls)
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.answered > LONGEST_ANSWER {
            return Poll::Ready(Err(io::Error::other(Endless)));
        }
        let mut own = [MaybeUninit::uninit(); READ];
        let most = own.len().min(buf.remaining());
        let mut read = ReadBuf::uninit(&mut own[..most]);
        ready!(carry!(&mut self.io, io => Pin::new(io).poll_read(cx, read.unfilled())))?;
        self.is_owed = false;
        self.answered = self.answered.saturating_add(read.filled().len());
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_sunk {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(carry!(&mut self.io, io => Pin::new(io).poll_write(cx, buf)));
        (self.is_owed, self.answered) = (true, 0);
        Poll::Ready(self.or_sunk(written, buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_sunk {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(carry!(&mut self.io, io => Pin::new(io).poll_flush(cx)));
        Poll::Ready(self.or_sunk(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carry!(&mut self.io, io => Pin::new(io).poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        carry!(&self.io, io => io.is_write_vectored())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.is_sunk {
            return Poll::Ready(Ok(all));
        }
        let written = ready!(carry!(&mut self.io, io => Pin::new(io).poll_write_vectored(cx, bufs)));
        (self.is_owed, self.answered) = (true, 0);
        Poll::Ready(self.or_sunk(written, all))
    }
}
