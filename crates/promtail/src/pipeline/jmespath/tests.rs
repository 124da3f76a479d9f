use super::*;
use go_compat::work::LINE;

const DOCUMENT: &str =
    r#"{"a":{"b":[{"n":3,"s":"x"},{"n":1,"s":"z"},{"n":2,"s":"y"}]},"t":"é,b","k":null,"o":{"p":1,"q":[2,[3,4]]}}"#;

fn document(text: &str) -> Rcvar {
    Arc::new(Variable::from_json(text).unwrap())
}

fn search(expression: &str, document: &Rcvar) -> (Found, Work) {
    let mut work = Work::of_line();
    let found = Expression::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    (found.search(document, &mut work), work)
}

#[test]
fn every_kind_of_node_and_function_gives_what_the_crate_gives() {
    let document = document(DOCUMENT);
    for expression in [
        "a.b[0].n",
        "a.b[-1].s",
        "a.b[*].n",
        "a.b[?n > `1`].s",
        "a.b[].s",
        "o.*",
        "o.q[]",
        "o.q[][]",
        "[t, k, none]",
        "{x: t, y: a.b[0]}",
        "k || t",
        "t && k",
        "!k",
        "a.b[::2].n",
        "a.b[::-1].n",
        "a.b[1:].s",
        "a | b | [0]",
        "@",
        "`[1,2]`",
        "'raw'",
        "a.b[0].n == `3`",
        "a.b != `1`",
        "length(a.b)",
        "length(t)",
        "keys(o)",
        "values(o)",
        "join(',', a.b[*].s)",
        "sort(a.b[*].n)",
        "sort_by(a.b, &n)[*].s",
        "max_by(a.b, &n)",
        "min_by(a.b, &s).n",
        "map(&n, a.b)",
        "map(&[n, s], a.b)",
        "sum(a.b[*].n)",
        "avg(a.b[*].n)",
        "max(a.b[*].n)",
        "min(a.b[*].s)",
        "abs(`-1`)",
        "ceil(`1.2`)",
        "floor(`1.8`)",
        "contains(t, 'b')",
        "contains(a.b[*].n, `3`)",
        "starts_with(t, 'é')",
        "ends_with(t, 'b')",
        "merge(o, {p: t})",
        "not_null(k, t)",
        "reverse(a.b[*].n)",
        "reverse(t)",
        "to_array(t)",
        "to_string(o)",
        "to_number('12')",
        "type(o)",
        "type(&a)",
        "sort_by(`[]`, &a)",
        "max_by(`[]`, &a)",
        "k[0]",
        "k.[a]",
        "sort_by(a.b[?n > `9`], &n)",
    ] {
        let crates = jmespath::compile(expression).unwrap().search(&document).unwrap();
        let (found, _) = search(expression, &document);
        assert_eq!(found, Ok(crates), "{expression}");
    }
}

#[test]
fn what_does_not_go_with_the_document_is_a_mistake_as_in_the_crate() {
    let document = document(DOCUMENT);
    for expression in [
        "none(t)",
        "length(k)",
        "sort(o)",
        "sort_by(a.b, &@)",
        "max_by(a.b, n)",
        "map(n, a.b)",
        "map(&n, t)",
        "join(t)",
        "a.b[::0]",
        "sort_by(`[{\"n\": 1}, {\"n\": \"x\"}]`, &n)",
        "abs(t)",
        "contains(k, t)",
    ] {
        assert!(jmespath::compile(expression).unwrap().search(&document).is_err(), "{expression}");
        let (found, work) = search(expression, &document);
        assert_eq!((found, work.excess()), (Err(Failure::Mistake), None), "{expression}");
    }
}

#[test]
fn a_bomb_ends_within_its_budget() {
    let document = document("{\"a\":1}");
    let nested = |part: &str, times: usize| vec![part; times].join("|");
    let wide = format!("[{}]", vec!["@"; 50].join(","));
    let ten = nested("[@,@,@,@,@,@,@,@,@,@][]", 4);
    for expression in [
        // As trees, 2^24 and 50^5 values: they share their parts until somebody looks at the whole.
        nested("[@,@]", 24),
        nested(&wide, 5),
        nested("{x: @, y: @}", 30),
        format!("{} == `1`", nested("[@,@]", 30)),
        format!("{} | @[0] == @[0]", nested("[@,@]", 26)),
        format!("{} | to_string(@) | 'x'", nested("[@,@]", 26)),
        format!("{} | length(@)", nested("[@,@]", 26)),
        // As lists, 2^22 elements.
        nested("[@,@][]", 22),
        // As texts.
        nested("join('', [to_string(@), to_string(@), to_string(@), to_string(@)])", 14),
        format!("join('{}', {ten})", "x".repeat(10_000)),
        nested("map(&[@,@], [@,@])", 24),
        nested("sort_by([@,@], &'x')", 24),
    ] {
        let mut work = Work::of(LINE / 10);
        let found = Expression::parse(&expression).unwrap().search(&document, &mut work);
        let shown: String = expression.chars().take(60).collect();
        assert!(matches!(found, Err(Failure::Excess(_))), "{shown}: {work:?}");
        assert!(work.is_over() && work.spent() <= LINE / 10, "{shown}");
    }
}

#[test]
fn room_for_texts_and_copies_is_taken_before_a_function_makes_them() {
    // 2^14 texts of 15,000 bytes each, of which there is one.
    let text = format!("{{\"a\":\"{}\",\"b\":\"\"}}", "x".repeat(15_000));
    let document = document(&text);
    let doubled = format!("a | {}", vec!["[@,@]"; 14].join("|"));
    let list = format!("{doubled} | {}", vec!["[]"; 13].join("|"));
    let object = format!("{{{}}}", (0..500).map(|n| format!("key{n}: @")).collect::<Vec<_>>().join(","));
    // What comes of each is a number, so the result costs nothing.
    for expression in [
        format!("{doubled} | length(to_string(@))"),
        format!("{list} | length(join('', @))"),
        format!("{list} | length(map(&reverse(@), @))"),
        format!("{list} | length(map(&to_string([@]), @))"),
        format!("{list} | [] | length(map(&join('', [@]), @))"),
        format!("b | {object} | length(map(&keys(@), [{}]))", vec!["@"; 1000].join(",")),
        format!("b | {object} | length(map(&merge(@, @), [{}]))", vec!["@"; 1000].join(",")),
    ] {
        let (found, work) = search(&expression, &document);
        let end = &expression[expression.len().saturating_sub(60)..];
        assert_eq!((found, work.excess()), (Err(Failure::Excess(Excess::Size)), Some(Excess::Size)), "{end}");
    }
}

#[test]
fn what_is_written_for_logs_costs_little() {
    let document = document(DOCUMENT);
    for expression in
        ["a.b[?n > `1`].s | [0]", "sort_by(a.b, &n)[*].s", "join(',', a.b[*].s)", "{x: t, y: to_string(o)}"]
    {
        let (found, work) = search(expression, &document);
        assert!(found.is_ok());
        assert!(work.spent() < LINE / 10_000, "{expression}: {}", work.spent());
    }
}

#[test]
fn expressions_are_bounded() {
    assert!(Expression::parse(&"a".repeat(MAX_TEXT + 1)).unwrap_err().contains("65536 bytes"));
    assert!(!Expression::parse("a[").unwrap_err().contains('\n'));
}
