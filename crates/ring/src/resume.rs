//! Resuming the last segment of a ring, as far as it can be trusted and read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::active::{Active, Open};
use super::appender::Appender;
use super::format::{Block, ENTRY, Header, INDEX, MARK, OWNER, SLOTS};
use super::place::{self, Place};
use super::recovery::Unusable;
use super::{Framing, RingError, Segment, State};

/// The last segment of a ring during recovery.
pub(super) struct Last {
    pub file: File,
    pub writable: bool,
    pub header: Header,
    pub blocks: Vec<Block>,
    /// Records below this number were given, even if the disk cannot read their structures.
    pub given: u64,
}

/// Resumes the last segment if this boot wrote it and its end can be read. Otherwise the next record begins another.
///
/// # Errors
/// When the process has no file descriptor or memory left.
pub(super) fn go_on<F: Framing>(last: Last, framing: &F, state: &mut State) -> Result<Appender, RingError> {
    let Last { file, writable, header, blocks, .. } = last;
    let Some(segment) = state.segments.back().filter(|segment| segment.trusted) else { return Ok(Appender::default()) };
    let Place::Disk(path) = segment.place.clone() else { return Ok(Appender::default()) };
    let outcome = is_whole(&file, &header, &blocks).and_then(|is_whole| {
        if !is_whole {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.sealed.clone_from(&blocks);
        let resumed = if writable && header.can_index(&blocks) { resume } else { close };
        resumed(file, header, framing, state)
    });
    let error = match outcome {
        Ok(appender) => return Ok(appender),
        Err(error) => error,
    };
    if let Unusable::Process(source) = Unusable::from(error) {
        return Err(RingError { doing: "read the segment", path, source });
    }
    // Another process truncated it, or its end cannot be read. The rest must be proven; the numbers of all its records
    // were given.
    state.sealed.clear();
    let Some(segment) = state.segments.back_mut() else { return Ok(Appender::default()) };
    segment.trusted = false;
    if let Ok(file) = place::open(&path, writable) {
        // The commit mark is of this boot, like the segment.
        let marked = read_mark(&file, &header, &blocks).ok().flatten();
        prove_open_block(&file, &header, &blocks, segment, marked);
        state.next_seq = segment.next_seq;
        state.next_seq = state.next_seq.max(marked.map_or(0, |mark| mark.next_seq()));
    }
    Ok(Appender::default())
}

/// Resumes a segment whose process died while the machine stayed up.
fn resume<F: Framing>(file: File, header: Header, framing: &F, state: &mut State) -> io::Result<Appender> {
    walked(file, header, framing, state).map(Appender::resume)
}

/// Closes a segment that cannot be written to. Its unindexed bytes are walked in a copy; torn bytes behind the last
/// record wait for their writer.
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
    state.unsynced.insert(active.header.number);
    Ok(Appender::behind(active))
}

/// Closes the segment that was about to be resumed. Torn bytes at its end are dropped, because their rest will not
/// come.
pub(super) fn end(mut appender: Appender, state: &mut State, dir: &Path) -> Appender {
    let Some(mut active) = appender.active.take() else { return Appender::default() };
    active.seal(state);
    let _ = active.file.set_len(active.header.data_start() + active.committed);
    if let Some(segment) = state.segments.back_mut() {
        segment.place = Place::Disk(place::segment_path(dir, active.header.number));
        segment.unwritten = active.unwritten;
    }
    state.unsynced.insert(active.header.number);
    appender
}

/// A segment with all its whole records indexed.
fn walked<F: Framing>(file: File, header: Header, framing: &F, state: &mut State) -> io::Result<Active> {
    let (end, next_seq) = end_of(&state.sealed, &header);
    let open = read_mark(&file, &header, &state.sealed)?;
    let open = open.map_or_else(|| Open::at(end, next_seq), |mark| Open::marked(&mark));
    let landed = file.metadata()?.len().saturating_sub(header.data_start()).min(header.capacity);
    let mut active = Active::recovered(header, file);
    active.committed = open.end();
    active.open = open;
    active.landed = landed;
    // Space allocated behind it is allocated again.
    active.allocated = landed.next_multiple_of(4096);
    active.sealed = state.sealed.len() as u64;
    place::read_exact(&active.file, &mut active.owner, OWNER)?;
    active.dirty = true;
    active.walk_again(framing, state)?;
    if let Some(segment) = state.segments.back_mut() {
        segment.place = Place::Open(active.file.clone());
    }
    Ok(active)
}

/// The end of the sealed blocks, and the number of the next record.
fn end_of(sealed: &[Block], header: &Header) -> (u64, u64) {
    sealed.last().map_or((0, header.first_seq), |block| (block.end(), block.next_seq()))
}

/// Reads the commit mark: the open block as of the last commit.
fn read_mark(file: &File, header: &Header, sealed: &[Block]) -> io::Result<Option<Block>> {
    let (end, next_seq) = end_of(sealed, header);
    let mut mark = [0; ENTRY];
    place::read_up_to(file, &mut mark, MARK)?;
    Ok(Block::decode(&mark).filter(|mark| mark.follows(end, next_seq, header.capacity)))
}

/// Whether a segment's file is at least as long as its committed data.
fn is_whole(file: &File, header: &Header, sealed: &[Block]) -> io::Result<bool> {
    let end = read_mark(file, header, sealed)?.map_or(end_of(sealed, header).0, |mark| mark.end());
    Ok(file.metadata()?.len() >= header.data_start() + end)
}

/// The part of the open block that the better slot or the commit mark proves. It becomes a sealed block, so that the
/// segment is like any other.
pub(super) fn prove_open_block(
    file: &File,
    header: &Header,
    blocks: &[Block],
    segment: &mut Segment,
    mark: Option<Block>,
) {
    let mut described = read_slots(file).unwrap_or_default();
    described.extend(mark);
    furthest_first(&mut described);
    let (end, next_seq) = (segment.data_len, segment.next_seq);
    for block in described.into_iter().filter(|block| block.follows(end, next_seq, header.capacity)) {
        let mut data = vec![0; block.len as usize];
        let read = place::read_up_to(file, &mut data, header.data_start() + block.offset);
        if read.is_err() || crc32fast::hash(&data) != block.crc || blocks.len() as u64 >= header.index_capacity {
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
        return;
    }
}

/// The number after all records that a mark or a slot mentions, for a segment with an incomplete index.
pub(super) fn given(file: &File) -> u64 {
    let noted = SLOTS.into_iter().chain([MARK]).filter_map(|at| {
        let mut bytes = [0; ENTRY];
        place::read_up_to(file, &mut bytes, at).ok()?;
        Block::decode(&bytes).map(|block| block.next_seq())
    });
    noted.max().unwrap_or_default()
}

/// The open blocks that syncs have recorded, the furthest first.
pub(super) fn read_slots(file: &File) -> io::Result<Vec<Block>> {
    let mut slots = Vec::with_capacity(SLOTS.len());
    for at in SLOTS {
        let mut bytes = [0; ENTRY];
        place::read_up_to(file, &mut bytes, at)?;
        slots.extend(Block::decode(&bytes).filter(|block| block.len > 0));
    }
    furthest_first(&mut slots);
    Ok(slots)
}

fn furthest_first(blocks: &mut [Block]) {
    blocks.sort_by_key(|block| std::cmp::Reverse(block.end()));
}
