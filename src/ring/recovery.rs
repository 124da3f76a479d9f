//! Opening a ring that is already there: what is believed and why, see *Opening again* in the [module](super).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::active::{Active, Open};
use super::appender::Appender;
use super::format::{Block, ENTRY, Header, INDEX, MARK, Note, OWNER, SLOTS};
use super::place::{self, Place};
use super::{Framing, Options, RingError, Segment, State, cursors};
use crate::disk;

/// A ring as it was found.
pub(super) struct Recovered {
    pub state: State,
    pub appender: Appender,
}

/// What may be done to what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The ring is this process's.
    Own,
    /// It may be another's, who writes to it at this moment: nothing is changed.
    Look,
}

/// Reads the headers and indexes in `dir`, walks the unfinished end of the last segment, and removes what is no
/// segment. A file system that takes nothing is no hindrance: what cannot be written now is kept until it can be.
pub(super) fn recover<F: Framing>(
    dir: &Path,
    options: &Options,
    framing: &F,
    access: Access,
) -> Result<Recovered, RingError> {
    let remove = |path: &Path| {
        if access == Access::Own {
            let _ = fs::remove_file(path);
        }
    };
    let mut found = Vec::new();
    for path in list(dir)? {
        let fail = |source| RingError { doing: "read the segment", path: path.clone(), source };
        let (file, writable) = match open(&path, access) {
            // Its owner has retired it meanwhile.
            Err(error) if access == Access::Look && error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(fail)?,
        };
        match read_header(&file, options).map_err(fail)? {
            Some(header) => found.push((path, file, writable, header)),
            // It was never finished, or its first sector is gone and with it what the rest means.
            None => remove(&path),
        }
    }
    let mut state = State::default();
    let mut appender = Appender::default();
    let last = found.len().saturating_sub(1);
    for (at, (path, file, writable, header)) in found.into_iter().enumerate() {
        let fail = |source| RingError { doing: "read the segment", path: path.clone(), source };
        // Numbers that go backwards are nothing this ring wrote.
        if header.first_seq < state.next_seq {
            remove(&path);
            continue;
        }
        let blocks = read_index(&file, &header, &[]).map_err(fail)?;
        let mut segment = describe(&file, &path, &header, &blocks, options).map_err(fail)?;
        if at == last && !is_whole(&file, &header, &blocks).map_err(fail)? {
            // Somebody has cut it. What is left must be proven, and the next record begins a segment of its own.
            segment.trusted = false;
        }
        if !segment.trusted {
            prove_open_block(&file, &header, &blocks, &mut segment).map_err(fail)?;
        }
        let trusted = segment.trusted;
        state.next_seq = segment.next_seq;
        state.next_number = segment.number + 1;
        state.segments.push_back(segment);
        if at == last && trusted {
            let resumed = if writable && header.can_index(&blocks) { resume } else { close };
            state.sealed = blocks;
            appender = resumed(file, header, framing, &mut state).map_err(fail)?;
        }
    }
    // What a cursor has passed and a power loss took, or a kill while it was in memory, is gone: its numbers, of records
    // and of segments, are not given again. What comes goes behind them, where a cursor will look for it.
    if access == Access::Own {
        cursors::set_aside_unreadable(dir);
    }
    let given = cursors::given(dir);
    if state.next_seq < given.next_seq || state.next_number < given.next_number {
        appender = end(appender, &mut state, dir);
    }
    state.next_seq = state.next_seq.max(given.next_seq);
    state.next_number = state.next_number.max(given.next_number);
    state.retired_to = state.segments.front().map_or(0, |first| first.first_seq);
    Ok(Recovered { state, appender })
}

/// For reading and writing, or for reading alone where nothing may be written; and which of the two.
fn open(path: &Path, access: Access) -> io::Result<(File, bool)> {
    if access == Access::Look {
        return Ok((File::open(path)?, false));
    }
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if disk::is_read_only(&error) => Ok((File::open(path)?, false)),
        opened => Ok((opened?, true)),
    }
}

/// The block index of a segment: entries up to the first that does not follow the one before, and those among
/// `unwritten` that do.
pub(super) fn read_index(file: &File, header: &Header, unwritten: &[Note]) -> io::Result<Vec<Block>> {
    let mut bytes = vec![0; header.index_capacity as usize * ENTRY];
    place::read_up_to(file, &mut bytes, INDEX)?;
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
    Ok(blocks)
}

/// Reads the header again, for a reader that opens a segment by its name.
pub(super) fn read_header(file: &File, options: &Options) -> io::Result<Option<Header>> {
    let mut bytes = [0; 64];
    place::read_up_to(file, &mut bytes, 0)?;
    Ok(Header::decode(&bytes, options.boot))
}

/// Segments in the order of their numbers.
fn list(dir: &Path) -> Result<Vec<PathBuf>, RingError> {
    let fail = |source| RingError { doing: "list", path: dir.into(), source };
    let mut paths = Vec::new();
    match fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                let path = entry.map_err(fail)?.path();
                if place::segment_number(&path).is_some() {
                    paths.push(path);
                }
            }
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => {}
        Err(source) => return Err(fail(source)),
    }
    paths.sort();
    Ok(paths)
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

/// Goes on in a segment whose process died while the machine went on.
fn resume<F: Framing>(file: File, header: Header, framing: &F, state: &mut State) -> io::Result<Appender> {
    walked(file, header, framing, state).map(Appender::resume)
}

/// The same for a segment that cannot be written to. What was read and not walked is walked in a copy; torn bytes
/// behind the last record wait for their writer.
fn close<F: Framing>(file: File, header: Header, framing: &F, state: &mut State) -> io::Result<Appender> {
    let known = state.sealed.len();
    let place = state.segments.back().map(|segment| segment.place.clone());
    let copy = place::create_in_memory()?;
    place::copy(&file, &copy, file.metadata()?.len())?;
    let mut active = walked(copy, header, framing, state)?;
    active.seal(state);
    if let (Some(segment), Some(place)) = (state.segments.back_mut(), place) {
        let entry = |(at, block): (usize, &Block)| (INDEX + (at * ENTRY) as u64, block.encode());
        segment.unwritten = state.sealed.iter().enumerate().skip(known).map(entry).collect();
        segment.place = place;
    }
    Ok(Appender::behind(active, file))
}

/// Ends the segment that was to be gone on in. Torn bytes at its end belong to nothing that comes.
fn end(mut appender: Appender, state: &mut State, dir: &Path) -> Appender {
    let Some(mut active) = appender.active.take() else { return Appender::default() };
    active.seal(state);
    let _ = active.file.set_len(active.header.data_start() + active.committed);
    if let Some(segment) = state.segments.back_mut() {
        segment.place = Place::Disk(place::segment_path(dir, active.header.number));
        segment.unwritten = active.unwritten;
    }
    appender.unsynced.push((active.header.number, active.file));
    appender
}

/// A segment with all whole records in it that landed.
fn walked<F: Framing>(file: File, header: Header, framing: &F, state: &mut State) -> io::Result<Active> {
    let (end, next_seq) = end_of(&state.sealed, &header);
    let open = read_mark(&file, &header, &state.sealed)?;
    let open = open.map_or_else(|| Open::at(end, next_seq), |mark| Open::marked(&mark));
    let landed = file.metadata()?.len().saturating_sub(header.data_start()).min(header.capacity);
    let mut active = Active::recovered(header, file);
    active.committed = open.end();
    active.open = open;
    active.landed = landed;
    // What was set aside behind it is asked for again.
    active.allocated = landed.next_multiple_of(4096);
    active.sealed = state.sealed.len() as u64;
    active.file.read_exact_at(&mut active.owner, OWNER)?;
    active.dirty = true;
    active.walk_again(framing, state)?;
    if let Some(segment) = state.segments.back_mut() {
        segment.place = Place::Open(active.file.clone());
    }
    Ok(active)
}

/// Where the sealed blocks end, and the number of the record that follows.
fn end_of(sealed: &[Block], header: &Header) -> (u64, u64) {
    sealed.last().map_or((0, header.first_seq), |block| (block.end(), block.next_seq()))
}

/// The open block as of the last commit.
fn read_mark(file: &File, header: &Header, sealed: &[Block]) -> io::Result<Option<Block>> {
    let (end, next_seq) = end_of(sealed, header);
    let mut mark = [0; ENTRY];
    place::read_up_to(file, &mut mark, MARK)?;
    Ok(Block::decode(&mark).filter(|mark| mark.follows(end, next_seq, header.capacity)))
}

/// Whether a segment's file is as long as what was committed to it.
fn is_whole(file: &File, header: &Header, sealed: &[Block]) -> io::Result<bool> {
    let end = read_mark(file, header, sealed)?.map_or(end_of(sealed, header).0, |mark| mark.end());
    Ok(file.metadata()?.len() >= header.data_start() + end)
}

/// After another boot: the better of the two slots says how much of the open block a sync had covered. It becomes a
/// sealed block, so that the segment is like any other.
fn prove_open_block(file: &File, header: &Header, blocks: &[Block], segment: &mut Segment) -> io::Result<()> {
    let (end, next_seq) = (segment.data_len, segment.next_seq);
    for block in read_slots(file)?.into_iter().filter(|block| block.follows(end, next_seq, header.capacity)) {
        let mut data = vec![0; block.len as usize];
        place::read_up_to(file, &mut data, header.data_start() + block.offset)?;
        if crc32fast::hash(&data) != block.crc || blocks.len() as u64 >= header.index_capacity {
            continue;
        }
        let entry = (INDEX + (blocks.len() * ENTRY) as u64, block.encode());
        if file.write_all_at(&entry.1, entry.0).is_err() {
            segment.unwritten.push(entry);
        }
        segment.next_seq = block.next_seq();
        segment.data_len = block.end();
        segment.first_time = segment.first_time.min(block.first_time);
        segment.last_time = segment.last_time.max(block.last_time);
        return Ok(());
    }
    Ok(())
}

/// What syncs said of open blocks, the furthest first.
pub(super) fn read_slots(file: &File) -> io::Result<Vec<Block>> {
    let mut slots = Vec::with_capacity(SLOTS.len());
    for at in SLOTS {
        let mut bytes = [0; ENTRY];
        place::read_up_to(file, &mut bytes, at)?;
        slots.extend(Block::decode(&bytes).filter(|block| block.len > 0));
    }
    slots.sort_by_key(|block| std::cmp::Reverse(block.end()));
    Ok(slots)
}
