//! Certificates, keys and secrets: as text, or as a file that may change.

use std::fmt;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::Secret;
use base::files::Named;

/// The largest file, in bytes: the certificate bundle of a Linux distribution has a quarter of it.
const LARGEST: u64 = 1 << 20;

/// The resolution of file system clocks. A file that was written this shortly before it was read may be written again
/// without a new time.
const COARSE: Duration = Duration::from_secs(2);

/// The value of an option: text, or the file that contains it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Material {
    /// The option, for error messages.
    pub option: &'static str,
    pub source: Source,
}

/// The source of the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The text itself.
    Text(Secret),
    /// The file with the text.
    File(Named),
}

/// Why a file or text cannot be used: `loki-tls-ca-file: "/etc/loki-rs/ca.pem" cannot be read: …`. It contains no
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{option}: {reason}")]
pub struct Flaw {
    pub option: &'static str,
    pub reason: String,
}

/// Identifies the version of a file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Whether the file was old enough when its stamp was taken for another change to show.
    settled: bool,
}

// === impl Material ===

impl Material {
    pub fn text(option: &'static str, text: impl Into<String>) -> Material {
        Material { option, source: Source::Text(Secret::new(text)) }
    }

    pub fn file(option: &'static str, file: Named) -> Material {
        Material { option, source: Source::File(file) }
    }

    /// The file, if the source is one.
    pub fn named(&self) -> Option<&Named> {
        match &self.source {
            Source::Text(_) => None,
            Source::File(file) => Some(file),
        }
    }

    /// A flaw for a file that was not read in time; does not access the file.
    pub fn unread(&self, why: impl fmt::Display) -> Flaw {
        let path = self.named().map(Named::path).unwrap_or_default();
        Flaw { option: self.option, reason: format!("{path:?} cannot be read: {why}") }
    }

    /// Reads the whole content.
    ///
    /// # Errors When the file cannot be read, or its kind or size is not that of such a file.
    pub fn read(&self) -> Result<Vec<u8>, Flaw> {
        let file = match &self.source {
            Source::Text(text) => return Ok(text.expose().as_bytes().to_vec()),
            Source::File(file) => file,
        };
        let unreadable = |error: io::Error| {
            self.flaw(format!(
                "cannot be read: {error} (a managed plugin sees of the host's files those below the directory that \
                 docker plugin set <plugin> files.source=DIRECTORY names, as /etc/loki-rs)"
            ))
        };
        let mut bytes = Vec::new();
        let (_, file) = file.open().map_err(unreadable)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST {
            return Err(
                self.flaw("is larger than 1 MiB, more than is read of a file (give the path of the one that is meant)")
            );
        }
        Ok(bytes)
    }

    /// Reads a password or token: one line, without the spaces and the newline that editors leave at its end.
    ///
    /// # Errors When it cannot be read, or is not one line of text.
    pub fn read_secret(&self) -> Result<Secret, Flaw> {
        // Text in an option is used unchanged.
        if let Source::Text(text) = &self.source {
            return Ok(text.clone());
        }
        let text = String::from_utf8(self.read()?)
            .map_err(|_| self.flaw("is not UTF-8 text (a password or token, on one line, is expected in it)"))?;
        let line = text.trim();
        if line.is_empty() {
            return Err(self.flaw("is empty (a password or token, on one line, is expected in it)"));
        }
        if line.contains(char::is_control) {
            return Err(self.flaw("is not one line of text (a password or token, on one line, is expected in it)"));
        }
        Ok(Secret::new(line))
    }

    /// `None` for text, and for a file that does not exist.
    pub fn stamp(&self) -> Option<Stamp> {
        let (_, file) = self.named()?.open().ok()?;
        Some(Stamp::new(&file.metadata().ok()?, SystemTime::now()))
    }

    pub fn is_file(&self) -> bool {
        matches!(self.source, Source::File(_))
    }

    /// A flaw that shows only the path, never the text. `reason` continues the sentence.
    pub fn flaw(&self, reason: impl fmt::Display) -> Flaw {
        let subject = match &self.source {
            Source::Text(_) => "the text".to_owned(),
            Source::File(file) => format!("{:?}", file.open().map_or_else(|_| file.path(), |(path, _)| path)),
        };
        Flaw { option: self.option, reason: format!("{subject} {reason}") }
    }
}

// === impl Stamp ===

impl Stamp {
    fn new(file: &Metadata, now: SystemTime) -> Stamp {
        let age = file.modified().ok().and_then(|modified| now.duration_since(modified).ok());
        Stamp {
            inode: (file.dev(), file.ino()),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            settled: age.is_some_and(|age| age > COARSE),
        }
    }

    /// Whether a file with this stamp before it was read, and `now` later, need not be read again.
    pub fn still_holds(&self, now: &Stamp) -> bool {
        self.settled && Stamp { settled: true, ..*now } == *self
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn material(bytes: &[u8]) -> (tempfile::TempDir, Material) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, bytes).unwrap();
        (dir, Material::file("loki-password-file", Named::at(path)))
    }

    #[test]
    fn a_secret_is_a_line() {
        for (bytes, expected) in [
            (&b"hunter2"[..], Ok("hunter2")),
            (b"hunter2\n", Ok("hunter2")),
            (b" hunter2 \r\n\n", Ok("hunter2")),
            (b"a b", Ok("a b")),
            (b"", Err("is empty")),
            (b"\n", Err("is empty")),
            (b"a\nb", Err("is not one line of text")),
            (b"\xff", Err("is not UTF-8 text")),
            (&[b'x'; 1 << 21], Err("is larger than 1 MiB")),
        ] {
            let (_dir, material) = material(bytes);
            match (material.read_secret(), expected) {
                (Ok(secret), Ok(expected)) => assert_eq!(secret.expose(), expected),
                (Err(flaw), Err(expected)) => assert!(flaw.to_string().contains(expected), "{flaw}"),
                (read, expected) => panic!("{read:?} is not {expected:?}"),
            }
        }
        assert_eq!(Material::text("loki-password", " as typed ").read_secret().unwrap().expose(), " as typed ");
    }

    #[test]
    fn what_is_no_file_is_said() {
        let (dir, mut material) = material(b"x");
        material = Material::file(material.option, Named::at(dir.path()));
        let flaw = material.read().unwrap_err().to_string();
        let expected = format!("loki-password-file: {:?} cannot be read: it is not a regular file (", dir.path());
        assert!(flaw.starts_with(&expected), "{flaw}");
        material = Material::file(material.option, Named::at(dir.path().join("none")));
        let flaw = material.read().unwrap_err().to_string();
        assert!(flaw.contains("none\" cannot be read: No such file") && flaw.contains("files.source="), "{flaw}");
        assert_eq!(material.stamp(), None);
    }

    #[test]
    fn a_young_file_is_read_again_and_an_old_one_when_it_has_changed() {
        let (_dir, material) = material(b"one");
        let path = material.named().unwrap().path();
        let file = fs::metadata(&path).unwrap();
        let written = file.modified().unwrap();
        let (young, old) = (Stamp::new(&file, written), Stamp::new(&file, written + COARSE * 2));
        assert!(!young.still_holds(&young) && !young.still_holds(&old));
        assert!(old.still_holds(&old) && old.still_holds(&young));
        fs::write(&path, b"longer").unwrap();
        assert!(!old.still_holds(&Stamp::new(&fs::metadata(path).unwrap(), written + COARSE * 4)));
    }
}
