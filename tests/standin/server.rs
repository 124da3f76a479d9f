//! The port, the connections, and the thread they live on.
//!
//! Rule: a thread of its own with a runtime of its own, so that a plain `#[test]` can use it. It is
//! told what to do by commands, and each is answered when it is done. While it is away the port
//! stays *bound* but nobody listens: clients are refused, and no other process can take the port
//! meanwhile. Going away drops every connection, as a dying process would.
//!
//! Buffers are kept small, so that a body that is read slowly is felt by its sender, as far as the
//! sender's own buffers allow.

use super::answer::Answer;
use super::routes;
use super::state::Shared;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What the kernel may take in for a connection before anybody reads.
const RECEIVE_BUFFER: u32 = 128 << 10;

/// What is read of a connection before anybody wants it.
const READ_AHEAD: usize = 64 << 10;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

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

enum Command {
    /// Stop listening; tell when nobody can connect any more.
    Away(mpsc::Sender<io::Result<()>>),
    /// Listen again; tell when it is so.
    Back(mpsc::Sender<io::Result<()>>),
    Stop,
}

/// The port is held either way.
enum Port {
    Open(TcpListener),
    Held(TcpSocket),
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
                let bound = hold(address).and_then(|socket| socket.listen(BACKLOG));
                match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
                    Err(error) => drop(tell.send(Err(error))),
                    Ok((address, listener)) => {
                        drop(tell.send(Ok(address)));
                        run(listener, address, shared, outbox, inbox).await;
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

    pub fn go_away(&self) -> io::Result<()> {
        self.order(Command::Away)
    }

    pub fn come_back(&self) -> io::Result<()> {
        self.order(Command::Back)
    }

    fn order(&self, command: fn(mpsc::Sender<io::Result<()>>) -> Command) -> io::Result<()> {
        let (tell, told) = mpsc::channel();
        self.commands.send(command(tell)).map_err(|_| gone())?;
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

    /// Stops listening in a moment, when the answer to this request is out, and for so long.
    pub fn close_for(&self, time: Duration) {
        let commands = self.commands.clone();
        tokio::spawn(async move {
            // Nobody waits for the answers to these commands.
            let (tell, _) = mpsc::channel();
            sleep(Duration::from_millis(20)).await;
            let _ = commands.send(Command::Away(tell.clone()));
            sleep(time).await;
            let _ = commands.send(Command::Back(tell));
        });
    }
}

/// A socket that has the port and does not listen.
fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Accepts, and obeys, until told to stop.
async fn run(
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    outbox: UnboundedSender<Command>,
    mut inbox: UnboundedReceiver<Command>,
) {
    let mut port = Some(Port::Open(listener));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Away(tell)) => {
                    let left = leave(&mut port, address).await;
                    connections.shutdown().await;
                    let _ = tell.send(left);
                }
                Some(Command::Back(tell)) => {
                    let _ = tell.send(come_back(&mut port, address));
                }
                Some(Command::Stop) | None => return connections.shutdown().await,
            },
            accepted = accept(&port) => {
                match accepted {
                    Ok((stream, _)) => {
                        let door = Door { reset: Arc::default(), commands: outbox.clone() };
                        connections.spawn(converse(stream, Arc::clone(&shared), door));
                    }
                    // Out of file descriptors, most likely, and that passes.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(port: &Option<Port>) -> io::Result<(TcpStream, SocketAddr)> {
    match port {
        Some(Port::Open(listener)) => listener.accept().await,
        _ => std::future::pending().await,
    }
}

async fn leave(port: &mut Option<Port>, address: SocketAddr) -> io::Result<()> {
    if let Some(Port::Held(_)) = port {
        return Ok(());
    }
    drop(port.take());
    // The port is free between the two; whoever takes it in that instant lets it go again soon.
    for _ in 0..100 {
        if let Ok(socket) = hold(address) {
            *port = Some(Port::Held(socket));
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(io::Error::other("another process took the port"))
}

fn come_back(port: &mut Option<Port>, address: SocketAddr) -> io::Result<()> {
    let socket = match port.take() {
        Some(Port::Held(socket)) => socket,
        Some(open) => {
            *port = Some(open);
            return Ok(());
        }
        None => hold(address)?,
    };
    *port = Some(Port::Open(socket.listen(BACKLOG)?));
    Ok(())
}

/// Serves one connection until either side has enough, or it is to be reset.
async fn converse(stream: TcpStream, shared: Arc<Shared>, door: Door) {
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
    tokio::select! {
        // An error is the client's: it went away, or it does not speak HTTP.
        _ = &mut connection => {}
        () = reset.notified() => {
            let stream = connection.into_parts().io.into_inner();
            // Without lingering a close is a reset.
            let _ = stream.set_zero_linger();
        }
    }
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    let status = StatusCode::from_u16(answer.status).unwrap_or(failed);
    let body = match status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Bytes::new(),
        _ => Bytes::from(answer.body),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        // The rest of the body is not wanted.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(kind) = answer.content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    if let Some(to) = answer.location
        && let Ok(to) = HeaderValue::from_str(&to)
    {
        headers.insert(LOCATION, to);
    }
    response
}
