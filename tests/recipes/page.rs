//! What is on a page: each of its blocks is one of these, and nothing on it is left out.
//!
//! | block | what it has |
//! | --- | --- |
//! | `text stdout`, `text stderr` | lines that the container prints; ` of NAME` where there are several, `, N times` |
//! | `yaml` | the compose file |
//! | `text loki` | entries: a time if the line has given it one, tenant, labels, metadata; their text, indented |
//! | `logql`, `logql as TENANT` | a query, and behind `#` what it gives |

use std::collections::BTreeMap;

use super::moment;

#[derive(Debug, Default)]
pub struct Page {
    pub printed: Vec<Printed>,
    pub compose: String,
    pub kept: Vec<Kept>,
    pub queries: Vec<Query>,
}

/// A line that a container prints.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Of which service; nothing when the page has one alone.
    pub service: Option<String>,
    /// 0 is stdout, 1 is stderr.
    pub output: usize,
    pub line: String,
}

/// An entry that is to be in Loki.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    pub labels: BTreeMap<String, String>,
    pub text: String,
    /// Nanoseconds since 1970; nothing when it is Docker's.
    pub time: Option<i64>,
    pub tenant: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Query {
    pub tenant: Option<String>,
    pub expression: String,
    /// What stands behind `#`.
    pub result: Vec<String>,
}

impl Page {
    pub fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut entries = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(kind) = line.strip_prefix("```") else { continue };
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            match kind.split_once(' ').unwrap_or((kind, "")) {
                ("text", "loki") => entries = block.join("\n"),
                ("text", output) => page.printed.extend(printed(output, &block)),
                ("yaml", "") => page.compose = block.join("\n"),
                ("logql", of) => page.queries.push(query(of.strip_prefix("as "), &block)),
                other => panic!("unknown kind of block: {other:?}"),
            }
        }
        page.kept = kept(&entries, &page.printed);
        page
    }
}

fn printed(header: &str, block: &[&str]) -> Vec<Printed> {
    let (header, times) = match header.split_once(", ") {
        Some((header, times)) => (header, times.trim_end_matches(" times").parse().expect("a number of times")),
        None => (header, 1),
    };
    let (output, service) = match header.split_once(" of ") {
        Some((output, service)) => (output, Some(service.to_owned())),
        None => (header, None),
    };
    let output = match output {
        "stdout" => 0,
        "stderr" => 1,
        other => panic!("{other:?} is not an output of a container"),
    };
    let line = |line: &&str| Printed { service: service.clone(), output, line: (*line).to_owned() };
    (0..times).flat_map(|_| block.iter().map(line)).collect()
}

fn query(tenant: Option<&str>, block: &[&str]) -> Query {
    let (result, expression): (Vec<&str>, Vec<&str>) = block.iter().partition(|line| line.starts_with("# "));
    Query {
        tenant: tenant.map(str::to_owned),
        expression: expression.join("\n"),
        result: result.iter().map(|line| line[2..].to_owned()).collect(),
    }
}

fn kept(block: &str, printed: &[Printed]) -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut lines = block.lines().peekable();
    while let Some(header) = lines.next() {
        let mut text = Vec::new();
        while let Some(line) = lines.peek().and_then(|line| line.strip_prefix("    ")) {
            text.push(line);
            lines.next();
        }
        let (text, times) = match text.as_slice() {
            [one] if one.contains(" as printed") => referred(one, printed),
            lines => (lines.join("\n"), 1),
        };
        let (before, rest) = header.split_once('{').unwrap_or_else(|| panic!("{header:?} has no labels"));
        let (labels, metadata) = rest.split_once('}').unwrap_or_else(|| panic!("{header:?} has no end of labels"));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{header:?}: {pair:?} is no pair"));
            (name.to_owned(), value.trim_matches('"').to_owned())
        };
        let entry = Kept {
            labels: labels.split(", ").map(pair).collect(),
            text,
            time: moment::all(before).first().copied(),
            tenant: before.trim().strip_prefix("X-Scope-OrgID=").map(str::to_owned),
            metadata: metadata.split_whitespace().map(pair).collect(),
        };
        kept.extend(std::iter::repeat_n(entry, times));
    }
    kept
}

/// `line 3 as printed`, `lines 2 to 4 of NAME as printed`, `line 7 as printed, 10 times`: text, and how often.
fn referred(words: &str, printed: &[Printed]) -> (String, usize) {
    let words: Vec<&str> = words.split(' ').map(|word| word.trim_end_matches(',')).collect();
    let behind = |word: &str| words.iter().position(|found| *found == word).and_then(|at| words.get(at + 1)).copied();
    let number = |word: Option<&str>| word.map(|word| word.parse::<usize>().expect("a number"));
    let service = behind("of");
    let lines: Vec<&Printed> = printed.iter().filter(|line| line.service.as_deref() == service).collect();
    let first = number(words.get(1).copied()).expect("the number of a line");
    let last = number(behind("to")).unwrap_or(first);
    let text: Vec<&str> = lines[first - 1..last].iter().map(|line| line.line.as_str()).collect();
    (text.join("\n"), number(behind("printed")).unwrap_or(1))
}
