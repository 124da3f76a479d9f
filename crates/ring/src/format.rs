//! The fixed structures of a segment: header, slots, owner, index entries. The [crate](super) describes the layout.
//!
//! Each carries a CRC-32 (IEEE, as `crc32fast` computes it) over everything before it. A length is trusted only after
//! its checksum was verified.

use super::Framing;

/// The filler byte, see [`super::FILLER`].
pub(super) const FILLER: u8 = 0xff;

/// Offsets in a segment: slots, owner, commit mark and index.
pub(super) const SLOTS: [u64; 2] = [512, 1024];
pub(super) const OWNER: u64 = 1536;
pub(super) const MARK: u64 = 2048;
pub(super) const INDEX: u64 = 4096;

/// Bytes of a block when it is sealed, unless its segment ends before.
pub(super) const BLOCK: u64 = if cfg!(any(test, small_rings)) { 512 } else { 64 * 1024 };

/// Bytes of an index entry.
pub(super) const ENTRY: usize = 64;

/// The most bytes of data in a segment: evicting the oldest loses little, and 100 MB are few files.
const LARGEST_SEGMENT: u64 = 4 * 1024 * 1024;
const MAGIC: &[u8; 8] = b"lokiring";
/// The format version that is written.
const VERSION: u32 = 2;

/// The format versions that are read. The format of the last release stays here, with a test, for as long as that
/// release can be upgraded. In every version the first 64 bytes of a segment are magic, version and, in the last four,
/// the checksum. So a segment of a later release is recognized.
const VERSIONS_READ: [u32; 1] = [VERSION];

/// Record and segment numbers are below this: a greater one is damage, and counting on from it would overflow.
pub(super) const MOST: u64 = 1 << 62;

/// The identity of one boot of the machine: `/proc/sys/kernel/random/boot_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

/// A fixed structure of a segment, and its offset.
pub(super) type Note = (u64, [u8; 64]);

/// The first 512 bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub number: u64,
    pub first_seq: u64,
    /// The most bytes of data in the segment.
    pub capacity: u64,
    /// The most entries in the index.
    pub index_capacity: u64,
    pub boot: BootId,
}

/// The reason why the first bytes of a segment are not a valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("its header is damaged")]
    Damaged,
    #[error("it is of version {0} of the format, and this release reads {VERSIONS_READ:?}")]
    Version(u32),
    #[error("its header says what no release wrote")]
    Absurd,
}

/// A run of whole records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Offset in the data.
    pub offset: u64,
    pub len: u64,
    pub first_seq: u64,
    pub count: u64,
    /// The smallest and the greatest time in the block; meaningless while `count` is 0.
    pub first_time: i64,
    pub last_time: i64,
    /// The checksum of the block's data.
    pub crc: u32,
}

// === impl BootId ===

impl BootId {
    /// The kernel's boot id, or zeros if there is none: then a ring trusts only what this process wrote.
    pub fn current() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut id = [0; 16];
        let digits: Vec<u8> = text.bytes().filter_map(|c| (c as char).to_digit(16).map(|d| d as u8)).collect();
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Self(id)
    }

    /// Whether a page cache filled in boot `self` still exists in boot `now`.
    pub fn survived_until(self, now: Self) -> bool {
        self == now && self.0 != [0; 16]
    }
}

// === impl Header ===

impl Header {
    /// The most bytes before the data.
    pub const MOST_BEFORE_DATA: u64 = {
        let entries = LARGEST_SEGMENT / BLOCK + 2;
        INDEX + (entries * ENTRY as u64).next_multiple_of(4096)
    };

    /// The shape of a new segment in a ring of `budget` bytes.
    pub fn new<F: Framing>(number: u64, first_seq: u64, budget: u64, boot: BootId) -> Self {
        // Room for more than three of the longest records, so that torn bytes from the last segment are a small part.
        let smallest = (7 * F::LONGEST as u64 / 2).next_multiple_of(4096);
        let capacity = (budget / 16).clamp(smallest, LARGEST_SEGMENT) & !4095;
        // Blocks are sealed at or above BLOCK bytes; one more is the last of the segment, and one is spare.
        Self { number, first_seq, capacity, index_capacity: capacity / BLOCK + 2, boot }
    }

    /// Whether the index has room for all blocks that can still follow. A block that was closed early, because its
    /// segment could not be written to, uses an entry that was meant for another.
    pub fn can_index(&self, blocks: &[Block]) -> bool {
        let end = blocks.last().map_or(0, Block::end);
        blocks.len() as u64 + (self.capacity - end) / BLOCK < self.index_capacity
    }

    pub fn data_start(&self) -> u64 {
        INDEX + (self.index_capacity * ENTRY as u64).next_multiple_of(4096)
    }

    pub fn encode(&self) -> [u8; 64] {
        let mut out = Fields::default();
        out.put(MAGIC).put(&VERSION.to_le_bytes()).put(&[0; 4]);
        for value in [self.number, self.first_seq, self.capacity, self.index_capacity] {
            out.put(&value.to_le_bytes());
        }
        out.put(&self.boot.0[..12]);
        out.seal()
    }

    pub fn decode(bytes: &[u8], boot: BootId) -> Result<Self, Flaw> {
        let fields = unseal(bytes).filter(|fields| &fields[..8] == MAGIC).ok_or(Flaw::Damaged)?;
        let version = u32::from_le_bytes([fields[8], fields[9], fields[10], fields[11]]);
        if !VERSIONS_READ.contains(&version) {
            return Err(Flaw::Version(version));
        }
        let header = Self {
            number: u64_at(fields, 16),
            first_seq: u64_at(fields, 24),
            capacity: u64_at(fields, 32),
            index_capacity: u64_at(fields, 40),
            // 96 of the 128 bits fit, enough to distinguish boots.
            boot: if fields[48..60] == boot.0[..12] { boot } else { BootId([0; 16]) },
        };
        // These bounds keep arithmetic on a foreign header from overflowing, and a buffer from taking all memory.
        let is_sane = header.capacity <= 1 << 26 && header.index_capacity <= 1 << 14;
        if is_sane && header.number < MOST && header.first_seq < MOST { Ok(header) } else { Err(Flaw::Absurd) }
    }
}

// === impl Block ===

impl Block {
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }

    pub fn next_seq(&self) -> u64 {
        self.first_seq + self.count
    }

    pub fn encode(&self) -> [u8; ENTRY] {
        let mut out = Fields::default();
        for value in [self.offset, self.len, self.first_seq, self.count] {
            out.put(&value.to_le_bytes());
        }
        out.put(&self.first_time.to_le_bytes()).put(&self.last_time.to_le_bytes()).put(&self.crc.to_le_bytes());
        out.seal()
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let fields = unseal(bytes)?;
        let block = Self {
            offset: u64_at(fields, 0),
            len: u64_at(fields, 8),
            first_seq: u64_at(fields, 16),
            count: u64_at(fields, 24),
            first_time: u64_at(fields, 32) as i64,
            last_time: u64_at(fields, 40) as i64,
            crc: u32::from_le_bytes([fields[48], fields[49], fields[50], fields[51]]),
        };
        let is_sane = block.offset <= 1 << 30 && block.len <= 1 << 30;
        (is_sane && block.first_seq < MOST && block.count <= 1 << 30).then_some(block)
    }

    /// Whether the block can follow one that ended at `end`, when the next record is `next_seq`.
    pub fn follows(&self, end: u64, next_seq: u64, capacity: u64) -> bool {
        self.offset == end && self.first_seq == next_seq && self.len <= capacity && self.end() <= capacity
    }
}

/// Encodes the owner: an id of at most 59 bytes, zero-padded. Longer ids are compared by their first 59.
pub(super) fn encode_owner(id: &str) -> [u8; 64] {
    let mut out = Fields::default();
    out.put(&id.as_bytes()[..id.len().min(59)]);
    out.seal()
}

/// Consecutive fields with a checksum in the last four bytes.
struct Fields {
    bytes: [u8; 64],
    len: usize,
}

impl Default for Fields {
    fn default() -> Self {
        Self { bytes: [0; 64], len: 0 }
    }
}

impl Fields {
    fn put(&mut self, field: &[u8]) -> &mut Self {
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
        self
    }

    fn seal(mut self) -> [u8; 64] {
        let crc = crc32fast::hash(&self.bytes[..60]);
        self.bytes[60..].copy_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (fields, rest) = bytes.split_at_checked(60)?;
    (rest.get(..4)? == crc32fast::hash(fields).to_le_bytes()).then_some(fields)
}

fn u64_at(fields: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&fields[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_structures_are_decoded_unless_a_bit_was_flipped() {
        let block = Block { offset: 1, len: 2, first_seq: 3, count: 4, first_time: -5, last_time: i64::MAX, crc: 6 };
        let bytes = block.encode();
        assert_eq!(Block::decode(&bytes), Some(block));
        for bit in 0..bytes.len() * 8 {
            let mut hurt = bytes;
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Block::decode(&hurt), None, "bit {bit}");
        }
        assert_eq!(Block::decode(&[0; 64]), None, "zeros are no entry");
    }

    #[test]
    fn a_header_tells_its_boot() {
        let boot = BootId([7; 16]);
        let header = Header { number: 1, first_seq: 9, capacity: 4096, index_capacity: 3, boot };
        assert_eq!(Header::decode(&header.encode(), boot), Ok(header));
        let other = Header::decode(&header.encode(), BootId([8; 16])).unwrap();
        assert!(!other.boot.survived_until(BootId([8; 16])));
    }

    /// A header as each supported version has written it, byte for byte.
    #[test]
    fn every_version_in_the_table_is_read_and_no_other() {
        let header = Header { number: 7, first_seq: 9, capacity: 4096, index_capacity: 3, boot: BootId([7; 16]) };
        let fields = |version: u32| {
            let numbers = [7u64, 9, 4096, 3].map(u64::to_le_bytes).concat();
            let bytes = [b"lokiring", &version.to_le_bytes()[..], &[0; 4], &numbers, &[7; 12]].concat();
            [&bytes[..], &crc32fast::hash(&bytes).to_le_bytes()].concat()
        };
        assert!(VERSIONS_READ.contains(&VERSION));
        for version in 0..100 {
            let expected = if version == 2 { Ok(header) } else { Err(Flaw::Version(version)) };
            assert_eq!(Header::decode(&fields(version), BootId([7; 16])), expected);
        }
        assert_eq!(header.encode(), fields(VERSION)[..]);
    }

    #[test]
    fn the_kernel_tells_a_boot_id() {
        assert!(BootId::current().survived_until(BootId::current()));
    }
}
