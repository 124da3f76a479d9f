//! Numbers. Sprig accepts any value as a number; a value that is not a number is 0.

use gotmpl::{TemplateError, ToValue, Value};

use super::Table;
use crate::template::value::{Answer, MAX_ITEMS, exactly, fail, of_list, text, text_of, to_float, to_int, whole};
use crate::work::{self, Excess};

pub const FUNCTIONS: Table = &[
    ("add", |args| Ok(args.iter().map(to_int).fold(0, i64::wrapping_add).to_value())),
    ("add1", |args| Ok(to_int(&exactly::<1>(args)?[0]).wrapping_add(1).to_value())),
    ("add1f", |args| Ok((to_float(&exactly::<1>(args)?[0]) + 1.0).to_value())),
    ("addf", |args| floats(args, |a, b| a + b)),
    ("atoi", |args| Ok(text(&exactly::<1>(args)?[0])?.parse::<i64>().unwrap_or_default().to_value())),
    ("biggest", |args| wholes(args, i64::max)),
    ("ceil", |args| Ok(to_float(&exactly::<1>(args)?[0]).ceil().to_value())),
    ("div", |args| divided(args, i64::checked_div)),
    ("divf", |args| floats(args, |a, b| a / b)),
    ("float64", |args| Ok(to_float(&exactly::<1>(args)?[0]).to_value())),
    ("floor", |args| Ok(to_float(&exactly::<1>(args)?[0]).floor().to_value())),
    ("int", |args| Ok(to_int(&exactly::<1>(args)?[0]).to_value())),
    ("int64", |args| Ok(to_int(&exactly::<1>(args)?[0]).to_value())),
    ("max", |args| wholes(args, i64::max)),
    ("maxf", |args| floats(args, f64::max)),
    ("min", |args| wholes(args, i64::min)),
    ("minf", |args| floats(args, f64::min)),
    ("mod", |args| divided(args, i64::checked_rem)),
    ("mul", |args| wholes(args, i64::wrapping_mul)),
    ("mulf", |args| floats(args, |a, b| a * b)),
    ("randInt", random),
    ("round", round),
    ("seq", sequence),
    ("sub", |args| pair(args, i64::wrapping_sub)),
    ("subf", |args| floats(args, |a, b| a - b)),
    ("toDecimal", |args| Ok(i64::from_str_radix(&text_of(&exactly::<1>(args)?[0]), 8).unwrap_or_default().to_value())),
    ("until", |args| until(0, whole(&exactly::<1>(args)?[0])?, None)),
    ("untilStep", until_step),
];

fn wholes(args: &[Value], combine: impl Fn(i64, i64) -> i64) -> Answer {
    let combined = args.iter().map(to_int).reduce(combine);
    combined.map_or_else(|| fail("it takes a number"), |number| Ok(number.to_value()))
}

fn floats(args: &[Value], combine: impl Fn(f64, f64) -> f64) -> Answer {
    let combined = args.iter().map(to_float).reduce(combine);
    combined.map_or_else(|| fail("it takes a number"), |number| Ok(number.to_value()))
}

fn pair(args: &[Value], combine: impl Fn(i64, i64) -> i64) -> Answer {
    let [first, second] = exactly(args)?;
    Ok(combine(to_int(first), to_int(second)).to_value())
}

fn divided(args: &[Value], divide: impl Fn(i64, i64) -> Option<i64>) -> Answer {
    let [first, second] = exactly(args)?;
    match (divide(to_int(first), to_int(second)), to_int(second)) {
        (Some(number), _) => Ok(number.to_value()),
        (None, 0) => fail("it divides by zero"),
        // The one quotient that 64 bits do not hold; Go wraps around.
        (None, _) => Ok(to_int(first).to_value()),
    }
}

/// `round number places`; halves go away from zero, as `round 2.5 0` is 3. A third argument sets where to round up.
fn round(args: &[Value]) -> Answer {
    let (number, places, up) = match args {
        [number, places] => (to_float(number), whole(places)?, 0.5),
        [number, places, up] => (to_float(number), whole(places)?, to_float(up)),
        _ => return fail("it takes a number and a count of places"),
    };
    let power = 10_f64.powi(i32::try_from(places).unwrap_or_default());
    let digits = number * power;
    let fraction = digits.fract();
    let rounded = if fraction.abs() >= up { digits.trunc() + fraction.signum() } else { digits.trunc() };
    Ok((rounded / power).to_value())
}

fn random(args: &[Value]) -> Answer {
    let [from, to] = exactly(args)?;
    let (from, to) = (whole(from)?, whole(to)?);
    if from >= to {
        fail("it takes two numbers, the smaller one first")
    } else {
        Ok(fastrand::i64(from..to).to_value())
    }
}

// === sequences ===

fn steps(from: i64, to: i64, step: i64) -> Result<Vec<i64>, TemplateError> {
    let mut numbers = Vec::new();
    let mut number = from;
    while step != 0 && if step > 0 { number < to } else { number > to } {
        if numbers.len() == MAX_ITEMS {
            work::current(|work| work.exceed(Excess::Size));
            return fail(format!("it would give more than {MAX_ITEMS} numbers"));
        }
        numbers.push(number);
        match number.checked_add(step) {
            Some(next) => number = next,
            None => break,
        }
    }
    Ok(numbers)
}

fn until(from: i64, to: i64, step: Option<i64>) -> Answer {
    let step = step.unwrap_or(if to < from { -1 } else { 1 });
    Ok(of_list(steps(from, to, step)?.into_iter().map(|number| number.to_value()).collect()))
}

fn until_step(args: &[Value]) -> Answer {
    let [from, to, step] = exactly(args)?;
    until(whole(from)?, whole(to)?, Some(whole(step)?))
}

/// `seq last`, `seq first last`, `seq first step last`, as the command of this name; a text.
fn sequence(args: &[Value]) -> Answer {
    let numbers: Vec<i64> = args.iter().map(whole).collect::<Result<_, _>>()?;
    let towards = |first: i64, last: i64| if last < first { -1 } else { 1 };
    let (first, step, last) = match numbers[..] {
        [last] => (1, towards(1, last), last),
        [first, last] => (first, towards(first, last), last),
        [first, step, last] => (first, step, last),
        _ => return Ok("".into()),
    };
    let texts: Vec<String> =
        steps(first, last.saturating_add(step.signum()), step)?.iter().map(ToString::to_string).collect();
    Ok(texts.join(" ").into())
}
