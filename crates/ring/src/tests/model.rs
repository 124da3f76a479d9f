//! A state machine of random actions against a list of records.

use std::collections::BTreeMap;
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;

use super::faults::BadSector;
use super::*;

/// An event in the life of a ring. Weights are in [`actions`].
#[derive(Clone, Debug)]
enum Action {
    /// A stream (0 or 1) writes records of these payload lengths, and the read ends this many bytes before their end.
    Write {
        stream: usize,
        lens: Vec<u8>,
        cut: u8,
    },
    /// A stream ends.
    Finish {
        stream: usize,
    },
    Sync,
    /// A reader continues; each checks everything it had read before.
    Read,
    /// The read records are acknowledged: the position moves there, or stays at the oldest record, as for an open line.
    /// The cursor is written at once, or later.
    Acknowledge {
        held: bool,
        synced: bool,
    },
    SeekLast(u8),
    /// `kill -9`: memory is lost, the page cache is not.
    Kill,
    /// Power loss: each 64-byte piece that changed since the last sync survives or is lost.
    PowerLoss(u64),
    /// From now on files cannot be created, opened for writing or removed; or they can again.
    Disk {
        takes: bool,
    },
    Heal,
    /// Another process deletes the active file, which the ring detects before anything else happens.
    Delete,
    /// Another process truncates the active file to this many 16ths.
    Cut(u8),
    /// The ring is opened once more while the older instance exists, and every method of that one is called.
    Succeed,
    /// A sector of a closed segment becomes unreadable.
    BadSector {
        segment: u8,
        sector: u8,
    },
    /// The header of a closed segment becomes that of a later version.
    OtherVersion(u8),
    /// A foreign file appears where the next segment would be.
    Squat,
    /// Another program opens all segments, like a sync or a reader on a slow disk.
    Hold,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        12 => (0..2usize, vec(1u8..=200, 0..8), 0u8..30).prop_map(|(stream, lens, cut)| Action::Write { stream, lens, cut }),
        1 => (0..2usize).prop_map(|stream| Action::Finish { stream }),
        2 => Just(Action::Sync),
        4 => Just(Action::Read),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(held, synced)| Action::Acknowledge { held, synced }),
        2 => (0u8..60).prop_map(Action::SeekLast),
        2 => Just(Action::Kill),
        1 => any::<u64>().prop_map(Action::PowerLoss),
        1 => any::<bool>().prop_map(|takes| Action::Disk { takes }),
        2 => Just(Action::Heal),
        1 => Just(Action::Delete),
        1 => (0u8..16).prop_map(Action::Cut),
        1 => Just(Action::Succeed),
        1 => (any::<u8>(), 0u8..24).prop_map(|(segment, sector)| Action::BadSector { segment, sector }),
        1 => any::<u8>().prop_map(Action::OtherVersion),
        1 => Just(Action::Squat),
        1 => Just(Action::Hold),
    ];
    vec(action, 1..60)
}

/// The reference model: every record, by number; `None` once it may be gone.
struct Model {
    dir: tempfile::TempDir,
    ring: Arc<Ring>,
    boot: u8,
    records: Vec<Option<Vec<u8>>>,
    /// The bytes in each stream's pipe: the rest of a record whose beginning is in the ring.
    pending: [Vec<u8>; 2],
    /// The last writer. The torn bytes of the other stream are only in memory, and a kill loses them.
    last: usize,
    payload: u64,
    reader: Reader,
    /// Files as of the last sync, and the records that it covered.
    synced: BTreeMap<PathBuf, Vec<u8>>,
    promised: u64,
    /// Set while the disk refuses writes.
    refusal: Option<Refusal>,
    /// Whether the disk has ever refused; then the oldest segments may still exist.
    refused: bool,
    /// Records of damaged segments: they may be readable or not, and are counted in either case.
    spoiled: Vec<std::ops::Range<u64>>,
    bad: Vec<BadSector>,
    /// Open files, which must not keep space in use.
    held: Vec<fs::File>,
}

impl Model {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ring = open(dir.path(), BootId([1; 16]));
        let reader = ring.reader();
        let (records, pending, synced) = (Vec::new(), Default::default(), BTreeMap::new());
        Self {
            dir,
            ring,
            boot: 1,
            records,
            pending,
            last: 0,
            payload: 0,
            reader,
            synced,
            promised: 0,
            refusal: None,
            refused: false,
            spoiled: Vec::new(),
            bad: Vec::new(),
            held: Vec::new(),
        }
    }

    fn step(&mut self, action: &Action) {
        match action {
            Action::Write { stream, lens, cut } => self.write(*stream, lens, *cut as usize),
            // The end of a stream is recorded where its torn bytes are, and a real stream does not return.
            Action::Finish { .. } if self.refusal.is_some() => {}
            Action::Finish { stream } => {
                let before = self.ring.published().next_seq;
                self.ring.writer(NAMES[*stream]).finish(&Toy);
                self.pending[*stream].clear();
                self.absorb(before);
            }
            Action::Sync => {
                let synced = self.ring.sync();
                assert!(synced.is_ok() || self.refusal.is_some(), "{synced:?}");
                self.synced = files(self.dir.path());
                if synced.is_ok() && !self.is_in_memory() {
                    self.promised = self.ring.published().next_seq;
                }
            }
            Action::Read => {
                let from = self.reader.position().seq;
                let read = read_all(&mut self.reader);
                let lost = self.reader.take_lost();
                self.check(&read);
                let gone = self.records[from as usize..].iter().filter(|record| record.is_none()).count() as u64;
                assert!(read.len() as u64 + lost.overwritten + lost.damaged >= self.records.len() as u64 - from - gone);
            }
            Action::Acknowledge { held, synced } => self.acknowledge(*held, *synced),
            Action::SeekLast(count) => {
                let mut reader = self.ring.reader();
                let all = read_all(&mut reader);
                reader.seek_last(u64::from(*count), &Toy);
                assert_eq!(reader.take_lost(), Lost::default());
                let expected = &all[all.len().saturating_sub(*count as usize)..];
                assert_eq!(read_all(&mut reader), expected, "last {count} of {}", all.len());
            }
            // Records in memory are lost with the process, as documented.
            Action::Kill if !self.is_in_memory() => self.reopen(),
            Action::PowerLoss(seed) if !self.is_in_memory() && self.refusal.is_none() => self.power_loss(*seed),
            Action::Kill | Action::PowerLoss(_) => {}
            Action::Disk { takes: true } => self.refusal = None,
            Action::Disk { takes: false } => {
                self.refusal.get_or_insert_with(|| Refusal::of(self.dir.path()));
                self.refused = true;
            }
            Action::Heal => self.heal(),
            Action::Delete => self.delete(),
            Action::Cut(part) => self.cut(u64::from(*part)),
            Action::Succeed if !self.is_in_memory() => self.succeed(),
            Action::Succeed => {}
            Action::BadSector { segment, sector } => {
                if let Some(path) = self.spoil(*segment) {
                    let at = 512 * u64::from(*sector);
                    self.bad.push(BadSector::of(&path, at..at + 512));
                }
            }
            Action::OtherVersion(_) if self.refusal.is_some() => {}
            Action::OtherVersion(segment) => {
                if let Some(path) = self.spoil(*segment) {
                    set_aside::make_of_another_version(&path);
                }
            }
            Action::Squat if self.refusal.is_some() => {}
            Action::Squat => {
                let next = self.ring.state().next_number;
                let squat = place::create(&place::segment_path(self.dir.path(), next));
                assert!(squat.is_ok() || self.squats(next));
            }
            Action::Hold => {
                let paths = files(self.dir.path()).into_keys();
                self.held
                    .extend(paths.filter(|path| path.extension().is_some()).filter_map(|it| fs::File::open(it).ok()));
                let too_many = self.held.len().saturating_sub(30);
                self.held.drain(..too_many);
            }
        }
        let used = bound::measured(self.dir.path(), &self.held);
        assert!(self.refused || used <= LEAST_BUDGET, "{used} bytes on disk");
    }

    fn acknowledge(&mut self, held: bool, synced: bool) {
        let acknowledged = self.reader.position();
        let position = if held { self.ring.oldest() } else { acknowledged };
        let mut note = [0; cursor::NOTE];
        note[..8].copy_from_slice(&acknowledged.seq.to_le_bytes());
        let saved = Cursors::open(&self.ring, &["there".into()]).and_then(|mut cursors| {
            cursors.save(0, position, note)?;
            Ok(cursors.to_sync())
        });
        assert_eq!(saved.is_err(), self.refusal.is_some(), "{saved:?}");
        if saved.is_ok() && synced {
            let path = self.dir.path().join(CURSOR);
            self.synced.insert(path.clone(), fs::read(path).unwrap());
        }
    }

    /// Acknowledged numbers are not given again.
    fn check_numbers(&self) {
        if let Some((_, note)) = Cursor::open(&self.dir.path().join(CURSOR)).unwrap().saved() {
            let acknowledged = u64::from_le_bytes(note[..8].try_into().unwrap());
            assert!(self.ring.published().next_seq >= acknowledged);
        }
    }

    fn squats(&self, number: u64) -> bool {
        place::segment_path(self.dir.path(), number).exists()
    }

    /// The file of a closed segment that is about to be damaged.
    fn spoil(&mut self, which: u8) -> Option<PathBuf> {
        let state = self.ring.state();
        let closed = state.segments.len().saturating_sub(1);
        let segment = state.segments.get(which as usize % closed.max(1)).filter(|_| closed > 0)?;
        let Place::Disk(path) = &segment.place else { return None };
        path.exists().then(|| {
            self.spoiled.push(segment.first_seq..segment.next_seq);
            path.clone()
        })
    }

    /// Whether a record must be readable.
    fn owes(&self, seq: u64) -> bool {
        self.records[seq as usize].is_some() && !self.spoiled.iter().any(|range| range.contains(&seq))
    }

    /// The number of the active segment, if it is in a file.
    fn written_to(&self) -> Option<u64> {
        let appender = lock(&self.ring.appender);
        appender.active.as_ref().filter(|active| !active.memory).map(|active| active.header.number)
    }

    fn cut(&mut self, part: u64) {
        let number = self.written_to();
        let Some(path) = number.map(|number| place::segment_path(self.dir.path(), number)) else { return };
        let Ok(file) = fs::OpenOptions::new().write(true).open(path) else { return };
        let len = file.metadata().unwrap().len();
        let Some(range) = self.ring.state().segments.back().map(|last| last.first_seq..last.next_seq) else { return };
        if len * part / 16 == len {
            return;
        }
        file.set_len(len * part / 16).unwrap();
        self.spoiled.push(range);
        let healed = self.ring.heal::<Toy>();
        assert!(healed.left.is_some() || healed.in_memory.is_some(), "{healed:?}");
        self.check_all();
    }

    fn succeed(&mut self) {
        let stale = self.ring.clone();
        self.reopen();
        let before = files(self.dir.path());
        lease::ask_everything_of(&stale);
        assert_eq!(files(self.dir.path()), before);
    }

    fn is_in_memory(&self) -> bool {
        self.ring.state().segments.iter().any(|segment| segment.memory)
    }

    fn heal(&mut self) {
        let was_in_memory = self.is_in_memory();
        let healed = self.ring.heal::<Toy>();
        assert!(healed.left.is_none(), "{:?}", healed.left);
        if self.refusal.is_none() {
            assert!(healed.in_memory.is_none(), "{:?}", healed.in_memory);
            assert!(!self.is_in_memory());
        } else {
            assert_eq!(healed.in_memory.is_some(), was_in_memory);
        }
        self.check_all();
    }

    fn delete(&mut self) {
        let number = self.written_to();
        let Some(path) = number.map(|number| place::segment_path(self.dir.path(), number)) else { return };
        if self.refusal.is_some() || fs::remove_file(path).is_err() {
            return;
        }
        let oldest = self.ring.oldest().seq;
        let healed = self.ring.heal::<Toy>();
        assert!(healed.left.is_some() && healed.in_memory.is_none(), "{healed:?}");
        assert!(self.ring.oldest().seq >= oldest);
        self.check_all();
    }

    /// Checks that every record of the ring can be read.
    fn check_all(&self) {
        let mut reader = self.ring.reader();
        let read = read_all(&mut reader);
        self.check(&read);
        assert_eq!(reader.position().seq, self.ring.published().next_seq);
        let owed = self.ring.oldest().seq..self.ring.published().next_seq;
        let missing = owed.filter(|seq| self.owes(*seq) && !read.iter().any(|it| it.0 == *seq));
        assert_eq!(missing.count(), 0);
    }

    fn write(&mut self, stream: usize, lens: &[u8], cut: usize) {
        let mut bytes = std::mem::take(&mut self.pending[stream]);
        for &len in lens {
            self.payload += 1;
            // Zeros at the end make a kill hard to recover from; the number in front makes records distinct.
            let mut payload = format!("{:08}", self.payload).into_bytes();
            payload.resize((len as usize).max(8), (self.payload % 3) as u8);
            // No byte inside a record looks like the beginning of another: dockerd's signature is longer than the
            // toy's.
            bytes.extend(record((self.payload as i64) << 8, &payload));
        }
        let keep = bytes.len().saturating_sub(cut);
        self.pending[stream] = bytes.split_off(keep);
        if !bytes.is_empty() {
            self.last = stream;
        }
        let before = self.ring.published().next_seq;
        land(&mut self.ring.writer(NAMES[stream]), &bytes);
        self.absorb(before);
    }

    /// Checks that new readable records are those written, in order and once.
    fn absorb(&mut self, before: u64) {
        let mut reader = self.ring.reader();
        reader.seek_last(self.ring.published().next_seq - before, &Toy);
        for (seq, _, payload) in read_all(&mut reader) {
            assert_eq!(seq, self.records.len().max(before as usize) as u64);
            self.records.resize(seq as usize, None);
            let number: u64 = std::str::from_utf8(&payload[..8]).unwrap().parse().unwrap();
            assert!(number <= self.payload);
            assert!(!self.records.contains(&Some(payload.clone())), "record {number} came twice");
            self.records.push(Some(payload));
        }
    }

    /// Checks that each record read is the one written under its number.
    fn check(&self, read: &[(u64, i64, Vec<u8>)]) {
        for (seq, _, payload) in read {
            assert_eq!(self.records[*seq as usize].as_ref(), Some(payload), "record {seq}");
        }
        assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    fn reopen(&mut self) {
        let next_seq = self.ring.published().next_seq;
        let oldest = self.ring.oldest().seq;
        let position = self.reader.position();
        // A kill closes the files of the process.
        self.held.clear();
        self.ring = open(self.dir.path(), BootId([self.boot; 16]));
        self.check_numbers();
        let notices = self.ring.take_notices();
        assert!(notices.iter().all(|notice| matches!(notice, Notice::SetAside { .. })), "{notices:?}");
        let may_differ = self.refused || !self.spoiled.is_empty();
        let oldest = if may_differ { self.ring.oldest().seq } else { oldest };
        assert_eq!(
            (self.ring.published().next_seq, self.ring.oldest().seq),
            (next_seq, oldest),
            "a kill changes nothing"
        );
        let mut all = self.ring.reader();
        let read = read_all(&mut all);
        self.check(&read);
        self.reader = self.ring.reader_at(position);
        self.pending[1 - self.last].clear();
        let state = self.ring.state();
        let behind = state.segments.back().map(|last| last.number);
        if state.set_aside.last().map(|aside| aside.number) > behind {
            // A torn record before an unreadable segment is not continued.
            self.pending = Default::default();
        }
    }

    fn power_loss(&mut self, mut seed: u64) {
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 33
        };
        for (path, now) in files(self.dir.path()) {
            let synced = self.synced.get(&path).cloned();
            if synced.is_none() && random() % 3 == 0 {
                fs::remove_file(&path).unwrap();
                continue;
            }
            let mut torn = synced.unwrap_or_default();
            torn.resize(now.len(), 0);
            for (old, new) in torn.chunks_mut(64).zip(now.chunks(64)) {
                if random() % 4 != 0 {
                    let part = (random() as usize % 65).min(new.len());
                    let part = if random() % 2 == 0 { new.len() } else { part };
                    old[..part].copy_from_slice(&new[..part]);
                }
            }
            fs::write(&path, torn).unwrap();
        }
        self.held.clear();
        let oldest = self.ring.oldest().seq;
        self.boot += 1;
        self.ring = open(self.dir.path(), BootId([self.boot; 16]));
        self.check_numbers();
        self.reader = self.ring.reader();
        let read = read_all(&mut self.reader);
        self.check(&read);
        let seen: std::collections::BTreeSet<u64> = read.iter().map(|record| record.0).collect();
        for seq in oldest..self.promised {
            let owed = self.owes(seq);
            assert!(!owed || seen.contains(&seq), "record {seq} was synced and is gone; promised {}", self.promised);
        }
        self.records.truncate(self.ring.published().next_seq as usize);
        self.records.resize(self.ring.published().next_seq as usize, None);
        for (seq, record) in self.records.iter_mut().enumerate() {
            if seq as u64 >= oldest && !seen.contains(&(seq as u64)) {
                *record = None;
            }
        }
        // A power loss ends the writer; a new process has new pipes.
        self.pending = Default::default();
        for name in NAMES {
            self.ring.writer(name).finish(&Toy);
        }
        self.promised = self.promised.min(self.ring.published().next_seq);
        self.synced = files(self.dir.path());
    }
}

const NAMES: [&str; 2] = ["first", "second"];

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_ring_is_a_list_that_forgets_its_head(actions in actions()) {
        let mut model = Model::new();
        for action in &actions {
            model.step(action);
        }
    }
}
