//! logfmt, as `github.com/go-logfmt/logfmt` writes it, which is what Docker, Grafana and Loki read it with.
//!
//! A value is in quotes when it is empty or has a blank, a quote, `=`, a control character or U+FFFD in it; the escapes in
//! quotes are those of JSON.

use super::event::{Fitted, Plain, escape};

/// `level=info msg="…" name=value`, without a newline.
pub fn write(line: &Fitted) -> String {
    let mut out = format!("level={} msg=", line.level);
    // A message is a sentence; one of a single word looks like the others.
    quote(&line.message, &mut out);
    for (name, value) in &line.fields {
        out.push(' ');
        out.push_str(name);
        out.push('=');
        match value {
            Plain::Text(text) if is_quoted(text) => quote(text, &mut out),
            Plain::Text(text) | Plain::Literal(text) => out.push_str(text),
        }
    }
    out
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

fn is_quoted(text: &str) -> bool {
    let needs = |c: char| {
        c <= ' ' || c.is_control() || matches!(c, '=' | '"' | '\u{2028}' | '\u{2029}' | char::REPLACEMENT_CHARACTER)
    };
    text.is_empty() || text.chars().any(needs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::LONGEST;
    use super::super::event::tests::{Given, anything, is_of, line, one_line};
    use super::*;
    use go_compat::logfmt;

    fn written(message: &str, fields: &[(&str, &str)]) -> String {
        let fields: Given = fields.iter().map(|(name, text)| ((*name).to_owned(), Ok((*text).to_owned()))).collect();
        write(&line(message, &fields).fit(LONGEST))
    }

    #[test]
    fn values_are_quoted_where_they_have_to_be() {
        for (value, expected) in [
            ("plain", "plain"),
            ("http://loki:3100/loki/api/v1/push", "http://loki:3100/loki/api/v1/push"),
            ("C:\\temp", "C:\\temp"),
            ("é😀", "é😀"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("say \"x\" \\", "\"say \\\"x\\\" \\\\\""),
            ("a\nb\r\tc\u{1b}[0m\u{7f}\u{85}", "\"a\\nb\\r\\tc\\u001b[0m\\u007f\\u0085\""),
            ("\u{2028}", "\"\\u2028\""),
            ("\u{fffd}", "\"\u{fffd}\""),
        ] {
            assert_eq!(written("it", &[("value", value)]), format!("level=info msg=\"it\" value={expected}"));
        }
    }

    proptest! {
        #[test]
        fn anything_is_one_line_that_reads_back((message, fields) in anything()) {
            let (line, text) = one_line(&message, &fields, write);
            let pairs = logfmt::pairs(text.as_bytes());
            let mut read = pairs.iter().map(|(name, value)| (*name, String::from_utf8(value.clone()).unwrap()));
            prop_assert_eq!(read.next(), Some(("level", "info".to_owned())));
            let (name, said) = read.next().unwrap();
            prop_assert!(name == "msg" && is_of(&said, &message));
            let read: Vec<_> = read.collect();
            prop_assert_eq!(read.len(), line.fields.len());
            for ((name, value), (_, given)) in read.iter().zip(&fields).take(64) {
                prop_assert!(line.fields.iter().filter(|(other, _)| name == other).count() == 1, "{}", name);
                match given {
                    Ok(text) => prop_assert!(is_of(value, text), "{} of {}", value, text),
                    Err(number) => prop_assert_eq!(value, &number.to_string()),
                }
            }
        }
    }
}
