//! The LogQL parser for tests without a Loki ([`crate::harness::logql`]) must agree with Loki.

use proptest::prelude::*;

use crate::harness::logql::parse;
use crate::loki_contract::target::Target;

/// Expressions, and whether Loki accepts them.
const TABLE: &str = include_str!("data/logql.txt");

fn rows() -> impl Iterator<Item = (&'static str, bool)> {
    TABLE.lines().filter_map(|line| match line.split_at_checked(2)? {
        ("+ ", expression) => Some((expression, true)),
        ("- ", expression) => Some((expression, false)),
        _ => None,
    })
}

/// The expressions for which `asked` disagrees with the table.
fn differing(asked: impl Fn(&str) -> Result<(), String>) -> Vec<String> {
    let differing = rows().filter_map(|(expression, taken)| match (asked(expression), taken) {
        (Ok(()), false) => Some(format!("{expression} is taken")),
        (Err(cause), true) => Some(format!("{expression} is refused: {cause}")),
        _ => None,
    });
    differing.collect()
}

#[test]
fn expressions_are_taken_and_refused_as_loki_does() {
    assert!(rows().filter(|(_, taken)| *taken).count() > 100);
    assert!(rows().filter(|(_, taken)| !taken).count() > 100);
    assert_eq!(differing(parse), [""; 0]);
}

#[test]
fn a_real_loki_says_what_the_table_says() {
    let Ok(url) = std::env::var("LOKI_URL") else {
        println!("skipped: LOKI_URL names no real Loki");
        return;
    };
    let loki = Target::new(&url, "logql");
    let ask = |expression: &str| {
        // The first path parses the whole expression, the second also what is between quotes.
        for path in ["format_query", "query_range"] {
            let reply = loki.ask(path, &[("query", expression), ("step", "15")]);
            if reply.status != 200 {
                return Err(reply.text());
            }
        }
        Ok(())
    };
    assert_eq!(differing(ask), [""; 0]);
}

#[test]
fn a_refusal_says_where_and_why() {
    for (expression, refusal) in [
        ("sum(rate({a=\"b\"}[5m])", "column 22: there is End where ) is to be"),
        ("sum_over_time({a=\"b\"}[5m])", "column 27: sum_over_time needs an unwrap"),
        ("increase({a=\"b\"}[5m])", "column 9: there is no function increase"),
        ("{a=\"b\"} |~ \"(\"", "column 15: error parsing regexp: missing closing ): `(`"),
    ] {
        assert_eq!(parse(expression).unwrap_err(), refusal, "{expression}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in "\\PC{0,40}|(\\{a=\"|b\"\\}|sum |by |rate|\\(|\\)|\\[5m\\]| \\| |json|unwrap|x|=|~|\"|`|5|,|or|\\\\){0,20}",
    ) {
        let _ = parse(&text);
    }
}
