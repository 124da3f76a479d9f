//! How things are, in a sentence: what is wrong, what is kept, what is lost. Pure: a report in, a verdict out.
//!
//! | level | means |
//! | --- | --- |
//! | `ok` | every line is with Loki or on its way |
//! | `warning` | lines are late, and kept; or some were lost more than an hour ago |
//! | `critical` | lines are lost, or soon will be |

mod findings;
pub mod trouble;

#[cfg(test)]
mod tests;

use serde::Serialize;

use super::Report;
use super::numbers::{Bytes, Of, Span};
use crate::config::destination::PUSH_PATH;
use crate::streams::view::{LostView, View};
pub use trouble::Level;

/// Text shown when there is nothing to report.
pub const NOTHING: &str = "nothing";

/// How things are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// That of the worst finding.
    pub level: Level,
    /// All findings, or that all is well.
    pub text: String,
    /// What is not well, what to look at first first.
    pub findings: Vec<Finding>,
    /// What is wrong, for a glance.
    pub wrong: Fact,
    /// What waits.
    pub kept: Fact,
    /// What will never be with Loki.
    pub lost: Fact,
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// A sentence that says all of it.
    pub text: String,
    /// The same in a few words.
    #[serde(skip)]
    pub brief: String,
    /// Why, as far as it is known.
    #[serde(skip)]
    pub reason: String,
    /// It was so, and nothing can be done about it.
    #[serde(skip)]
    pub is_past: bool,
}

/// For a glance: a few words, and what they mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// A few words.
    pub what: String,
    /// What stands behind them.
    pub detail: String,
}

// === impl Verdict ===

impl Verdict {
    /// What a report comes to.
    pub fn of(report: &Report) -> Self {
        let Report { view, now, .. } = report;
        let findings = findings::all(view, *now);
        let level = findings.iter().map(|finding| finding.level).max().unwrap_or_default();
        let text = match &findings[..] {
            [] => all_is_well(view),
            some => some.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join(" "),
        };
        let wrong = match findings.iter().find(|finding| !finding.is_past) {
            Some(first) => Fact { what: first.brief.clone(), detail: first.reason.clone() },
            None => Fact { what: NOTHING.into(), detail: last_success(view, *now) },
        };
        Self { level, text, wrong, kept: kept(view), lost: lost(report), findings }
    }

    /// The sentence to begin with.
    pub fn headline(&self) -> &str {
        self.findings.first().map_or(&self.text, |first| &first.text)
    }

    /// The same in a few words.
    pub fn brief(&self) -> &str {
        self.findings.first().map_or("all is well", |first| &first.brief)
    }
}

fn all_is_well(view: &View) -> String {
    match view.containers.len() + view.unlisted {
        0 => "All is well: no container logs through the plugin now.".into(),
        open => format!("All is well: Loki takes the lines of {}.", Of(open as u64, "container")),
    }
}

fn last_success(view: &View, now: i64) -> String {
    match view.destinations.iter().filter_map(|destination| destination.last_success).max() {
        Some(at) => format!("Loki took lines {} ago", Span(seconds_since(at, now))),
        // Destinations come and go with the containers that have them, and so does what was sent to them.
        None if view.destinations.is_empty() => "there is nothing to send".into(),
        None => "no line was sent yet".into(),
    }
}

fn kept(view: &View) -> Fact {
    let lines: u64 = view.destinations.iter().map(|destination| destination.waiting_lines).sum();
    let unsent: Vec<_> = view
        .containers
        .iter()
        // Those that go nowhere have nothing that waits for a destination.
        .filter(|container| container.destinations.iter().any(|lane| lane.lag_lines > 0))
        .collect();
    if lines == 0 || unsent.is_empty() {
        return Fact { what: "nothing waits".into(), detail: "Loki has every line that is to be sent".into() };
    }
    // Of containers beyond those that are listed only their number is known.
    let most = view.destinations.iter().map(|destination| destination.waiting_containers).max().unwrap_or_default();
    let containers = most.max(unsent.len() as u64);
    let bytes: u64 = unsent.iter().flat_map(|container| &container.destinations).map(|lane| lane.lag_bytes).sum();
    let place = if unsent.iter().any(|container| container.ring.in_memory) { "in memory, in part" } else { "on disk" };
    let what = Of(lines, "line").to_string();
    let detail = format!("{} of {}, {place}, to be sent", Bytes(bytes), Of(containers, "container"));
    Fact { what, detail }
}

fn lost(report: &Report) -> Fact {
    let LostView { lines, no_room_bytes, last } = &report.view.lost;
    let all: u64 = lines.values().sum();
    let for_so_long = Span(report.uptime_seconds as f64);
    let Some(last) = last.filter(|_| all + no_room_bytes > 0) else {
        return Fact { what: NOTHING.into(), detail: format!("since the plugin began {for_so_long} ago") };
    };
    let mut what = Vec::new();
    if all > 0 {
        what.push(Of(all, "line").to_string());
    }
    if *no_room_bytes > 0 {
        what.push(Bytes(*no_room_bytes).to_string());
    }
    let ago = Span(seconds_since(last, report.now));
    let detail = format!("{}; the last {ago} ago", findings::reasons(&report.view.lost));
    Fact { what: what.join(" and "), detail }
}

/// Between two times in nanoseconds; 0 for one that is to come.
pub fn seconds_since(at: i64, now: i64) -> f64 {
    now.saturating_sub(at).max(0) as f64 / 1e9
}

/// A destination as people speak of it: without the path that they all have.
pub fn short(url: &str) -> &str {
    url.strip_suffix(PUSH_PATH).unwrap_or(url)
}
