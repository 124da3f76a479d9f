//! The disk of a simulated machine: refused calls, and the state after a kill or a power loss.
//!
//! Files are real ones below one folder, so reads need no simulation. This module records what a sync has made durable:
//! the bytes of each file at its last sync, and the names in each folder at the folder's last sync. In a power loss
//! each page written since then survives or is lost, and so does each name that changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::libc;

/// A page: the unit that the kernel writes.
const PAGE: usize = 4096;

/// The file with the id of the boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file that tells the plugin that all FIFOs are for it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The folder in which dockerd creates FIFOs, as the plugin sees it.
pub const FIFOS: &str = "/run/docker/logging";

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// A call of the plugin that changes the disk or waits for it.
#[derive(Debug)]
pub enum Call {
    Write,
    Truncate,
    Allocate,
    Splice,
    Sync(u64, c_int),
    /// Reads from a file of the disk.
    Read(u64),
    /// Reads from a FIFO; a dead process removes no more bytes from it.
    ReadPipe,
    Open(PathBuf, c_int),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeDir(PathBuf),
}

/// The state of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Well,
    /// The disk has no free space.
    Full,
    /// The disk refuses writes.
    ReadOnly,
    /// One call in three fails.
    Failing,
}

/// The damage to a file of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Its bytes become unreadable.
    Unreadable,
    /// Only this many sixteenths of it remain.
    Cut(u64),
}

/// The disk of this thread.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    dev: u64,
    weather: Weather,
    /// Files whose bytes cannot be read.
    unreadable: BTreeSet<u64>,
    random: fastrand::Rng,
    /// The number of calls after which the process dies.
    dies_after: Option<u32>,
    dead: bool,
    died: Rc<tokio::sync::Notify>,
    /// Files that replace those of the real machine.
    instead: PathBuf,
    /// The names in each folder at its last sync, with the inode of each file.
    names: BTreeMap<PathBuf, BTreeMap<OsString, u64>>,
    /// Bytes of files at their last sync.
    bytes: BTreeMap<u64, Vec<u8>>,
    /// The last bytes of files whose name was removed or now belongs to another file.
    nameless: BTreeMap<u64, Vec<u8>>,
    /// Forbidden calls that were made.
    pub violations: Vec<String>,
}

/// Whether this thread runs a simulation.
pub fn is_simulated() -> bool {
    DISK.try_with(|disk| disk.try_borrow().is_ok_and(|disk| disk.is_some())).unwrap_or(false)
}

/// Begins with an empty disk at `root`.
pub fn begin(root: &Path, random: fastrand::Rng) {
    let dev = fs::metadata(root).map_or(0, |metadata| metadata.dev());
    let instead = root.with_file_name("instead");
    fs::create_dir_all(&instead).expect("a folder for the simulation");
    fs::write(instead.join("mounts"), format!("1 1 0:1 / {FIFOS} rw\n")).expect("the simulation's own files");
    let disk = Disk {
        root: root.to_path_buf(),
        dev,
        weather: Weather::Well,
        unreadable: BTreeSet::new(),
        random,
        dies_after: None,
        dead: false,
        died: Rc::default(),
        instead,
        names: BTreeMap::new(),
        bytes: BTreeMap::new(),
        nameless: BTreeMap::new(),
        violations: Vec::new(),
    };
    disk.new_boot();
    DISK.set(Some(disk));
}

/// Ends the simulation.
pub fn end() {
    DISK.set(None);
}

/// Calls `work` with the disk of this thread.
pub fn with<T>(work: impl FnOnce(&mut Disk) -> T) -> T {
    super::kernel::outside(|| {
        DISK.with_borrow_mut(|disk| work(disk.as_mut().expect("a simulation runs on this thread")))
    })
}

/// The inode of a descriptor, if it is on the simulated disk.
pub fn file(fd: c_int) -> Option<u64> {
    status(fd).filter(|(mode, _)| matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)).map(|(_, ino)| ino)
}

/// The read call that a descriptor leads to.
pub fn source(fd: c_int) -> Option<Call> {
    let (mode, ino) = status(fd)?;
    match mode & libc::S_IFMT {
        libc::S_IFREG => Some(Call::Read(ino)),
        libc::S_IFIFO => Some(Call::ReadPipe),
        _ => None,
    }
}

fn status(fd: c_int) -> Option<(u32, u64)> {
    let mut found = std::mem::MaybeUninit::<libc::stat64>::uninit();
    // SAFETY: fstat writes a whole structure when it succeeds.
    let found = unsafe { (libc::fstat64(fd, found.as_mut_ptr()) == 0).then(|| found.assume_init()) }?;
    let dev = DISK.with_borrow(|disk| disk.as_ref().map(|disk| disk.dev));
    (dev == Some(found.st_dev)).then_some((found.st_mode, found.st_ino))
}

/// The path of a name in an open folder.
pub fn below(dir: c_int, name: &Path) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{dir}")).map_or_else(|_| name.to_path_buf(), |dir| dir.join(name))
}

/// The file to open instead of one that only the real machine has.
pub fn in_place_of(name: *const c_char) -> Option<CString> {
    // SAFETY: every caller of open(2) names the file by a C string.
    let name = unsafe { CStr::from_ptr(name) }.to_str().ok()?;
    let file = match name {
        BOOT_ID => "boot".into(),
        MOUNTS => "mounts".into(),
        _ => Path::new("../fifos").join(name.strip_prefix(FIFOS)?.trim_start_matches('/')),
    };
    let instead = DISK.try_with(|disk| Some(disk.try_borrow().ok()?.as_ref()?.instead.clone())).ok()??;
    CString::new(instead.join(file).as_os_str().as_bytes()).ok()
}

/// Decides whether a call fails before it is made.
pub fn before(call: Call) -> Result<(), Errno> {
    DISK.with_borrow_mut(|disk| disk.as_mut().map_or(Ok(()), |disk| disk.before(call)))
}

// === impl Disk ===

impl Disk {
    pub fn set(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Lets the process die at the call after `calls` more that change something.
    pub fn die_after(&mut self, calls: u32) -> Rc<tokio::sync::Notify> {
        self.dies_after = Some(calls);
        self.died.clone()
    }

    /// Notifies when the process has died.
    pub fn died(&self) -> Rc<tokio::sync::Notify> {
        self.died.clone()
    }

    /// Kills the process: from here on no call has an effect, although its memory is still to be freed.
    pub fn die(&mut self) {
        self.dead = true;
        self.dies_after = None;
        self.died.notify_one();
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Starts another process.
    pub fn revive(&mut self) {
        self.dead = false;
        self.dies_after = None;
        // An unused permit belongs to the last process.
        self.died = Rc::default();
    }

    /// Damages a segment of the ring in `dir`, counted from the oldest and wrapping; false if it has no segment.
    pub fn damage(&mut self, dir: &Path, segment: usize, how: Damage) -> bool {
        let is_segment = |name: &OsString| Path::new(name).extension().is_some_and(|extension| extension == "seg");
        let segments: Vec<_> = names_in(dir).into_iter().filter(|(name, _)| is_segment(name)).collect();
        let Some((name, file)) = segments.get(segment % segments.len().max(1)) else { return false };
        match how {
            Damage::Unreadable => {
                self.unreadable.insert(*file);
            }
            Damage::Cut(part) => {
                let file = fs::OpenOptions::new().write(true).open(dir.join(name));
                let cut = file.and_then(|file| file.set_len(file.metadata()?.len() / 16 * part));
                cut.expect("the simulation's own files");
            }
        }
        true
    }

    fn before(&mut self, call: Call) -> Result<(), Errno> {
        if matches!(call, Call::ReadPipe) {
            return if self.dead { Err(Errno::EAGAIN) } else { Ok(()) };
        }
        if let Call::Read(file) = call {
            return if self.unreadable.contains(&file) { Err(Errno::EIO) } else { Ok(()) };
        }
        if let Call::Open(path, flags) = &call
            && (!self.has(path) || flags & (libc::O_CREAT | libc::O_TRUNC) == 0)
        {
            return Ok(());
        }
        if !self.is_ours(&call) {
            return Ok(());
        }
        match self.dies_after.as_mut() {
            Some(0) => {
                // Inode numbers differ in each run.
                let what = if let Call::Sync(..) = call { "Sync".into() } else { format!("{call:?}") };
                super::log::note(&format!("the plugin dies at {what}"));
                self.die();
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if self.dead {
            return Err(if matches!(call, Call::Splice) { Errno::EAGAIN } else { Errno::EIO });
        }
        self.refuse(&call)?;
        self.note(call);
        Ok(())
    }

    fn has(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    fn is_ours(&self, call: &Call) -> bool {
        match call {
            Call::Open(path, _) | Call::Rename(path, _) | Call::Remove(path) | Call::MakeDir(path) => self.has(path),
            _ => true,
        }
    }

    fn refuse(&mut self, call: &Call) -> Result<(), Errno> {
        let grows = matches!(call, Call::Write | Call::Allocate | Call::Splice | Call::MakeDir(_))
            || matches!(call, Call::Open(path, _) if !path.exists());
        match self.weather {
            Weather::Well => Ok(()),
            Weather::Full if grows => Err(Errno::ENOSPC),
            Weather::Full => Ok(()),
            Weather::ReadOnly if matches!(call, Call::Sync(..)) => Ok(()),
            Weather::ReadOnly => Err(Errno::EROFS),
            Weather::Failing if self.random.u8(..3) == 0 => Err(Errno::EIO),
            Weather::Failing => Ok(()),
        }
    }

    /// Records what the call makes durable, or from which file it removes a name.
    fn note(&mut self, call: Call) {
        match call {
            Call::Sync(file, fd) => {
                if base::pools::test::running().is_none() {
                    self.violations.push("a sync on a thread that must not wait".into());
                }
                let Ok(path) = fs::read_link(format!("/proc/self/fd/{fd}")) else { return };
                if path.is_dir() {
                    let names = names_in(&path);
                    self.names.insert(path, names);
                } else if let Ok(bytes) = fs::read(format!("/proc/self/fd/{fd}")) {
                    self.bytes.insert(file, bytes);
                }
            }
            Call::Remove(path) | Call::Rename(_, path) => {
                if let Ok(metadata) = path.symlink_metadata()
                    && metadata.is_file()
                    && let Ok(bytes) = fs::read(&path)
                {
                    self.nameless.insert(metadata.ino(), bytes);
                }
            }
            _ => {}
        }
    }

    fn new_boot(&self) {
        let mut random = self.random.clone();
        let id = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}\n",
            random.u32(..),
            random.u16(..),
            random.u16(..),
            random.u16(..),
            random.u64(..1 << 48)
        );
        fs::write(self.instead.join("boot"), id).expect("the simulation's own files can be written");
    }

    /// Fails the power and restores it: unsynced changes survive in part.
    pub fn lose_power(&mut self) {
        let mut random = self.random.fork();
        let root = self.root.clone();
        let mut survives = Vec::new();
        self.survivors(&root, &mut random, &mut survives);
        fs::remove_dir_all(&root).and_then(|()| fs::create_dir_all(&root)).expect("the simulation's own files");
        (self.names, self.bytes, self.nameless) = Default::default();
        for (path, bytes) in survives {
            let written = match bytes {
                Some(bytes) => fs::write(&path, bytes),
                None => fs::create_dir(&path),
            };
            written.expect("the simulation's own files");
        }
        self.settle(&root);
        self.unreadable.clear();
        self.new_boot();
    }

    /// Adds the survivors of a power loss below `dir`: files with their bytes, and folders.
    fn survivors(&self, dir: &Path, random: &mut fastrand::Rng, to: &mut Vec<(PathBuf, Option<Vec<u8>>)>) {
        let (now, none) = (names_in(dir), BTreeMap::new());
        let then = self.names.get(dir).unwrap_or(&none);
        let all: BTreeSet<_> = now.keys().chain(then.keys()).collect();
        for name in all {
            let path = dir.join(name);
            if path.is_dir() {
                to.push((path.clone(), None));
                self.survivors(&path, random, to);
                continue;
            }
            let (now, then) = (now.get(name), then.get(name));
            let Some(file) = (if random.bool() { now } else { then }) else { continue };
            let last = if Some(file) == now { fs::read(&path).ok() } else { None };
            let last = last.or_else(|| self.nameless.get(file).cloned()).or_else(|| self.bytes.get(file).cloned());
            to.push((path, Some(survivor(self.bytes.get(file), &last.unwrap_or_default(), random))));
        }
    }

    /// Marks all present files as durable.
    fn settle(&mut self, dir: &Path) {
        let names = names_in(dir);
        for (name, file) in &names {
            let path = dir.join(name);
            if path.is_dir() {
                self.settle(&path);
            } else if let Ok(bytes) = fs::read(&path) {
                self.bytes.insert(*file, bytes);
            }
        }
        self.names.insert(dir.to_path_buf(), names);
    }
}

fn names_in(dir: &Path) -> BTreeMap<OsString, u64> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name(), entry.ino())).collect()
}

/// A file after a power loss: each page as it was synced, or as it was written since.
fn survivor(synced: Option<&Vec<u8>>, last: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let synced = synced.map_or(&[][..], Vec::as_slice);
    let len = match random.u8(..4) {
        0 => synced.len(),
        1 if last.len() > synced.len() => random.usize(synced.len()..=last.len()) / PAGE * PAGE,
        _ => last.len(),
    };
    let mut bytes = vec![0; len.max(synced.len().min(last.len()))];
    let len = bytes.len();
    bytes[..synced.len().min(len)].copy_from_slice(&synced[..synced.len().min(len)]);
    for (at, page) in last[..last.len().min(len)].chunks(PAGE).enumerate() {
        if random.bool() {
            bytes[at * PAGE..at * PAGE + page.len()].copy_from_slice(page);
        }
    }
    bytes
}
