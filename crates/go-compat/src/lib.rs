//! What Go does and Rust does not, as far as Promtail's stages show it to people.
//!
//! A pipeline that works with Promtail is full of Go: its regular expressions, its templates, its reference times, its
//! way to print a number. Each file here is one of these, pure and by itself; its tests are the cases of Promtail and of Go that
//! are known.
//!
//! These are leaves: they import each other, `config`'s translator of regular expressions and its durations, and the patterns of
//! `relabel`; nothing else of ours.

#![forbid(unsafe_code)]

pub mod bytes_size;
pub mod duration;
pub mod go_regex;
pub mod json;
pub mod letters;
pub mod logfmt;
pub mod number;
pub mod pattern;
pub mod regexp;
pub mod template;
pub mod time_layout;
pub mod work;
pub mod zone;
