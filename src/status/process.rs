//! What the kernel says of this process, under the names that all Prometheus clients use.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// One look at the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// CPU time, user and system, in seconds.
    pub cpu_seconds: f64,
    /// Memory that it has, in bytes.
    pub resident_bytes: u64,
    /// Memory that it could address, in bytes.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The most it may have.
    pub max_fds: u64,
    /// When it began, in seconds since 1970: the same at each look, as a monitoring system takes a change for a new process.
    pub start_seconds: f64,
}

// === impl Process ===

impl Process {
    /// Looks. `None` where there is no `/proc`.
    pub fn look() -> Option<Self> {
        // It is reckoned from two clocks, which are not read at the same moment, and one of which can be set.
        static START: OnceLock<f64> = OnceLock::new();
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let unit = |name| sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok());
        let mut found = Self::parse(&stat, &uptime, unit(SysconfVar::CLK_TCK)?, unit(SysconfVar::PAGE_SIZE)?)?;
        found.start_seconds = *START.get_or_init(|| found.start_seconds);
        found.open_fds = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        found.max_fds = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        Some(found)
    }

    /// proc(5): fields are counted from 1, and the second is the name, in which there may be anything.
    fn parse(stat: &str, uptime: &str, ticks: u64, page: u64) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticked: u64| ticked as f64 / ticks as f64;
        let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = Duration::try_from_secs_f64(up - seconds(field(22)?)).unwrap_or_default();
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
            start_seconds: now.saturating_sub(age).as_secs_f64(),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_proc_are_those_of_its_manual() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 6 7 20 0 9 0 1000 4096000 25 18446744073709551615";
        let found = Process::parse(stat, "110.00 5.0\n", 100, 4096).unwrap();
        assert_eq!((found.cpu_seconds, found.threads), (2.0, 9));
        assert_eq!((found.virtual_bytes, found.resident_bytes), (4_096_000, 102_400));
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - found.start_seconds;
        assert!((99.0..160.0).contains(&age), "{age}");
        assert_eq!(Process::parse("7 (a) S", "1.0", 100, 4096), None);
    }

    #[test]
    fn this_very_process_is_seen() {
        let found = Process::look().unwrap();
        assert!(found.threads >= 1 && found.open_fds >= 3 && found.max_fds >= found.open_fds);
        assert!(found.resident_bytes > 100_000 && found.virtual_bytes >= found.resident_bytes);
        let starts = [(); 5].map(|()| Process::look().unwrap().start_seconds);
        assert_eq!(starts, [found.start_seconds; 5], "it began once");
    }
}
