//! `json`: extracts values from a JSON object.
//!
//! | field | type | default | meaning |
//! | --- | --- | --- | --- |
//! | `expressions` | map of name to JMESPath | required | without an expression, the name is one |
//! | `source` | text | the line | an extracted value to read |
//! | `drop_malformed` | boolean | false | drops lines that are no JSON object, and counts them as `json_stage` |
//!
//! Numbers, booleans and null are extracted as such, lists and objects as their JSON. What is not there is null.

use std::sync::Arc;

use jmespath::{Rcvar, Variable};
use serde_json::Value as Json_;

use super::{input, is_label_name};
use crate::pipeline::chain::{Context, Flow, Stage};
use crate::pipeline::entry::{Entry, Name, Value};
use crate::pipeline::fields::{Decoded, Fields};
use crate::pipeline::jmespath::{Expression, Failure};
use crate::pipeline::json_text::{bad_bytes, parse_object, push_value};
use crate::yaml::Node;
use go_compat::template::engine::contained;
use go_compat::work::{Excess, Work};

/// Signs of an expression of which each may be inside of the one before. It is parsed and evaluated by functions that call
/// themselves, and twice as many are more than the stack of a thread holds in a build for debugging.
const MAX_DEPTH: usize = 100;

/// Bytes of a text that is parsed. In memory it is some dozen times as large.
const MAX_DOCUMENT: usize = 512 << 10;

/// The reason under which lines are counted that `drop_malformed` drops.
const REASON: &str = "json_stage";

/// Units for a byte of JSON.
const PARSED: usize = 8;

#[derive(Clone)]
pub struct Json {
    expressions: Arc<Vec<(Name, Query)>>,
    /// Whether one of them has to see the document as JMESPath does.
    has_queries: bool,
    source: Option<Name>,
    drop_malformed: bool,
}

enum Query {
    /// `a.b.c`, which needs no more than a look.
    Path(Vec<String>),
    Expression(Expression),
}

// === impl Json ===

impl Json {
    pub fn read(node: &Node) -> Decoded<Self> {
        let fields = Fields::strict(node)?;
        let map = fields.map("expressions")?.unwrap_or_default();
        if map.is_empty() {
            return fields.wrong("JMES expression is required");
        }
        let mut expressions = Vec::with_capacity(map.len());
        for (name, expression) in map {
            let expression = expression.filter(|expression| !expression.is_empty()).unwrap_or_else(|| name.clone());
            match Query::parse(&expression) {
                Ok(query) => expressions.push((Name::from(name), query)),
                Err(reason) => {
                    let reason = format!("could not compile JMES expression: SyntaxError: {reason}");
                    return fields.wrong_at("expressions", reason);
                }
            }
        }
        let source = fields.text("source")?;
        if source.as_deref() == Some("") {
            return fields.wrong_at("source", "empty source");
        }
        let has_queries = expressions.iter().any(|(_, query)| matches!(query, Query::Expression(_)));
        let drop_malformed = fields.flag("drop_malformed")?.unwrap_or_default();
        let source = source.map(Name::from);
        Ok(Self { expressions: Arc::new(expressions), has_queries, source, drop_malformed })
    }
}

impl Stage for Json {
    fn process(&mut self, entry: &mut Entry, cx: &mut Context<'_>) -> Flow {
        match self.found(entry, cx.work()) {
            Ok(Some(found)) => entry.extracted.extend(found),
            Ok(None) if self.drop_malformed => return cx.drop(REASON),
            Ok(None) => {}
            // The chain asks the work.
            Err(_) => return Flow::Drop,
        }
        Flow::Pass
    }
}

impl Json {
    /// What there is to extract; `None` of a text that is no JSON object.
    fn found(&self, entry: &Entry, work: &mut Work) -> Result<Option<Vec<(Name, Value)>>, Excess> {
        let Some(text) = input(entry, self.source.as_ref()) else { return Ok(Some(Vec::new())) };
        if text.len() > MAX_DOCUMENT {
            return Err(work.exceed(Excess::Size));
        }
        work.bytes(text.len().saturating_mul(PARSED))?;
        let Some((document, mended)) = parse_object(&text) else { return Ok(None) };
        let variable: Option<Rcvar> =
            if self.has_queries { Variable::try_from(&document).ok().map(Arc::new) } else { None };
        let mut extracts = Vec::with_capacity(self.expressions.len());
        for (name, query) in self.expressions.iter() {
            work.steps(1)?;
            let value = match (query, &variable) {
                (Query::Path(path), _) => extracted(look_up(&document, path), mended),
                (Query::Expression(expression), Some(variable)) => match expression.search(variable, work) {
                    Ok(found) => match serde_json::to_value(&found) {
                        Ok(found) => extracted(&found, mended),
                        Err(_) => continue,
                    },
                    Err(Failure::Excess(excess)) => return Err(excess),
                    // A mistake that shows only now, as a function that does not exist, costs this one name.
                    Err(Failure::Mistake) => continue,
                },
                (Query::Expression(_), None) => continue,
            };
            if let Value::Text(text) = &value {
                work.bytes(text.len())?;
                work.grow(text.len())?;
            }
            extracts.push((name.clone(), value));
        }
        Ok(Some(extracts))
    }
}

/// A value of the document as it is extracted.
fn extracted(value: &Json_, mended: bool) -> Value {
    let text = |text: &[u8]| if mended { Value::from(bad_bytes(text)) } else { Value::from(text) };
    match value {
        Json_::Null => Value::Null,
        Json_::Bool(flag) => Value::Bool(*flag),
        Json_::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        Json_::String(string) => text(string.as_bytes()),
        Json_::Array(_) | Json_::Object(_) => {
            let mut json = Vec::new();
            push_value(&mut json, value);
            text(&json)
        }
    }
}

fn look_up<'d>(document: &'d Json_, path: &[String]) -> &'d Json_ {
    path.iter().try_fold(document, |value, key| value.get(key)).unwrap_or(&Json_::Null)
}

// === impl Query ===

impl Query {
    fn parse(text: &str) -> Result<Self, String> {
        if text.split('.').all(is_label_name) {
            return Ok(Self::Path(text.split('.').map(str::to_owned).collect()));
        }
        if text.bytes().filter(|b| b"([{!|.*?=<>&".contains(b)).count() > MAX_DEPTH {
            return Err(format!("there are more than {MAX_DEPTH} operators and brackets in it"));
        }
        let parsed = contained(|| Expression::parse(&within_bounds(text)));
        parsed.ok_or_else(|| "it cannot be compiled".to_owned())?.map(Self::Expression)
    }
}

/// The expression with no index, end or step of a slice that is further away than any list is long. It means the same, and
/// who evaluates it counts on with 32 bits.
fn within_bounds(text: &str) -> String {
    const LONGEST: usize = 9;
    let mut out = String::with_capacity(text.len());
    let (mut quote, mut rest) = (None, text);
    while let Some(c) = rest.chars().next() {
        let length = match (quote, c) {
            (Some(_), '\\') => rest.chars().take(2).map(char::len_utf8).sum(),
            (Some(open), _) => {
                quote = quote.filter(|_| c != open);
                c.len_utf8()
            }
            (None, '\'' | '"' | '`') => {
                quote = Some(c);
                c.len_utf8()
            }
            // A name with its digits, or a number.
            (None, _) => {
                let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(c.len_utf8())
            }
        };
        let (part, behind) = rest.split_at(length);
        let is_number = part.bytes().all(|b| b.is_ascii_digit());
        let is_far = is_number && part.trim_start_matches('0').len() > LONGEST;
        out.push_str(if is_far { "999999999" } else { part });
        rest = behind;
    }
    out
}
