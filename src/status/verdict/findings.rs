//! What is not well, one function a kind of trouble, in the order in which an operator should hear of it: causes before
//! what they have led to.

use super::trouble::{Level, is_late, is_nearly_full};
use super::{Finding, seconds_since, short};
use crate::shipper::counters::Dropped;
use crate::status::numbers::{About, Bytes, Of, Span};
use crate::streams::view::{ContainerView, DestinationView, LaneView, LostView, View};

/// A ring that is full sooner than this is critical, in seconds.
const SOON: f64 = 3_600.0;

/// Destinations and containers that are named one by one.
const MOST_NAMED: usize = 3;

/// Characters of an error that are shown here.
const LONGEST_REASON: usize = 300;

/// All of them.
pub fn all(view: &View, now: i64) -> Vec<Finding> {
    let mut all: Vec<_> = settings(view).into_iter().collect();
    all.extend(down(view));
    all.extend(disk(view));
    all.extend(unlogged(view));
    all.extend(lost(view, now));
    all.extend(unusable(view));
    all.extend(stranded(view));
    all.extend(behind(view));
    all.extend(starting(view));
    all
}

/// Destinations that take nothing, those with the same URL together.
fn down(view: &View) -> Vec<Finding> {
    let mut urls: Vec<(&str, Vec<&DestinationView>)> = Vec::new();
    for destination in view.destinations.iter().filter(|destination| !destination.up) {
        match urls.iter_mut().find(|(url, _)| *url == destination.url) {
            Some((_, all)) => all.push(destination),
            None => urls.push((&destination.url, vec![destination])),
        }
    }
    let mut all: Vec<_> = urls.iter().take(MOST_NAMED).map(|(url, down)| away(view, url, down)).collect();
    let more = urls.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        let text = format!("{} more take no lines either.", Of(more as u64, "destination"));
        all.push(Finding {
            level: Level::Warning,
            text,
            brief: "Loki takes no lines".into(),
            reason: String::new(),
            is_past: false,
        });
    }
    all
}

/// One URL that takes nothing.
fn away(view: &View, url: &str, down: &[&DestinationView]) -> Finding {
    let longest = down.iter().map(|destination| destination.down_seconds).fold(0.0, f64::max);
    // If other tenants of this URL are well it is not Loki that is away.
    let is_partly_up = view.destinations.iter().any(|destination| destination.url == url && destination.up);
    let tenants = match names(down.iter().map(|down| down.tenant.as_deref().unwrap_or("that is not named"))) {
        names if is_partly_up => format!(" of the tenant {names}"),
        _ => String::new(),
    };
    let lines: u64 = down.iter().map(|destination| destination.waiting_lines).sum();
    let containers: u64 = down.iter().map(|destination| destination.waiting_containers).sum();
    let wait = match lines {
        0 => "nothing waits for it".to_owned(),
        1 => "1 line waits, kept on disk".to_owned(),
        _ => format!("{} of {} wait, kept on disk", Of(lines, "line"), Of(containers, "container")),
    };
    let (level, full) = fullness(view, url);
    let last = down.iter().filter_map(|destination| destination.last_error.as_ref()).max_by_key(|error| error.at);
    Finding {
        level,
        text: format!("Loki at {} has taken no lines{tenants} for {}: {wait}{full}.", short(url), Span(longest)),
        brief: "Loki takes no lines".into(),
        reason: last.map(|error| clipped(&error.text)).unwrap_or_default(),
        is_past: false,
    }
}

/// For how long rings hold what waits for a URL.
fn fullness(view: &View, url: &str) -> (Level, String) {
    let lanes = || lanes(view).filter(|(_, lane)| !lane.up && lane.lag_lines > 0 && lane.destination == url);
    let full: Vec<_> = lanes().filter(|(container, lane)| is_nearly_full(container, lane)).collect();
    let first = lanes().filter_map(|(container, lane)| Some((container, lane.full_in_seconds?)));
    match (&full[..], first.min_by(|(_, one), (_, other)| one.total_cmp(other))) {
        ([(container, _)], _) => (
            Level::Critical,
            format!("; the ring of {} is full, or nearly so: its oldest lines go first", container.name),
        ),
        ([_, _, ..], _) => {
            let containers = names(full.iter().map(|(container, _)| container.name.as_str()));
            (
                Level::Critical,
                format!("; the rings of {containers} are full, or nearly so: their oldest lines go first"),
            )
        }
        ([], Some((container, seconds))) => {
            let level = if seconds < SOON { Level::Critical } else { Level::Warning };
            let (name, about) = (&container.name, About(seconds));
            (level, format!("; the first ring, that of {name}, is full in about {about} at the present rate"))
        }
        ([], None) => (Level::Warning, String::new()),
    }
}

/// Rings that are in memory because the disk takes nothing.
fn disk(view: &View) -> Option<Finding> {
    let all: Vec<_> = view.containers.iter().filter(|container| container.ring.in_memory).collect();
    let containers = (!all.is_empty()).then(|| names(all.iter().map(|container| container.name.as_str())))?;
    Some(Finding {
        level: Level::Critical,
        text: format!("The disk takes no lines of {containers}: they are in memory, 4 MiB a container at most."),
        brief: "the disk takes no lines".into(),
        reason: "the plugin's log says why: it may be full, without inodes, or read-only".into(),
        is_past: false,
    })
}

/// Streams that are drained without being stored.
fn unlogged(view: &View) -> Option<Finding> {
    let streams = view.unlogged_streams as u64;
    (streams > 0).then(|| Finding {
        level: Level::Critical,
        text: format!(
            "{} not logged, and what comes of {} is lost until the container is restarted.",
            if streams == 1 { "1 stream is".to_owned() } else { format!("{} are", Of(streams, "stream")) },
            if streams == 1 { "it" } else { "them" },
        ),
        brief: "a container is not logged".into(),
        reason: "the plugin's log says why: there is no record of its stream, or its ring cannot be opened".into(),
        is_past: false,
    })
}

/// Lines that are lost, if it is not long ago.
fn lost(view: &View, now: i64) -> Option<Finding> {
    let level = Some(Level::of_loss(view.lost.last, now)).filter(|level| *level > Level::Ok)?;
    let ago = Span(seconds_since(view.lost.last?, now));
    let lines: u64 = view.lost.lines.values().sum();
    let (what, were) = match (lines, view.lost.no_room_bytes) {
        (0, 0) => return None,
        (0, bytes) => (Bytes(bytes).to_string(), "were"),
        (1, 0) => ("1 line".to_owned(), "was"),
        (lines, 0) => (Of(lines, "line").to_string(), "were"),
        (lines, bytes) => (format!("{} and {}", Of(lines, "line"), Bytes(bytes)), "were"),
    };
    let reason = reasons(&view.lost);
    Some(Finding {
        level,
        text: format!("{what} {were} lost, the last {ago} ago: {reason}."),
        brief: format!("{what} {were} lost"),
        reason,
        is_past: true,
    })
}

/// Settings that cannot be used.
fn settings(view: &View) -> Option<Finding> {
    let reason = (!view.bad_settings.is_empty()).then(|| clipped(&view.bad_settings.join("; ")))?;
    let which = match view.bad_settings.len() {
        1 => "a setting of the plugin cannot be used".to_owned(),
        several => format!("{several} settings of the plugin cannot be used"),
    };
    Some(Finding {
        level: Level::Critical,
        text: format!("New containers are refused, because {which}: {reason}."),
        brief: "new containers are refused".into(),
        reason,
        is_past: false,
    })
}

/// Containers that are read and go nowhere.
fn unusable(view: &View) -> Option<Finding> {
    let all: Vec<_> = view.containers.iter().filter(|container| container.unusable.is_some()).collect();
    let first = all.first()?;
    let containers = names(all.iter().map(|container| container.name.as_str()));
    let reason = first.unusable.as_deref().map(clipped).unwrap_or_default();
    let of_first = if all.len() > 1 { format!("; of {}", first.name) } else { String::new() };
    Some(Finding {
        level: Level::Warning,
        text: format!(
            "Lines of {containers} are buffered on disk and not sent, because options or a file that they name cannot be \
             used{of_first}: {reason}."
        ),
        brief: "lines are not sent".into(),
        reason,
        is_past: false,
    })
}

/// Stopped containers whose lines cannot be sent.
fn stranded(view: &View) -> Option<Finding> {
    (view.stranded > 0).then(|| Finding {
        level: Level::Warning,
        text: format!("Lines of {} cannot be sent; they are kept.", Of(view.stranded as u64, "stopped container")),
        brief: "lines that cannot be sent".into(),
        reason: "the plugin's log said why when it began".into(),
        is_past: false,
    })
}

/// Containers that are behind though their destination answers.
fn behind(view: &View) -> Option<Finding> {
    // Those that are not sent at all have a finding of their own.
    let late: Vec<_> = lanes(view).filter(|(container, lane)| container.unusable.is_none() && is_late(lane)).collect();
    let (furthest, lane) = late.iter().max_by(|one, other| one.1.lag_seconds.total_cmp(&other.1.lag_seconds))?;
    let lines: u64 = late.iter().map(|(_, lane)| lane.lag_lines).sum();
    let error = lane.last_error.as_ref().filter(|error| lane.last_sent.is_none_or(|sent| error.at > sent));
    let by = format!("{} is {} behind", furthest.name, Span(lane.lag_seconds));
    let (by, wait) = match late.len() {
        1 => (by, Of(lines, "line").to_string()),
        all => {
            (format!("{} ways to Loki are behind: {by}, the furthest", all), format!("{} in all", Of(lines, "line")))
        }
    };
    let reason = error.map(|error| clipped(&error.text));
    let why = reason.as_ref().map(|reason| format!(" Last error: {reason}.")).unwrap_or_default();
    Some(Finding {
        level: Level::Warning,
        text: format!("{by}, though {} answers: {wait} to be sent, kept on disk.{why}", short(&lane.destination)),
        brief: "lines are late".into(),
        reason: reason.unwrap_or_else(|| "they are sent as fast as Loki and the options allow".into()),
        is_past: false,
    })
}

fn starting(view: &View) -> Option<Finding> {
    (!view.adopted).then(|| Finding {
        level: Level::Warning,
        text: "The plugin has just begun, and takes up what the process before it left.".into(),
        brief: "just begun".into(),
        reason: "containers of before are being taken up".into(),
        is_past: false,
    })
}

/// Why lines were lost, in words.
pub fn reasons(lost: &LostView) -> String {
    let mut lines: Vec<_> = lost.lines.iter().filter(|(_, lines)| **lines > 0).collect();
    lines.sort_unstable_by_key(|(reason, lines)| (std::cmp::Reverse(**lines), **reason));
    let is_one = lines.len() + usize::from(lost.no_room_bytes > 0) == 1;
    let mut all: Vec<String> = lines
        .into_iter()
        .map(|(reason, lines)| match in_words(reason) {
            words if is_one => words.to_owned(),
            words => format!("{} because {words}", Of(*lines, "line")),
        })
        .collect();
    if lost.no_room_bytes > 0 {
        let words = "neither disk nor memory had room";
        all.push(if is_one { words.into() } else { format!("{} because {words}", Bytes(lost.no_room_bytes)) });
    }
    all.join("; ")
}

/// What a reason of the metrics means.
pub fn in_words(reason: &str) -> &str {
    match reason {
        _ if reason == Dropped::Overwritten.as_str() => "the ring was full before Loki took them (max-size, max-file)",
        _ if reason == Dropped::Damaged.as_str() => "they are damaged on disk",
        _ if reason == Dropped::Refused.as_str() => "Loki refuses them for good",
        _ if reason == Dropped::GivenUp.as_str() => "they were tried as often as loki-retries says",
        _ if reason == Dropped::Misaddressed.as_str() => "a pipeline gives them a tenant that there cannot be",
        _ if reason == Dropped::TooCostly.as_str() => "their pipeline needs too many steps or too much memory",
        _ if reason == Dropped::OverBudget.as_str() => "they went with logs of stopped containers, above RING_BUDGET",
        other => other,
    }
}

fn lanes(view: &View) -> impl Iterator<Item = (&ContainerView, &LaneView)> {
    view.containers.iter().flat_map(|container| container.destinations.iter().map(move |lane| (container, lane)))
}

/// `a, b and 5 more`.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = all.collect();
    let named = all[..all.len().min(MOST_NAMED)].join(", ");
    match all.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The beginning of a text, without what would end a sentence twice.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST_REASON) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.trim_end_matches('.').to_owned(),
    }
}
