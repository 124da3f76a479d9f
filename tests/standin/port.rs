//! The port: whether it is listened on, and packets that never arrive.
//!
//! Rule: the port is bound all the time, so that no other process can take it meanwhile. Without a listener, clients
//! are refused. While packets vanish, the kernel drops each that comes for the listening socket or for a connection
//! before it does anything else with it: as if there was no such machine, a client is neither connected nor refused,
//! and what it sends is never confirmed.

use nix::libc;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::from_ref;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

/// What the kernel may accept for a connection before it is read.
const RECEIVE_BUFFER: u32 = 128 << 10;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A port that is ours.
pub struct Port {
    address: SocketAddr,
    state: Option<State>,
}

enum State {
    Open(TcpListener),
    Held(TcpSocket),
}

// === impl Port ===

impl Port {
    /// Listens. Port 0 takes a free one.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = hold(address)?.listen(BACKLOG)?;
        Ok(Self { address: listener.local_addr()?, state: Some(State::Open(listener)) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; waits for ever without a listener.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        match &self.state {
            Some(State::Open(listener)) => Ok(listener.accept().await?.0),
            _ => std::future::pending().await,
        }
    }

    /// Stops listening.
    pub async fn leave(&mut self) -> io::Result<()> {
        if let Some(State::Held(_)) = self.state {
            return Ok(());
        }
        drop(self.state.take());
        // The port is free between the two calls; a process that takes it at that instant soon releases it.
        for _ in 0..100 {
            if let Ok(socket) = hold(self.address) {
                self.state = Some(State::Held(socket));
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(io::Error::other("another process took the port"))
    }

    /// Listens, and packets arrive.
    pub fn come_back(&mut self) -> io::Result<()> {
        let socket = match self.state.take() {
            Some(State::Open(listener)) => {
                let heard = let_packets_in(&listener);
                self.state = Some(State::Open(listener));
                return heard;
            }
            Some(State::Held(socket)) => socket,
            None => hold(self.address)?,
        };
        self.state = Some(State::Open(socket.listen(BACKLOG)?));
        Ok(())
    }

    /// Drops packets that ask for a connection from now on.
    pub fn vanish(&mut self) -> io::Result<()> {
        self.come_back()?;
        match &self.state {
            Some(State::Open(listener)) => drop_packets(listener),
            _ => Ok(()),
        }
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

/// Lets the kernel drop all that comes for a socket.
pub fn drop_packets(socket: &impl AsFd) -> io::Result<()> {
    let mut nothing = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    set_option(socket, libc::SO_ATTACH_FILTER, &program)
}

fn let_packets_in(socket: &impl AsFd) -> io::Result<()> {
    match set_option(socket, libc::SO_DETACH_FILTER, &0) {
        // There was no filter.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        done => done,
    }
}

fn set_option<T>(socket: &impl AsFd, name: i32, value: &T) -> io::Result<()> {
    let (socket, size) = (socket.as_fd().as_raw_fd(), size_of::<T>() as libc::socklen_t);
    // SAFETY: the kernel copies `size` bytes of a value that lives until the call is over, and so
    // does what a filter's program points to.
    match unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, name, from_ref(value).cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
