//! What a template costs: the engine calls these functions on its way, and they charge the [`Work`] that is current.
//!
//! Three kinds of places are charged, so that nothing that repeats is free. Each body pays, when it begins, for all that
//! stands in it ([`paid`]): so do loops, and templates that call each other. Each function pays for what it gets
//! ([`charging`], [`weighed`]) and for what it answers ([`super::value::checked`]). And what is written pays
//! ([`super::engine::Output`]).

use std::sync::Arc;

use gotmpl::parse::{CommandNode, Expr, ListNode, Node, PipeNode};
use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};

use super::value::{Answer, MAX_BYTES, MAX_DEPTH, TOO_LONG, fail};
use crate::work::{self, Excess, Work};

/// What one run of a body costs, without the bodies inside of it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Price {
    pub steps: usize,
    /// Of texts that stand in it as constants.
    pub bytes: usize,
}

/// `pay STEPS BYTES`: false, so that the branch that asks it is not taken.
pub fn paid(args: &[Value]) -> Answer {
    let amount = |at: usize| match args.get(at) {
        Some(Value::Int(amount)) => usize::try_from(*amount).unwrap_or_default(),
        _ => 0,
    };
    charge(|work| work.steps(amount(0)).and_then(|()| work.bytes(amount(1))))?;
    Ok(Value::Bool(false))
}

/// The last argument, which is paid for.
pub fn weighed(args: &[Value]) -> Answer {
    let Some(value) = args.last() else {
        return Ok(Value::Nil);
    };
    charge(|work| weigh(value, work))?;
    Ok(value.clone())
}

/// The last argument, a format of `printf` that is paid for: widths make texts out of nothing, and an index such as `%[1]s`
/// writes one argument any number of times.
pub fn formatted(args: &[Value]) -> Answer {
    let Some(value) = args.last() else {
        return Ok(Value::Nil);
    };
    if let Value::String(format) = value {
        charge(|work| work.grow(most_written(format)))?;
    }
    Ok(value.clone())
}

/// Whether a format is known to write little more than its arguments.
pub fn is_plain(format: &str) -> bool {
    most_written(format) < 4096
}

/// Bytes that `printf` may write besides one copy of each argument.
fn most_written(format: &str) -> usize {
    let mut most = format.len();
    for verb in format.split('%').skip(1) {
        // The engine cuts a width to this.
        let most_wide = usize::from(u16::MAX);
        let head = verb.split(|c: char| c.is_alphabetic()).next().unwrap_or_default();
        if head.contains('[') {
            most += MAX_BYTES;
        }
        if head.contains('*') {
            most += 2 * most_wide;
        }
        let widths = head.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        most += widths.map(|digits| digits.parse().unwrap_or(most_wide).min(most_wide)).sum::<usize>();
    }
    most
}

/// The same functions, which pay for what they get, and tell what they refuse to make for its size.
pub fn charging(functions: FuncMap) -> FuncMap {
    let charging = functions.into_iter().map(|(name, function)| {
        let charging: ValueFunc = Arc::new(move |args: &[Value]| {
            charge(|work| args.iter().try_for_each(|value| weigh(value, work)))?;
            let answer = function(args);
            match &answer {
                Err(TemplateError::Exec(cause)) if cause.ends_with(TOO_LONG) => {
                    work::current(|work| work.exceed(Excess::Size));
                }
                _ => {}
            }
            answer
        });
        (name, charging)
    });
    charging.collect()
}

/// Charges the current work, in the words of the engine.
pub fn charge(charge: impl FnOnce(&mut Work) -> Result<(), Excess>) -> Result<(), TemplateError> {
    work::current(charge).or_else(|excess| fail(excess.to_string()))
}

/// Charges for a look at the whole of a value. What stands in it twice is looked at twice.
///
/// # Errors
/// When there is not enough left; a value that is too deep counts as too large.
pub fn weigh(value: &Value, work: &mut Work) -> Result<(), Excess> {
    weigh_at(value, MAX_DEPTH + 1, work)
}

fn weigh_at(value: &Value, depth: usize, work: &mut Work) -> Result<(), Excess> {
    if depth == 0 {
        return Err(work.exceed(Excess::Size));
    }
    match value {
        Value::String(text) => {
            work.bytes(text.len())?;
            // Most functions make something of it that is as long.
            work.grow(text.len())
        }
        Value::List(values) => {
            work.steps(values.len())?;
            work.grow(size_of_val(&values[..]))?;
            values.iter().try_for_each(|value| weigh_at(value, depth - 1, work))
        }
        Value::Map(values) => values.iter().try_for_each(|(name, value)| {
            work.steps(1)?;
            work.bytes(name.len())?;
            weigh_at(value, depth - 1, work)
        }),
        _ => Ok(()),
    }
}

/// Bytes that a comparison with a value looks at, at most: those of all its texts, and a little for each item.
pub fn flat_size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(values) => values.iter().map(|value| flat_size(value) + ITEM).sum(),
        Value::Map(values) => values.iter().map(|(name, value)| name.len() + flat_size(value) + ITEM).sum(),
        _ => 0,
    }
}

/// Units for one item of a list that is compared.
const ITEM: usize = 8;

// === impl Price ===

impl Price {
    pub fn of(list: &ListNode) -> Self {
        let mut price = Self { steps: 1, bytes: 0 };
        price.add(list);
        price
    }

    fn add(&mut self, list: &ListNode) {
        for node in &list.nodes {
            self.steps += 1;
            match node {
                Node::List(list) => self.add(list),
                Node::Text(text) => self.bytes += text.text.len(),
                Node::Action(action) => self.pipe(&action.pipe),
                Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.pipe(&branch.pipe),
                Node::Template(call) => call.pipe.iter().for_each(|pipe| self.pipe(pipe)),
                Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
    }

    fn pipe(&mut self, pipe: &PipeNode) {
        for CommandNode { args, .. } in &pipe.commands {
            self.steps += 1;
            args.iter().for_each(|word| self.word(word));
        }
    }

    fn word(&mut self, word: &Expr) {
        self.steps += 1;
        match word {
            Expr::String(_, text) => self.bytes += text.len(),
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, base, fields) => {
                self.steps += fields.len();
                self.word(base);
            }
            Expr::Field(_, fields) | Expr::Variable(_, _, fields) => self.steps += fields.len(),
            _ => {}
        }
    }
}
