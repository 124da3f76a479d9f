//! The network between the plugin and each fake Loki: in memory, with faults.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::sleep;

use super::loki::Loki;
use base::pools::Pool;
use loki::transport::simulated::{self, Dialing};

/// The state of the path to a Loki.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Well,
    /// The port is closed.
    Refused,
    /// Nothing answers; connections that carry bytes meanwhile never carry any again.
    Silent,
    /// The name server does not answer.
    Nameless,
    /// This many bytes per second.
    Slow(u32),
    /// Each connection breaks after this many bytes.
    Breaks(u32),
}

/// The timeout of a silent name server, for which a thread of the name pool waits.
pub const RESOLVER: Duration = Duration::from_secs(40);

/// The latency between the machines.
const HOP: Duration = Duration::from_micros(200);

/// The paths to all Lokis, by host.
pub type Ways = BTreeMap<String, Way>;

/// The path to one Loki.
#[derive(Clone, Debug)]
pub struct Way {
    pub loki: Arc<Loki>,
    pub weather: Arc<Mutex<Weather>>,
}

/// Connects this thread to all Lokis through `ways`.
pub fn connect(ways: Rc<RefCell<Ways>>) {
    simulated::set(move |target| {
        let way = target.host().and_then(|host| ways.borrow().get(host).cloned());
        Box::pin(async move {
            let way = way.ok_or_else(|| io::Error::other("no such host"))?;
            way.dial().await
        }) as Dialing
    });
}

// === impl Way ===

impl Way {
    pub fn new(loki: Arc<Loki>) -> Self {
        Self { loki, weather: Arc::new(Mutex::new(Weather::Well)) }
    }

    pub fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dial(self) -> io::Result<DuplexStream> {
        if self.weather() == Weather::Nameless {
            // A look-up holds its thread even after its caller has given up.
            let _ = Pool::Names.run(|| ()).await;
            return Err(io::Error::other("the name server does not answer"));
        }
        sleep(HOP).await;
        match self.weather() {
            Weather::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
            Weather::Silent => std::future::pending().await,
            _ => {}
        }
        let (client, near) = duplex(64 * 1024);
        let (far, server) = duplex(64 * 1024);
        let ((near_in, near_out), (far_in, far_out)) = (split(near), split(far));
        tokio::spawn(self.clone().carry(near_in, far_out));
        tokio::spawn(self.clone().carry(far_in, near_out));
        let loki = self.loki;
        tokio::spawn(async move {
            let service = service_fn(move |request| loki.clone().answer(request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).auto_date_header(false).header_read_timeout(None);
            // Ends when either side has closed.
            let _ = http.serve_connection(TokioIo::new(server), service).await;
        });
        Ok(client)
    }

    /// Copies bytes in one direction until they end, or the connection breaks.
    async fn carry(self, mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) {
        let (mut buffer, mut carried) = (vec![0; 16 * 1024], 0);
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            match self.weather() {
                Weather::Slow(rate) => sleep(Duration::from_secs_f64(n as f64 / f64::from(rate))).await,
                Weather::Silent => std::future::pending().await,
                Weather::Breaks(after) if carried + n > after as usize => return,
                _ => sleep(HOP).await,
            }
            carried += n;
            if to.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
    }
}
