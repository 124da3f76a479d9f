//! The fields of a stage, decoded as Promtail's mapstructure decodes them.
//!
//! Keys count in any case and unknown ones are passed over. There are two ways to take a value: strictly, where a text must
//! be a text, and weakly, where texts, numbers and booleans become each other and a lone value is a list of one. Null is
//! the same as absent.

use crate::yaml::{Kind, Node, Place, Value};
use go_compat::number::{parse_float, plain};

/// Where and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub place: Place,
    pub reason: String,
}

/// What a stage was given, as a map.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'n> {
    place: Place,
    pairs: &'n [(Node, Node)],
    weak: bool,
}

/// What decoding answers.
pub type Decoded<T> = Result<T, Wrong>;

// === impl Wrong ===

impl Wrong {
    pub fn new(place: Place, reason: impl Into<String>) -> Self {
        Self { place, reason: reason.into() }
    }

    /// The same, `context` before its reason.
    #[must_use]
    pub fn within(self, context: &str) -> Self {
        Self { reason: format!("{context}: {}", self.reason), ..self }
    }
}

// === impl Fields ===

impl<'n> Fields<'n> {
    /// For a stage that takes every value as it was typed.
    pub fn strict(node: &'n Node) -> Decoded<Self> {
        Self::of(node, false)
    }

    /// For a stage that takes `"5"` for 5 and the other way round.
    pub fn weak(node: &'n Node) -> Decoded<Self> {
        Self::of(node, true)
    }

    fn of(node: &'n Node, weak: bool) -> Decoded<Self> {
        let pairs: &[(Node, Node)] = match &node.value {
            Value::Map(pairs) => pairs,
            _ if node.is_null() => &[],
            _ => return Err(Wrong::new(node.place, format!("expected a map, got '{}'", go_type(node)))),
        };
        Ok(Self { place: node.place, pairs, weak })
    }

    /// A complaint about the stage as a whole.
    pub fn wrong<T>(&self, reason: impl Into<String>) -> Decoded<T> {
        Err(Wrong::new(self.place, reason))
    }

    /// A complaint about one of its fields.
    pub fn wrong_at<T>(&self, name: &str, reason: impl Into<String>) -> Decoded<T> {
        let place = self.find(name).map_or(self.place, |node| node.place);
        Err(Wrong::new(place, reason))
    }

    /// The value of a field, if there is one.
    pub fn find(&self, name: &str) -> Option<&'n Node> {
        let key = |(key, _): &&(Node, Node)| is_text(key) && key.text() == Some(name);
        let any_case = |(key, _): &&(Node, Node)| {
            is_text(key) && key.text().is_some_and(|key| key.to_lowercase() == name.to_lowercase())
        };
        let found = self.pairs.iter().find(key).or_else(|| self.pairs.iter().find(any_case));
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Decoded<Option<String>> {
        self.find(name).map(|node| text(name, node, self.weak)).transpose()
    }

    pub fn flag(&self, name: &str) -> Decoded<Option<bool>> {
        let Some(node) = self.find(name) else { return Ok(None) };
        let flag = match &node.value {
            Value::Scalar { text, kind: Kind::Bool } => Some(text.eq_ignore_ascii_case("true")),
            Value::Scalar { text, kind: Kind::Text } if self.weak => parse_bool(text),
            Value::Scalar { .. } if self.weak => node.float().map(|number| number != 0.0),
            _ => None,
        };
        flag.map(Some).ok_or_else(|| unfit(name, "bool", node))
    }

    pub fn float(&self, name: &str) -> Decoded<Option<f64>> {
        self.find(name).map(|node| float(name, node, self.weak)).transpose()
    }

    /// A whole number; fractions are cut off, as mapstructure does it.
    pub fn whole(&self, name: &str) -> Decoded<Option<i128>> {
        let Some(node) = self.find(name) else { return Ok(None) };
        let number = match &node.value {
            Value::Scalar { kind: Kind::Int, .. } => node.signed(),
            Value::Scalar { kind: Kind::Float, .. } => node.float().map(|number| number as i128),
            Value::Scalar { text, kind: Kind::Bool } if self.weak => {
                Some(i128::from(text.eq_ignore_ascii_case("true")))
            }
            Value::Scalar { text, kind: Kind::Text } if self.weak => {
                if text.is_empty() {
                    Some(0)
                } else {
                    text.parse().ok()
                }
            }
            _ => None,
        };
        number.map(Some).ok_or_else(|| unfit(name, "int", node))
    }

    pub fn texts(&self, name: &str) -> Decoded<Option<Vec<String>>> {
        self.find(name).map(|node| texts(name, node, self.weak)).transpose()
    }

    pub fn floats(&self, name: &str) -> Decoded<Option<Vec<f64>>> {
        let Some(node) = self.find(name) else { return Ok(None) };
        let Value::List(items) = &node.value else { return Err(no_list(name, node)) };
        items.iter().map(|item| float(name, item, self.weak)).collect::<Result<_, _>>().map(Some)
    }

    /// A map of texts; one without a value is `None`.
    pub fn map(&self, name: &str) -> Decoded<Option<TextMap>> {
        self.find(name).map(|node| text_map(name, node)).transpose()
    }
}

/// Pairs sorted by key.
pub type TextMap = Vec<(String, Option<String>)>;

/// A map of texts, strictly.
pub fn text_map(name: &str, node: &Node) -> Decoded<TextMap> {
    let pairs: &[(Node, Node)] = match &node.value {
        Value::Map(pairs) => pairs,
        _ if node.is_null() => &[],
        _ => return Err(Wrong::new(node.place, format!("'{name}' expected a map, got '{}'", go_type(node)))),
    };
    let pair = |(key, value): &(Node, Node)| {
        let key = text(name, key, false)?;
        let value = if value.is_null() { None } else { Some(text(&format!("{name}[{key}]"), value, false)?) };
        Ok((key, value))
    };
    let mut map: TextMap = pairs.iter().map(pair).collect::<Decoded<_>>()?;
    map.sort_unstable();
    Ok(map)
}

/// A list of texts.
pub fn texts(name: &str, node: &Node, weak: bool) -> Decoded<Vec<String>> {
    match &node.value {
        Value::List(items) => {
            let item = |item: &Node| if item.is_null() { Ok(String::new()) } else { text(name, item, weak) };
            items.iter().map(item).collect()
        }
        _ if weak => Ok(vec![text(name, node, weak)?]),
        _ => Err(no_list(name, node)),
    }
}

fn text(name: &str, node: &Node, weak: bool) -> Decoded<String> {
    match &node.value {
        Value::Scalar { text, kind: Kind::Text } => Ok(text.clone()),
        Value::Scalar { text, kind: Kind::Bool } if weak => {
            Ok(if text.eq_ignore_ascii_case("true") { "1" } else { "0" }.to_owned())
        }
        Value::Scalar { kind: Kind::Int | Kind::Float, .. } if weak => {
            let number = node.signed().map(|number| number.to_string());
            number.or_else(|| node.float().map(plain)).ok_or_else(|| unfit(name, "string", node))
        }
        _ => Err(unfit(name, "string", node)),
    }
}

fn float(name: &str, node: &Node, weak: bool) -> Decoded<f64> {
    let number = match &node.value {
        Value::Scalar { kind: Kind::Int | Kind::Float, .. } => node.float(),
        Value::Scalar { text, kind: Kind::Bool } if weak => {
            Some(if text.eq_ignore_ascii_case("true") { 1.0 } else { 0.0 })
        }
        Value::Scalar { text, kind: Kind::Text } if weak => {
            if text.is_empty() {
                Some(0.0)
            } else {
                parse_float(text)
            }
        }
        _ => None,
    };
    number.ok_or_else(|| unfit(name, "float64", node))
}

/// Go's `strconv.ParseBool`, and nothing for false as mapstructure has it.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn is_text(node: &Node) -> bool {
    matches!(node.value, Value::Scalar { kind: Kind::Text, .. })
}

fn unfit(name: &str, wanted: &str, node: &Node) -> Wrong {
    let value = node.text().map(|text| format!(", value: '{text}'")).unwrap_or_default();
    let got = go_type(node);
    Wrong::new(node.place, format!("'{name}' expected type '{wanted}', got unconvertible type '{got}'{value}"))
}

fn no_list(name: &str, node: &Node) -> Wrong {
    let got = go_type(node);
    Wrong::new(node.place, format!("'{name}': source data must be an array or slice, got {got}"))
}

/// What Go calls it.
fn go_type(node: &Node) -> &'static str {
    match &node.value {
        Value::Scalar { kind, .. } => match kind {
            Kind::Null => "nil",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Float => "float64",
            Kind::Text => "string",
        },
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        crate::yaml::parse(text).unwrap().unwrap()
    }

    #[test]
    fn strict_fields_take_what_was_typed() {
        let node = node("{Text: a, n: 5, f: 1.5, b: true, l: [x, y], m: {k: , q: v}, none: }");
        let fields = Fields::strict(&node).unwrap();
        assert_eq!(fields.text("text"), Ok(Some("a".to_owned())));
        assert_eq!(fields.text("none"), Ok(None));
        assert_eq!(fields.text("absent"), Ok(None));
        assert_eq!(fields.flag("b"), Ok(Some(true)));
        assert_eq!(fields.float("n"), Ok(Some(5.0)));
        assert_eq!(fields.texts("l"), Ok(Some(vec!["x".to_owned(), "y".to_owned()])));
        let pairs = vec![("k".to_owned(), None), ("q".to_owned(), Some("v".to_owned()))];
        assert_eq!(fields.map("m"), Ok(Some(pairs)));
        for (error, expected) in [
            (fields.text("n").unwrap_err(), "'n' expected type 'string', got unconvertible type 'int', value: '5'"),
            (
                fields.flag("Text").unwrap_err(),
                "'Text' expected type 'bool', got unconvertible type 'string', value: 'a'",
            ),
            (fields.texts("text").unwrap_err(), "'text': source data must be an array or slice, got string"),
            (fields.map("l").unwrap_err(), "'l' expected a map, got '[]interface {}'"),
        ] {
            assert_eq!(error.reason, expected);
        }
    }

    #[test]
    fn weak_fields_become_each_other() {
        let node = node("{a: 5, b: '0.5', c: 'true', d: x, e: 0x10, f: true, g: '', h: -1, i: 1.5}");
        let fields = Fields::weak(&node).unwrap();
        assert_eq!(fields.text("a"), Ok(Some("5".to_owned())));
        assert_eq!(fields.text("e"), Ok(Some("16".to_owned())));
        assert_eq!(fields.text("f"), Ok(Some("1".to_owned())));
        assert_eq!(fields.text("i"), Ok(Some("1.5".to_owned())));
        assert_eq!(fields.float("b"), Ok(Some(0.5)));
        assert_eq!(fields.flag("c"), Ok(Some(true)));
        assert_eq!(fields.flag("g"), Ok(Some(false)));
        assert_eq!(fields.flag("a"), Ok(Some(true)));
        assert_eq!(fields.texts("d"), Ok(Some(vec!["x".to_owned()])));
        assert_eq!(fields.whole("h"), Ok(Some(-1)));
        assert_eq!(fields.whole("i"), Ok(Some(1)));
        assert!(fields.flag("d").is_err() && fields.float("d").is_err() && fields.whole("d").is_err());
    }
}
