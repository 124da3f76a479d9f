//! A fake Loki with the behaviour that matters to a client, see `pkg/distributor` and `pkg/ingester` of Loki.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response};
use jiff::Timestamp;
use prost::Message;
use tokio::time::sleep;

use super::time;
use loki::encode::proto::{Entry, PushRequest};

/// `reject_old_samples_max_age`.
const OLDEST: i64 = 7 * 24 * 3600 * SECOND;

/// `creation_grace_period`.
const NEWEST: i64 = 10 * 60 * SECOND;

/// Half of `max_chunk_age`: the most that an entry may be behind the newest of its stream.
const BEHIND: i64 = 3600 * SECOND;

const SECOND: i64 = 1_000_000_000;

/// Longer than any push waits.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// The answer of Loki, or of a proxy in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Well,
    /// An answer of Loki's own that stores nothing.
    Says(u16, &'static str),
    /// A page from another server.
    Page(u16),
    /// `429`, with the time to retry, for one tenant or for all.
    Limited(Option<u32>, Option<&'static str>),
    /// 403 for one tenant.
    Forbids(&'static str),
    /// No answer.
    Hangs,
    /// Stored, and the connection breaks before the answer.
    Forgets,
    /// The status, and never the end of the body.
    Stalls(u16),
    /// 413 for a body above this many bytes.
    Small(usize),
}

/// A stream: tenant and labels.
pub type Key = (String, String);

/// One entry, as stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Since the simulation began.
    pub arrived: Duration,
    pub time: i64,
    pub line: Vec<u8>,
    pub metadata: Vec<(String, String)>,
}

/// One Loki.
#[derive(Debug)]
pub struct Loki {
    pub name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    streams: BTreeMap<Key, Vec<Stored>>,
    newest: BTreeMap<Key, i64>,
    lines: BTreeSet<Vec<u8>>,
    /// The times of requests, and the status of each answer.
    requests: Vec<(i64, u16)>,
    /// Begin and end of each time in which it rejected lines of one tenant or of all.
    troubles: Vec<(Duration, Duration, Option<&'static str>)>,
    /// Unanswered requests.
    open: AtOnce,
    /// The most of them so far.
    most: AtOnce,
}

/// Requests at one time, and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce {
    pub requests: usize,
    pub bytes: u64,
}

/// An unanswered request, which ends when this is dropped.
struct Open<'a>(&'a Loki, u64);

// === impl Loki ===

impl Loki {
    pub fn new(name: &str) -> Arc<Self> {
        let (streams, newest, lines) = Default::default();
        let (requests, troubles) = (Vec::new(), Vec::new());
        let (open, most) = Default::default();
        let state = State { weather: Weather::Well, streams, newest, lines, requests, troubles, open, most };
        Arc::new(Self { name: name.into(), state: Mutex::new(state) })
    }

    pub fn set(&self, weather: Weather) {
        let mut state = self.state();
        state.weather = weather;
        state.set_trouble(weather);
    }

    /// Whether all pushes of a tenant were accepted in this time.
    pub fn accepted(&self, tenant: &str, from: Duration, to: Duration) -> bool {
        let state = self.state();
        !state.troubles.iter().any(|(begin, end, of)| *begin <= to && *end >= from && of.is_none_or(|of| of == tenant))
    }

    /// All streams, each with its entries in the order of arrival.
    pub fn streams(&self) -> BTreeMap<Key, Vec<Stored>> {
        self.state().streams.clone()
    }

    /// Whether it has a line, in any stream.
    pub fn has(&self, line: &[u8]) -> bool {
        self.state().lines.contains(line)
    }

    /// The number of lines it has.
    pub fn lines(&self) -> usize {
        self.state().lines.len()
    }

    /// The times of requests in nanoseconds of true time, and the status of each answer.
    pub fn requests(&self) -> Vec<(i64, u16)> {
        self.state().requests.clone()
    }

    /// The most requests and bytes in flight at once.
    pub fn most_at_once(&self) -> AtOnce {
        self.state().most
    }

    fn open(&self, bytes: u64) -> Open<'_> {
        let mut state = self.state();
        state.open.requests += 1;
        state.open.bytes += bytes;
        let AtOnce { requests, bytes: all } = state.open;
        state.most = AtOnce { requests: state.most.requests.max(requests), bytes: state.most.bytes.max(all) };
        Open(self, bytes)
    }

    /// Answers a push, or breaks the connection.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Answer>, Broken> {
        let tenant =
            request.headers().get("x-scope-orgid").and_then(|id| id.to_str().ok()).unwrap_or("fake").to_owned();
        let body = request.into_body().collect().await.map_err(|_| Broken)?.to_bytes();
        let _open = self.open(body.len() as u64);
        // The buffers of a dead process never left the machine.
        if super::disk::with(|disk| disk.is_dead()) {
            return Err(Broken);
        }
        let weather = self.state().weather;
        let (code, text) = match weather {
            Weather::Says(code, text) => (code, text.to_owned()),
            Weather::Page(code) => (code, "<html><body><h1>sign in</h1></body></html>".to_owned()),
            Weather::Limited(_, of) if of.is_none_or(|of| of == tenant) => (
                429,
                format!(
                    "Ingestion rate limit exceeded for user {tenant} (limit: 4194304 bytes/sec) while attempting to ingest '1' lines totaling '100' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased"
                ),
            ),
            Weather::Forbids(of) if of == tenant => (403, "forbidden".to_owned()),
            Weather::Small(most) if body.len() > most => {
                (413, "<html><head><title>413 Request Entity Too Large</title></head></html>".to_owned())
            }
            Weather::Hangs => {
                self.note(0);
                sleep(FOR_EVER).await;
                return Err(Broken);
            }
            Weather::Stalls(code @ 400..) => (code, "a part of an answer".to_owned()),
            _ => self.push(&tenant, &body),
        };
        if weather == Weather::Forgets {
            self.note(0);
            return Err(Broken);
        }
        self.note(code);
        Ok(self.response(weather, code, text))
    }

    fn note(&self, code: u16) {
        self.state().requests.push((time::now(), code));
    }

    fn response(&self, weather: Weather, code: u16, text: String) -> Response<Answer> {
        let page = matches!(weather, Weather::Page(_) | Weather::Small(_)) && code != 204;
        let date = Timestamp::from_nanosecond(time::now().into()).unwrap_or_default();
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut response = Response::builder().status(code).header(DATE, date);
        if code != 204 {
            response = response.header(CONTENT_TYPE, if page { "text/html" } else { "text/plain; charset=utf-8" });
        }
        if let Weather::Limited(Some(after), _) = weather
            && code == 429
        {
            response = response.header(RETRY_AFTER, HeaderValue::from(after));
        }
        let body = if text.is_empty() { String::new() } else { text + "\n" };
        let rest = matches!(weather, Weather::Stalls(_));
        response.body(Answer { text: Some(body.into()), rest }).unwrap_or_default()
    }

    /// Stores the entries that it accepts, and returns errors for the others.
    fn push(&self, tenant: &str, body: &[u8]) -> (u16, String) {
        let Some(push) =
            snap::raw::Decoder::new().decompress_vec(body).ok().and_then(|body| PushRequest::decode(&*body).ok())
        else {
            return (400, "snappy: corrupt input".into());
        };
        let now = time::now();
        let mut state = self.state();
        let mut answer = (204, String::new());
        for stream in push.streams {
            let key = (tenant.to_owned(), stream.labels.clone());
            let (mut invalid, mut behind, all) = (Vec::new(), Vec::new(), stream.entries.len());
            for entry in stream.entries {
                let time = nanos(&entry);
                let newest = state.newest.get(&key).copied().unwrap_or(i64::MIN);
                if time < now - OLDEST {
                    invalid.push(format!(
                        "entry for stream '{}' has timestamp too old: {}, oldest acceptable timestamp is: {}",
                        stream.labels,
                        seconds(time),
                        seconds(now - OLDEST)
                    ));
                } else if time > now + NEWEST {
                    invalid.push(format!(
                        "entry for stream '{}' has timestamp too new: {}",
                        stream.labels,
                        seconds(time)
                    ));
                } else if time < newest.saturating_sub(BEHIND) {
                    behind.push(format!("entry with timestamp {} ignored, reason: 'entry too far behind, entry timestamp is: {}, oldest acceptable timestamp is: {}',", stamp(time), stamp(time), stamp(newest - BEHIND)));
                } else {
                    state.lines.insert(entry.line.clone());
                    state.newest.insert(key.clone(), newest.max(time));
                    let metadata = entry.structured_metadata.into_iter().map(|pair| (pair.name, pair.value)).collect();
                    state.streams.entry(key.clone()).or_default().push(Stored {
                        arrived: time::passed(),
                        time,
                        line: entry.line,
                        metadata,
                    });
                }
            }
            if !behind.is_empty() {
                let shown = behind[..behind.len().min(10)].join("\n");
                answer = (
                    400,
                    format!(
                        "{shown}\nuser '{tenant}', total ignored: {} out of {all} for stream: {}",
                        behind.len(),
                        stream.labels
                    ),
                );
            } else if !invalid.is_empty() {
                answer = (400, grouped(&invalid));
            }
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Answer ===

/// The body of an answer.
#[derive(Debug, Default)]
pub struct Answer {
    text: Option<Bytes>,
    /// Whether the body announces more bytes, which never come.
    rest: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.text.take() {
            Some(text) if !text.is_empty() => Poll::Ready(Some(Ok(Frame::data(text)))),
            // The client gives up waiting.
            _ if self.rest => Poll::Pending,
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.rest && self.text.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let known = self.text.as_ref().map_or(0, |text| text.len() as u64);
        if self.rest { SizeHint::default() } else { SizeHint::with_exact(known) }
    }
}

// === impl Open ===

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open.requests -= 1;
        state.open.bytes -= self.1;
    }
}

impl State {
    /// Ends a time of trouble, and begins another one.
    fn set_trouble(&mut self, weather: Weather) {
        let (now, for_ever) = (time::passed(), Duration::MAX);
        if let Some((_, end, _)) = self.troubles.last_mut().filter(|(_, end, _)| *end == for_ever) {
            *end = now;
        }
        let whose = match weather {
            Weather::Well => return,
            Weather::Forbids(of) | Weather::Limited(_, Some(of)) => Some(of),
            _ => None,
        };
        self.troubles.push((now, for_ever, whose));
    }
}

impl PartialEq for Stored {
    /// Whether Loki treats both as the same entry.
    fn eq(&self, other: &Self) -> bool {
        (self.time, &self.line, &self.metadata) == (other.time, &other.line, &other.metadata)
    }
}

/// The error for a broken connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks")]
pub struct Broken;

impl From<Infallible> for Broken {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn nanos(entry: &Entry) -> i64 {
    entry.timestamp.map_or(0, |time| time.seconds * SECOND + i64::from(time.nanos))
}

/// Formats a time like Go's `time.RFC3339`.
fn seconds(nanos: i64) -> String {
    Timestamp::from_second(nanos.div_euclid(SECOND)).unwrap_or_default().to_string()
}

fn stamp(nanos: i64) -> String {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or_default().to_string()
}

/// Joins several errors in one body, like `pkg/util/errors`.
fn grouped(errors: &[String]) -> String {
    if let [one] = errors {
        return one.clone();
    }
    let mut groups = BTreeMap::<&String, usize>::new();
    for error in errors {
        *groups.entry(error).or_default() += 1;
    }
    groups.iter().map(|(error, count)| format!("{count} errors like: {error}")).collect::<Vec<_>>().join("; ")
}
