//! The two outputs of a container.

/// The value of LogEntry's `source` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Standard output; with a tty also standard error.
    Stdout,
    /// Standard error.
    Stderr,
}

// === impl Source ===

impl Source {
    /// Both, in the order in which streams are shipped.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The name dockerd uses on the wire, and the value of the `source` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// Parses dockerd's name; `None` for any other.
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }

    /// 0 or 1, for tables with one value per source.
    pub fn index(self) -> usize {
        self as usize
    }
}
