//! The connections, how they are treated, and the thread they live on.
//!
//! Rule: a thread of its own with a runtime of its own, so that a plain `#[test]` can use it. It is
//! told what to do by commands, and each is answered when it is done. Going away drops every
//! connection, as a dying process would. Connections that were not heard end when it comes back: it
//! comes back as a new process would, and never reads what its clients have given up by then.
//!
//! Buffers are kept small, so that a body that is read slowly is felt by its sender, as far as the
//! sender's own buffers allow.

use super::answer::Answer;
use super::port::{self, Port};
use super::routes;
use super::state::Shared;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Bytes of a connection that are read ahead.
const READ_AHEAD: usize = 64 << 10;

/// The running server. Dropping it stops it and waits for its thread.
pub struct Server {
    address: SocketAddr,
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// What a request can do to its connection and to the port.
#[derive(Clone)]
pub struct Door {
    reset: Arc<Notify>,
    commands: UnboundedSender<Command>,
}

/// How clients find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It listens and answers.
    There,
    /// Connections are refused.
    Away,
    /// It accepts, and reads nothing.
    Deaf,
    /// Packets to it vanish.
    Vanished,
    /// Connections that there are fall silent, as after a crash behind a balancer; new ones are served.
    Silent,
}

enum Command {
    /// From now on in this manner; tell when it is so.
    Turn(Manner, mpsc::Sender<io::Result<()>>),
    Stop,
}

// === impl Server ===

impl Server {
    pub fn start(address: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let (commands, inbox) = unbounded_channel();
        let (tell, told) = mpsc::channel();
        let outbox = commands.clone();
        let thread = thread::Builder::new().name("loki-standin".into()).spawn(move || {
            let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            runtime.block_on(async {
                match Port::open(address) {
                    Err(error) => drop(tell.send(Err(error))),
                    Ok(port) => {
                        drop(tell.send(Ok(port.address())));
                        run(port, shared, outbox, inbox).await;
                    }
                }
            });
            runtime.shutdown_background();
        })?;
        let address = told.recv().map_err(|_| gone())??;
        Ok(Self { address, commands, thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn turn(&self, manner: Manner) -> io::Result<()> {
        let (tell, told) = mpsc::channel();
        self.commands.send(Command::Turn(manner, tell)).map_err(|_| gone())?;
        told.recv().map_err(|_| gone())?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors say that it stopped by itself, which is all that is wanted here.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the stand-in's thread has ended")
}

// === impl Door ===

impl Door {
    /// Resets the connection of this request.
    pub fn slam(&self) {
        self.reset.notify_one();
    }

    /// Lets all connections fall silent in a moment, when the answer to this request is out.
    pub fn silence(&self) {
        let commands = self.commands.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(20)).await;
            let _ = commands.send(Command::Turn(Manner::Silent, mpsc::channel().0));
        });
    }

    /// Turns in a moment, when the answer to this request is out, and comes back after so long.
    pub fn turn_for(&self, manner: Manner, time: Duration) {
        let commands = self.commands.clone();
        tokio::spawn(async move {
            // The answers to these commands are not needed.
            let (tell, _) = mpsc::channel();
            sleep(Duration::from_millis(20)).await;
            let _ = commands.send(Command::Turn(manner, tell.clone()));
            sleep(time).await;
            let _ = commands.send(Command::Turn(Manner::There, tell));
        });
    }
}

/// Accepts connections, and executes commands, until `Stop`.
async fn run(
    mut port: Port,
    shared: Arc<Shared>,
    outbox: UnboundedSender<Command>,
    mut inbox: UnboundedReceiver<Command>,
) {
    let manner = watch::Sender::new(Manner::There);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Turn(to, tell)) => {
                    let _ = tell.send(turn(&mut port, &manner, to, &mut connections).await);
                }
                Some(Command::Stop) | None => return connections.shutdown().await,
            },
            accepted = port.accept() => {
                match accepted {
                    Ok(stream) => {
                        let door = Door { reset: Arc::default(), commands: outbox.clone() };
                        connections.spawn(converse(stream, Arc::clone(&shared), door, manner.subscribe()));
                    }
                    // Out of file descriptors, most likely, and that passes.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn turn(
    port: &mut Port,
    manner: &watch::Sender<Manner>,
    to: Manner,
    connections: &mut JoinSet<()>,
) -> io::Result<()> {
    if to == Manner::Silent {
        let before = manner.send_replace(to);
        // Each connection lets go of it when it is not heard any more.
        manner.closed().await;
        manner.send_replace(before);
        return Ok(());
    }
    let before = manner.send_replace(to);
    if before == to {
        return Ok(());
    }
    match to {
        Manner::There | Manner::Deaf => port.come_back()?,
        Manner::Away => port.leave().await?,
        Manner::Vanished => port.vanish()?,
        Manner::Silent => {}
    }
    if to == Manner::Away || before != Manner::There {
        connections.shutdown().await;
    }
    if to != Manner::There {
        // Each connection lets go of it when it is not heard any more.
        manner.closed().await;
    }
    Ok(())
}

/// Serves one connection until either side has enough, or it is to be reset, or not heard any more.
async fn converse(stream: TcpStream, shared: Arc<Shared>, door: Door, mut manner: watch::Receiver<Manner>) {
    // Answers are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let reset = Arc::clone(&door.reset);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (shared, door) = (Arc::clone(&shared), door.clone());
        async move {
            let answer = routes::serve(request, shared, door).await;
            Ok::<_, Infallible>(respond(answer))
        }
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(READ_AHEAD)
        .serve_connection(TokioIo::new(stream), service);
    let turned = async {
        // The sender lives longer than any connection.
        manner.wait_for(|manner| *manner != Manner::There).await.map(|manner| *manner)
    };
    let turned = tokio::select! {
        // First, so that of a connection which comes too late nothing is read.
        biased;
        turned = turned => turned.ok(),
        () = reset.notified() => None,
        // An error is the client's: it went away, or it does not speak HTTP.
        _ = &mut connection => return,
    };
    let stream = connection.into_parts().io.into_inner();
    // Without lingering a close is a reset.
    let _ = stream.set_zero_linger();
    if let Some(turned) = turned {
        if turned == Manner::Vanished {
            let _ = port::drop_packets(&stream);
        }
        drop(manner);
        pending().await
    }
}

/// A body that announces this many bytes and sends none.
struct Stalled(u64);

impl Body for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.max(1))
    }
}

fn respond(answer: Answer) -> Response<Either<Full<Bytes>, Stalled>> {
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    let status = StatusCode::from_u16(answer.status).unwrap_or(failed);
    let body = match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Bytes::new(),
        _ => Bytes::from(answer.body),
    };
    let stalled = answer.stalls.then_some(Stalled(body.len() as u64));
    let mut response = Response::new(stalled.map_or(Either::Left(Full::new(body)), Either::Right));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status == StatusCode::PAYLOAD_TOO_LARGE || answer.closes {
        // The rest of the body is not wanted.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(kind) = answer.content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if let Some(to) = answer.location
        && let Ok(to) = HeaderValue::from_str(&to)
    {
        headers.insert(LOCATION, to);
    }
    response
}
