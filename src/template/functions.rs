//! Docker's functions (moby, `daemon/logger/templates`), beside those that Go has built in.

use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use serde::Serialize;

use go_compat::letters;
pub use go_compat::template::value::described;
use go_compat::template::value::{Answer, Function, fail};

/// Every function a template may name: Go's, then Docker's.
pub const KNOWN: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery", //
    "join", "json", "lower", "pad", "split", "title", "truncate", "upper",
];

/// Blanks that `pad` adds on one side at most. Go would try any number.
const MAX_PAD: i64 = 65_536;

/// Docker's functions, and `index` with Go's answer for what a map has not.
pub fn all() -> FuncMap {
    let functions: [(&str, Function); 9] = [
        ("index", index),
        ("join", join),
        ("json", json),
        ("lower", lower),
        ("pad", pad),
        ("split", split),
        ("title", title),
        ("truncate", truncate),
        ("upper", upper),
    ];
    let functions = functions.into_iter().map(|(name, function)| {
        let function: ValueFunc = Arc::new(function);
        (name.to_owned(), function)
    });
    functions.collect()
}

// === functions ===

/// A map of strings answers with an empty one for a missing key, where a field has no value.
fn index(args: &[Value]) -> Answer {
    let (Some(first), true) = (args.first(), args.len() > 1) else {
        return fail("index takes a list or map, and an index");
    };
    let mut value = first.clone();
    for key in &args[1..] {
        value = match (&value, value.index(key)?) {
            (Value::Map(_), Value::Nil) => "".into(),
            (_, found) => found,
        };
    }
    Ok(value)
}

/// JSON as Go writes it with HTML left alone, so that `<` stays.
pub fn json(args: &[Value]) -> Answer {
    let [value] = exactly("json", args)?;
    Ok(go_json(&to_json(value)).into())
}

/// Go escapes the two separators in any case: they end a line in JavaScript.
pub fn go_json(value: &impl Serialize) -> String {
    // Strings, numbers, lists and maps with strings for keys: nothing in them could fail.
    let text = serde_json::to_string(value).unwrap_or_default();
    let text = text.replace('\u{2028}', "\\u2028");
    text.replace('\u{2029}', "\\u2029")
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Uint(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(value) => value.as_ref().into(),
        Value::List(values) => values.iter().map(to_json).collect(),
        Value::Map(values) => {
            let mut object = serde_json::Map::new();
            object.extend(values.iter().map(|(name, value)| (name.to_string(), to_json(value))));
            object.into()
        }
    }
}

fn split(args: &[Value]) -> Answer {
    let [text, separator] = exactly("split", args)?;
    let text = string("split", 1, text)?;
    let separator = string("split", 2, separator)?;
    let parts: Vec<Value> = if separator.is_empty() {
        // Go cuts between characters, and not around the first and the last.
        text.chars().map(|c| Value::from(c.to_string())).collect()
    } else {
        text.split(separator).map(Value::from).collect()
    };
    Ok(parts.into())
}

fn join(args: &[Value]) -> Answer {
    let [list, separator] = exactly("join", args)?;
    let separator = string("join", 2, separator)?;
    let items = match list {
        Value::List(items) => items.as_ref(),
        // Go takes no value for an empty list, though not for an empty string.
        Value::Nil => &[],
        other => return wrong("join", 1, "a list of strings", described(other)),
    };
    let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    match items {
        Some(items) => Ok(items.join(separator).into()),
        None => wrong("join", 1, "a list of strings", "a list of other things"),
    }
}

fn lower(args: &[Value]) -> Answer {
    mapped("lower", args, letters::lower)
}

fn upper(args: &[Value]) -> Answer {
    mapped("upper", args, letters::upper)
}

fn title(args: &[Value]) -> Answer {
    mapped("title", args, letters::title)
}

fn pad(args: &[Value]) -> Answer {
    let [text, before, after] = exactly("pad", args)?;
    let text = string("pad", 1, text)?;
    let before = count("pad", 2, before, MAX_PAD)?;
    let after = count("pad", 3, after, MAX_PAD)?;
    if text.is_empty() {
        return Ok(text.into());
    }
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
}

/// The first bytes of a text. Where Docker would cut a character in two, it is left out.
fn truncate(args: &[Value]) -> Answer {
    let [text, length] = exactly("truncate", args)?;
    let text = string("truncate", 1, text)?;
    let length = count("truncate", 2, length, i64::MAX)?.min(text.len());
    let whole = (0..=length).rev().find(|at| text.is_char_boundary(*at));
    Ok(text[..whole.unwrap_or_default()].into())
}

// === arguments ===

fn exactly<'a, const N: usize>(name: &str, args: &'a [Value]) -> Result<&'a [Value; N], TemplateError> {
    args.try_into().map_err(|_| {
        let plural = if N == 1 { "" } else { "s" };
        TemplateError::Exec(format!("{name} takes {N} argument{plural} and got {}", args.len()))
    })
}

fn string<'a>(name: &str, position: usize, value: &'a Value) -> Result<&'a str, TemplateError> {
    match value.as_str() {
        Some(text) => Ok(text),
        None => wrong(name, position, "a string", described(value)),
    }
}

/// A whole number from 0 to `most`.
fn count(name: &str, position: usize, value: &Value, most: i64) -> Result<usize, TemplateError> {
    let number = match value {
        Value::Int(number) => *number,
        Value::Uint(number) => i64::try_from(*number).unwrap_or(i64::MAX),
        other => return wrong(name, position, "a whole number", described(other)),
    };
    match usize::try_from(number) {
        Ok(count) if number <= most => Ok(count),
        Ok(_) => wrong(name, position, &format!("{most} at most"), &number.to_string()),
        Err(_) => wrong(name, position, "0 or more", &number.to_string()),
    }
}

fn mapped(name: &str, args: &[Value], map: fn(&str) -> String) -> Answer {
    let [text] = exactly(name, args)?;
    Ok(map(string(name, 1, text)?).into())
}

fn wrong<T>(name: &str, position: usize, wanted: &str, got: &str) -> Result<T, TemplateError> {
    fail(format!("{name}: argument {position} is to be {wanted}, and is {got}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_function_exists() {
        for name in KNOWN {
            let template = gotmpl::Template::new("").funcs(all());
            let rendered = template.parse(&format!("{{{{{name}}}}}")).unwrap().execute_to_string(&Value::Nil);
            let missing = matches!(rendered, Err(TemplateError::UndefinedFunction(_)));
            assert!(!missing, "{name}");
        }
    }

    #[test]
    fn letters_are_mapped_one_by_one_as_in_go() {
        for (function, text, expected) in [
            (upper as Function, "straße é", "STRAßE É"),
            (lower, "ΑΣ É", "ας é".replace('ς', "σ").as_str()),
            (title, "one two-three_four 5six éa ñ", "One Two-Three_four 5six Éa Ñ"),
        ] {
            let mapped = function(&[text.into()]).unwrap();
            assert_eq!(mapped.as_str(), Some(expected));
        }
    }
}
