//! Any map as a container's options: accepted or refused, in a sentence, without a panic and without a password.

#![no_main]

use std::collections::BTreeMap;

use dockerd::info::Info;
use libfuzzer_sys::fuzz_target;
use loki_rs::config::{OPTIONS, PluginDefaults, StreamOptions};
use loki_rs::streams::labels;

fuzz_target!(|input: Vec<(u8, String)>| {
    let mut options = BTreeMap::new();
    for (key, value) in input {
        options.insert(OPTIONS[usize::from(key) % OPTIONS.len()].key.to_owned(), value);
    }
    match StreamOptions::parse(&options, &PluginDefaults::default()) {
        Ok(options) => {
            let info = Info { container_id: "c".repeat(64), container_name: "/fuzz".into(), ..Info::default() };
            let _ = labels::build(&info, &options.labels, "host");
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
