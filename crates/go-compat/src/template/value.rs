//! Values of a template: how Go prints them, how much they may hold, and how functions take their arguments.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use gotmpl::{TemplateError, Value};

use super::cost;
use super::functions::printed_time;
use crate::number;
use crate::work::{self, Excess};

/// What a function answers.
pub type Answer = Result<Value, TemplateError>;

/// A function of a template.
pub type Function = fn(&[Value]) -> Answer;

/// Bytes of all texts in a value.
pub const MAX_BYTES: usize = 1 << 20;

/// What a function says that would make more than [`MAX_BYTES`].
pub const TOO_LONG: &str = "the text would be longer than 1 MiB";

/// Values in a value.
pub const MAX_ITEMS: usize = 10_000;

/// How deep lists and maps may be in each other.
pub const MAX_DEPTH: usize = 32;

/// Passes a value on that is not too large. A list that holds another twice counts it twice: so it would print.
pub fn checked(args: &[Value]) -> Answer {
    let Some(value) = args.last() else {
        return Ok(Value::Nil);
    };
    let (mut bytes, mut items) = (MAX_BYTES, MAX_ITEMS);
    if !fits(value, MAX_DEPTH, &mut bytes, &mut items) {
        work::current(|work| work.exceed(Excess::Size));
        return fail("a value is too large (a text may have 1 MiB, a list 10000 items)");
    }
    let (bytes, items) = (MAX_BYTES - bytes, MAX_ITEMS - items);
    cost::charge(|work| {
        work.steps(items)?;
        work.bytes(bytes)?;
        work.grow(bytes + items * mem::size_of::<Value>())
    })?;
    Ok(value.clone())
}

fn fits(value: &Value, depth: usize, bytes: &mut usize, items: &mut usize) -> bool {
    let Some(left) = items.checked_sub(1) else {
        return false;
    };
    *items = left;
    match value {
        Value::String(text) => take(bytes, text.len()),
        Value::List(values) => depth > 0 && values.iter().all(|value| fits(value, depth - 1, bytes, items)),
        Value::Map(values) => {
            let mut all = values.iter();
            depth > 0 && all.all(|(name, value)| take(bytes, name.len()) && fits(value, depth - 1, bytes, items))
        }
        _ => true,
    }
}

fn take(bytes: &mut usize, length: usize) -> bool {
    match bytes.checked_sub(length) {
        Some(left) => {
            *bytes = left;
            true
        }
        None => false,
    }
}

/// What an action prints. No value stays one: the engine has its own word for it.
pub fn printed(args: &[Value]) -> Answer {
    match args.last() {
        None | Some(Value::Nil) => Ok(Value::Nil),
        Some(text @ Value::String(_)) => Ok(text.clone()),
        Some(value) => Ok(text_of(value).into()),
    }
}

/// Go's `%v`.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        Value::Float(number) => number::general(*number),
        Value::List(values) => {
            let values: Vec<String> = values.iter().map(text_of).collect();
            format!("[{}]", values.join(" "))
        }
        value @ Value::Map(values) => {
            if let Some(time) = printed_time(value) {
                return time;
            }
            let entries: Vec<String> =
                values.iter().map(|(name, value)| format!("{name}:{}", text_of(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// Texts with a separator in between, of no more than [`MAX_BYTES`]: what is already too long is not made longer.
pub fn joined(texts: impl Iterator<Item = String>, separator: &str) -> Result<String, TemplateError> {
    let mut out = String::new();
    for (index, text) in texts.enumerate() {
        let separator = if index > 0 { separator } else { "" };
        if out.len() + separator.len() + text.len() > MAX_BYTES {
            return fail(TOO_LONG);
        }
        out.push_str(separator);
        out.push_str(&text);
    }
    Ok(out)
}

/// A value as a complaint calls it.
pub fn described(value: &Value) -> &'static str {
    match value {
        Value::Nil => "no value",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "a number",
        Value::String(_) => "a string",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Function(_) => "a function",
    }
}

// === arguments ===

/// The arguments, when their number is exactly this.
pub fn exactly<const N: usize>(args: &[Value]) -> Result<&[Value; N], TemplateError> {
    args.try_into().map_err(|_| TemplateError::Exec(format!("it takes {N} arguments and got {}", args.len())))
}

/// A text; nothing is turned into one, as Go does not.
pub fn text(value: &Value) -> Result<&str, TemplateError> {
    value.as_str().ok_or_else(|| TemplateError::Exec(format!("it takes a string and got {}", described(value))))
}

/// A whole number.
pub fn whole(value: &Value) -> Result<i64, TemplateError> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Uint(number) => i64::try_from(*number).or_else(|_| fail("a number is too large")),
        other => fail(format!("it takes a whole number and got {}", described(other))),
    }
}

/// A list.
pub fn list(value: &Value) -> Result<&[Value], TemplateError> {
    match value {
        Value::List(values) => Ok(values),
        other => fail(format!("it takes a list and got {}", described(other))),
    }
}

/// A map.
pub fn map(value: &Value) -> Result<&BTreeMap<Arc<str>, Value>, TemplateError> {
    match value {
        Value::Map(values) => Ok(values),
        other => fail(format!("it takes a dict and got {}", described(other))),
    }
}

/// A number of anything, whole: sprig's `toInt64`. What is no number is 0, and `012` is octal.
pub fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        Value::Uint(number) => i64::try_from(*number).unwrap_or_default(),
        Value::Float(number) => *number as i64,
        Value::Bool(value) => i64::from(*value),
        Value::String(text) => {
            // A decimal point with nothing but zeros behind it is cut off.
            let whole = match text.split_once('.') {
                Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|digit| digit == b'0') => whole,
                _ => text,
            };
            number::parse_int(whole).unwrap_or_default()
        }
        _ => 0,
    }
}

/// A number of anything: sprig's `toFloat64`. What is no number is 0.
pub fn to_float(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        Value::String(text) => number::parse_float(text).unwrap_or_default(),
        Value::Uint(number) => *number as f64,
        other => to_int(other) as f64,
    }
}

/// A list of texts out of anything: sprig's `strslice`, which passes over what is no value.
pub fn to_texts(value: &Value) -> Vec<String> {
    match value {
        Value::Nil => Vec::new(),
        Value::List(values) => values.iter().filter(|value| !matches!(value, Value::Nil)).map(text_of).collect(),
        value => vec![text_of(value)],
    }
}

/// A list as a value.
pub fn of_list(values: Vec<Value>) -> Value {
    Value::List(values.into())
}

/// A map as a value.
pub fn of_map(values: BTreeMap<Arc<str>, Value>) -> Value {
    Value::Map(Arc::new(values))
}

/// `get LENGTH BASE NAME… ARGUMENT…`, see [`GET`](super::syntax::GET): a chain of fields, the last one with arguments.
pub fn chain(args: &[Value], field: impl Fn(&Value, &str, &[Value]) -> Answer) -> Answer {
    let [Value::Int(length), base, rest @ ..] = args else {
        return fail("a field needs a name");
    };
    let length = usize::try_from(*length).unwrap_or_default();
    let names = rest.get(..length).unwrap_or_default();
    let arguments = rest.get(length..).unwrap_or_default();
    let mut value = base.clone();
    for (index, name) in names.iter().enumerate() {
        let arguments = if index + 1 == length { arguments } else { &[] };
        value = field(&value, name.as_str().unwrap_or_default(), arguments)?;
    }
    cost::charge(|work| cost::weigh(&value, work))?;
    Ok(value)
}

/// An error of a function.
pub fn fail<T>(message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Exec(message.into()))
}
