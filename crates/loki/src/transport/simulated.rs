//! A network for a simulation in one thread: its dialer makes the connections of a URL.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

/// A connection attempt; its error is that of the simulated network.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

type Dialer = Rc<dyn Fn(&Uri) -> Dialing>;

thread_local! {
    static DIALER: RefCell<Option<Dialer>> = const { RefCell::new(None) };
}

/// A connection inside the process.
#[derive(Debug)]
pub struct Io(TokioIo<DuplexStream>);

/// Makes all connections of this thread with `dialer`, without TLS and proxy.
pub fn set(dialer: impl Fn(&Uri) -> Dialing + 'static) {
    DIALER.set(Some(Rc::new(dialer)));
}

/// Returns to the machine's network.
pub fn reset() {
    DIALER.set(None);
}

pub(super) fn dial(target: &Uri) -> Option<impl Future<Output = io::Result<Io>> + Send + use<>> {
    let dialing = DIALER.with_borrow(|dialer| dialer.as_ref().map(|dial| dial(target)))?;
    Some(async move { Ok(Io(TokioIo::new(dialing.await?))) })
}

impl Connection for Io {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
