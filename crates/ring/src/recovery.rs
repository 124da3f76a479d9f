//! Recovery of an existing ring: what is trusted and why, see *Opening again* in the [crate](super).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::appender::Appender;
use super::format::{Block, ENTRY, Flaw, Header, INDEX, Note, OWNER};
use super::place::{self, Place};
use super::resume::{self, Last};
use super::set_aside::{self, Aside, MOST_NOTICES, Notice};
use super::{Framing, Options, RingError, Segment, State, cursors};
use base::disk;

/// The smallest unit that a disk reads or fails to read, in bytes.
const SECTOR: usize = 512;

/// A ring after recovery.
pub(super) struct Recovered {
    pub state: State,
    pub appender: Appender,
    pub notices: Vec<Notice>,
}

/// The permission to change the ring's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The ring is this process's own.
    Own,
    /// Another process may own the ring and write to it: nothing is changed.
    Look,
}

/// Reads the headers and indexes in `dir`, walks the unfinished end of the last segment, and sets aside unreadable
/// segments. A read-only file system is no error: the structures to write stay in memory until they can be written.
pub(super) fn recover<F: Framing>(
    dir: &Path,
    options: &Options,
    framing: &F,
    access: Access,
) -> Result<Recovered, RingError> {
    if access == Access::Own {
        // Unfinished copies of memory segments, left by a process that died, see `heal`.
        set_aside::list_copies(dir).for_each(|path| drop(fs::remove_file(path)));
    }
    let (mut state, mut notices, mut last) = (State::default(), Vec::new(), None);
    for (number, path, is_aside) in list(dir)? {
        if is_aside {
            // No other file gets this number.
            state.next_number = number + 1;
            state.set_aside.push(Aside::at(number, path));
            continue;
        }
        match load::<F>(&path, number, state.next_seq, options, access) {
            Ok((loaded, segment)) => {
                note_gap(&mut state, &segment);
                state.next_number = number + 1;
                state.next_seq = segment.next_seq.max(loaded.given);
                state.segments.push_back(segment);
                // Closes the previous segment, so that a ring of any size has few open files.
                last = Some(loaded);
            }
            Err(Unusable::Gone) => {}
            // The header is written last. So this segment was never finished, and all its bytes are also elsewhere.
            Err(Unusable::Unfinished) if access == Access::Own => drop(fs::remove_file(&path)),
            Err(Unusable::Unfinished) => {}
            Err(Unusable::Process(source)) => return Err(RingError { doing: "read the segment", path, source }),
            Err(Unusable::Unreadable(reason)) => {
                let aside = match access {
                    Access::Own => Aside::put(number, &path),
                    Access::Look => Aside::at(number, path),
                };
                if notices.len() < MOST_NOTICES {
                    notices.push(aside.notice(reason));
                }
                state.next_number = number + 1;
                state.set_aside.push(aside);
            }
        }
    }
    let mut appender = match last {
        Some(last) => resume::go_on(last, framing, &mut state)?,
        None => Appender::default(),
    };
    // A segment before one that was set aside was closed long ago and is not continued: the rest of its torn record
    // went elsewhere. The records that were set aside keep their numbers.
    let behind = state.segments.back().map_or(0, |last| last.number);
    let aside = state.set_aside.iter().filter(|aside| aside.number > behind);
    if let Some(given) = aside.map(|aside| aside.records.as_ref().map_or(0, |records| records.end)).max() {
        appender = resume::end(appender, &mut state, dir);
        state.next_seq = state.next_seq.max(given);
    }
    // Records that a cursor has passed may be gone, after a power loss or with memory in a kill. Their numbers, and
    // those of segments, are not given again. New records get greater numbers, where a cursor finds them.
    if access == Access::Own {
        cursors::set_aside_unreadable(dir);
    }
    let given =
        cursors::given(dir).map_err(|source| RingError { doing: "read the cursors in", path: dir.into(), source })?;
    if state.next_seq < given.next_seq || state.next_number < given.next_number {
        appender = resume::end(appender, &mut state, dir);
    }
    state.next_seq = state.next_seq.max(given.next_seq);
    state.next_number = state.next_number.max(given.next_number);
    state.retired_to = retired_to(&state);
    Ok(Recovered { state, appender, notices })
}

/// The number below which records were evicted. Records of segments that were set aside do not count as evicted.
fn retired_to(state: &State) -> u64 {
    let first = state.segments.front().map_or((u64::MAX, 0), |first| (first.number, first.first_seq));
    match state.set_aside.first().filter(|aside| aside.number < first.0) {
        Some(aside) => aside.records.as_ref().map_or(0, |records| records.start),
        None => first.1,
    }
}

/// The reason why a file is not a usable segment.
pub(super) enum Unusable {
    /// It was removed meanwhile.
    Gone,
    /// The process died while it created the segment.
    Unfinished,
    /// The process has no file descriptor or memory left, which says nothing about the segment.
    Process(io::Error),
    Unreadable(String),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ if disk::is_exhausted(&error) => Self::Process(error),
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

/// Reads the structures of a segment, whose records must follow those below `next_seq`.
fn load<F: Framing>(
    path: &Path,
    number: u64,
    next_seq: u64,
    options: &Options,
    access: Access,
) -> Result<(Last, Segment), Unusable> {
    let (file, writable) = open(path, access)?;
    let header = match read_header(&file, options)? {
        Ok(header) => header,
        Err(_) if is_unfinished::<F>(&file)? => return Err(Unusable::Unfinished),
        Err(flaw) => return Err(Unusable::Unreadable(flaw.to_string())),
    };
    if header.number != number {
        return Err(Unusable::Unreadable(format!("it is the segment {:016x} under another name", header.number)));
    }
    // This ring never writes numbers that go backwards.
    if header.first_seq < next_seq {
        return Err(Unusable::Unreadable("its records have the numbers of those in front of it".into()));
    }
    let index = read_index(&file, &header, &[])?;
    let blocks = index.blocks;
    let mut segment = describe(&file, path, &header, &blocks, options)?;
    if !segment.trusted {
        resume::prove_open_block(&file, &header, &blocks, &mut segment, None);
    }
    let given = if index.is_whole { 0 } else { resume::given(&file) };
    Ok((Last { file, writable, header, blocks, given }, segment))
}

/// Whether a segment was never finished: it has only its owner, and torn bytes of the last segment.
fn is_unfinished<F: Framing>(file: &File) -> io::Result<bool> {
    let mut bytes = [0; INDEX as usize + ENTRY];
    place::read_up_to(file, &mut bytes, 0)?;
    bytes[OWNER as usize..][..ENTRY].fill(0);
    let most = Header::MOST_BEFORE_DATA + F::LONGEST as u64;
    Ok(bytes.iter().all(|byte| *byte == 0) && file.metadata()?.len() <= most)
}

/// Derives the records of a segment that was set aside from the gap between its neighbours.
fn note_gap(state: &mut State, next: &Segment) {
    let Some(before) = state.segments.back() else { return };
    let mut between = state.set_aside.iter_mut().filter(|aside| aside.number > before.number);
    if let (Some(aside), None) = (between.next(), between.next()) {
        aside.records = Some(before.next_seq..next.first_seq);
    }
}

/// Opens a file for writing, or read-only where writing is not allowed; returns whether it can be written.
fn open(path: &Path, access: Access) -> io::Result<(File, bool)> {
    if access == Access::Look {
        return Ok((place::open(path, false)?, false));
    }
    match place::open(path, true) {
        Err(error) if disk::is_read_only(&error) => Ok((place::open(path, false)?, false)),
        opened => Ok((opened?, true)),
    }
}

/// The readable part of a segment's index.
pub(super) struct Index {
    pub blocks: Vec<Block>,
    /// Whether the index was read to its end; otherwise the disk cannot read what follows these blocks.
    pub is_whole: bool,
}

/// Reads the block index of a segment: entries up to the first that does not follow the one before it. Entries in
/// `unwritten` are added.
pub(super) fn read_index(file: &File, header: &Header, unwritten: &[Note]) -> io::Result<Index> {
    let mut bytes = vec![0; header.index_capacity as usize * ENTRY];
    let read = place::read_up_to(file, &mut bytes, INDEX);
    let is_whole = read.is_ok();
    if let Err(error) = read {
        let is_given =
            |(sector, at): (&mut [u8], u64)| place::read_up_to(file, sector, INDEX + at * SECTOR as u64).is_ok();
        let good = SECTOR * bytes.chunks_mut(SECTOR).zip(0..).map(is_given).take_while(|is_given| *is_given).count();
        if good == 0 {
            return Err(error);
        }
        bytes.truncate(good);
    }
    for (at, entry) in unwritten.iter().filter(|(at, _)| *at >= INDEX) {
        if let Some(there) = bytes.get_mut((at - INDEX) as usize..).and_then(|rest| rest.get_mut(..ENTRY)) {
            there.copy_from_slice(entry);
        }
    }
    let (mut blocks, mut end, mut next_seq) = (Vec::new(), 0, header.first_seq);
    for entry in bytes.chunks_exact(ENTRY) {
        let Some(block) = Block::decode(entry).filter(|block| block.follows(end, next_seq, header.capacity)) else {
            break;
        };
        (end, next_seq) = (block.end(), block.next_seq());
        blocks.push(block);
    }
    Ok(Index { blocks, is_whole })
}

/// Reads the header of a segment.
pub(super) fn read_header(file: &File, options: &Options) -> io::Result<Result<Header, Flaw>> {
    let mut bytes = [0; 64];
    place::read_up_to(file, &mut bytes, 0)?;
    Ok(Header::decode(&bytes, options.boot))
}

/// Lists segments and those that were set aside; empty for a missing folder.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf, bool)>, RingError> {
    match set_aside::list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|source| RingError { doing: "list", path: dir.into(), source }),
    }
}

fn describe(file: &File, path: &Path, header: &Header, blocks: &[Block], options: &Options) -> io::Result<Segment> {
    Ok(Segment {
        number: header.number,
        first_seq: header.first_seq,
        next_seq: blocks.last().map_or(header.first_seq, Block::next_seq),
        first_time: blocks.iter().map(|block| block.first_time).min().unwrap_or(i64::MAX),
        last_time: blocks.iter().map(|block| block.last_time).max().unwrap_or(i64::MIN),
        data_start: header.data_start(),
        capacity: header.capacity,
        data_len: blocks.last().map_or(0, Block::end),
        allocated: allocated(&file.metadata()?),
        trusted: header.boot.survived_until(options.boot),
        memory: false,
        unwritten: Vec::new(),
        place: Place::Disk(path.into()),
    })
}

/// Bytes that a file takes on disk, with space allocated behind its end.
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len().max(512 * metadata.blocks())
}
