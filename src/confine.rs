//! Least privilege: what the process gives up before it looks at anything that a container has a say in.
//!
//! * [`capabilities`]: all but what reading its files takes, in the bounding set too, and nothing is gained by running a
//!   program (`no_new_privs`);
//! * [`landlock`]: files are reached below a few folders only, and none can be run;
//! * [`seccomp`]: system calls that the plugin has no use for are refused.
//!
//! Neither core dumps nor a debugger of another user get at secrets in memory. Each of these holds for the thread that
//! asks for it and for those that it makes, so it is done before there are others. What the kernel does not have is gone
//! without, and said.

mod capabilities;
mod landlock;
mod seccomp;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use crate::config::{MetricsAddr, Settings};

/// Where dockerd makes FIFOs, and below which a managed plugin has its state.
const FIFOS: &str = "/run/docker/logging";

/// The first port that takes no privilege to listen on.
const UNPRIVILEGED_PORT: u16 = 1024;

/// What the process has given up, for its log.
#[derive(Debug)]
pub struct Confinement {
    capabilities: Result<String, String>,
    landlock: Result<String, String>,
    seccomp: Result<(), String>,
}

/// Gives up what serving with these settings does not take. For the first thread, before it makes another.
pub fn confine(settings: &Settings) -> Confinement {
    // A core dump would have passwords in it. That of a process that is not dumpable belongs to root.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
    let low_port = matches!(&settings.metrics_addr, Some(MetricsAddr::Tcp(addr)) if is_low(addr));
    Confinement {
        capabilities: capabilities::reduce(low_port),
        landlock: landlock::restrict(&writable(settings), &settings.defaults.folders()),
        seccomp: seccomp::filter(),
    }
}

fn is_low(addr: &SocketAddr) -> bool {
    (1..UNPRIVILEGED_PORT).contains(&addr.port())
}

/// Folders in which files come and go: state, FIFOs, and those of its sockets.
fn writable(settings: &Settings) -> Vec<PathBuf> {
    let sockets = match &settings.metrics_addr {
        Some(MetricsAddr::Unix(path)) => vec![&settings.socket, path],
        _ => vec![&settings.socket],
    };
    let folders = sockets.into_iter().filter_map(|socket| socket.parent()).map(PathBuf::from);
    folders.chain([settings.state_dir.clone(), FIFOS.into()]).collect()
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |part: &Result<String, String>| match part {
            Ok(has) => has.clone(),
            Err(reason) => format!("not reduced: {reason}"),
        };
        let seccomp = self.seccomp.as_ref().map_or_else(|reason| format!("none: {reason}"), |()| "in force".into());
        write!(f, "capabilities {}; landlock {}; seccomp {seccomp}", shown(&self.capabilities), shown(&self.landlock))
    }
}

#[cfg(test)]
mod tests;
