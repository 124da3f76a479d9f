use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::process::Command;
use std::thread;

use super::*;
use crate::config::settings::{FILES_DIR, SOCKET, STATE_DIR};

/// What a thread can do that has been confined, which this process goes on without.
fn confined<T: Send + 'static>(settings: Settings, work: impl FnOnce(Confinement) -> T + Send + 'static) -> T {
    thread::spawn(move || work(confine(&settings))).join().unwrap()
}

fn settings(dir: &std::path::Path) -> Settings {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let strings = [(STATE_DIR, path("state")), (SOCKET, path("sockets/loki-rs.sock")), (FILES_DIR, path("files"))];
    let strings = strings.map(|(name, value)| (name.to_owned(), value));
    Settings::read(&std::collections::BTreeMap::from(strings))
}

#[test]
fn files_are_reached_in_the_folders_that_are_needed_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    for folder in ["state/rings", "sockets", "files", "elsewhere"] {
        fs::create_dir_all(path.join(folder)).unwrap();
    }
    for file in ["files/ca.pem", "elsewhere/secret"] {
        fs::write(path.join(file), "text").unwrap();
    }
    let has_landlock = confined(settings(&path), move |confinement| {
        let has_landlock = confinement.landlock.is_ok();
        let state = path.join("state/rings/new");
        fs::write(&state, "text").unwrap();
        fs::rename(&state, path.join("state/moved")).unwrap();
        fs::read(path.join("files/ca.pem")).unwrap();
        File::open("/etc/hosts").unwrap();
        File::open("/proc/self/stat").unwrap();
        if has_landlock {
            let is_denied = |opened: std::io::Result<File>| opened.unwrap_err().kind() == ErrorKind::PermissionDenied;
            assert!(is_denied(File::open(path.join("elsewhere/secret"))));
            assert!(is_denied(File::create(path.join("elsewhere/new"))));
            assert!(is_denied(OpenOptions::new().append(true).open(path.join("files/ca.pem"))));
        }
        has_landlock
    });
    assert!(has_landlock || !fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default().contains("landlock"));
}

#[test]
fn no_program_can_be_run_and_no_capability_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    confined(settings(dir.path()), |confinement| {
        assert!(confinement.seccomp.is_ok(), "{confinement}");
        assert!(Command::new("/bin/true").status().is_err());
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let held = u64::from_str_radix(&value(set), 16).unwrap();
            assert_eq!(held & !(1 << 1), 0, "{set} has more than CAP_DAC_OVERRIDE");
        }
        assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), ("1".into(), "2".into()));
    });
}
