//! Hashes, base64, base32 and JSON.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gotmpl::{ToValue, Value};
use ring_crypto::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use serde_json::ser::{CompactFormatter, PrettyFormatter};
use sha3::{Digest, Sha3_256};

use super::Table;
use crate::template::cost::charge;
use crate::template::value::{Answer, exactly, fail, of_list, of_map, text};
use crate::{json, number};
use base::maps::map_of;

pub const FUNCTIONS: Table = &[
    // Promtail's own. They only put the two texts together.
    ("Hash", |args| two(args, |text| hexadecimal(&Sha3_256::digest(text)))),
    ("Sha2Hash", |args| two(args, |text| hexadecimal(digest(&SHA256, text).as_ref()))),
    ("adler32sum", |args| one(args, |text| adler32(text.as_bytes()).to_string())),
    ("b32dec", |args| one(args, base32_decoded)),
    ("b32enc", |args| one(args, |text| base32(text.as_bytes()))),
    ("b64dec", |args| one(args, base64_decoded)),
    ("b64enc", |args| one(args, |text| STANDARD.encode(text))),
    ("fromJson", |args| Ok(parsed(args).unwrap_or(Value::Nil))),
    ("mustFromJson", parsed),
    ("mustToJson", to_json),
    ("mustToPrettyJson", to_pretty_json),
    ("mustToRawJson", to_raw_json),
    ("sha1sum", |args| one(args, |text| hash(&SHA1_FOR_LEGACY_USE_ONLY, text))),
    ("sha256sum", |args| one(args, |text| hash(&SHA256, text))),
    ("sha512sum", |args| one(args, |text| hash(&SHA512, text))),
    ("toJson", to_json),
    ("toPrettyJson", to_pretty_json),
    ("toRawJson", to_raw_json),
];

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn one(args: &[Value], map: impl Fn(&str) -> String) -> Answer {
    let [value] = exactly(args)?;
    Ok(map(text(value)?).into())
}

fn two(args: &[Value], map: impl Fn(&[u8]) -> String) -> Answer {
    let [first, second] = exactly(args)?;
    Ok(map(format!("{}{}", text(first)?, text(second)?).as_bytes()).into())
}

// === hashes ===

fn hash(algorithm: &'static Algorithm, text: &str) -> String {
    hexadecimal(digest(algorithm, text.as_bytes()).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a text cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn adler32(bytes: &[u8]) -> u32 {
    const PRIME: u32 = 65_521;
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % PRIME;
        (low, (high + low) % PRIME)
    });
    high << 16 | low
}

// === base64 and base32 ===

/// Bytes in memory for a byte of JSON, at worst.
const PARSED: usize = 32;

/// What cannot be decoded gives the complaint as text, as sprig does.
fn base64_decoded(text: &str) -> String {
    match STANDARD.decode(text) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("illegal base64 data: {error}"),
    }
}

fn base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let mut padded = [0; 8];
        padded[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(padded);
        let digits = (chunk.len() * 8).div_ceil(5);
        for index in 0..8 {
            let digit = (bits >> (35 - 5 * index)) & 31;
            out.push(if index < digits { char::from(BASE32[digit as usize]) } else { '=' });
        }
    }
    out
}

fn base32_decoded(text: &str) -> String {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for (index, c) in digits.bytes().enumerate() {
        let Some(digit) = BASE32.iter().position(|known| *known == c) else {
            return format!("illegal base32 data at input byte {index}");
        };
        // At most 12 bits are held, so this stays small.
        bits = (bits & 0xFF) << 5 | digit as u32;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

// === JSON ===

fn parsed(args: &[Value]) -> Answer {
    let [value] = exactly(args)?;
    // Two bytes are a value of some dozens.
    charge(|work| work.grow(text(value).map_or(0, str::len).saturating_mul(PARSED)))?;
    match serde_json::from_str(text(value)?) {
        Ok(value) => Ok(from_json(value)),
        // The text is somebody's log: where it went wrong is enough.
        Err(error) => fail(format!("it is not JSON (line {}, column {})", error.line(), error.column())),
    }
}

fn from_json(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => value.to_value(),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Array(values) => of_list(values.into_iter().map(from_json).collect()),
        serde_json::Value::Object(values) => {
            of_map(map_of(values.into_iter().map(|(name, value)| (name.into(), from_json(value)))))
        }
    }
}

fn into_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Uint(value) => (*value).into(),
        // A whole number has no point in Go.
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => (*value as i64).into(),
        Value::Float(value) if value.is_finite() => (*value).into(),
        Value::Float(value) => number::plain(*value).into(),
        Value::String(text) => text.as_ref().into(),
        Value::List(values) => values.iter().map(into_json).collect(),
        Value::Map(values) => {
            let mut object = serde_json::Map::new();
            object.extend(values.iter().map(|(name, value)| (name.to_string(), into_json(value))));
            object.into()
        }
    }
}

fn to_json(args: &[Value]) -> Answer {
    let [value] = exactly(args)?;
    Ok(json::html_escaped(&json::written(&into_json(value), CompactFormatter)).into())
}

fn to_pretty_json(args: &[Value]) -> Answer {
    let [value] = exactly(args)?;
    Ok(json::html_escaped(&json::written(&into_json(value), PrettyFormatter::with_indent(b"  "))).into())
}

fn to_raw_json(args: &[Value]) -> Answer {
    let [value] = exactly(args)?;
    Ok(json::separators_escaped(&json::written(&into_json(value), CompactFormatter)).into())
}
