//! What stands in the strings of LogQL, which has small languages of its own.

use std::collections::HashSet;
use std::net::IpAddr;

use go_compat::regexp::Regexp;
use go_compat::template::syntax::{self, Dialect};

/// What Loki's templates may call: Go's functions, then its own.
const FUNCTIONS: &[&str] = &[
    "and",
    "call",
    "eq",
    "ge",
    "gt",
    "html",
    "index",
    "js",
    "le",
    "len",
    "lt",
    "ne",
    "not",
    "or",
    "print",
    "printf",
    "println",
    "slice",
    "urlquery", //
    "Replace",
    "ToLower",
    "ToUpper",
    "Trim",
    "TrimLeft",
    "TrimPrefix",
    "TrimRight",
    "TrimSpace",
    "TrimSuffix",
    "__line__",
    "__timestamp__",
    "add",
    "addf",
    "alignLeft",
    "alignRight",
    "b64dec",
    "b64enc",
    "bytes",
    "ceil",
    "contains",
    "count",
    "date",
    "default",
    "div",
    "divf",
    "duration",
    "duration_seconds",
    "float64",
    "floor",
    "fromJson",
    "hasPrefix",
    "hasSuffix",
    "indent",
    "int",
    "lower",
    "max",
    "maxf",
    "min",
    "minf",
    "mod",
    "mul",
    "mulf",
    "nindent",
    "now",
    "regexReplaceAll",
    "regexReplaceAllLiteral",
    "repeat",
    "replace",
    "round",
    "sub",
    "subf",
    "substr",
    "title",
    "toDate",
    "toDateInZone",
    "trim",
    "trimAll",
    "trimPrefix",
    "trimSuffix",
    "trunc",
    "unixEpoch",
    "unixEpochMillis",
    "unixEpochNanos",
    "unixToTime",
    "upper",
    "urldecode",
    "urlencode",
];

struct Loki;

impl Dialect for Loki {
    fn function(&self, name: &str) -> Result<(), String> {
        if FUNCTIONS.contains(&name) { Ok(()) } else { Err(format!("there is no function {name}")) }
    }

    fn prints(&self) -> bool {
        true
    }
}

/// A template of `line_format` or `label_format`.
pub(super) fn template(text: &str) -> Result<(), String> {
    syntax::parse(text, &Loki).map(drop)
}

pub(super) fn regexp(text: &str) -> Result<Regexp, String> {
    Regexp::parse(text)
}

/// That of the stage `regexp`, which makes labels of its groups.
pub(super) fn capturing_regexp(text: &str) -> Result<(), String> {
    let compiled = Regexp::parse(text)?;
    let names: Vec<&String> = compiled.group_names().iter().flatten().collect();
    if names.is_empty() {
        return Err(format!("{text:?} has no named group"));
    }
    let distinct: HashSet<_> = names.iter().collect();
    if distinct.len() == names.len() { Ok(()) } else { Err(format!("{text:?} has one name twice")) }
}

/// `<ip> - <_> "<method>`: that of the stage, which captures, or that of a line filter, which must not.
pub(super) fn pattern(text: &str, captures: bool) -> Result<(), String> {
    let (mut rest, mut names, mut adjacent) = (text, Vec::new(), false);
    while let Some(open) = rest.find('<') {
        let after = &rest[open + 1..];
        let length = after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let name = &after[..length];
        let is_capture =
            after[length..].starts_with('>') && name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
        if !is_capture {
            (rest, adjacent) = (after, false);
            continue;
        }
        if adjacent && open == 0 {
            return Err(format!("{text:?} has two captures with nothing between them"));
        }
        if name != "_" {
            names.push(name);
        }
        (rest, adjacent) = (&after[length + 1..], true);
    }
    let distinct: HashSet<_> = names.iter().collect();
    match (captures, names.is_empty()) {
        (true, true) => Err(format!("{text:?} captures nothing")),
        (false, false) => Err(format!("{text:?} is a filter, and gives a capture a name")),
        _ if distinct.len() < names.len() => Err(format!("{text:?} has one name twice")),
        _ => Ok(()),
    }
}

/// `a.b[0]["c"]`
pub(super) fn json_path(text: &str) -> Result<(), String> {
    let wrong = || format!("{text:?} is no path into JSON");
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() {
        if let Some(index) = rest.strip_prefix('[') {
            let (inside, after) = index.split_once(']').ok_or_else(wrong)?;
            let quoted = inside.len() > 2 && inside.starts_with('"') && inside.ends_with('"');
            let number = !inside.is_empty() && inside.chars().all(|c| c.is_ascii_digit());
            if !quoted && !number {
                return Err(wrong());
            }
            rest = after;
        } else {
            let field = if first { rest } else { rest.strip_prefix('.').ok_or_else(wrong)? };
            let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
            let end = field.find(|c| !is_name(c)).unwrap_or(field.len());
            if end == 0 || field.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(wrong());
            }
            rest = &field[end..];
        }
        first = false;
    }
    if first { Err(wrong()) } else { Ok(()) }
}

/// A key of logfmt, as `logfmt a="b"` names it.
pub(super) fn logfmt_key(text: &str) -> Result<(), String> {
    let is_key = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=');
    if is_key { Ok(()) } else { Err(format!("{text:?} is no key of logfmt")) }
}

/// An address, two with a `-` between them, or a network.
pub(super) fn ip(text: &str) -> Result<(), String> {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let fits = if let Some((from, to)) = text.split_once('-') {
        is_address(from) && is_address(to)
    } else if let Some((network, bits)) = text.split_once('/') {
        let most = if network.contains(':') { 128 } else { 32 };
        is_address(network) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    } else {
        is_address(text)
    };
    if fits { Ok(()) } else { Err(format!("{text:?} is no address, range or network")) }
}
