//! Numbers that a ring has given out, and the places that its records went to: what a cursor remembers beside its position.
//!
//! A power loss can take records that a cursor has acknowledged, and a kill those that were in memory alone. Their
//! numbers must not be given to other records, which would then count as acknowledged. A cursor's position does not tell:
//! what its owner has acknowledged behind the position is in the note, which the ring does not read. So each save also
//! writes down which number the ring would have given next. Nothing at or above it was ever acknowledged.

/// The next numbers of a ring, of a record and of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub next_seq: u64,
    pub next_number: u64,
}

/// The names of a ring's cursors as of a save, as checksums. One that is listed and has no file was lost; one that is not
/// listed was just added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Siblings {
    names: Vec<u32>,
    /// There were more than [`Siblings::MOST`].
    are_more: bool,
}

// === impl Given ===

impl Given {
    /// Nothing that one of the two has given out is given again.
    pub fn and(self, other: Self) -> Self {
        Self { next_seq: self.next_seq.max(other.next_seq), next_number: self.next_number.max(other.next_number) }
    }
}

// === impl Siblings ===

impl Siblings {
    /// How many a cursor lists: a slot has room for no more, and few containers have as many as three.
    pub const MOST: usize = 18;

    /// Bytes on disk.
    pub const LEN: usize = 4 + 4 * Self::MOST;

    pub fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all: Vec<u32> = names.map(crc32fast::hash).collect();
        let are_more = all.len() > Self::MOST;
        all.truncate(Self::MOST);
        Self { names: all, are_more }
    }

    /// Whether a cursor of this name had a file. Where not all are listed, any may have had one: to send lines twice is
    /// better than to leave some out.
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
