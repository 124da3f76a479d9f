//! Regular expressions. Those of Promtail and of sprig take the expression first, then the text, then what replaces it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gotmpl::{TemplateError, ToValue, Value};

use super::Table;
use crate::golang::regexp::Regexp;
use crate::golang::template::value::{Answer, MAX_BYTES, MAX_ITEMS, TOO_LONG, exactly, fail, of_list, text, whole};
use crate::relabel::pattern::expand;

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

/// Expressions that stay compiled. A template has few, and uses them for every line.
const KEPT: usize = 64;

thread_local! {
    static COMPILED: RefCell<HashMap<String, Rc<Regexp>>> = RefCell::default();
}

fn compiled(pattern: &Value) -> Result<Rc<Regexp>, TemplateError> {
    let pattern = text(pattern)?;
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(regexp) = compiled.get(pattern) {
            return Ok(Rc::clone(regexp));
        }
        let regexp = Rc::new(Regexp::parse(pattern).map_err(TemplateError::Exec)?);
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        compiled.insert(pattern.to_owned(), Rc::clone(&regexp));
        Ok(regexp)
    })
}

fn is_match(args: &[Value]) -> Answer {
    let [pattern, searched] = exactly(args)?;
    Ok(compiled(pattern)?.is_match(text(searched)?.as_bytes()).to_value())
}

fn find(args: &[Value]) -> Answer {
    let [pattern, searched] = exactly(args)?;
    let searched = text(searched)?;
    let found = compiled(pattern)?.find(searched.as_bytes());
    Ok(found.and_then(|found| searched.get(found.whole())).unwrap_or_default().into())
}

/// `regexFindAll pattern text count`; a count below zero is all.
fn find_all(args: &[Value]) -> Answer {
    let [pattern, searched, count] = exactly(args)?;
    let searched = text(searched)?;
    let count = usize::try_from(whole(count)?).unwrap_or(usize::MAX);
    let regexp = compiled(pattern)?;
    let all = regexp.find_all(searched.as_bytes());
    // With one more it is refused as too large.
    let texts = all.take(count.min(MAX_ITEMS + 1)).filter_map(|found| searched.get(found.whole()));
    Ok(of_list(texts.map(Value::from).collect()))
}

fn replace(args: &[Value], expands: bool) -> Answer {
    let [pattern, searched, replacement] = exactly(args)?;
    let (regexp, searched, replacement) = (compiled(pattern)?, text(searched)?, text(replacement)?);
    let mut out = String::new();
    let mut end = 0;
    for found in regexp.find_all(searched.as_bytes()) {
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
    }
    let rest = searched.get(end..).unwrap_or_default();
    if out.len() + rest.len() > MAX_BYTES {
        return fail(TOO_LONG);
    }
    out.push_str(rest);
    Ok(out.into())
}

/// `regexSplit pattern text count`: so many pieces at most, all below zero.
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
    for found in regexp.find_all(searched.as_bytes()).map(|found| found.whole()) {
        // With so many pieces it is refused as too large.
        if pieces.len() + 1 == count || pieces.len() > MAX_ITEMS {
            break;
        }
        if found.end == 0 && !searched.is_empty() || found.is_empty() && found.start == searched.len() && end > 0 {
            continue;
        }
        pieces.push(searched.get(end..found.start).unwrap_or_default().into());
        end = found.end;
    }
    pieces.push(searched.get(end..).unwrap_or_default().into());
    Ok(of_list(pieces))
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
