//! File systems in files, and copies of them at an instant.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Sparse: mkfs.xfs makes none below 300 MB, and the outer one holds all copies.
const LIVE: &str = "400M";
const OUTER: &str = "20G";

/// A file system that can copy a file in an instant, with a file in it that holds the one to be tried.
pub struct Disks {
    kind: String,
    dir: TempDir,
}

/// A file system that is mounted for as long as this lives.
pub struct Mounted(PathBuf);

// === impl Disks ===

impl Disks {
    /// The reason is what this machine lacks.
    pub fn new(kind: &str) -> Result<Self, String> {
        run("losetup", &["--find"])?;
        let dir = tempfile::Builder::new().prefix("loki-rs-disk-").tempdir().expect("a temporary directory");
        let disks = Self { kind: kind.into(), dir };
        let (image, outer) = (disks.path("image"), disks.path("outer"));
        std::fs::create_dir(&outer).expect("a directory in a fresh one");
        run("truncate", &["-s", OUTER, &text(&image)])?;
        run("mkfs.xfs", &["-q", "-m", "reflink=1", &text(&image)])?;
        run("mount", &["-o", "loop", &text(&image), &text(&outer)])?;
        run("truncate", &["-s", LIVE, &text(&disks.live())])?;
        run(&format!("mkfs.{kind}"), &["-q", &text(&disks.live())])?;
        Ok(disks)
    }

    /// The image that the plugin works on.
    pub fn live(&self) -> PathBuf {
        self.path("outer/live")
    }

    /// Copies that image as it is now.
    pub fn copy(&self, at: usize) -> PathBuf {
        let copy = self.path(&format!("outer/copy-{at}"));
        run("cp", &["--reflink=always", &text(&self.live()), &text(&copy)]).expect("the copy of an instant");
        copy
    }

    /// Mounts an image.
    pub fn mount(&self, image: &Path) -> Mounted {
        let target = PathBuf::from(format!("{}-mounted", image.display()));
        std::fs::create_dir_all(&target).expect("a directory beside the image");
        let options = if self.kind == "xfs" { "loop,nouuid" } else { "loop" };
        run("mount", &["-o", options, &text(image), &text(&target)]).expect("the image can be mounted");
        Mounted(target)
    }

    /// A path beside the file systems.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        // Not there, if it has not come to that. The plugin of another test may have a copy of the mounts in it for a while.
        let _ = run("umount", &["--lazy", &text(&self.path("outer"))]);
    }
}

// === impl Mounted ===

impl Mounted {
    /// Where the plugin's state is in it.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[&text(&self.0)]) {
            eprintln!("{error}");
            let _ = run("umount", &["--lazy", &text(&self.0)]);
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = || String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    if ran.status.success() { Ok(()) } else { Err(format!("{program} {}: {}", arguments.join(" "), said())) }
}
