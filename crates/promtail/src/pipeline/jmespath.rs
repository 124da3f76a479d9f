//! JMESPath with a bound: the crate parses, and this evaluates its trees.
//!
//! The crate's own evaluation has no end that one could set: `[@,@]|[@,@]|…` is 2 to the power of its length. Here each node that is
//! visited and each element that is collected is charged, and a value is paid for in full before a function, a comparison or a
//! caller looks at the whole of it. Values share their parts, so what counts is the size of the tree that they print as.
//!
//! Functions are the crate's. Those that evaluate an expression for each element do it here first.

mod cost;

use std::collections::BTreeMap;
use std::sync::Arc;

use jmespath::ast::Ast;
use jmespath::{Context, DEFAULT_RUNTIME, Rcvar, Variable};

use cost::{ELEMENT, NODE, TREE, object};
use go_compat::work::{Excess, Work};

/// Bytes of an expression.
const MAX_TEXT: usize = 64 * 1024;

/// An expression that was parsed.
#[derive(Debug, Clone)]
pub struct Expression {
    text: Arc<str>,
    ast: Arc<Ast>,
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It costs too much.
    Excess(Excess),
    /// The expression does not go with the document.
    Mistake,
}

type Found = Result<Rcvar, Failure>;

/// One evaluation.
struct Search<'a> {
    text: &'a str,
    work: &'a mut Work,
}

// === impl Expression ===

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("it has more than {MAX_TEXT} bytes"));
        }
        match jmespath::parse(text) {
            Ok(ast) => Ok(Self { text: text.into(), ast: Arc::new(ast) }),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().next().unwrap_or_default();
                Err(reason.trim_start_matches("Parse error: ").to_owned())
            }
        }
    }

    /// Its value in a document. The whole of it is paid for, so it may be printed.
    ///
    /// # Errors
    /// When `work` does not reach, or the expression does not go with the document.
    pub fn search(&self, document: &Rcvar, work: &mut Work) -> Found {
        let mut search = Search { text: &self.text, work };
        let found = search.eval(document, &self.ast)?;
        search.print(&found)?;
        Ok(found)
    }
}

// === impl Failure ===

impl From<Excess> for Failure {
    fn from(excess: Excess) -> Self {
        Self::Excess(excess)
    }
}

// === impl Search ===

impl Search<'_> {
    fn eval(&mut self, data: &Rcvar, node: &Ast) -> Found {
        self.work.steps(1)?;
        match node {
            Ast::Field { name, .. } => Ok(data.get_field(name)),
            Ast::Identity { .. } => Ok(data.clone()),
            Ast::Literal { value, .. } => Ok(value.clone()),
            Ast::Index { idx, .. } => Ok(match usize::try_from(*idx) {
                Ok(at) => data.get_index(at),
                Err(_) => data.get_negative_index(idx.unsigned_abs() as usize),
            }),
            Ast::Subexpr { lhs, rhs, .. } => {
                let left = self.eval(data, lhs)?;
                self.eval(&left, rhs)
            }
            Ast::Or { lhs, rhs, .. } => {
                let left = self.eval(data, lhs)?;
                if left.is_truthy() { Ok(left) } else { self.eval(data, rhs) }
            }
            Ast::And { lhs, rhs, .. } => {
                let left = self.eval(data, lhs)?;
                if left.is_truthy() { self.eval(data, rhs) } else { Ok(left) }
            }
            Ast::Not { node, .. } => {
                let value = self.eval(data, node)?;
                self.made(Variable::Bool(!value.is_truthy()))
            }
            Ast::Condition { predicate, then, .. } => {
                if self.eval(data, predicate)?.is_truthy() {
                    self.eval(data, then)
                } else {
                    self.made(Variable::Null)
                }
            }
            Ast::Comparison { comparator, lhs, rhs, .. } => {
                let (left, right) = (self.eval(data, lhs)?, self.eval(data, rhs)?);
                self.look(&left)?;
                self.look(&right)?;
                self.made(left.compare(comparator, &right).map_or(Variable::Null, Variable::Bool))
            }
            Ast::ObjectValues { node, .. } => match self.eval(data, node)?.as_object() {
                Some(object) => {
                    let values = object.values().cloned().collect();
                    self.list(values)
                }
                None => self.made(Variable::Null),
            },
            Ast::Projection { lhs, rhs, .. } => match self.eval(data, lhs)?.as_array() {
                None => self.made(Variable::Null),
                Some(elements) => {
                    let mut collected = Vec::new();
                    for element in elements {
                        let value = self.eval(element, rhs)?;
                        if !value.is_null() {
                            collected.push(value);
                        }
                    }
                    self.list(collected)
                }
            },
            Ast::Flatten { node, .. } => match self.eval(data, node)?.as_array() {
                None => self.made(Variable::Null),
                Some(elements) => {
                    let mut collected = Vec::new();
                    for element in elements {
                        let inner = element.as_array().map_or(std::slice::from_ref(element), Vec::as_slice);
                        self.work.steps(inner.len())?;
                        self.work.grow(size_of_val(inner))?;
                        collected.extend_from_slice(inner);
                    }
                    self.list(collected)
                }
            },
            Ast::MultiList { .. } | Ast::MultiHash { .. } if data.is_null() => self.made(Variable::Null),
            Ast::MultiList { elements, .. } => {
                let collected = elements.iter().map(|node| self.eval(data, node)).collect::<Result<_, _>>()?;
                self.list(collected)
            }
            Ast::MultiHash { elements, .. } => {
                let mut collected = BTreeMap::new();
                self.work.grow(object(elements.len()))?;
                for pair in elements {
                    self.work.grow(NODE + pair.key.len())?;
                    collected.insert(pair.key.clone(), self.eval(data, &pair.value)?);
                }
                self.made(Variable::Object(collected))
            }
            Ast::Function { name, args, .. } => {
                let args: Vec<Rcvar> = args.iter().map(|arg| self.eval(data, arg)).collect::<Result<_, _>>()?;
                self.call(name, args)
            }
            Ast::Expref { ast, .. } => {
                // It is copied, and the size of this part is unknown.
                self.work.bytes(self.text.len())?;
                self.work.grow(self.text.len().saturating_mul(TREE))?;
                self.made(Variable::Expref(ast.as_ref().clone()))
            }
            Ast::Slice { start, stop, step, .. } => match (step, data.as_array()) {
                (0, _) => Err(Failure::Mistake),
                (_, None) => self.made(Variable::Null),
                (_, Some(elements)) => {
                    self.work.steps(elements.len())?;
                    let part = data.slice(*start, *stop, *step).unwrap_or_default();
                    self.list(part)
                }
            },
        }
    }

    fn call(&mut self, name: &str, args: Vec<Rcvar>) -> Found {
        for arg in &args {
            self.look(arg)?;
        }
        self.pay(name, &args)?;
        let function = DEFAULT_RUNTIME.get_function(name).ok_or(Failure::Mistake)?;
        let mut context = Context::new(self.text, &DEFAULT_RUNTIME);
        let Some((args, pairs)) = self.for_each(name, &args)? else {
            let found = function.evaluate(&args, &mut context).map_err(|_| Failure::Mistake)?;
            return self.answered(found);
        };
        if !pairs {
            return self.list(args);
        }
        let found = function.evaluate(&args, &mut context).map_err(|_| Failure::Mistake)?;
        // Of each pair, the element.
        let found = match (name, found.as_array()) {
            ("sort_by", Some(sorted)) => self.list(sorted.iter().map(|pair| pair.get_index(0)).collect())?,
            _ => found.get_index(0),
        };
        self.answered(found)
    }

    /// For functions that evaluate an expression for each element of a list: what they are to be called with instead, and whether elements
    /// come with what the expression makes of them. That of `map` needs no call.
    fn for_each(&mut self, name: &str, args: &[Rcvar]) -> Result<Option<(Vec<Rcvar>, bool)>, Failure> {
        let (elements, expression) = match (name, args) {
            ("map", [expression, elements]) => (elements, expression),
            ("sort_by" | "max_by" | "min_by", [elements, expression]) => (elements, expression),
            _ => return Ok(None),
        };
        let (Some(elements), Some(ast)) = (elements.as_array(), expression.as_expref()) else { return Ok(None) };
        let mut values = Vec::with_capacity(elements.len());
        for element in elements {
            let value = self.eval(element, ast)?;
            if name == "map" {
                values.push(value);
                continue;
            }
            self.look(&value)?;
            let pair = self.list(vec![element.clone(), value])?;
            values.push(pair);
        }
        if name == "map" {
            return Ok(Some((values, false)));
        }
        let second = Variable::Expref(Ast::Index { offset: 0, idx: 1 });
        let pairs = self.list(values)?;
        Ok(Some((vec![pairs, Arc::new(second)], true)))
    }

    /// What a function of the crate answers; that it was made is paid for by then.
    fn answered(&mut self, value: Rcvar) -> Found {
        self.work.grow(NODE)?;
        Ok(value)
    }

    fn list(&mut self, elements: Vec<Rcvar>) -> Found {
        self.work.steps(elements.len())?;
        self.work.grow(elements.capacity() * ELEMENT)?;
        self.made(Variable::Array(elements))
    }

    fn made(&mut self, value: Variable) -> Found {
        self.work.grow(NODE)?;
        Ok(Arc::new(value))
    }
}

#[cfg(test)]
mod tests;
