//! JSON, one object a line. Numbers are numbers.

use super::event::{Fitted, Plain, escape};

/// `{"level":"info","msg":"…","name":…}`, without a newline.
pub fn write(line: &Fitted) -> String {
    let mut out = String::from("{");
    member("level", &mut out);
    quote(line.level, &mut out);
    out.push(',');
    member("msg", &mut out);
    quote(&line.message, &mut out);
    for (name, value) in &line.fields {
        out.push(',');
        member(name, &mut out);
        match value {
            Plain::Text(text) => quote(text, &mut out),
            Plain::Literal(literal) => out.push_str(literal),
        }
    }
    out.push('}');
    out
}

fn member(name: &str, out: &mut String) {
    quote(name, out);
    out.push(':');
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::event::tests::{anything, is_of, one_line};
    use super::*;

    proptest! {
        #[test]
        fn anything_is_one_line_that_reads_back((message, fields) in anything()) {
            let (line, text) = one_line(&message, &fields, write);
            let read: Map<String, Value> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read["level"], "info");
            prop_assert!(is_of(read["msg"].as_str().unwrap(), &message));
            prop_assert_eq!(read.len(), line.fields.len() + 2);
            for ((name, _), (_, given)) in line.fields.iter().zip(&fields).take(64) {
                match given {
                    Ok(text) => prop_assert!(is_of(read[name].as_str().unwrap(), text)),
                    Err(number) => prop_assert_eq!(read[name].as_i64(), Some(*number)),
                }
            }
        }
    }
}
