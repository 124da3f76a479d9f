//! Which files options may name: those below the folders that are meant for it.
//!
//! Whoever may start a container chooses its options. A path that could lead anywhere would read the state of other
//! containers, or any secret that the plugin can see. So a file is opened by `openat2(2)`, in which no `..`, no symbolic
//! link and no link of `/proc` leads out of the folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use thiserror::Error;

/// Folders that options may name files in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Folders {
    /// In the order in which a file is looked for. Without any, every file may be named.
    folders: Vec<PathBuf>,
}

/// A file that an option names. It may be in any of several folders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Where it is looked for.
    folders: Vec<PathBuf>,
    /// Below each of them.
    path: PathBuf,
}

/// A path that leads out of the folders that options may name files in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("is not below {0} (put the file there, and give its path in that folder)")]
pub struct Outside(String);

// === impl Folders ===

impl Folders {
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Folders {
        Folders { folders: folders.into_iter().collect() }
    }

    /// Every file, as the command line may name it.
    pub fn any() -> Folders {
        Folders::default()
    }

    /// The folders themselves.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(PathBuf::as_path)
    }

    /// The file that `typed` names: below each of the folders, or below one of them when it is absolute. Looks at no
    /// file.
    ///
    /// # Errors
    /// When it is elsewhere.
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
        // A path that is judged by its text has no way up, and `./a` is `a`.
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
    /// A file by itself, for tests of what reads it.
    #[cfg(any(test, feature = "simulation"))]
    pub fn at(path: impl Into<PathBuf>) -> Named {
        Named { folders: Vec::new(), path: path.into() }
    }

    /// Where it should be.
    pub fn path(&self) -> PathBuf {
        self.paths().next().unwrap_or_default()
    }

    /// Wherever it may be.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let alone = self.folders.is_empty().then(|| self.path.clone());
        self.folders.iter().map(|folder| folder.join(&self.path)).chain(alone)
    }

    /// Whether both may be the same file.
    pub fn meets(&self, other: &Named) -> bool {
        self.paths().any(|path| other.paths().any(|other| path == other))
    }

    /// Opens it for reading, and says where it was found. Waits for the file system, but not for another process.
    ///
    /// # Errors
    /// When it is not there, is no regular file, or a link leads out of the folder.
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

/// A pipe without a writer is not waited for, and a terminal is not made this process' own.
fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

/// A device could be read for ever, or do something by being read.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

fn beneath(folder: &Path, path: &Path) -> io::Result<File> {
    let root = OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(folder)?;
    let how = OpenHow::new().flags(flags()).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(&root, path, how) {
        Ok(file) => Ok(file.into()),
        // Linux before 5.6, and filters of system calls that do not know it.
        Err(Errno::ENOSYS | Errno::EPERM) => checked(folder, path),
        Err(Errno::EXDEV | Errno::ELOOP) => Err(astray()),
        Err(error) => Err(error.into()),
    }
}

/// The same without `openat2(2)`: what was opened is asked where it is.
fn checked(folder: &Path, path: &Path) -> io::Result<File> {
    let folder = fs::canonicalize(folder)?;
    let found = fs::canonicalize(folder.join(path))?;
    if !found.starts_with(&folder) {
        return Err(astray());
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags((flags() | OFlag::O_NOFOLLOW).bits()).open(&found)?;
    // Somebody may have put a link in the way since.
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

    /// A folder for files, with a secret beside it.
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
