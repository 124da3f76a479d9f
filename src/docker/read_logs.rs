//! Ring to body: what `docker logs` shows.
//!
//! The rules are those of `json-file` and `local`, which dockerd's own tests hold (`loggertest.Reader`): `tail` picks
//! the last entries first, then `since` passes over those before the first that is late enough, and `until` ends at
//! the first that is too late, also while following. An entry is what dockerd wrote, so a chunk of a long line counts
//! as one. Following ends when the streams that were live at its beginning have been stopped and everything they
//! wrote was given out.
//!
//! A client that does not read holds what was read for it, so the pieces get smaller the more clients there are: all
//! together hold about 32 MiB, and `SMALLEST` each at least.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{mpsc, watch};

use crate::frames::DockerFrames;
use crate::streams::registry::LogReader;
use base::pools::Pool;
use dockerd::frame;
use dockerd::messages::ReadConfig;
use ring::Reader;

/// Pieces of a body that wait for dockerd. A slow `docker logs` holds no more than these, and one that is to come.
const PIECES: usize = 1;

/// Bytes of a piece, when there are many bodies. A single entry may have more.
const SMALLEST: usize = 8 << 10;

/// Bytes of a piece, when there are few.
const LARGEST: usize = 256 << 10;

/// How many are few.
const FEW: usize = 32;

/// Bodies that are being sent.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The frames that `config` asks for, as they are read. What is written after this has returned is new to a follower.
pub async fn body(log: LogReader, config: ReadConfig) -> Pieces {
    let (pieces, receiver) = mpsc::channel(PIECES);
    // The ring may have to come from the disk.
    let placed = Pool::Read.run(move || placed(log, &config));
    if let Ok((log, filter)) = placed.await {
        tokio::spawn(produce(log, config.follow, filter, pieces));
    }
    Pieces(receiver)
}

/// A body that is made while it is sent.
#[derive(Debug)]
pub struct Pieces(mpsc::Receiver<Bytes>);

/// One of [`OPEN`].
struct Opened;

/// What is still to be done about the entries that are read.
struct Filter {
    /// Until the first entry that is late enough.
    since: Option<i64>,
    until: Option<i64>,
    /// Entries from here on came after the call; only a follower wants them.
    end: Option<u64>,
    /// So many entries are wanted, whatever their numbers.
    left: Option<u64>,
}

/// One turn of reading.
enum Piece {
    /// Frames for dockerd.
    Frames(Vec<u8>),
    /// Nothing more now.
    Nothing,
    /// Nothing more, ever.
    End(Vec<u8>),
}

async fn produce(log: LogReader, follows: bool, mut filter: Filter, pieces: mpsc::Sender<Bytes>) {
    let LogReader { mut reader, mut follow, mut live } = log;
    let _opened = Opened::new();
    loop {
        // Looked at before reading: what was written before a stream was stopped is read below.
        let over = live.iter().all(|stopped| *stopped.borrow());
        follow.borrow_and_update();
        let turn = Pool::Read.run(move || {
            let piece = next_piece(&mut reader, &mut filter, most(OPEN.load(Ordering::Relaxed)));
            (reader, filter, piece)
        });
        let Ok((r, f, piece)) = turn.await else { return };
        (reader, filter) = (r, f);
        let (frames, end) = match piece {
            Piece::Frames(frames) => (frames, false),
            Piece::End(frames) => (frames, true),
            Piece::Nothing if over || !follows => return,
            Piece::Nothing => {
                reader.shrink();
                tokio::select! {
                    _ = follow.changed() => continue,
                    () = stopped(&mut live) => continue,
                    // dockerd has gone.
                    () = pieces.closed() => return,
                }
            }
        };
        if !frames.is_empty() {
            let place = match pieces.try_reserve() {
                Ok(place) => Ok(place),
                // Sending waits for dockerd, and fails when it has gone. What it may wait for is on the disk.
                Err(_) => {
                    reader.shrink();
                    pieces.reserve().await
                }
            };
            match place {
                Ok(place) => place.send(frames.into()),
                Err(_) => return,
            }
        }
        if end {
            return;
        }
    }
}

/// Until the last stream was stopped.
async fn stopped(live: &mut [watch::Receiver<bool>]) {
    for stream in live {
        // The sender goes away only after it has said so.
        let _ = stream.wait_for(|stopped| *stopped).await;
    }
}

/// Goes to the first entry that may be wanted. The end is counted from there: of a container that writes all the time,
/// the last entries are soon not the last any more, and they are what was asked for.
fn placed(log: LogReader, config: &ReadConfig) -> (LogReader, Filter) {
    let LogReader { mut reader, follow, live } = log;
    let tail = u64::try_from(config.tail);
    match (tail, config.since) {
        (Ok(0), _) => reader.seek_end(),
        (Ok(count), _) => reader.seek_last(count, &DockerFrames),
        (Err(_), Some(since)) => reader.seek_time(since, &DockerFrames),
        (Err(_), None) => {}
    }
    let (left, end) = match tail {
        _ if config.follow => (None, None),
        // Some numbers may be passed over between here and there.
        Ok(count) => (Some(count), None),
        Err(_) => (None, Some(follow.borrow().next_seq)),
    };
    (LogReader { reader, follow, live }, Filter { since: config.since, until: config.until, end, left })
}

/// Bytes of a piece while this many bodies are open. It falls with the square of their number: what all of them hold has a
/// bound, in whatever order they came.
fn most(open: usize) -> usize {
    let share = (FEW * FEW * LARGEST).checked_div(open * open).unwrap_or(LARGEST);
    share.clamp(SMALLEST, LARGEST)
}

/// About `most` bytes, or a little more.
fn next_piece(reader: &mut Reader, filter: &mut Filter, most: usize) -> Piece {
    let Some(chunk) = reader.fill() else { return Piece::Nothing };
    let mut out = Vec::with_capacity((chunk.bytes.len() + chunk.bytes.len() / 16).min(most));
    let mut entries = frame::entries(chunk.bytes);
    let mut seq = chunk.first_seq;
    let mut over = false;
    while filter.end.is_none_or(|end| seq < end) && filter.left != Some(0) && out.len() < most {
        let Some(entry) = entries.next() else { break };
        seq += 1;
        filter.left = filter.left.map(|left| left - 1);
        if filter.since.is_some_and(|since| entry.time < since) {
            continue;
        }
        filter.since = None;
        if filter.until.is_some_and(|until| entry.time > until) {
            over = true;
            break;
        }
        frame::encode_for_reader(&entry, &mut out);
    }
    over |= filter.end.is_some_and(|end| seq >= end) || filter.left == Some(0);
    let (used, records) = (entries.position(), seq - chunk.first_seq);
    reader.advance(used, records, &DockerFrames);
    if over { Piece::End(out) } else { Piece::Frames(out) }
}

// === impl Opened ===

impl Opened {
    fn new() -> Opened {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Opened
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Pieces ===

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
