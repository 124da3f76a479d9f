//! Texts: Promtail's own functions, and sprig's.

use std::iter;

use gotmpl::{ToValue, Value};

use super::Table;
use crate::letters;
use crate::template::cost::charge;
use crate::template::value::{
    Answer, MAX_BYTES, MAX_ITEMS, TOO_LONG, exactly, fail, joined, list, of_list, of_map, text, text_of, to_texts,
    whole,
};
use base::maps::map_of;

pub const FUNCTIONS: Table = &[
    // Promtail's own, which are those of Go's package strings.
    ("ToLower", lower),
    ("ToUpper", upper),
    ("Replace", replace_some),
    ("Trim", |args| trimmed(args, |text, cut| text.trim_matches(|c| cut.contains(c)))),
    ("TrimLeft", |args| trimmed(args, |text, cut| text.trim_start_matches(|c| cut.contains(c)))),
    ("TrimRight", |args| trimmed(args, |text, cut| text.trim_end_matches(|c| cut.contains(c)))),
    ("TrimPrefix", |args| two(args, |text, cut| text.strip_prefix(cut).unwrap_or(text).into())),
    ("TrimSuffix", |args| two(args, |text, cut| text.strip_suffix(cut).unwrap_or(text).into())),
    ("TrimSpace", trim),
    // Sprig's, which take the text last.
    ("abbrev", abbrev),
    ("abbrevboth", abbrev_both),
    ("camelcase", |args| {
        one(args, |text| {
            words(text).iter().map(|word| letters::title(&letters::lower(word))).collect::<String>().into()
        })
    }),
    ("cat", |args| Ok(joined(present(args).map(text_of), " ")?.into())),
    ("contains", |args| two(args, |part, text| text.contains(part).to_value())),
    ("fail", |args| fail(text(&exactly::<1>(args)?[0])?)),
    ("hasPrefix", |args| two(args, |part, text| text.starts_with(part).to_value())),
    ("hasSuffix", |args| two(args, |part, text| text.ends_with(part).to_value())),
    ("hello", |_| Ok("Hello!".into())),
    ("indent", |args| indent(args, "")),
    ("initials", |args| {
        one(args, |text| text.split_whitespace().filter_map(|word| word.chars().next()).collect::<String>().into())
    }),
    ("join", join),
    ("kebabcase", |args| one(args, |text| parts(text).join("-").into())),
    ("lower", lower),
    ("nindent", |args| indent(args, "\n")),
    ("nospace", |args| one(args, |text| text.split_whitespace().collect::<String>().into())),
    ("plural", plural),
    ("print", sprint),
    ("println", |args| Ok((joined(args.iter().map(text_of), " ")? + "\n").into())),
    ("quote", |args| Ok(joined(present(args).map(|value| format!("{:?}", text_of(value))), " ")?.into())),
    ("randAlpha", |args| random(args, |_| fastrand::alphabetic())),
    ("randAlphaNum", |args| random(args, |_| fastrand::alphanumeric())),
    ("randAscii", |args| random(args, |_| char::from(fastrand::u8(32..127)))),
    ("randNumeric", |args| random(args, |_| fastrand::digit(10))),
    ("repeat", repeat),
    ("replace", replace),
    ("shuffle", shuffle),
    ("snakecase", |args| one(args, |text| parts(text).join("_").into())),
    ("sortAlpha", sort_alpha),
    ("split", split),
    ("splitList", |args| two(args, |separator, text| of_list(pieces(text, separator)))),
    ("squote", |args| Ok(joined(present(args).map(|value| format!("'{}'", text_of(value))), " ")?.into())),
    ("substr", substr),
    ("swapcase", |args| one(args, |text| swap_case(text).into())),
    ("title", |args| one(args, |text| letters::title(text).into())),
    ("toString", |args| Ok(text_of(&exactly::<1>(args)?[0]).into())),
    ("toStrings", |args| Ok(of_list(to_texts(&exactly::<1>(args)?[0]).into_iter().map(Value::from).collect()))),
    ("trim", trim),
    ("trimAll", trim_all),
    ("trimPrefix", |args| two(args, |cut, text| text.strip_prefix(cut).unwrap_or(text).into())),
    ("trimSuffix", |args| two(args, |cut, text| text.strip_suffix(cut).unwrap_or(text).into())),
    ("trimall", trim_all),
    ("trunc", trunc),
    ("untitle", |args| one(args, |text| untitle(text).into())),
    ("upper", upper),
    ("uuidv4", |_| Ok(uuid().into())),
];

fn one(args: &[Value], map: impl Fn(&str) -> Value) -> Answer {
    let [value] = exactly(args)?;
    Ok(map(text(value)?))
}

fn two(args: &[Value], map: impl Fn(&str, &str) -> Value) -> Answer {
    let [first, second] = exactly(args)?;
    Ok(map(text(first)?, text(second)?))
}

fn lower(args: &[Value]) -> Answer {
    one(args, |text| letters::lower(text).into())
}

fn upper(args: &[Value]) -> Answer {
    one(args, |text| letters::upper(text).into())
}

fn trim(args: &[Value]) -> Answer {
    one(args, |text| text.trim().into())
}

fn trim_all(args: &[Value]) -> Answer {
    let [cut, text] = exactly(args)?;
    trimmed(&[text.clone(), cut.clone()], |text, cut| text.trim_matches(|c| cut.contains(c)))
}

/// Each character is looked for in all that are to be cut off.
fn trimmed(args: &[Value], trim: impl for<'t> Fn(&'t str, &str) -> &'t str) -> Answer {
    let [whole_text, cut] = exactly(args)?;
    let (whole_text, cut) = (text(whole_text)?, text(cut)?);
    charge(|work| work.bytes(whole_text.len().saturating_mul(cut.len())))?;
    Ok(trim(whole_text, cut).into())
}

// === replacing and repeating ===

/// `Replace text old new count`; a count below zero is all.
fn replace_some(args: &[Value]) -> Answer {
    let [whole_text, old, new, count] = exactly(args)?;
    let (whole_text, old, new) = (text(whole_text)?, text(old)?, text(new)?);
    let count = usize::try_from(whole(count)?).unwrap_or(usize::MAX);
    replaced(whole_text, old, new, count)
}

/// `replace old new text`
fn replace(args: &[Value]) -> Answer {
    let [old, new, whole_text] = exactly(args)?;
    replaced(text(whole_text)?, text(old)?, text(new)?, usize::MAX)
}

fn replaced(text: &str, old: &str, new: &str, count: usize) -> Answer {
    // Before it is made, as it could be as large as both together.
    let found = text.matches(old).count().min(count);
    if found.saturating_mul(new.len()).saturating_add(text.len()) > MAX_BYTES {
        return fail(TOO_LONG);
    }
    Ok(text.replacen(old, new, count).into())
}

fn repeat(args: &[Value]) -> Answer {
    let [count, repeated] = exactly(args)?;
    let repeated = text(repeated)?;
    match usize::try_from(whole(count)?) {
        Err(_) => fail("it takes a count of 0 or more"),
        Ok(count) if count.saturating_mul(repeated.len()) > MAX_BYTES => fail(TOO_LONG),
        Ok(count) => Ok(repeated.repeat(count).into()),
    }
}

fn indent(args: &[Value], before: &str) -> Answer {
    let [count, indented] = exactly(args)?;
    let indented = text(indented)?;
    let count = usize::try_from(whole(count)?).or_else(|_| fail("it takes a count of 0 or more"))?;
    let lines = indented.matches('\n').count() + 1;
    if count.saturating_mul(lines).saturating_add(indented.len()) > MAX_BYTES {
        return fail(TOO_LONG);
    }
    let pad = " ".repeat(count);
    Ok(format!("{before}{pad}{}", indented.replace('\n', &format!("\n{pad}"))).into())
}

// === cutting ===

/// Cuts bytes, as Go does; where it would cut a character, the character goes.
fn cut(text: &str, from: usize, to: usize) -> &str {
    let down = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let up = |at: usize| (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(up(from)..down(to)).unwrap_or_default()
}

/// `substr from to text`; a negative end is the end of the text.
fn substr(args: &[Value]) -> Answer {
    let [from, to, whole_text] = exactly(args)?;
    let (from, to, whole_text) = (whole(from)?, whole(to)?, text(whole_text)?);
    let start = usize::try_from(from).unwrap_or_default();
    let end = usize::try_from(to).unwrap_or(usize::MAX);
    if from >= 0 && start > whole_text.len() {
        return fail("it starts behind the end of the text");
    }
    if to >= 0 && end < start {
        return fail("it ends before it starts");
    }
    Ok(cut(whole_text, start, end).into())
}

/// `trunc count text`; a negative count takes from the end.
fn trunc(args: &[Value]) -> Answer {
    let [count, whole_text] = exactly(args)?;
    let (count, whole_text) = (whole(count)?, text(whole_text)?);
    let length = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 {
        return Ok(cut(whole_text, whole_text.len().saturating_sub(length), usize::MAX).into());
    }
    Ok(cut(whole_text, 0, length).into())
}

fn abbrev(args: &[Value]) -> Answer {
    let [width, whole_text] = exactly(args)?;
    let (width, whole_text) = (whole(width)?, text(whole_text)?);
    let Ok(width) = usize::try_from(width) else {
        return Ok(whole_text.into());
    };
    if width < 4 || whole_text.len() <= width {
        return Ok(whole_text.into());
    }
    Ok(format!("{}...", cut(whole_text, 0, width - 3)).into())
}

/// `abbrevboth left width text`
fn abbrev_both(args: &[Value]) -> Answer {
    let [left, width, whole_text] = exactly(args)?;
    let whole_text = text(whole_text)?;
    let left = usize::try_from(whole(left)?).unwrap_or_default();
    let width = usize::try_from(whole(width)?).unwrap_or_default();
    let length = whole_text.len();
    if width < 4 || (left > 0 && width < 7) || length <= width {
        return Ok(whole_text.into());
    }
    if left <= 4 {
        return Ok(format!("{}...", cut(whole_text, 0, width - 3)).into());
    }
    let left = left.min(length);
    if length - left <= width - 3 {
        return Ok(format!("...{}", cut(whole_text, length - (width - 3), length)).into());
    }
    Ok(format!("...{}...", cut(whole_text, left, left + width - 6)).into())
}

/// Go cuts between characters if there is nothing to cut at.
///
/// With one more than a list may have it is refused as too large.
fn pieces(text: &str, separator: &str) -> Vec<Value> {
    if separator.is_empty() {
        text.chars().map(|c| c.to_string().into()).take(MAX_ITEMS + 1).collect()
    } else {
        text.split(separator).map(Value::from).take(MAX_ITEMS + 1).collect()
    }
}

/// Pieces by the names `_0`, `_1`, …
fn split(args: &[Value]) -> Answer {
    let [separator, whole_text] = exactly(args)?;
    let pieces = pieces(text(whole_text)?, text(separator)?);
    let named = (0..).zip(pieces).map(|(index, piece): (usize, Value)| (format!("_{index}").into(), piece));
    Ok(of_map(map_of(named)))
}

fn join(args: &[Value]) -> Answer {
    let [separator, values] = exactly(args)?;
    let (separator, values) = (text(separator)?, to_texts(values));
    Ok(joined(values.into_iter(), separator)?.into())
}

fn sort_alpha(args: &[Value]) -> Answer {
    let [values] = exactly(args)?;
    if let Value::List(_) = values {
        list(values)?;
    }
    let mut texts = to_texts(values);
    let comparisons = texts.len().checked_ilog2().unwrap_or_default() as usize + 1;
    charge(|work| {
        work.steps(texts.len().saturating_mul(comparisons))?;
        work.bytes(texts.iter().map(String::len).sum::<usize>().saturating_mul(comparisons))
    })?;
    texts.sort_unstable();
    Ok(of_list(texts.into_iter().map(Value::from).collect()))
}

// === printing ===

/// Go's `fmt.Sprint`: a blank between two values of which none is a text.
fn sprint(args: &[Value]) -> Answer {
    let is_text = |value: &Value| matches!(value, Value::String(_));
    let texts = args.iter().enumerate().map(|(index, value)| {
        let blank = index > 0 && !is_text(value) && !is_text(&args[index - 1]);
        if blank { format!(" {}", text_of(value)) } else { text_of(value) }
    });
    Ok(joined(texts, "")?.into())
}

/// Without what is no value.
fn present(args: &[Value]) -> impl Iterator<Item = &Value> {
    args.iter().filter(|value| !matches!(value, Value::Nil))
}

/// `plural one many count`
fn plural(args: &[Value]) -> Answer {
    let [one, many, count] = exactly(args)?;
    let (one, many) = (text(one)?, text(many)?);
    Ok(if whole(count)? == 1 { one } else { many }.into())
}

// === letters ===

fn swap_case(text: &str) -> String {
    let swap = |c: char| if c.is_uppercase() { letters::lower_one(c) } else { letters::upper_one(c) };
    text.chars().map(swap).collect()
}

fn untitle(text: &str) -> String {
    let mut starts = true;
    let mut map = |c: char| {
        let mapped = if starts { letters::lower_one(c) } else { c };
        starts = c.is_whitespace();
        mapped
    };
    text.chars().map(&mut map).collect()
}

fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '.') || c.is_whitespace()
}

/// What stands between separators.
fn words(text: &str) -> Vec<&str> {
    text.split(is_separator).filter(|word| !word.is_empty()).collect()
}

/// Small words: a text is cut at separators, and before a capital that starts a word.
fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for word in words(text) {
        let letters: Vec<char> = word.chars().collect();
        let mut part = String::new();
        for (index, c) in letters.iter().enumerate() {
            let before = index.checked_sub(1).map(|at| letters[at]);
            let after = letters.get(index + 1);
            let starts = c.is_uppercase()
                && before
                    .is_some_and(|before| !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase()));
            if starts {
                parts.push(std::mem::take(&mut part));
            }
            part.push(letters::lower_one(*c));
        }
        parts.push(part);
    }
    parts
}

// === chance ===

fn random(args: &[Value], draw: impl Fn(()) -> char) -> Answer {
    let [count] = exactly(args)?;
    match usize::try_from(whole(count)?) {
        Ok(count) if count <= MAX_BYTES => Ok(iter::repeat_with(|| draw(())).take(count).collect::<String>().into()),
        _ => fail("it takes a count from 0 to 1048576"),
    }
}

fn shuffle(args: &[Value]) -> Answer {
    one(args, |text| {
        let mut letters: Vec<char> = text.chars().collect();
        fastrand::shuffle(&mut letters);
        letters.into_iter().collect::<String>().into()
    })
}

/// A random UUID: version 4 in the third group, variant 1 in the fourth.
fn uuid() -> String {
    let bits = fastrand::u128(..) & !(0xF << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let digits = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}
