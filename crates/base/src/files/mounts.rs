//! The device of a path, found without accessing it: a hanging file system answers no question about itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Mounts, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    point: PathBuf,
    /// The device as `stat` shows it: major and minor number.
    device: String,
}

// === impl Mounts ===

impl Mounts {
    /// The mounts of this process; empty if the kernel does not report them.
    pub fn now() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    /// Parses `/proc/self/mountinfo`, see proc_pid_mountinfo(5).
    pub fn parse(text: &str) -> Self {
        let mount = |line: &str| {
            let mut fields = line.split(' ');
            let device = fields.nth(2)?.to_owned();
            Some(Mount { point: unescape(fields.nth(1)?), device })
        };
        Self(text.lines().filter_map(mount).collect())
    }

    /// The device of the mount above a path, by name alone: a symbolic link may lead to another. Empty if unknown.
    pub fn device(&self, path: &Path) -> &str {
        let above = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        // Of two mounts at one place, the later hides the earlier.
        above.max_by_key(|mount| mount.point.components().count()).map_or("", |mount| &mount.device)
    }
}

/// Decodes a path: the kernel writes spaces and the like as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), field.as_bytes());
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = &tail[3..]),
            None => (bytes.push(*first), rest = tail),
        };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_the_device_of_the_last_mount_above_it() {
        let mounts = Mounts::parse(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             30 22 0:44 /x /mnt/with\\040space rw shared:1 - nfs4 host:/x rw\n\
             31 22 8:2 / /mnt/two rw - ext4 /dev/sdb rw\n\
             32 31 0:45 / /mnt/two rw - nfs4 host:/y rw\n\
             33 32 8:3 / /mnt/two/below rw - ext4 /dev/sdc rw\n",
        );
        for (path, device) in [
            ("/etc/loki", "8:1"),
            ("/mnt/with space/certs", "0:44"),
            ("/mnt/two", "0:45"),
            ("/mnt/twofold", "8:1"),
            ("/mnt/two/below/a/b", "8:3"),
        ] {
            assert_eq!(mounts.device(Path::new(path)), device, "{path}");
        }
        assert_eq!(Mounts::parse("").device(Path::new("/a")), "");
        assert_ne!(Mounts::now().device(Path::new("/")), "");
    }
}
