//! Entries as JSON, one a line.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::nanoseconds;
use promtail::pipeline::{Entry, Labels, Value};

/// What is read.
#[derive(Debug, Deserialize)]
struct Input {
    line: Option<String>,
    line_base64: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    timestamp: Option<String>,
    #[serde(default)]
    extracted: BTreeMap<String, Json>,
    #[serde(default)]
    extracted_base64: BTreeMap<String, String>,
    #[serde(default)]
    structured_metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Metadata {
    Map(BTreeMap<String, String>),
    Pairs(Vec<(String, String)>),
}

/// What is written.
#[derive(Debug, Serialize)]
struct Output<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_base64: Option<String>,
    labels: BTreeMap<&'e str, &'e str>,
    timestamp: String,
    structured_metadata: Vec<(&'e str, &'e str)>,
    extracted: BTreeMap<&'e str, Json>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extracted_base64: BTreeMap<&'e str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'e str>,
}

// === impl Metadata ===

impl Default for Metadata {
    fn default() -> Self {
        Metadata::Pairs(Vec::new())
    }
}

/// One line of the input.
pub fn read(line: &[u8], now: i64) -> Result<Entry, String> {
    let input: Input = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let line = match (input.line, input.line_base64) {
        (_, Some(line)) => decode(&line)?,
        (Some(line), None) => line.into_bytes(),
        (None, None) => return Err("neither \"line\" nor \"line_base64\" is there".to_owned()),
    };
    let labels: Labels = input.labels.iter().collect();
    let timestamp = match input.timestamp.map(|text| (text.parse::<Timestamp>(), text)) {
        Some((Ok(time), _)) => nanoseconds(time),
        Some((Err(_), text)) => return Err(format!("{text:?} is not a time (try 2024-01-31T12:00:00Z)")),
        None => now,
    };
    let mut entry = Entry { line, labels, timestamp, ..Entry::default() };
    let extracted = input.extracted.into_iter().map(|(name, value)| (name.into(), value_of(&value)));
    entry.extracted.extend(extracted);
    for (name, text) in input.extracted_base64 {
        entry.extracted.insert(name.into(), Value::from(decode(&text)?));
    }
    let pairs = match input.structured_metadata {
        Metadata::Map(map) => map.into_iter().collect(),
        Metadata::Pairs(pairs) => pairs,
    };
    entry.structured_metadata = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Ok(entry)
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|error| format!("{text:?} is not base64: {error}"))
}

/// What is no scalar has no text, as null has none.
fn value_of(value: &Json) -> Value {
    match value {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::from(text.as_str()),
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Null,
    }
}

/// One line of the output.
pub fn write(entry: &Entry) -> Result<Vec<u8>, String> {
    let line = std::str::from_utf8(&entry.line).ok();
    let mut extracted = BTreeMap::new();
    let mut extracted_base64 = BTreeMap::new();
    for (name, value) in &entry.extracted {
        let value = match value {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::from(*flag),
            Value::Number(number) => Json::from(*number),
            Value::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Json::from(text),
                Err(_) => {
                    extracted_base64.insert(name.as_ref(), BASE64.encode(text));
                    continue;
                }
            },
        };
        extracted.insert(name.as_ref(), value);
    }
    let output = Output {
        line,
        line_base64: line.is_none().then(|| BASE64.encode(&entry.line)),
        labels: entry.labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect(),
        timestamp: time(entry.timestamp),
        structured_metadata: entry.structured_metadata.iter().map(|(name, value)| (&**name, &**value)).collect(),
        extracted,
        extracted_base64,
        tenant: entry.tenant(),
    };
    serde_json::to_vec(&output).map_err(|error| error.to_string())
}

/// RFC 3339 with nanoseconds.
pub fn time(timestamp: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(timestamp)) {
        Ok(time) => format!("{time:.9}"),
        Err(error) => error.to_string(),
    }
}
