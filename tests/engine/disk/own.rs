//! A file system that a plugin's state is on, and what can be done to it.

use super::super::stage::{Container, Plugin, eventually};
use super::talker::{PIECE, Talker};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

const AGAIN: &str = "the disk takes lines again";

/// A file system that a plugin's state is on.
pub struct Disk<'a> {
    plugin: &'a Plugin<'a>,
    /// Where it is mounted, as the engine sees it.
    pub mounted: PathBuf,
    since: Instant,
}

// === impl Disk ===

impl<'a> Disk<'a> {
    /// One in memory, with these options of tmpfs(5).
    pub fn of(plugin: &'a Plugin<'a>, options: &str) -> Self {
        Self::mounted(plugin, &format!("-t tmpfs -o {options} none"))
    }

    /// What mount(8) makes of these arguments.
    pub fn mounted(plugin: &'a Plugin<'a>, arguments: &str) -> Self {
        Self::try_mounted(plugin, arguments).unwrap_or_else(|| panic!("mount {arguments}"))
    }

    /// An ext4 of this many MiB, in a sparse file; `None` when the machine has no loop device.
    pub fn ext4(plugin: &'a Plugin<'a>, megabytes: u64) -> Option<Self> {
        let image = plugin.folder().join("disk.img");
        fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status().unwrap();
        assert!(made.success());
        Self::try_mounted(plugin, &format!("-o loop {}", image.display()))
    }

    fn try_mounted(plugin: &'a Plugin<'a>, arguments: &str) -> Option<Self> {
        let mounted = plugin.folder().join("propagated-mount/loki-rs");
        fs::create_dir_all(&mounted).unwrap();
        let is_mounted = plugin.engine.mount(&format!("{arguments} {}", mounted.display()));
        is_mounted.then(|| Self { plugin, mounted, since: Instant::now() })
    }

    /// As the running plugin sees it.
    pub fn path(&self) -> PathBuf {
        let pid = self.plugin.pid().expect("the plugin is running");
        format!("/proc/{pid}/root/run/docker/logging/loki-rs").into()
    }

    /// Takes all the room there is, with one file.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.path().join("filler")).unwrap();
        while file.write_all(&[b'x'; 4096]).is_ok() {}
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }

    /// With other options.
    pub fn remount(&self, options: &str) -> bool {
        self.plugin.engine.mount(&format!("-o remount,{options} {}", self.mounted.display()))
    }

    /// The files that hold a container's lines.
    pub fn segments(&self, container: &Container) -> Vec<PathBuf> {
        let ring = self.path().join("rings").join(container.inspect("{{.Id}}"));
        let files = fs::read_dir(ring).into_iter().flatten().flatten().map(|entry| entry.path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect()
    }

    /// Bytes that the plugin holds in memory in the place of files.
    pub fn memory(&self) -> u64 {
        let pid = self.plugin.pid().expect("the plugin is running");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|entry| entry.path());
        let is_memory = |file: &PathBuf| {
            fs::read_link(file).is_ok_and(|name| name.to_string_lossy().starts_with("/memfd:loki-rs ring"))
        };
        let of_memory = files.filter(is_memory);
        of_memory.filter_map(|file| Some(fs::metadata(file).ok()?.blocks() * 512)).sum()
    }

    /// Memory of the plugin that is not a file's, in KiB.
    pub fn resident(&self) -> u64 {
        let pid = self.plugin.pid().expect("the plugin is running");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Lines of the plugin's log about a container that have these words in them.
    fn log(&self, words: &str, container: &Container) -> Vec<String> {
        let whose = format!("container={} ", container.name);
        let about = |line: &&String| line.contains(&whose) && line.contains(words);
        self.all_of_log().iter().filter(about).cloned().collect()
    }

    /// All lines of it.
    pub fn all_of_log(&self) -> Vec<String> {
        let log = self.plugin.engine.log();
        log.lines().filter(|line| line.contains(&self.plugin.id)).map(str::to_owned).collect()
    }

    /// That it was said, once, and again with each minute.
    pub fn expect_said(&self, words: &str, container: &Container) {
        eventually(words, || !self.log(words, container).is_empty());
        let said = self.log(words, container).len();
        let minutes = self.since.elapsed().as_secs() as usize / 60;
        assert!(said <= 1 + minutes, "\"{words}\" was said {said} times in {minutes} minutes");
    }

    /// The values of `field` in such lines, added up.
    pub fn sum_in_log(&self, words: &str, field: &str, container: &Container) -> u64 {
        let value = |line: String| {
            let (_, rest) = line.split_once(&format!(" {field}="))?;
            rest.split([' ', '"']).next()?.parse::<u64>().ok()
        };
        self.log(words, container).into_iter().filter_map(value).sum()
    }

    /// Waits until the disk has what it did not take, and takes what comes: the next process has it, too.
    pub fn expect_used_again(&self, talkers: &mut [&mut Talker]) {
        for talker in &mut *talkers {
            talker.say(1);
            eventually("memory was given back", || self.memory() == 0);
            assert!(!self.segments(&talker.container).is_empty());
            self.expect_said(AGAIN, &talker.container);
        }
        self.plugin.kill();
        for talker in talkers {
            talker.must_be_shown();
            talker.say(PIECE);
            talker.must_be_shown();
            talker.must_have_arrived();
        }
    }

    /// At the end of a scene.
    pub fn expect_no_panic_and_no_loss(&self) {
        let log = self.all_of_log();
        assert!(!log.iter().any(|line| line.contains("panicked") || line.contains("bytes were lost")), "{log:#?}");
    }
}
