//! The folders that are reached, see `landlock(7)`.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use base::files::Folders;

/// What rules are written for. Older kernels know less of it, and hold what they know.
const KNOWN: ABI = ABI::V6;

/// Read by name resolution, by looks at the process itself, and by the standard library. A mount that comes later is found
/// by the folder that it is in, which is why `/etc` is named, and not only the folder of files in it.
const READ: [&str; 6] =
    ["/etc", "/proc", "/dev/urandom", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"];

/// A file system that hangs at the start must not keep dockerd waiting: it asks for the socket within seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lets this thread, and those it makes, reach files below these folders only.
pub fn restrict(writable: &[PathBuf], files: &Folders) -> Result<String, String> {
    let (writable, files) = (writable.to_vec(), files.clone());
    let (rules, made) = mpsc::channel();
    // A folder is opened to be named in a rule, and may be on a disk that hangs.
    let thread = thread::Builder::new().name("landlock".into()).spawn(move || {
        let _ = rules.send(rule(&writable, &files));
    });
    thread.map_err(|error| error.to_string())?;
    let rules = made.recv_timeout(PATIENCE).map_err(|_| "a file system does not answer".to_owned())?;
    let status = rules.and_then(RulesetCreated::restrict_self).map_err(|error| error.to_string())?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok("in force".into()),
        RulesetStatus::PartiallyEnforced => Ok("in force, as far as this kernel has it".into()),
        RulesetStatus::NotEnforced => Err("this kernel has none".into()),
    }
}

fn rule(writable: &[PathBuf], files: &Folders) -> Result<RulesetCreated, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(KNOWN) & !BitFlags::from(AccessFs::Execute);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let ruleset = ruleset.handle_access(AccessFs::from_all(KNOWN))?.scope(Scope::from_all(KNOWN))?;
    let mut ruleset = ruleset.create()?.set_compatibility(CompatLevel::BestEffort);
    let read_only = READ.iter().map(PathBuf::from).chain(files.all().map(PathBuf::from));
    let folders = read_only.map(|path| (path, read)).chain(writable.iter().map(|path| (existing(path), write)));
    for (path, access) in folders.chain([(PathBuf::from("/dev/null"), read | AccessFs::WriteFile)]) {
        // What is not there cannot be reached either.
        let Ok(folder) = PathFd::new(&path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
        ruleset = ruleset.add_rule(PathBeneath::new(folder, access))?;
    }
    Ok(ruleset)
}

/// A folder, or the one that it will be made in.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(path).to_owned()
}
