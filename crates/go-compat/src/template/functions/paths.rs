//! Paths as texts, with slashes. Nothing here looks at a disk.

use gotmpl::{ToValue, Value};

use super::Table;
use crate::template::value::{Answer, exactly, text};

pub const FUNCTIONS: Table = &[
    ("base", |args| one(args, |path| base(path).to_value())),
    ("clean", |args| one(args, |path| clean(path).to_value())),
    ("dir", |args| one(args, |path| dir(path).to_value())),
    ("ext", |args| one(args, |path| ext(path).to_value())),
    ("isAbs", |args| one(args, |path| path.starts_with('/').to_value())),
    ("osBase", |args| one(args, |path| base(path).to_value())),
    ("osClean", |args| one(args, |path| clean(path).to_value())),
    ("osDir", |args| one(args, |path| dir(path).to_value())),
    ("osExt", |args| one(args, |path| ext(path).to_value())),
    ("osIsAbs", |args| one(args, |path| path.starts_with('/').to_value())),
];

fn one(args: &[Value], map: impl Fn(&str) -> Value) -> Answer {
    let [value] = exactly(args)?;
    Ok(map(text(value)?))
}

/// The last element; `.` of nothing, `/` of slashes alone.
fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        _ if path.is_empty() => ".",
        Some("") | None => "/",
        Some(last) => last,
    }
}

/// Everything but the last element.
fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

/// From the last point of the last element on.
fn ext(path: &str) -> &str {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rfind('.').map_or("", |at| &last[at..])
}

/// Without `.`, double slashes, and what a `..` takes back.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut elements: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." if elements.last().is_some_and(|last| *last != "..") => drop(elements.pop()),
            ".." if rooted => {}
            element => elements.push(element),
        }
    }
    let joined = elements.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
