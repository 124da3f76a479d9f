//! Errors about unknown options.
//!
//! An option with a typing error in its name would have no effect, so each unknown option is rejected, with the option
//! that was probably meant.

use super::options::{OPTIONS, OptionError, RawOptions, spec};
use base::refusal::quote;
use base::suggestion::nearest as nearest_of;

/// The largest number of errors with text; further ones are only counted.
const MOST: usize = 10;

/// One error for each key that is not in the table, up to `MOST`.
pub fn complaints(typed: &RawOptions) -> Vec<OptionError> {
    let mut unknown = typed.0.keys().filter(|key| spec(key).is_none());
    let mut complaints: Vec<_> = unknown.by_ref().take(MOST).map(|key| complaint(key)).collect();
    let more = unknown.count();
    if more > 0 {
        let reason = format!("and {more} more are not options of loki-rs (loki-rs --help lists them)");
        complaints.push(OptionError { key: "further options".into(), reason });
    }
    complaints
}

/// The error does not show the value, because that of an unknown option may be a secret.
fn complaint(key: &str) -> OptionError {
    let hint = match nearest(key) {
        Some(near) => format!("did you mean {near}?"),
        None => "loki-rs --help lists them".to_owned(),
    };
    // A user typed the key as well, so it is escaped in the same way, without the quotes.
    let key = quote(key).trim_matches('"').to_owned();
    let reason = format!("is not an option of loki-rs ({hint})");
    OptionError { key, reason }
}

/// The option that was probably meant, also without its prefix or with underscores.
fn nearest(key: &str) -> Option<&'static str> {
    let typed = key.to_ascii_lowercase().replace('_', "-");
    let with_prefix = format!("loki-{typed}");
    // A key with more wrong letters is another word.
    let near = |typed: &str| nearest_of(typed, OPTIONS.iter().map(|spec| spec.key), |letters| letters / 4);
    let all = [near(&typed), near(&with_prefix)].into_iter().flatten();
    all.min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn thousands_of_unknown_keys_are_counted() {
        let keys = (0..20_000).map(|number| (format!("{number:05}{}", "x".repeat(1_000)), String::new()));
        let complaints: Vec<_> = complaints(&RawOptions(keys.collect())).iter().map(ToString::to_string).collect();
        assert_eq!(complaints.len(), 11);
        let more = "further options: and 19990 more are not options of loki-rs (loki-rs --help lists them)";
        assert_eq!(complaints[10], more);
        assert!(complaints.concat().len() < 5_000);
    }

    #[test]
    fn unknown_keys_are_refused_with_a_guess() {
        for (key, value, expected) in [
            ("loki-batchsize", "400", "loki-batchsize: is not an option of loki-rs (did you mean loki-batch-size?)"),
            ("LOKI_URL", "http://u:pw@loki/", "LOKI_URL: is not an option of loki-rs (did you mean loki-url?)"),
            ("timeout", "1s", "timeout: is not an option of loki-rs (did you mean loki-timeout?)"),
            ("label-regex", "x", "label-regex: is not an option of loki-rs (did you mean labels-regex?)"),
            ("loki-passwd", "hunter2", "loki-passwd: is not an option of loki-rs (did you mean loki-password?)"),
            ("template", "{{.ID}}", "template: is not an option of loki-rs (loki-rs --help lists them)"),
            ("a\nb", "c", "a\\nb: is not an option of loki-rs (loki-rs --help lists them)"),
        ] {
            let raw = RawOptions(BTreeMap::from([(key.to_owned(), value.to_owned())]));
            let errors: Vec<String> = complaints(&raw).iter().map(ToString::to_string).collect();
            assert_eq!(errors, [expected]);
        }
    }

    proptest! {
        #[test]
        fn a_single_typing_error_is_understood(
            index in 0..OPTIONS.len(), at in 0..32_usize, letter in "[a-z]",
        ) {
            let key = OPTIONS[index].key;
            prop_assume!(key.len() > 4);
            let at = at % key.len();
            let typed = format!("{}{letter}{}", &key[..at], &key[at + 1..]);
            // max-fize is as near to max-file as to max-size.
            prop_assert!(nearest(&typed).is_some_and(|near| strsim::osa_distance(&typed, near) <= 1), "{}", typed);
        }
    }
}
