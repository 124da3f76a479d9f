//! The way to one destination, step by step, until one fails.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Finding, advice};
use crate::config::Destination;
use crate::config::destination::PUSH_PATH;
use loki::encode::Metadata;
use loki::transport::Secret;
use loki::transport::names::{NameError, Names};
use loki::{Client, PushError, StreamEncoder, client};

/// The stream of the line that is pushed, so that it is not mistaken for a container's.
const LABELS: &str = "{app=\"loki-rs-doctor\"}";

/// Between two looks for it.
const AGAIN: Duration = Duration::from_millis(200);

/// A step: what it found, or the last thing to be said.
type Step = Result<Finding, Finding>;

/// Goes all the way, and tells each step.
pub async fn reach(destination: &Destination, mut tell: impl FnMut(&Finding)) -> bool {
    let mut is_well = true;
    let mut say = |step: Step| {
        let (Ok(finding) | Err(finding)) = &step;
        tell(finding);
        is_well &= step.is_ok();
        step.is_ok()
    };
    if let Err(errors) = destination.check_files().await {
        say(Err(Finding::bad(errors.to_string(), advice::of_request(&PushError::Unready(String::new())))));
        return false;
    }
    let (host, what) = first_hop(destination);
    let addresses = match resolve(&host, what, destination.timeout).await {
        Ok((finding, addresses)) => {
            say(Ok(finding));
            addresses
        }
        Err(finding) => {
            say(Err(finding));
            return false;
        }
    };
    if !say(connect(&addresses, what, destination.timeout).await) {
        return false;
    }
    let client = match client(destination) {
        Ok(client) => client,
        Err(error) => {
            say(Err(Finding::bad(error.to_string(), "Look at loki-url, loki-tenant-id and loki-username.")));
            return false;
        }
    };
    let root = destination.url.as_url().path().strip_suffix(PUSH_PATH).map(str::to_owned);
    if let Some(root) = &root
        && !say(ready(&client, root).await)
    {
        return false;
    }
    let line = format!("loki-rs doctor was here at {}", nanoseconds());
    if !say(push(&client, &line).await) {
        return false;
    }
    match root {
        Some(root) => say(read_back(&client, &root, &line, destination.timeout).await),
        None => say(Ok(Finding::odd(
            "the path of the URL is not Loki's own, so the line cannot be looked for",
            "Look for it in Grafana: {app=\"loki-rs-doctor\"}.",
        ))),
    };
    is_well
}

/// Where the first connection goes: to Loki, or to the proxy before it.
fn first_hop(destination: &Destination) -> (String, &'static str) {
    let target: Option<Uri> = destination.url.as_str().parse().ok();
    let proxy = destination.transport.proxy.as_ref().filter(|proxy| target.as_ref().is_some_and(|to| proxy.is_for(to)));
    let (uri, what) = match proxy {
        Some(proxy) => (Some(proxy.uri.clone()), "the proxy"),
        None => (target, "Loki"),
    };
    let uri = uri.unwrap_or_default();
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    (format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(default)), what)
}

async fn resolve(host: &str, what: &str, patience: Duration) -> Result<(Finding, Vec<SocketAddr>), Finding> {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let port = port.parse().unwrap_or(80);
    let bad = |why: &dyn fmt::Display, advice| Finding::bad(format!("{host} cannot be resolved: {why}"), advice);
    match timeout(patience, Names::shared().resolve(name.trim_matches(['[', ']']))).await {
        Ok(Ok(addresses)) => {
            let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let addresses = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
            Ok((Finding::good(format!("{what} is at {host}: {}", shown.join(", "))), addresses))
        }
        Ok(Err(NameError::Failed(_, why))) => Err(bad(&why, advice::NO_SUCH_NAME)),
        Ok(Err(error)) => Err(bad(&error, advice::SILENT_NAME_SERVERS)),
        Err(_) => Err(bad(&"no name server answered in time", advice::SILENT_NAME_SERVERS)),
    }
}

async fn connect(addresses: &[SocketAddr], what: &str, patience: Duration) -> Step {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for address in addresses {
        let connected = timeout(patience, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(_) => return Ok(Finding::good(format!("{what} takes connections on {address}"))),
            Err(error) => last = error,
        }
    }
    let advice = advice::of_connect(&last);
    Err(Finding::bad(format!("{what} takes no connections: {last}"), advice))
}

fn client(destination: &Destination) -> Result<Client, client::TargetError> {
    let authorization = destination.credentials.as_ref().map(|credentials| Secret::new(credentials.authorization()));
    Client::new(&client::Target {
        url: destination.url.as_str(),
        tenant: destination.tenant_id.as_deref(),
        transport: &destination.transport,
        authorization: authorization.as_ref(),
        timeout: destination.timeout,
        accepts_any_2xx: destination.accepts_any_2xx,
    })
}

/// `/ready`, which also shows whether TLS comes about.
async fn ready(client: &Client, root: &str) -> Step {
    match client.get(&format!("{root}/ready")).await {
        Ok((200, _)) => Ok(Finding::good("Loki says that it is ready")),
        Ok((503, body)) => Ok(Finding::odd(
            format!("Loki is not ready: {}", String::from_utf8_lossy(&body).trim()),
            "A Loki that has just been started takes up to a minute. Lines are kept until it is.",
        )),
        Ok((code, _)) => Ok(Finding::odd(
            format!("/ready is answered with {code}"),
            "That is usual behind a gateway, which may let pushes alone through.",
        )),
        Err(error) => Err(Finding::bad(error.to_string(), advice::of_request(&error))),
    }
}

async fn push(client: &Client, line: &str) -> Step {
    let mut stream = StreamEncoder::new(LABELS);
    stream.push(nanoseconds(), line.as_bytes(), &Metadata::default());
    match client.push(stream.body(), None).await.outcome {
        Ok(()) => Ok(Finding::good("it takes a line")),
        Err(error) => Err(Finding::bad(format!("it takes no line: {error}"), advice::of_request(&error))),
    }
}

async fn read_back(client: &Client, root: &str, line: &str, patience: Duration) -> Step {
    let query = utf8_percent_encode(LABELS, NON_ALPHANUMERIC);
    let path = format!("{root}/loki/api/v1/query_range?query={query}&since=1h&limit=100&direction=backward");
    let start = Instant::now();
    loop {
        match client.get(&path).await {
            Ok((200, body)) if has_line(&body, line) => {
                return Ok(Finding::good(format!("and gives it back after {} ms", start.elapsed().as_millis())));
            }
            Ok((200, _)) if start.elapsed() < patience => sleep(AGAIN).await,
            Ok((200, _)) => {
                return Err(Finding::bad(
                    "the line was taken and cannot be found",
                    "Loki says 204 also when it keeps nothing: its log, and loki_discarded_samples_total, say why. A rate \
                     limit of the stream, or a retention of minutes, is likely.",
                ));
            }
            Ok((code, _)) => {
                return Ok(Finding::odd(
                    format!("the line cannot be looked for: queries are answered with {code}"),
                    "These credentials may push and not read. Look for the line in Grafana: {app=\"loki-rs-doctor\"}.",
                ));
            }
            Err(error) => return Ok(Finding::odd(error.to_string(), advice::of_request(&error))),
        }
    }
}

/// Whether an answer of `query_range` has the line.
fn has_line(body: &[u8], line: &str) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return false };
    let streams = answer["data"]["result"].as_array().into_iter().flatten();
    let mut values = streams.flat_map(|stream| stream["values"].as_array().into_iter().flatten());
    values.any(|value| value[1] == line)
}

fn nanoseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
