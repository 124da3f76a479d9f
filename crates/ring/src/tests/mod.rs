//! Tests of the ring with toy records, in tiny sizes: blocks of 512 bytes, segments of 4 KiB, five or six segments a
//! ring.

mod basic;
mod bound;
mod cut;
mod damage;
pub(super) mod faults;
mod heal;
mod lease;
mod model;
mod set_aside;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use super::*;

/// A record: payload length, `R`, time, payload. A record never begins with zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Toy;

impl Framing for Toy {
    const LONGEST: usize = 10 + 200;

    fn scan(&self, bytes: &[u8]) -> Scan {
        match *bytes {
            [len @ 1..=200, b'R', ..] | [len @ 1..=200] if bytes.len() < 10 + len as usize => Scan::Incomplete,
            [len @ 1..=200, b'R', ..] => {
                let time = i64::from_le_bytes(bytes[2..10].try_into().unwrap());
                Scan::Record { len: 10 + len as usize, time }
            }
            _ => Scan::Garbage(1),
        }
    }
}

pub(super) fn record(time: i64, payload: &[u8]) -> Vec<u8> {
    [&[payload.len() as u8, b'R'][..], &time.to_le_bytes(), payload].concat()
}

/// The file name of a cursor.
const CURSOR: &str = "cursor-there";

pub(super) const BOOT: BootId = BootId([1; 16]);

pub(super) fn open(dir: &Path, boot: BootId) -> Arc<Ring> {
    Ring::open(dir, Options { budget: LEAST_BUDGET, boot }, &Toy).unwrap()
}

/// Lands all of `bytes`, in as many reads as it takes.
pub(super) fn land(writer: &mut Writer, mut bytes: &[u8]) -> Landed {
    let mut sum = Landed::default();
    while !bytes.is_empty() {
        let landed = writer.land(&Toy, |to| to.put(bytes)).unwrap();
        bytes = &bytes[landed.bytes..];
        sum.records += landed.records;
        sum.garbage += landed.garbage;
        sum.bytes += landed.bytes;
        sum.in_memory = sum.in_memory.or(landed.in_memory);
    }
    sum
}

/// Reads everything from the reader's position on: number, time, payload.
fn read_all(reader: &mut Reader) -> Vec<(u64, i64, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.fill() {
        let (mut at, mut seq) = (0, chunk.first_seq);
        loop {
            while chunk.bytes.get(at) == Some(&FILLER) {
                at += 1;
            }
            let rest = &chunk.bytes[at..];
            match Toy.scan(rest) {
                Scan::Record { len, time } => {
                    all.push((seq, time, rest[10..len].to_vec()));
                    at += len;
                    seq += 1;
                }
                _ => break,
            }
        }
        let records = seq - chunk.first_seq;
        assert!(at > 0, "a chunk without a whole record");
        reader.advance(at, records, &Toy);
    }
    all
}

fn payloads(reader: &mut Reader) -> Vec<Vec<u8>> {
    read_all(reader).into_iter().map(|(_, _, payload)| payload).collect()
}

/// Bytes that all files of the ring take, with allocated space.
fn on_disk(dir: &Path) -> u64 {
    std::fs::read_dir(dir).map_or(0, |dir| {
        dir.map(|entry| entry.unwrap())
            .filter(|e| e.path().extension().is_some_and(|e| e == "seg"))
            .map(|entry| 512 * entry.metadata().unwrap().blocks())
            .sum()
    })
}

/// A directory that this thread may read but not write, until the value is dropped.
struct Refusal(PathBuf);

impl Refusal {
    fn of(dir: &Path) -> Self {
        Self::set_modes(dir, 0o555, 0o444);
        // Root may write anywhere, unless it accesses files as another user.
        Self::touch_files_as(65_534);
        Self(dir.to_path_buf())
    }

    fn set_modes(dir: &Path, of_dir: u32, of_files: u32) {
        for entry in fs::read_dir(dir).unwrap() {
            fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(of_files)).unwrap();
        }
        fs::set_permissions(dir, Permissions::from_mode(of_dir)).unwrap();
    }

    #[allow(unsafe_code, reason = "nix has setfsuid behind a feature that the plugin does without")]
    fn touch_files_as(user: u32) {
        // SAFETY: it accesses no memory, and affects this thread only. It changes nothing unless the user is root.
        unsafe { nix::libc::setfsuid(user) };
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        Self::touch_files_as(0);
        Self::set_modes(&self.0, 0o700, 0o600);
    }
}
