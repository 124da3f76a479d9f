//! Presets: pipelines for logs that many programs print, by name.
//!
//! Each is a text of its own in `presets/`, a list of stages as anybody would write it, so that `loki-rs pipeline show`
//! has what is needed to change one. What all of them keep to:
//!
//! * `level` becomes a label, and is one of seven words, so that no line can make a stream of its own. A level that
//!   none of them is known for gives no label.
//! * Ids of traces and spans become structured metadata.
//! * The time of a line counts only where it says its offset, and is finer than a second: Loki takes two equal lines of
//!   one time for one.
//! * Blocks wait for one second at most.

use base::refusal::quote;
use base::suggestion::hint;

/// A pipeline with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    /// A YAML list of stages that begins in the first column: one behind the other, they are a list as well.
    pub text: &'static str,
}

macro_rules! preset {
    ($name:literal) => {
        Preset { name: $name, text: include_str!(concat!("presets/", $name, ".yaml")) }
    };
}

/// All there are.
pub const PRESETS: [Preset; 11] = [
    preset!("json"),
    preset!("logfmt"),
    preset!("nginx"),
    preset!("java"),
    preset!("python"),
    preset!("go"),
    preset!("postgres"),
    preset!("redact-email"),
    preset!("redact-ipv4"),
    preset!("redact-bearer"),
    preset!("redact-card"),
];

/// The stages of `names`, with commas between them, as one YAML list.
///
/// # Errors
/// A sentence about the first name that is unknown or repeated.
pub fn expand(names: &str) -> Result<String, String> {
    let mut found: Vec<Preset> = Vec::new();
    for name in names.split(',').map(str::trim) {
        let preset = PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| unknown(name))?;
        if found.contains(preset) {
            // Its metadata would be, too.
            return Err(format!("{name} is there twice"));
        }
        found.push(*preset);
    }
    Ok(found.iter().map(|preset| preset.text).collect())
}

fn unknown(name: &str) -> String {
    let hint = hint(name, PRESETS.iter().map(|preset| preset.name));
    format!("{} is not a preset, {hint}", quote(name))
}
