//! Docker Compose, in whichever form this machine has it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A file of the project.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// `docker compose`, or `docker-compose` where that is what there is. `make test` sees to one of them.
pub fn command() -> Command {
    let works = |command: &mut Command| {
        let version = command.arg("version").stdin(Stdio::null()).output();
        version.is_ok_and(|output| output.status.success())
    };
    if works(Command::new("docker").arg("compose")) {
        let mut command = Command::new("docker");
        command.arg("compose");
        return command;
    }
    assert!(
        works(&mut Command::new("docker-compose")),
        "there is neither docker compose nor docker-compose (make test installs one, or: apt-get install docker-compose)"
    );
    Command::new("docker-compose")
}

/// What Compose makes of a file, with all variables and anchors resolved.
pub fn config(file: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = command();
    command.arg("--file").arg(file).arg("config").envs(variables.iter().copied());
    command.output().unwrap_or_else(|error| panic!("Compose does not run: {error}"))
}
