//! The numbers and destinations of a ring that a cursor stores beside its position.
//!
//! A power loss can destroy records that a cursor has acknowledged, and a kill destroys those in memory. New records
//! must not get their numbers, because they would count as acknowledged. The position alone does not show this: the
//! owner may have acknowledged records behind it, and says so only in the note, which the ring does not read. So each
//! save also stores the number that the ring would give next. No record at or above it was ever acknowledged.

/// The next numbers of a ring, for a record and for a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub next_seq: u64,
    pub next_number: u64,
}

/// The names of a ring's cursors at a save, as checksums. A listed cursor without a file was lost; an unlisted cursor
/// is new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Siblings {
    names: Vec<u32>,
    /// Whether there were more than [`Siblings::MOST`].
    are_more: bool,
}

// === impl Given ===

impl Given {
    /// The greater of the numbers, so that neither ring reuses one.
    pub fn and(self, other: Self) -> Self {
        Self { next_seq: self.next_seq.max(other.next_seq), next_number: self.next_number.max(other.next_number) }
    }
}

// === impl Siblings ===

impl Siblings {
    /// The most cursors listed. A slot has room for no more, and few containers have as many as three.
    pub const MOST: usize = 18;

    /// Bytes of the list on disk.
    pub const LEN: usize = 4 + 4 * Self::MOST;

    pub fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all: Vec<u32> = names.map(crc32fast::hash).collect();
        let are_more = all.len() > Self::MOST;
        all.truncate(Self::MOST);
        Self { names: all, are_more }
    }

    /// Whether a cursor of this name had a file. If the list is incomplete, any name may have had one: sending lines
    /// twice is better than skipping some.
    pub fn has(&self, name: &[u8]) -> bool {
        self.are_more || self.names.contains(&crc32fast::hash(name))
    }

    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let count = if self.are_more { u32::MAX } else { self.names.len() as u32 };
        for (field, value) in bytes.chunks_exact_mut(4).zip([count].iter().chain(&self.names)) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let count = words.next().unwrap_or_default();
        let are_more = count == u32::MAX;
        Self { names: words.take(if are_more { Self::MOST } else { count as usize }).collect(), are_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(count: usize) -> (Vec<String>, Siblings) {
        let names: Vec<_> = (0..count).map(|at| format!("cursor-{at}")).collect();
        let siblings = Siblings::of(names.iter().map(String::as_bytes));
        (names, siblings)
    }

    #[test]
    fn siblings_read_back_and_know_each_other() {
        for count in [0, 1, 2, Siblings::MOST, Siblings::MOST + 1, 100] {
            let (names, siblings) = named(count);
            assert_eq!(Siblings::decode(&siblings.encode()), siblings, "{count}");
            assert!(names.iter().all(|name| siblings.has(name.as_bytes())), "{count}");
            assert_eq!(siblings.has(b"cursor-other"), count > Siblings::MOST, "{count}");
        }
    }
}
