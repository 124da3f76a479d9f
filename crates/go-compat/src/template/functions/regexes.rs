//! Regular expressions, which charge the current [`Work`](crate::work::Work). Those of Promtail and of sprig take the expression first, then the text, then what replaces it.

use std::cell::RefCell;
use std::rc::Rc;

use gotmpl::{TemplateError, ToValue, Value};

use super::Table;
use crate::go_regex::MOST_STATES;
use crate::pattern::expand;
use crate::regexp::{Found, Regexp};
use crate::template::cost::charge;
use crate::template::value::{Answer, MAX_BYTES, MAX_ITEMS, TOO_LONG, exactly, fail, of_list, text, whole};

pub const FUNCTIONS: Table = &[
    ("regexFind", find),
    ("regexFindAll", find_all),
    ("regexMatch", is_match),
    ("regexQuoteMeta", |args| Ok(quote(text(&exactly::<1>(args)?[0])?).into())),
    ("regexReplaceAll", |args| replace(args, true)),
    ("regexReplaceAllLiteral", |args| replace(args, false)),
    ("regexSplit", split),
    ("mustRegexFind", find),
    ("mustRegexFindAll", find_all),
    ("mustRegexMatch", is_match),
    ("mustRegexReplaceAll", |args| replace(args, true)),
    ("mustRegexReplaceAllLiteral", |args| replace(args, false)),
    ("mustRegexSplit", split),
];

/// Expressions that a thread keeps compiled. A template has few, and uses them for every line.
const KEPT: usize = 16;

/// States of these together, see [`MOST_STATES`]: what is larger is compiled each time.
const KEPT_STATES: usize = MOST_STATES;

/// Units for the compilation of an expression, and for each byte and each state of it.
const COMPILED: u64 = 100_000;
const COMPILED_BYTE: u64 = 100;
const COMPILED_STATE: u64 = 200;

thread_local! {
    /// The last one used is the last one.
    static KEPT_HERE: RefCell<Vec<Rc<Regexp>>> = RefCell::default();
}

fn compiled(pattern: &Value) -> Result<Rc<Regexp>, TemplateError> {
    let pattern = text(pattern)?;
    KEPT_HERE.with_borrow_mut(|kept| {
        if let Some(at) = kept.iter().position(|regexp| regexp.as_str() == pattern) {
            let regexp = kept.remove(at);
            kept.push(Rc::clone(&regexp));
            // The same as for one that was not kept: what a line costs does not go by what was there before it.
            charge(|work| work.charge(compilation(&regexp)))?;
            return Ok(regexp);
        }
        charge(|work| work.charge(COMPILED + COMPILED_BYTE * pattern.len() as u64))?;
        let regexp = Rc::new(Regexp::parse(pattern).map_err(TemplateError::Exec)?);
        charge(|work| work.charge(COMPILED_STATE * regexp.states() as u64))?;
        kept.push(Rc::clone(&regexp));
        while kept.len() > KEPT || kept.iter().map(|regexp| regexp.states()).sum::<usize>() > KEPT_STATES {
            kept.remove(0);
        }
        Ok(regexp)
    })
}

fn compilation(regexp: &Regexp) -> u64 {
    COMPILED + COMPILED_BYTE * regexp.as_str().len() as u64 + COMPILED_STATE * regexp.states() as u64
}

/// Bytes that are looked at when a match is replaced by this.
fn expansion(replacement: &str, expands: bool) -> usize {
    if expands { replacement.len().saturating_mul(4) } else { replacement.len() }
}

fn is_match(args: &[Value]) -> Answer {
    let [pattern, searched] = exactly(args)?;
    let (regexp, searched) = (compiled(pattern)?, text(searched)?);
    let mut is_match = false;
    charge(|work| regexp.is_match(searched.as_bytes(), work).map(|found| is_match = found))?;
    Ok(is_match.to_value())
}

fn find(args: &[Value]) -> Answer {
    let [pattern, searched] = exactly(args)?;
    let searched = text(searched)?;
    let (regexp, mut found) = (compiled(pattern)?, None);
    charge(|work| regexp.find(searched.as_bytes(), work).map(|first| found = first))?;
    Ok(found.and_then(|found| searched.get(found.whole())).unwrap_or_default().into())
}

/// `regexFindAll pattern text count`; a count below zero is all.
fn find_all(args: &[Value]) -> Answer {
    let [pattern, searched, count] = exactly(args)?;
    let searched = text(searched)?;
    let count = usize::try_from(whole(count)?).unwrap_or(usize::MAX);
    let regexp = compiled(pattern)?;
    let mut texts: Vec<Value> = Vec::new();
    // With one more it is refused as too large.
    let most = count.min(MAX_ITEMS + 1);
    each(&regexp, searched, |found| {
        if texts.len() < most {
            texts.extend(searched.get(found.whole()).map(Value::from));
        }
        Ok(texts.len() < most)
    })?;
    Ok(of_list(texts))
}

fn replace(args: &[Value], expands: bool) -> Answer {
    let [pattern, searched, replacement] = exactly(args)?;
    let (regexp, searched, replacement) = (compiled(pattern)?, text(searched)?, text(replacement)?);
    let mut out = String::new();
    let mut end = 0;
    each(&regexp, searched, |found| {
        charge(|work| work.bytes(expansion(replacement, expands)))?;
        let whole = found.whole();
        out.push_str(searched.get(end..whole.start).unwrap_or_default());
        if expands {
            let group = |at: usize| found.get(at).and_then(|range| searched.get(range));
            out.push_str(&expand(replacement, regexp.group_names(), &group, MAX_BYTES + 1));
        } else {
            out.push_str(replacement);
        }
        if out.len() > MAX_BYTES {
            return fail(TOO_LONG);
        }
        end = whole.end;
        Ok(true)
    })?;
    let rest = searched.get(end..).unwrap_or_default();
    if out.len() + rest.len() > MAX_BYTES {
        return fail(TOO_LONG);
    }
    out.push_str(rest);
    Ok(out.into())
}

/// `regexSplit pattern text count`: at most `count` pieces; all of them when it is negative.
fn split(args: &[Value]) -> Answer {
    let [pattern, searched, count] = exactly(args)?;
    let (regexp, searched) = (compiled(pattern)?, text(searched)?);
    let count = usize::try_from(whole(count)?).unwrap_or(usize::MAX);
    if count == 0 {
        return Ok(of_list(Vec::new()));
    }
    let mut pieces: Vec<Value> = Vec::new();
    let mut end = 0;
    // Go's rule: nothing is cut off before the first character.
    each(&regexp, searched, |found| {
        let found = found.whole();
        // A result of this many pieces is refused as too large.
        if pieces.len() + 1 == count || pieces.len() > MAX_ITEMS {
            return Ok(false);
        }
        if found.end == 0 && !searched.is_empty() || found.is_empty() && found.start == searched.len() && end > 0 {
            return Ok(true);
        }
        pieces.push(searched.get(end..found.start).unwrap_or_default().into());
        end = found.end;
        Ok(true)
    })?;
    pieces.push(searched.get(end..).unwrap_or_default().into());
    Ok(of_list(pieces))
}

/// Shows each match until it is told to stop.
fn each(
    regexp: &Regexp,
    searched: &str,
    mut show: impl FnMut(&Found) -> Result<bool, TemplateError>,
) -> Result<(), TemplateError> {
    let searched = searched.as_bytes();
    let mut all = None;
    charge(|work| regexp.find_all(searched, work).map(|found| all = Some(found)))?;
    for found in all.into_iter().flatten() {
        charge(|work| regexp.pay(searched, &found, work))?;
        if !show(&found)? {
            break;
        }
    }
    Ok(())
}

/// Go's `regexp.QuoteMeta`.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
