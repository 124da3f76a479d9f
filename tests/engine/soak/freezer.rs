//! A disk that hangs for some seconds, again and again: nothing that is written to it comes back before it goes on.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long it hangs, and how long it does not, in milliseconds: random numbers of these.
const HANGS: std::ops::Range<u64> = 1_000..3_000;
const GOES_ON: std::ops::Range<u64> = 4_000..16_000;

/// Holds the folder open, so that it can be thawed even if all its users have died.
const SCRIPT: &str =
    "exec 3<\"$1\" && fsfreeze --freeze /proc/self/fd/3 && sleep \"$2\"; fsfreeze --unfreeze /proc/self/fd/3";

/// Freezes the file system of a folder at random instants.
pub struct Freezer {
    end: Sender<()>,
    thread: JoinHandle<Hangs>,
}

/// How often the disk has hung, and for how long at most, which on a busy machine is longer than it was to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hangs {
    pub times: usize,
    pub longest: Duration,
}

// === impl Freezer ===

impl Freezer {
    pub fn start(folder: PathBuf) -> Self {
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut hangs, mut random) = (Hangs::default(), fastrand::Rng::with_seed(7));
            while ended.recv_timeout(Duration::from_millis(random.u64(GOES_ON))) == Err(RecvTimeoutError::Timeout) {
                let seconds = Duration::from_millis(random.u64(HANGS)).as_secs_f64().to_string();
                let begin = Instant::now();
                let mut command = Command::new("sh");
                command.args(["-c", SCRIPT, "sh"]).arg(&folder).arg(seconds);
                // What ends this process must not keep it from thawing.
                let status = command.process_group(0).status().expect("there is a shell");
                assert!(status.success(), "{} cannot be frozen and thawed: {status}", folder.display());
                hangs.times += 1;
                hangs.longest = hangs.longest.max(begin.elapsed());
            }
            hangs
        });
        Self { end, thread }
    }

    /// Lets the disk go on for good.
    pub fn end(self) -> Hangs {
        drop(self.end);
        self.thread.join().expect("it freezes and thaws")
    }
}
