//! Tables of label strings. Each sentence was answered by a real Loki.

use super::*;

#[test]
fn accepted_label_strings() {
    let table: &[(&str, &[(&str, &str)])] = &[
        (r#"{a="b"}"#, &[("a", "b")]),
        (r#"{b="1",a="2"}"#, &[("a", "2"), ("b", "1")]),
        (r#" { a = "b" } "#, &[("a", "b")]),
        ("{a=\n\"b\"}\n", &[("a", "b")]),
        (r#"{a="b",}"#, &[("a", "b")]),
        ("{a='b'}", &[("a", "b")]),
        ("{a=`b\nc`}", &[("a", "b\nc")]),
        ("{a=\"b\tc\"}", &[("a", "b\tc")]),
        (r#"{a="q\"b\\n\n"}"#, &[("a", "q\"b\\n\n")]),
        (r#"{a="é\u00e9"}"#, &[("a", "éé")]),
        (r#"{a="\xff"}"#, &[("a", "\u{fffd}")]),
        ("{a=\"b\" # c\n}", &[("a", "b")]),
        (r#"{a="b"} # c"#, &[("a", "b")]),
        (r#"{and="x",A_9="y",_="z"}"#, &[("A_9", "y"), ("_", "z"), ("and", "x")]),
        (r#"{"foo.bar"="x",`g`="y"}"#, &[("foo.bar", "x"), ("g", "y")]),
        (r#"{a=""}"#, &[]),
        (r#"{a="",a="2"}"#, &[("a", "2")]),
        (r#"{a="2",a="1"}"#, &[("a", "1"), ("a", "2")]),
        (r#"{""="x"}"#, &[("", "x")]),
        ("{}", &[]),
        ("", &[]),
        ("  ", &[]),
        ("# x", &[]),
        ("m", &[(METRIC, "m")]),
        (r#"m:n{a="b"}"#, &[(METRIC, "m:n"), ("a", "b")]),
        (r#"{"m",a="b"}"#, &[(METRIC, "m"), ("a", "b")]),
        (r#"m{__name__="x"}"#, &[(METRIC, "m")]),
    ];
    for (text, expected) in table {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let expected: Vec<Pair> = expected.iter().map(owned).collect();
        assert_eq!(parse(text.as_bytes()), Ok(expected), "{text:?}");
    }
}

/// Every text was answered by a real Loki, behind "couldn't parse labels: ".
#[test]
fn refused_label_strings() {
    let table: &[(&[u8], &str)] = &[
        (br#"{a-b="c"}"#, "1:3: unexpected character inside braces: '-'"),
        (br#"{a.b="c"}"#, "1:3: unexpected character inside braces: '.'"),
        (br#"{a:b="c"}"#, "1:3: unexpected character inside braces: ':'"),
        (br#"{9a="b"}"#, "1:2: unexpected character inside braces: '9'"),
        ("{é=\"x\"}".as_bytes(), "1:2: unexpected character inside braces: 'é'"),
        (b"{\xff}", "1:2: unexpected character inside braces: '\u{fffd}'"),
        (b"{a\0=\"x\"}", "1:3: unexpected character inside braces: '\\x00'"),
        (br#"{a="b"\}"#, "1:7: unexpected character inside braces: '\\\\'"),
        (br#"{a="b"c"}"#, r#"1:7: unexpected identifier "c" in label set, expected "," or "}""#),
        ("{a=\"é\" b=\"c\"}".as_bytes(), r#"1:9: unexpected identifier "b" in label set, expected "," or "}""#),
        (b"{\n a=\"b\"\n c=\"d\"}", r#"3:2: unexpected identifier "c" in label set, expected "," or "}""#),
        (br#"{"a" b="c"}"#, r#"1:6: unexpected identifier "b" in label set, expected "," or "}""#),
        (b"{a=\"b\nc\"}", "1:4: unterminated quoted string"),
        (b"{a=\"\xff\"}", "1:4: invalid UTF-8 rune"),
        (br#"{a="\q"}"#, "1:4: unknown escape sequence U+0071 'q'"),
        (br#"{a="b",,}"#, r#"1:8: unexpected "," in label set, expected identifier or "}""#),
        (b"{,}", r#"1:2: unexpected "," in label set, expected identifier or "}""#),
        (br#"{a=~"b"}"#, r#"1:3: unexpected <op:=~> in label set, expected "=""#),
        (br#"{a!="b"}"#, r#"1:3: unexpected <op:!=> in label set, expected "=""#),
        (b"{a!}", "1:3: unexpected character after '!' inside braces: '}'"),
        (br#"{a=="b"}"#, r#"1:4: unexpected "=" in label set, expected string"#),
        (b"{a=b}", r#"1:4: unexpected identifier "b" in label set, expected string"#),
        (b"{a}", r#"1:3: unexpected "}" in label set, expected "=""#),
        (br#"{a "b"}"#, r#"1:4: unexpected string "\"b\"" in label set, expected "=""#),
        (br#"{a="b" "012345678"}"#, r#"1:8: unexpected string "\"012345678"... in label set, expected "," or "}""#),
        (br#"{a="b"} n:m"#, r#"1:9: unexpected metric identifier "n:m""#),
        (b"+", "1:1: unexpected <op:+>"),
        (br#"{a="b""#, "1:7: unexpected end of input inside braces"),
        (b"{", "1:2: unexpected end of input inside braces"),
        (b"{{", "1:2: unexpected left brace '{'"),
        (br#"a="b"}"#, r#"1:2: unexpected "=""#),
        (br#"{a="b"} x"#, r#"1:9: unexpected identifier "x""#),
        (br#"{a="b"}{c="d"}"#, r#"1:8: unexpected "{""#),
        (br#"{a="b"}"x""#, r#"1:8: unexpected string "\"x\"""#),
        (br#"{a="b"}[5m]"#, r#"1:8: unexpected "[""#),
        (br#"{a="b"}."#, "1:8: unexpected character: '.'"),
        (b"}", "1:1: unexpected character: '}'"),
        (b"5", r#"1:1: unexpected number "5""#),
        (br#"inf{a="b"}"#, r#"1:1: unexpected number "inf""#),
    ];
    for (text, expected) in table {
        let (place, what) = expected.split_at(expected.find(": ").unwrap() + 2);
        let expected = format!("{place}parse error: {what}");
        assert_eq!(parse(text), Err(expected), "{}", text.escape_ascii());
    }
}

#[test]
fn rendering() {
    let pairs = parse(br#"{c='d"\n',"a.b"="x",a="b"}"#).unwrap();
    let text = render(pairs.iter().map(|(name, value)| (name, value)));
    assert_eq!(text, r#"{a="b", "a.b"="x", c="d\"\n"}"#);
    assert_eq!(parse(text.as_bytes()), Ok(pairs));
    assert_eq!(render([]), "{}");
}
