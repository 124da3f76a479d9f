//! Opening a ring that is already there: what is believed and why, see *Opening again* in the [module](super).

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

/// The least that a disk gives or does not give, in bytes.
const SECTOR: usize = 512;

/// A ring as it was found.
pub(super) struct Recovered {
    pub state: State,
    pub appender: Appender,
    pub notices: Vec<Notice>,
}

/// What may be done to what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The ring is this process's.
    Own,
    /// It may be another's, who writes to it at this moment: nothing is changed.
    Look,
}

/// Reads the headers and indexes in `dir`, walks the unfinished end of the last segment, and sets aside what is no segment
/// that can be read. A file system that takes nothing is no hindrance: what cannot be written now is kept until it can be.
pub(super) fn recover<F: Framing>(
    dir: &Path,
    options: &Options,
    framing: &F,
    access: Access,
) -> Result<Recovered, RingError> {
    if access == Access::Own {
        // Half a copy of what was in memory when a process died, see `heal`.
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
                // The one before is closed: a ring has few files open, however many segments it has.
                last = Some(loaded);
            }
            Err(Unusable::Gone) => {}
            // Its header is written last: it was never finished, and holds nothing that is not elsewhere.
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
    // What is in front of a segment that was set aside was left long ago, and is not gone on in: the rest of a torn record
    // at its end went elsewhere. Records that were set aside have had their numbers.
    let behind = state.segments.back().map_or(0, |last| last.number);
    let aside = state.set_aside.iter().filter(|aside| aside.number > behind);
    if let Some(given) = aside.map(|aside| aside.records.as_ref().map_or(0, |records| records.end)).max() {
        appender = resume::end(appender, &mut state, dir);
        state.next_seq = state.next_seq.max(given);
    }
    // What a cursor has passed and a power loss took, or a kill while it was in memory, is gone: its numbers, of records
    // and of segments, are not given again. What comes goes behind them, where a cursor will look for it.
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

/// The records in front of the oldest that is there were retired, but for those of segments that were set aside.
fn retired_to(state: &State) -> u64 {
    let first = state.segments.front().map_or((u64::MAX, 0), |first| (first.number, first.first_seq));
    match state.set_aside.first().filter(|aside| aside.number < first.0) {
        Some(aside) => aside.records.as_ref().map_or(0, |records| records.start),
        None => first.1,
    }
}

/// Why a file is no segment of the ring.
pub(super) enum Unusable {
    /// It has been removed meanwhile.
    Gone,
    /// It was being made when the process died.
    Unfinished,
    /// The process has no file or no memory left, which says nothing of the segment.
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

/// Reads what a file says of the segment in it, which is to follow records below `next_seq`.
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
    // Numbers that go backwards are nothing this ring wrote.
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

/// Whether a segment was never finished: nothing was written but its owner, and torn bytes of the segment before.
fn is_unfinished<F: Framing>(file: &File) -> io::Result<bool> {
    let mut bytes = [0; INDEX as usize + ENTRY];
    place::read_up_to(file, &mut bytes, 0)?;
    bytes[OWNER as usize..][..ENTRY].fill(0);
    let most = Header::MOST_BEFORE_DATA + F::LONGEST as u64;
    Ok(bytes.iter().all(|byte| *byte == 0) && file.metadata()?.len() <= most)
}

/// A segment follows one that was set aside: what is missing between the segments around that was in it.
fn note_gap(state: &mut State, next: &Segment) {
    let Some(before) = state.segments.back() else { return };
    let mut between = state.set_aside.iter_mut().filter(|aside| aside.number > before.number);
    if let (Some(aside), None) = (between.next(), between.next()) {
        aside.records = Some(before.next_seq..next.first_seq);
    }
}

/// For reading and writing, or for reading alone where nothing may be written; and which of the two.
fn open(path: &Path, access: Access) -> io::Result<(File, bool)> {
    if access == Access::Look {
        return Ok((place::open(path, false)?, false));
    }
    match place::open(path, true) {
        Err(error) if disk::is_read_only(&error) => Ok((place::open(path, false)?, false)),
        opened => Ok((opened?, true)),
    }
}

/// What could be read of a segment's index.
pub(super) struct Index {
    pub blocks: Vec<Block>,
    /// Otherwise the disk does not give what is behind these blocks.
    pub is_whole: bool,
}

/// The block index of a segment: entries up to the first that does not follow the one before, and those among
/// `unwritten` that do.
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

/// Segments and what was set aside; a folder that is not there holds none.
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

/// What a file takes on disk: room can be set aside behind its end.
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len().max(512 * metadata.blocks())
}
