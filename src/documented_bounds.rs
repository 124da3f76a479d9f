//! The bounds in docs/security.md are those of the code.

/// `NAME: 1,000 …` or `NAME: 64 MiB …`, with the words behind.
#[test]
fn the_documented_bounds_are_those_of_the_code() {
    use crate::config::MOST_URLS;
    use crate::shipper::MOST_DEATHS;
    use crate::shipper::strikes::{GOOD_FOR_ONE, MOST};
    use go_compat::go_regex::{MOST_PROGRAM, MOST_STATES};
    use go_compat::work::{EXPRESSIONS, LABELS, LINE, ROOM};
    use promtail::pipeline::MOST_HELD;
    use promtail::pipeline::registry::{MAX_PAGE, MAX_PAGE_OF_ONE, MAX_SERIES};
    use promtail::pipeline::size::{MOST_LABELS, MOST_METADATA};
    let page = include_str!("../docs/security.md");
    let (_, rest) = page.split_once("<!-- bounds -->").unwrap();
    let (table, _) = rest.split_once("<!-- /bounds -->").unwrap();
    let mut documented: Vec<(String, u64)> = Vec::new();
    for part in table.split('`').collect::<Vec<_>>().windows(2) {
        let [name, said] = part else { continue };
        let Some(said) = said.strip_prefix(": ") else { continue };
        let digits: String =
            said.chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
        let unit =
            if said.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',').starts_with(" MiB") { 20 } else { 0 };
        if let Ok(number) = digits.parse::<u64>() {
            documented.push(((*name).to_owned(), number << unit));
        }
    }
    let bounds = [
        ("LINE", LINE),
        ("ROOM", ROOM),
        ("MOST_LABELS", MOST_LABELS as u64),
        ("MOST_METADATA", MOST_METADATA as u64),
        ("LABELS", LABELS),
        ("MOST_STATES", MOST_STATES as u64),
        ("MOST_PROGRAM", MOST_PROGRAM as u64),
        ("EXPRESSIONS", EXPRESSIONS),
        ("MOST_HELD", MOST_HELD as u64),
        ("MAX_SERIES", MAX_SERIES as u64),
        ("MAX_PAGE_OF_ONE", MAX_PAGE_OF_ONE as u64),
        ("MAX_PAGE", MAX_PAGE as u64),
        ("MOST_URLS", MOST_URLS as u64),
    ];
    let bounds = bounds.map(|(name, bound)| (name.to_owned(), bound));
    assert_eq!(documented, bounds, "docs/security.md");
    let words = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    let numbers = ["zero", "one", "two", "three", "four"];
    for said in [
        format!("{MOST} such lines (`MOST`) with fewer than {GOOD_FOR_ONE} good ones (`GOOD_FOR_ONE`)"),
        format!("When {} processes (`MOST_DEATHS`)", numbers[MOST_DEATHS as usize]),
    ] {
        assert!(words.contains(&said), "docs/security.md does not say {said:?}");
    }
}
