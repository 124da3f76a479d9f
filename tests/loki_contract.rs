//! What loki-rs relies on of Loki, as scenarios that run against the fake Loki and a real one.
//!
//! A scenario is a function that talks HTTP to the server at a URL, so that both must give the same answers. It always
//! runs against the fake. It runs against a real Loki when `LOKI_URL` names one (`http://127.0.0.1:3100`), with default
//! limits and without tenants. Scenarios that need other limits are then named and skipped, unless a variable of their
//! own names a Loki that has those: `LOKI_URL_STREAM_RATE` for `special::stream_rate`, freshly started. Every scenario
//! writes under its own label values, so it can run again on the same Loki.
//!
//! - [`accepted`] what is stored, in which spellings, and what is read back
//! - [`refused`] what cannot be parsed, and with which status and sentence it is rejected
//! - [`limited`] what is rejected for exceeding a limit, and what happens to the rest
//! - [`lost`] what is lost, doubled or hidden behind a 204
//! - [`asked`] queries
//! - [`special`] the same under limits that are not the default

mod accepted;
mod asked;
mod limited;
mod lost;
mod refused;
pub mod special;
pub mod target;

use crate::standin::{Builder, Standin};
use std::panic::{AssertUnwindSafe, catch_unwind};
use target::Target;

/// A scenario for any Loki with default limits.
type Scene = (&'static str, fn(&Target));

/// A scenario for a Loki with special limits.
type SpecialScene = (&'static str, fn(Builder) -> Builder, fn(&Target));

macro_rules! scenes {
    ($($module:ident :: $name:ident,)*) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*]
    };
}

const SCENES: &[Scene] = scenes![
    accepted::stored_and_read_back,
    accepted::one_stream_in_many_spellings,
    accepted::values_come_back_as_they_were,
    accepted::no_labels_at_all,
    accepted::content_types_and_encodings,
    accepted::json,
    accepted::bytes_of_a_line,
    accepted::streams_and_lines_of_nothing,
    accepted::metadata,
    accepted::service_and_level_are_added,
    refused::label_strings,
    refused::duplicate_labels,
    limited::too_many_labels,
    limited::too_long_labels,
    refused::bodies_that_cannot_be_read,
    refused::bodies_that_are_too_large,
    refused::nothing_to_ingest,
    limited::too_long_lines,
    limited::too_old_and_too_new,
    refused::impossible_times,
    limited::metadata_over_its_limits,
    refused::metadata_without_a_name,
    limited::faults_are_counted_together,
    limited::more_than_the_burst,
    limited::more_than_a_message,
    lost::a_late_line_is_hidden_by_a_later_stream,
    lost::an_hour_exactly,
    lost::a_retry_of_what_has_become_late,
    lost::an_identical_retry,
    lost::an_identical_retry_beyond_the_head_block,
    lost::equal_lines_in_one_nanosecond,
    asked::direction_and_limit,
    asked::start_and_end,
    asked::filters,
    asked::labels_values_series_and_counts,
    asked::bad_questions,
    asked::other_methods_and_paths,
];

const SPECIAL: &[SpecialScene] = &[
    ("special::stream_rate", special::slow_streams, special::stream_rate),
    ("special::stream_rate_by_line", special::slow_unsharded_streams, special::stream_rate_by_line),
    ("special::stream_limit", special::few_streams, special::stream_limit),
    ("special::tenant_rate", special::slow_tenants, special::tenant_rate),
    ("special::no_metadata", special::without_metadata, special::no_metadata),
    ("special::no_discovery", special::without_discovery, special::no_discovery),
    ("special::blocked", special::with_ingestion_blocked, special::blocked),
    ("special::tenants", special::with_tenants, special::tenants),
];

#[test]
fn the_stand_in_keeps_the_contract() {
    let mut failed = Vec::new();
    for (name, play) in SCENES {
        let loki = Standin::start();
        perform(name, &loki.url(), *play, &mut failed);
    }
    for (name, prepare, play) in SPECIAL {
        let loki = prepare(Standin::builder()).start();
        perform(name, &loki.url(), *play, &mut failed);
    }
    assert!(failed.is_empty(), "the stand-in failed in {failed:?}");
}

#[test]
fn a_real_loki_keeps_the_contract() {
    let Ok(url) = std::env::var("LOKI_URL") else {
        println!("skipped: LOKI_URL names no real Loki");
        return;
    };
    let mut failed = Vec::new();
    for (name, play) in SCENES {
        perform(name, &url, *play, &mut failed);
    }
    for (name, _, play) in SPECIAL {
        let variable = name.replace("special::", "LOKI_URL_").to_ascii_uppercase();
        match std::env::var(&variable) {
            Ok(url) => perform(name, &url, *play, &mut failed),
            Err(_) => println!("skipped: {name} needs special limits, and {variable} is not set"),
        }
    }
    assert!(failed.is_empty(), "the Loki at {url} failed in {failed:?}");
}

/// Runs a scenario; a failure is printed, and does not stop the others.
fn perform(name: &'static str, url: &str, play: fn(&Target), failed: &mut Vec<&'static str>) {
    let target = Target::new(url, name);
    match catch_unwind(AssertUnwindSafe(|| play(&target))) {
        Ok(()) => println!("ok: {name}"),
        Err(_) => {
            println!("FAILED: {name} at {url}");
            failed.push(name);
        }
    }
}
