//! Which files options may name: those below the folders that the operator allows.
//!
//! The user who starts a container chooses its options. A path that could lead anywhere would read the state of other
//! containers, or any secret that the plugin can see. So a file is opened by `openat2(2)`, which lets no `..`, no
//! symbolic link and no link of `/proc` leave the folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use thiserror::Error;

/// Folders in which options may name files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Folders {
    /// In search order. An empty list allows every file.
    folders: Vec<PathBuf>,
}

/// A file that an option names. It may be in any of several folders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// The folders to search.
    folders: Vec<PathBuf>,
    /// The path below each folder.
    path: PathBuf,
}

/// The error for a path that leads out of the allowed folders.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("is not below {0} (put the file there, and give its path in that folder)")]
pub struct Outside(String);

// === impl Folders ===

impl Folders {
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Folders {
        Folders { folders: folders.into_iter().collect() }
    }

    /// Allows every file, for the command line.
    pub fn any() -> Folders {
        Folders::default()
    }

    /// The allowed folders.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(PathBuf::as_path)
    }

    /// The file that `typed` names: below each of the folders, or below one of them when the path is absolute. Does not
    /// access the file system.
    ///
    /// # Errors
    /// When the path is outside the folders.
    pub fn name(&self, typed: impl AsRef<Path>) -> Result<Named, Outside> {
        let typed = typed.as_ref();
        if self.folders.is_empty() {
            return Ok(Named { folders: Vec::new(), path: typed.to_owned() });
        }
        let (folders, path) = if typed.is_absolute() {
            let below = |folder: &PathBuf| Some((folder.clone(), typed.strip_prefix(folder).ok()?));
            let (folder, path) = self.folders.iter().find_map(below).ok_or_else(|| self.outside())?;
            (vec![folder], path)
        } else {
            (self.folders.clone(), typed)
        };
        // The path is checked as text, so `..` is refused and `./a` becomes `a`.
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(self.outside()),
            }
        }
        Ok(Named { folders, path: clean })
    }

    fn outside(&self) -> Outside {
        Outside(self.folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" or "))
    }
}

// === impl Named ===

impl Named {
    /// A single file without allowed folders, for tests of its readers.
    #[cfg(any(test, feature = "simulation"))]
    pub fn at(path: impl Into<PathBuf>) -> Named {
        Named { folders: Vec::new(), path: path.into() }
    }

    /// The first place to search.
    pub fn path(&self) -> PathBuf {
        self.paths().next().unwrap_or_default()
    }

    /// All places to search, in order.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let alone = self.folders.is_empty().then(|| self.path.clone());
        self.folders.iter().map(|folder| folder.join(&self.path)).chain(alone)
    }

    /// Whether both may name the same file.
    pub fn meets(&self, other: &Named) -> bool {
        self.paths().any(|path| other.paths().any(|other| path == other))
    }

    /// Opens the file for reading and returns where it was found. Waits for the file system, but not for another
    /// process.
    ///
    /// # Errors
    /// When the file is missing, is not a regular file, or a link leads out of the folder.
    pub fn open(&self) -> io::Result<(PathBuf, File)> {
        if self.folders.is_empty() {
            return regular(OpenOptions::new().read(true).custom_flags(flags().bits()).open(&self.path)?)
                .map(|file| (self.path.clone(), file));
        }
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for folder in &self.folders {
            match beneath(folder, &self.path).and_then(regular) {
                Ok(file) => return Ok((folder.join(&self.path), file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
                Err(error) => return Err(error),
            }
        }
        Err(missing)
    }
}

/// Flags that do not wait for a pipe without a writer and do not make a terminal the controlling one.
fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

/// Refuses anything but a regular file: reading a device may never end, or have an effect.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

fn beneath(folder: &Path, path: &Path) -> io::Result<File> {
    let root = OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(folder)?;
    let how = OpenHow::new().flags(flags()).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(&root, path, how) {
        Ok(file) => Ok(file.into()),
        // Linux before 5.6 and older seccomp filters do not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => checked(folder, path),
        Err(Errno::EXDEV | Errno::ELOOP) => Err(astray()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a file without `openat2(2)`: checks afterwards where the opened file is.
fn checked(folder: &Path, path: &Path) -> io::Result<File> {
    let folder = fs::canonicalize(folder)?;
    let found = fs::canonicalize(folder.join(path))?;
    if !found.starts_with(&folder) {
        return Err(astray());
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags((flags() | OFlag::O_NOFOLLOW).bits()).open(&found)?;
    // Another process may have placed a link since.
    let opened = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if opened.starts_with(&folder) { Ok(file) } else { Err(astray()) }
}

fn astray() -> io::Error {
    io::Error::other("a link leads out of the folder")
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// An allowed folder, with a secret beside it.
    fn scene() -> (tempfile::TempDir, Folders) {
        let dir = tempfile::tempdir().unwrap();
        let [files, kept] = ["files", "kept"].map(|name| dir.path().join(name));
        for folder in [&files, &kept] {
            fs::create_dir_all(folder.join("team")).unwrap();
        }
        fs::write(dir.path().join("secret"), "hunter2").unwrap();
        fs::write(files.join("team/ca.pem"), "first").unwrap();
        fs::write(kept.join("team/ca.pem"), "second").unwrap();
        fs::write(kept.join("only"), "kept").unwrap();
        symlink("team/ca.pem", files.join("inside")).unwrap();
        symlink("../secret", files.join("up")).unwrap();
        symlink(dir.path(), files.join("out")).unwrap();
        symlink("/proc/self/environ", files.join("magic")).unwrap();
        symlink("/proc/self/root", files.join("root")).unwrap();
        nix::unistd::mkfifo(&files.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        (dir, Folders::new([files, kept]))
    }

    fn read(file: &Named) -> io::Result<String> {
        let mut text = String::new();
        file.open()?.1.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_file_is_found_in_the_first_folder_that_has_it() {
        let (dir, folders) = scene();
        let absolute = dir.path().join("kept/team/ca.pem");
        for (typed, text) in [
            ("team/ca.pem", "first"),
            ("./team//./ca.pem", "first"),
            ("inside", "first"),
            ("only", "kept"),
            (absolute.to_str().unwrap(), "second"),
        ] {
            assert_eq!(read(&folders.name(typed).unwrap()).unwrap(), text, "{typed}");
        }
        let missing = folders.name("nowhere").unwrap();
        assert_eq!(read(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(missing.path(), dir.path().join("files/nowhere"));
    }

    #[test]
    fn no_path_leads_out_of_the_folders() {
        let (dir, folders) = scene();
        let secret = dir.path().join("secret");
        let dots = dir.path().join("files/../secret");
        for typed in ["../secret", "team/../../secret", "/etc/passwd", "/", "/proc/self/environ"]
            .into_iter()
            .chain([&secret, &dots].map(|path| path.to_str().unwrap()))
        {
            let outside = folders.name(typed).expect_err(typed).to_string();
            assert!(outside.starts_with("is not below ") && !outside.contains("secret"), "{outside}");
        }
        for (typed, words) in [
            ("up", "a link leads out of the folder"),
            ("out/secret", "a link leads out of the folder"),
            ("magic", "a link leads out of the folder"),
            ("root/etc/passwd", "a link leads out of the folder"),
            ("pipe", "it is not a regular file"),
            ("team", "it is not a regular file"),
        ] {
            let error = read(&folders.name(typed).unwrap()).expect_err(typed).to_string();
            assert_eq!(error, words, "{typed}");
        }
    }

    #[test]
    fn an_old_kernel_opens_the_same_files() {
        let (dir, folders) = scene();
        let files = dir.path().join("files");
        for typed in
            ["team/ca.pem", "inside", "up", "out/secret", "magic", "root/etc/passwd", "nowhere", "pipe", "team"]
        {
            let path = folders.name(typed).unwrap().path;
            let by_kernel = beneath(&files, &path).and_then(regular).map_err(|error| error.to_string());
            let by_check = checked(&files, &path).and_then(regular).map_err(|error| error.to_string());
            assert_eq!(by_kernel.is_ok(), by_check.is_ok(), "{typed}: {by_kernel:?}, {by_check:?}");
        }
    }

    #[test]
    fn the_command_line_names_any_file() {
        let (dir, _) = scene();
        let secret = dir.path().join("secret");
        assert_eq!(read(&Folders::any().name(&secret).unwrap()).unwrap(), "hunter2");
    }
}
