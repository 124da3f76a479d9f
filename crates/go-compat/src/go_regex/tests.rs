use super::*;
use proptest::prelude::*;

#[test]
fn patterns_match_what_they_match_in_go() {
    for (pattern, yes, no) in [
        ("", &["", "x"][..], &[][..]),
        ("app", &["app", "my.app.x"], &["ap"]),
        ("^com\\.example\\.", &["com.example.x"], &["com-example-x", "xcom.example."]),
        ("^(a|b)$", &["a", "b"], &["ab", "a\n"]),
        ("^\\d+$", &["17"], &["١٧", "x"]),
        ("^\\D$", &["١"], &["1"]),
        ("^\\w+$", &["a_1"], &["é"]),
        ("^\\W$", &["é"], &["a"]),
        ("^\\s$", &[" ", "\t", "\u{c}"], &["\u{b}", "\u{a0}"]),
        ("\\bb", &["éb", "a b"], &["ab"]),
        ("a\\B", &["ab"], &["a", "aé"]),
        ("^[\\d\\-x]+$", &["1-x"], &["١"]),
        ("^[\\w-.]+$", &["a-b.c"], &["é"]),
        ("^[^\\s]+$", &["\u{b}"], &[" "]),
        ("^[[]$", &["["], &["]"]),
        ("^[]a]+$", &["]a"], &["["]),
        ("^[^]a]$", &["b"], &["]", "a"]),
        ("^[a-]+$", &["-a"], &["b"]),
        ("^[-a]+$", &["-a"], &["b"]),
        ("^[a&&b]+$", &["a&b"], &["c"]),
        ("^[!--]$", &["!", "-", "+"], &["a"]),
        ("^[a~~b]+$", &["~"], &["c"]),
        ("^[[:alpha:]_]+$", &["a_"], &["1", "é"]),
        ("^[[:^digit:]]$", &["é"], &["1"]),
        ("^[\\x41-\\x{43}]$", &["B"], &["D"]),
        ("^a{2}$", &["aa"], &["a", "aaa"]),
        ("^a{1,2}$", &["a", "aa"], &["aaa"]),
        ("^a{2,}$", &["aaa"], &["a"]),
        ("^a{,2}$", &["a{,2}"], &["a"]),
        ("^a{2,}?$", &["aaa"], &["a"]),
        ("^(a*)*b+?c??$", &["aabbc"], &["a"]),
        ("^a{1000}$", &[], &["a"]),
        ("^a{$", &["a{"], &["a"]),
        ("^a{01}$", &["a{01}"], &["a"]),
        ("^{{x}}$", &["{{x}}"], &[]),
        ("^\\Qa.b*\\E+$", &["a.b**"], &["axb", "a.b"]),
        ("\\Qa.", &["a."], &["ab"]),
        ("^\\101\\07$", &["A\u{7}"], &[]),
        ("\\<b\\>", &["<b>"], &["b"]),
        ("^\\b{start}$", &[], &["{start}"]),
        ("^\\p{Greek}\\pL\\P{^Lu}$", &["αxX"], &["xxX", "αxx"]),
        ("^\\p{^Greek}$", &["a"], &["α"]),
        ("(?i)^APP$", &["app"], &["apk"]),
        ("(?i:A)b", &["ab"], &["aB"]),
        ("(?P<x>a)(?<y>b)", &["ab"], &["a"]),
        ("^(?P<1>a)(?P<1>b)$", &["ab"], &["a"]),
        ("^.$", &["é"], &["\n", "ab"]),
        ("(?s)^.$", &["\n"], &[]),
        ("^\\A\\-\\_\\/a\\z", &["-_/a"], &[]),
    ] {
        let compiled = KeyPattern::parse(pattern).unwrap_or_else(|error| panic!("{error}"));
        for key in yes {
            assert!(compiled.is_match(key), "{pattern} should match {key:?}");
        }
        for key in no {
            assert!(!compiled.is_match(key), "{pattern} should not match {key:?}");
        }
    }
}

#[test]
fn groups_keep_their_numbers_and_their_names_are_told() {
    let translated = translate("(a)(?P<x>b)(?:c)(?i:d)(?<x>e)\\((").unwrap();
    assert_eq!(translated.pattern, "(a)(b)(?:c)(?i:d)(e)\\x28(");
    let named = || Some("x".to_owned());
    assert_eq!(translated.groups, [None, named(), named(), None]);
}

#[test]
fn what_go_refuses_is_refused_in_a_sentence() {
    for (pattern, cause) in [
        ("(", "unclosed group"),
        (")", "unopened group"),
        ("[a", "a [ has no ]"),
        ("[", "a [ has no ]"),
        ("[z-a]", "invalid character class range, the start must be <= the end"),
        ("[a-\\d]", "\\d means nothing"),
        ("[\\b]", "\\b means nothing"),
        ("[\\Q]", "\\Q means nothing"),
        ("*a", "repetition operator missing expression"),
        ("a\\", "it ends with a single \\"),
        ("\\1", "\\1 means nothing"),
        ("\\8", "\\8 means nothing"),
        ("\\C", "\\C means nothing"),
        ("\\Z", "\\Z means nothing"),
        ("\\é", "\\é means nothing"),
        ("\\xé", "\\x wants two hexadecimal digits, or any number of them in braces"),
        ("\\x{110000}", "there is no character \"110000\""),
        ("\\p{Nope}", "Unicode property not found"),
        ("\\p{Greek", "a \\p{ has no }"),
        ("(?x)a", "\"(?x\" is not a group or flag that Go knows"),
        ("(?=a)", "\"(?=a\" is not a group or flag that Go knows"),
        ("(?P<a", "the name of a group has no >"),
        ("(?P<a-b>x)", "\"a-b\" is not the name of a group"),
        ("a**", "a repetition follows a repetition"),
        ("a*??", "a repetition follows a repetition"),
        ("a{2}{3}", "a repetition follows a repetition"),
        ("a+?{2}", "a repetition follows a repetition"),
        ("a{1001}", "{1001} repeats more than 1000 times"),
        ("a{1,99999999999999999999}", "{1,99999999999999999999} repeats more than 1000 times"),
        ("a{2,1}", "invalid repetition count range, the start must be <= the end"),
    ] {
        let error = KeyPattern::parse(pattern).unwrap_err().to_string();
        let expected = format!("\"{pattern}\" is not a regular expression: {cause} (try ^com\\.example\\.)");
        assert_eq!(error, expected);
    }
}

proptest! {
    #[test]
    fn no_pattern_makes_it_panic(pattern in "\\PC{0,20}|[\\\\QEbdwxpP0-9\\[\\]^{}(),:?<*a-]{0,20}") {
        let _ = KeyPattern::parse(&pattern);
    }

    #[test]
    fn a_quoted_text_matches_itself(text in "\\PC{0,20}") {
        let pattern = format!("^{}$", regex::escape(&text));
        if let Ok(pattern) = KeyPattern::parse(&pattern) {
            prop_assert!(pattern.is_match(&text));
        }
    }
}
