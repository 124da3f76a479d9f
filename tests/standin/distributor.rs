//! A push from decoded to answered: the first of Loki's two parts, and the order of its questions.
//!
//! Rule, in this order:
//! 1. no stream at all: 422. A stream without entries is passed over, whatever its labels;
//! 2. streams and entries are judged ([`Limits`]); those that fail are left out and remembered;
//! 3. metadata is cleaned; a name that cannot be cleaned is a 500 for the whole request;
//! 4. the tenant's rate: over it, 429 for the whole request, and the faults of 2 are not told;
//! 5. the message to the ingester, as Loki would re-encode it: over the limit of gRPC, 500 for the
//!    whole request;
//! 6. each stream goes to the ingester ([`Store`]), and **the last answer of those wins**: an
//!    earlier stream's loss is hidden by a later stream's success;
//! 7. an error of 6 beats one of 2, which beats "blocked" (260 by default), which beats 204.

use super::answer::Answer;
use super::clock;
use super::labels::{self, Pair};
use super::level;
use super::limits::Limits;
use super::metadata;
use super::proto;
use super::push::{Entry, Push};
use super::store::{Labels, Line, Store, Tidy};
use bytes::Bytes;
use prost::{Message, length_delimiter_len};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Faults that left part of a request out, equal ones counted together.
#[derive(Default)]
struct Faults(Vec<(String, usize)>);

/// Judges a request, stores what passes, and says what Loki would say.
pub fn push(store: &mut Store, limits: &Limits, tenant: &str, push: &Push) -> Answer {
    let now = clock::now() + i128::from(limits.clock_ahead);
    if push.streams.is_empty() {
        let sentence = "error at least one valid stream is required for ingestion";
        return Answer::error(422, sentence);
    }
    let mut faults = Faults::default();
    let mut blocked = None;
    let mut accepted = Vec::new();
    for stream in push.streams.iter().filter(|stream| !stream.entries.is_empty()) {
        let labels = complete(&stream.labels, limits);
        let shown = labels::render(labels.iter().map(|(name, value)| (name, value)));
        if let Some(fault) = limits.refuse_stream(&labels, &shown) {
            faults.add(fault);
            continue;
        }
        if let Some(sentence) = block(limits, tenant, now) {
            blocked = Some(sentence);
            continue;
        }
        let mut lines = Vec::with_capacity(stream.entries.len());
        let mut cleaned = None;
        for entry in &stream.entries {
            if let Some(fault) = limits.refuse_entry(entry, &shown, now) {
                faults.add(fault);
                continue;
            }
            // Most entries have what the one before them has.
            let known = cleaned.as_ref().filter(|(before, _): &&(&Entry, _)| before.metadata == entry.metadata);
            let metadata = match known.map_or_else(|| clean(entry), |(_, metadata)| Ok(Arc::clone(metadata))) {
                Ok(metadata) => metadata,
                Err(sentence) => return Answer::error(500, sentence),
            };
            cleaned = Some((entry, Arc::clone(&metadata)));
            lines.push(tidy(entry, metadata, &labels, limits));
        }
        if !lines.is_empty() {
            let labels = Arc::new(Labels {
                tenant: tenant.to_owned(),
                sent: stream.labels.iter().cloned().collect(),
                shown: labels.into_iter().collect(),
            });
            accepted.push(Tidy { shown, labels, lines });
        }
    }
    if !accepted.is_empty()
        && let Err(answer) = pass_on(store, limits, tenant, accepted)
    {
        return answer;
    }
    if !faults.0.is_empty() {
        return Answer::error(400, faults.to_string());
    }
    match blocked {
        Some(sentence) => Answer::error(limits.block_ingestion_status_code, sentence),
        None => Answer::empty(204),
    }
}

/// Steps 4 to 6.
fn pass_on(store: &mut Store, limits: &Limits, tenant: &str, streams: Vec<Tidy>) -> Result<(), Answer> {
    let lines = || streams.iter().flat_map(|stream| &stream.lines);
    let bytes: usize = lines().map(Line::size).sum();
    if !store.allow(tenant, bytes as u64, limits, Instant::now()) {
        let sentence = format!(
            "ingestion rate limit exceeded for user {tenant} (limit: {} bytes/sec) while \
             attempting to ingest '{}' lines totaling '{bytes}' bytes, reduce log volume or \
             contact your Loki administrator to see if the limit can be increased",
            limits.ingestion_rate as u64,
            lines().count()
        );
        return Err(Answer::error(429, sentence));
    }
    let (size, limit) = (message_size(&streams), limits.grpc_max_recv_msg_size);
    if size > limit {
        let sentence = format!(
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max \
             ({size} vs. {limit})"
        );
        return Err(Answer::error(500, sentence));
    }
    let mut last = Ok(());
    for stream in streams {
        last = store.push(stream, limits, Instant::now());
    }
    last
}

/// The labels of a stream with what Loki adds.
fn complete(labels: &[Pair], limits: &Limits) -> Vec<Pair> {
    let mut labels = labels.to_vec();
    let has_service = labels.iter().any(|(name, _)| name == level::SERVICE);
    if limits.discover_service_name && !has_service {
        let service = level::service(&labels);
        labels.push((level::SERVICE.into(), service));
        labels.sort();
    }
    labels
}

/// The metadata of an entry as it is stored.
fn clean(entry: &Entry) -> Result<Arc<[Pair]>, String> {
    let mut metadata = Vec::with_capacity(entry.metadata.len());
    for (name, value) in &entry.metadata {
        metadata.push((metadata::name(name)?, metadata::value(value)));
    }
    metadata.retain(|(_, value)| !value.is_empty());
    Ok(metadata.into())
}

/// An entry with clean metadata, and its level.
fn tidy(entry: &Entry, mut metadata: Arc<[Pair]>, labels: &[Pair], limits: &Limits) -> Line {
    let mut level = None;
    if limits.discover_log_levels {
        let found = level::detect(labels, &metadata, &entry.line);
        match metadata.iter().position(|(name, _)| name == level::LEVEL) {
            Some(at) => Arc::make_mut(&mut metadata)[at].1 = found,
            None => level = Some(found),
        }
    }
    Line { timestamp: clock::clamp(entry.timestamp), text: entry.line.clone(), metadata, level }
}

fn block(limits: &Limits, tenant: &str, now: i128) -> Option<String> {
    let until = clock::unix(limits.block_ingestion_until?);
    (now < until).then(|| {
        format!(
            "ingestion blocked for user '{tenant}' until '{}' with status code '{}'",
            clock::rfc3339(until),
            limits.block_ingestion_status_code
        )
    })
}

/// The size of the request as the ingester would get it: labels as shown, levels added, and a hash
/// for each stream. Hashes differ in length by a byte, so this may too.
fn message_size(streams: &[Tidy]) -> usize {
    let size = |stream: &Tidy| {
        let labels = stream.shown.clone().into_bytes();
        let head = proto::Stream { labels, entries: Vec::new(), hash: i64::MAX as u64 };
        let mut size = head.encoded_len();
        // What a line has in common with the one before it was measured there.
        let mut known: Option<(&Line, usize)> = None;
        for line in &stream.lines {
            let alike = known.filter(|(before, _)| before.metadata == line.metadata && before.level == line.level);
            let metadata = alike.map_or_else(|| metadata_size(line), |(_, size)| size);
            known = Some((line, metadata));
            size += nested(text_size(line) + metadata);
        }
        nested(size)
    };
    streams.iter().map(size).sum()
}

/// Time and text of an entry.
fn text_size(line: &Line) -> usize {
    let timestamp = proto::Timestamp {
        seconds: line.timestamp.div_euclid(clock::SECOND as i64),
        nanos: line.timestamp.rem_euclid(clock::SECOND as i64) as i32,
    };
    let entry = proto::Entry { timestamp: Some(timestamp), line: line.text.clone(), metadata: Vec::new() };
    entry.encoded_len()
}

fn metadata_size(line: &Line) -> usize {
    let pair = |(name, value): (&str, &str)| proto::Pair {
        name: Bytes::copy_from_slice(name.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    line.all_metadata().map(|it| nested(pair(it).encoded_len())).sum()
}

/// A message inside another: tag, length, and itself.
fn nested(size: usize) -> usize {
    1 + length_delimiter_len(size) + size
}

// === impl Faults ===

impl Faults {
    fn add(&mut self, fault: String) {
        match self.0.iter_mut().find(|(known, _)| *known == fault) {
            Some((_, count)) => *count += 1,
            None => self.0.push((fault, 1)),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(fault, 1)] = self.0.as_slice() {
            return f.write_str(fault);
        }
        for (number, (fault, count)) in self.0.iter().enumerate() {
            let separator = if number > 0 { "; " } else { "" };
            write!(f, "{separator}{count} errors like: {fault}")?;
        }
        Ok(())
    }
}
