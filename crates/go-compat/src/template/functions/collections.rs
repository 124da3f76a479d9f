//! Lists, dicts, defaults and kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{TemplateError, ToValue, Value};

use super::Table;
use crate::template::cost::{charge, flat_size};
use crate::template::value::{Answer, exactly, fail, list, map, of_list, of_map, text, text_of, whole};
use base::maps::map_of;

pub const FUNCTIONS: Table = &[
    ("all", |args| Ok(args.iter().all(Value::is_truthy).to_value())),
    ("any", |args| Ok(args.iter().any(Value::is_truthy).to_value())),
    ("append", append),
    ("chunk", chunk),
    ("coalesce", |args| Ok(args.iter().find(|value| value.is_truthy()).cloned().unwrap_or(Value::Nil))),
    ("compact", compact),
    ("concat", concat),
    ("deepCopy", |args| Ok(exactly::<1>(args)?[0].clone())),
    ("deepEqual", |args| Ok((exactly::<2>(args)?[0] == args[1]).to_value())),
    ("default", default),
    ("dict", dict),
    ("dig", dig),
    ("empty", |args| Ok((!exactly::<1>(args)?[0].is_truthy()).to_value())),
    ("first", |args| Ok(sequence(args)?.first().cloned().unwrap_or(Value::Nil))),
    ("get", |args| Ok(map(&exactly::<2>(args)?[0])?.get(text(&args[1])?).cloned().unwrap_or_else(|| "".into()))),
    ("has", has),
    ("hasKey", |args| Ok(map(&exactly::<2>(args)?[0])?.contains_key(text(&args[1])?).to_value())),
    ("initial", initial),
    ("keys", keys),
    ("kindIs", |args| Ok((text(&exactly::<2>(args)?[0])? == kind(&args[1])).to_value())),
    ("kindOf", |args| Ok(kind(&exactly::<1>(args)?[0]).into())),
    ("last", |args| Ok(sequence(args)?.last().cloned().unwrap_or(Value::Nil))),
    ("list", |args| Ok(of_list(args.to_vec()))),
    ("merge", |args| merge(args, false)),
    ("mergeOverwrite", |args| merge(args, true)),
    ("mustAppend", append),
    ("mustChunk", chunk),
    ("mustCompact", compact),
    ("mustDeepCopy", |args| Ok(exactly::<1>(args)?[0].clone())),
    ("mustFirst", |args| Ok(sequence(args)?.first().cloned().unwrap_or(Value::Nil))),
    ("mustHas", has),
    ("mustInitial", initial),
    ("mustLast", |args| Ok(sequence(args)?.last().cloned().unwrap_or(Value::Nil))),
    ("mustMerge", |args| merge(args, false)),
    ("mustMergeOverwrite", |args| merge(args, true)),
    ("mustPrepend", prepend),
    ("mustPush", append),
    ("mustRest", rest),
    ("mustReverse", reverse),
    ("mustSlice", slice),
    ("mustUniq", uniq),
    ("mustWithout", without),
    ("omit", |args| picked(args, false)),
    ("pick", |args| picked(args, true)),
    ("pluck", pluck),
    ("prepend", prepend),
    ("push", append),
    ("rest", rest),
    ("reverse", reverse),
    ("slice", slice),
    ("ternary", ternary),
    ("tuple", |args| Ok(of_list(args.to_vec()))),
    ("typeIs", |args| Ok((text(&exactly::<2>(args)?[0])? == type_of(&args[1])).to_value())),
    ("typeIsLike", |args| Ok((text(&exactly::<2>(args)?[0])?.trim_start_matches('*') == type_of(&args[1])).to_value())),
    ("typeOf", |args| Ok(type_of(&exactly::<1>(args)?[0]).into())),
    ("uniq", uniq),
    ("values", |args| Ok(of_list(map(&exactly::<1>(args)?[0])?.values().cloned().collect()))),
    ("without", without),
];

fn sequence(args: &[Value]) -> Result<&[Value], TemplateError> {
    list(&exactly::<1>(args)?[0])
}

// === lists ===

fn append(args: &[Value]) -> Answer {
    let [values, value] = exactly(args)?;
    Ok(of_list(list(values)?.iter().chain([value]).cloned().collect()))
}

fn prepend(args: &[Value]) -> Answer {
    let [values, value] = exactly(args)?;
    Ok(of_list([value].into_iter().chain(list(values)?).cloned().collect()))
}

fn concat(args: &[Value]) -> Answer {
    let lists = args.iter().map(list).collect::<Result<Vec<_>, _>>()?;
    Ok(of_list(lists.concat()))
}

fn initial(args: &[Value]) -> Answer {
    let values = sequence(args)?;
    Ok(of_list(values[..values.len().saturating_sub(1)].to_vec()))
}

fn rest(args: &[Value]) -> Answer {
    Ok(of_list(sequence(args)?.iter().skip(1).cloned().collect()))
}

fn reverse(args: &[Value]) -> Answer {
    Ok(of_list(sequence(args)?.iter().rev().cloned().collect()))
}

fn compact(args: &[Value]) -> Answer {
    Ok(of_list(sequence(args)?.iter().filter(|value| value.is_truthy()).cloned().collect()))
}

fn uniq(args: &[Value]) -> Answer {
    let mut seen: Vec<Value> = Vec::new();
    for value in sequence(args)? {
        // Each is compared with all before it, and no comparison looks at more than the smaller of two.
        charge(|work| {
            work.steps(seen.len())?;
            work.bytes(seen.len().saturating_mul(flat_size(value)))
        })?;
        if !seen.contains(value) {
            seen.push(value.clone());
        }
    }
    Ok(of_list(seen))
}

fn without(args: &[Value]) -> Answer {
    let Some((values, unwanted)) = args.split_first() else {
        return fail("it takes a list, and what to leave out");
    };
    let values = list(values)?;
    charge(|work| {
        work.steps(values.len().saturating_mul(unwanted.len()))?;
        work.bytes(values.iter().map(flat_size).sum::<usize>().saturating_mul(unwanted.len()))
    })?;
    Ok(of_list(values.iter().filter(|value| !unwanted.contains(value)).cloned().collect()))
}

fn has(args: &[Value]) -> Answer {
    let [value, values] = exactly(args)?;
    match values {
        Value::Nil => Ok(false.to_value()),
        values => Ok(list(values)?.contains(value).to_value()),
    }
}

fn chunk(args: &[Value]) -> Answer {
    let [size, values] = exactly(args)?;
    match usize::try_from(whole(size)?) {
        Ok(size) if size > 0 => Ok(of_list(list(values)?.chunks(size).map(|part| of_list(part.to_vec())).collect())),
        _ => fail("it takes a size of 1 or more"),
    }
}

/// `slice list from to`: sprig's, which takes the place of Go's and knows lists only.
fn slice(args: &[Value]) -> Answer {
    let Some((values, bounds)) = args.split_first() else {
        return fail("it takes a list");
    };
    let values = list(values)?;
    let bound = |at: usize, missing: usize| match bounds.get(at) {
        Some(value) => usize::try_from(whole(value)?).or_else(|_| fail("it takes bounds of 0 or more")),
        None => Ok(missing),
    };
    match values.get(bound(0, 0)?..bound(1, values.len())?) {
        Some(part) => Ok(of_list(part.to_vec())),
        None => fail(format!("the list has only {} items", values.len())),
    }
}

// === dicts ===

type Entries = BTreeMap<Arc<str>, Value>;

fn dict(args: &[Value]) -> Answer {
    let pairs = args.chunks(2).map(|pair| {
        let name = pair.first().map(text_of).unwrap_or_default();
        (name.into(), pair.get(1).cloned().unwrap_or_else(|| "".into()))
    });
    Ok(of_map(map_of(pairs)))
}

fn keys(args: &[Value]) -> Answer {
    let mut keys = Vec::new();
    for value in args {
        keys.extend(map(value)?.keys().map(|key| Value::from(key.as_ref())));
    }
    Ok(of_list(keys))
}

fn pluck(args: &[Value]) -> Answer {
    let Some((key, maps)) = args.split_first() else {
        return fail("it takes a key, and dicts");
    };
    let key = text(key)?;
    let mut found = Vec::new();
    for value in maps {
        found.extend(map(value)?.get(key).cloned());
    }
    Ok(of_list(found))
}

fn picked(args: &[Value], wanted: bool) -> Answer {
    let Some((values, keys)) = args.split_first() else {
        return fail("it takes a dict, and keys");
    };
    let keys = keys.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    charge(|work| work.steps(map(values).map_or(0, |map| map.len()).saturating_mul(keys.len())))?;
    let entries = map(values)?.iter().filter(|(key, _)| keys.contains(&key.as_ref()) == wanted);
    Ok(of_map(map_of(entries.map(|(key, value)| (Arc::clone(key), value.clone())))))
}

/// The first dict with what the others add, or put in place of its own.
fn merge(args: &[Value], overwrites: bool) -> Answer {
    let mut merged = Entries::new();
    for value in args {
        add(&mut merged, map(value)?, overwrites);
    }
    Ok(of_map(merged))
}

/// Dicts are in each other at most as deep as a value may be, so this ends.
fn add(into: &mut Entries, from: &Entries, overwrites: bool) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Map(inner)), Value::Map(value)) => add(Arc::make_mut(inner), value, overwrites),
            (Some(there), value) if overwrites || !there.is_truthy() => *there = value.clone(),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(Arc::clone(key), value.clone());
            }
        }
    }
}

/// `dig "a" "b" default dict`
fn dig(args: &[Value]) -> Answer {
    let [keys @ .., default, values] = args else {
        return fail("it takes keys, a default and a dict");
    };
    let mut value = values;
    for key in keys {
        match map(value)?.get(text(key)?) {
            Some(inner) => value = inner,
            None => return Ok(default.clone()),
        }
    }
    Ok(value.clone())
}

// === defaults and kinds ===

/// `default value given`
fn default(args: &[Value]) -> Answer {
    match args {
        [value] => Ok(value.clone()),
        [value, given] => Ok(if given.is_truthy() { given } else { value }.clone()),
        _ => fail("it takes a default and a value"),
    }
}

/// `ternary yes no condition`
fn ternary(args: &[Value]) -> Answer {
    let [yes, no, condition] = exactly(args)?;
    match condition {
        Value::Bool(condition) => Ok(if *condition { yes } else { no }.clone()),
        _ => fail("its condition is to be a boolean"),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
        Value::Function(_) => "func",
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        other => kind(other),
    }
}
