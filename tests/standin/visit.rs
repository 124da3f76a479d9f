//! A request on its way: its body is read, and its record is kept.
//!
//! Rule: the record is made when it is clear what becomes of the request, before the answer is
//! sent, so a client that has an answer finds its request on record. A body is refused by its
//! `Content-Length` if that says enough, else when it has become too large.

use super::answer::Answer;
use super::push::Push;
use super::server::Door;
use super::state::{Request, Shared};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// A request on its way. It enters the record of requests when it is dropped, so that one whose
/// client went away is there too.
pub struct Visit {
    pub shared: Arc<Shared>,
    record: Option<Request>,
}

/// How a body is read.
#[derive(Default)]
pub struct Reading {
    pub most: usize,
    /// Bytes a second.
    pub pace: Option<u64>,
    /// Stop after this many bytes.
    pub stop: Option<usize>,
}

/// Reads a body as configured; the error is the answer.
pub async fn read(mut body: Incoming, reading: &Reading, visit: &mut Visit) -> Result<Bytes, Answer> {
    let too_large = |size: u64| {
        let most = reading.most;
        let sentence = format!("request body too large: message size too large than max ({size} vs {most})");
        Answer::error(413, sentence)
    };
    let announced = body.size_hint().lower();
    if announced > reading.most as u64 {
        return Err(too_large(announced));
    }
    let mut whole = Vec::new();
    while reading.stop.is_none_or(|stop| whole.len() < stop)
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| Answer::error(400, format!("the body did not come whole: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        whole.extend_from_slice(&data);
        visit.received(whole.len());
        if whole.len() > reading.most {
            return Err(too_large(whole.len() as u64));
        }
        if let Some(pace) = reading.pace {
            let seconds = data.len() as f64 / pace.max(1) as f64;
            sleep(Duration::from_secs_f64(seconds)).await;
        }
    }
    Ok(whole.into())
}

// === impl Visit ===

impl Visit {
    pub fn new(shared: &Arc<Shared>, request: &hyper::Request<Incoming>) -> Self {
        let headers = request.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        let record = Request {
            method: request.method().to_string(),
            path: request.uri().to_string(),
            headers: headers.collect(),
            status_answered: None,
            answer: String::new(),
            streams: Vec::new(),
            compressed_bytes: 0,
            uncompressed_bytes: 0,
            at: Instant::now(),
        };
        Self { shared: Arc::clone(shared), record: Some(record) }
    }

    fn received(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.compressed_bytes = bytes;
        }
    }

    pub fn note(&mut self, push: &Push) {
        if let Some(record) = &mut self.record {
            let streams = push.streams.iter();
            record.streams = streams.map(|stream| (stream.text.clone(), stream.entries.len())).collect();
            record.uncompressed_bytes = push.uncompressed_bytes;
        }
    }

    pub fn done(mut self, answer: Answer) -> Answer {
        if let Some(record) = &mut self.record {
            record.status_answered = Some(answer.status);
            // What a query found is not kept a second time.
            if answer.status != 200 {
                record.answer = answer.body.trim_end().chars().take(1000).collect();
            }
        }
        answer
    }

    pub async fn hang(self) -> Answer {
        drop(self);
        pending().await
    }

    pub async fn reset(self, door: &Door) -> Answer {
        drop(self);
        door.slam();
        pending().await
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.shared.change(|state| state.requests.push(record));
        }
    }
}
