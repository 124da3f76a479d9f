//! What Promtail's tests and documents say of templates.

use crate::work::Work;
use proptest::prelude::*;

use super::*;

fn data() -> Data {
    let mut data = Data::default();
    for (name, text) in [
        ("Value", "Some Silly Value With Lots Of Spaces"),
        ("Entry", "the line"),
        ("app", "loki"),
        ("n", "125"),
        ("flag", "false"),
        ("date_local", "11/08/2022"),
        ("json", "{\"a\":{\"b\":[1,2.5,null]},\"c\":\"<\"}"),
    ] {
        data.set(name, text);
    }
    data
}

fn rendered(text: &str) -> Result<String, String> {
    Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).render(&data(), &mut Work::of_line())
}

#[test]
fn promtails_cases() {
    for (template, expected) in [
        ("newval", "newval"),
        ("", ""),
        ("{{ .Value }} appended", "Some Silly Value With Lots Of Spaces appended"),
        ("{{.app}} in module {{.module}}", "loki in module <no value>"),
        ("{{ .app | ToUpper }} doki", "LOKI doki"),
        ("{{ ToLower .Value }}", "some silly value with lots of spaces"),
        ("{{ if eq .app \"loki\" }}{{ Replace .app \"loki\" \"OK\" -1 }}{{ else }}{{ .app }}{{ end }}", "OK"),
        ("{{ Replace \"loki loki loki\" \"loki\" \"Loki\" 2 }}", "Loki Loki loki"),
        ("{{ Replace .Value \" \" \"_\" -1 | ToLower }}", "some_silly_value_with_lots_of_spaces"),
        ("{{ regexReplaceAll \"(Silly)\" .Value \"${1}foo\" }}", "Some Sillyfoo Value With Lots Of Spaces"),
        ("{{ regexReplaceAll \"( |Of)\" .Value \"_\" }}", "Some_Silly_Value_With_Lots___Spaces"),
        ("{{ regexReplaceAllLiteral \"(Silly)\" .Value \"${1}\" }}", "Some ${1} Value With Lots Of Spaces"),
        ("{{ Trim \"!!!!!WOOOOO!!!!!\" \"!\" }}", "WOOOOO"),
        ("{{ TrimLeft \"!!a!\" \"!\" }} {{ TrimRight \"!a!!\" \"!\" }}", "a! !a"),
        ("{{ TrimPrefix \"!!a\" \"!\" }} {{ TrimSuffix \"a!!\" \"!\" }}|{{ TrimSpace \" a \" }}", "!a a!|a"),
        (
            "{{ Hash \"this is PII data\" \"salt\" }}",
            "0807ea24e992127128b38e4930f7155013786a4999c73a25910318a793847658",
        ),
        ("{{ Sha2Hash \"a\" \"bc\" }}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("{{ add 7 3 }}", "10"),
        ("{{.app }}: {{ .Entry }}", "loki: the line"),
        ("{{ .date_local | substr 6 10 }}-{{ .date_local | substr 0 2 }}", "2022-11"),
        // Everything is a text.
        ("{{ if .flag }}yes{{ end }}", "yes"),
        ("{{ len .n }}", "3"),
    ] {
        assert_eq!(rendered(template), Ok(expected.to_owned()), "{template}");
    }
}

#[test]
fn sprigs_functions() {
    for (template, expected) in [
        // Numbers.
        ("{{ int \"012\" }} {{ int \"0x1f\" }} {{ int \"x\" }} {{ atoi \"12\" }} {{ int 3.9 }}", "10 31 0 12 3"),
        ("{{ toString 12345678.0 }} {{ toString 1.5 }} {{ float64 \"1e21\" }}", "1.2345678e+07 1.5 1e+21"),
        (
            "{{ mul 2 3 4 }} {{ div 7 2 }} {{ mod 7 2 }} {{ sub 1 2 }} {{ add1 1 }} {{ max 1 3 2 }} {{ min 2 1 }}",
            "24 3 1 -1 2 3 1",
        ),
        (
            "{{ round 2.5 0 }} {{ round 3.14159 2 }} {{ ceil 1.1 }} {{ floor 1.9 }} {{ addf 1.5 2 }} {{ divf 1 4 }}",
            "3 3.14 2 1 3.5 0.25",
        ),
        (
            "{{ until 3 }} {{ untilStep 0 10 5 }} {{ seq 1 3 }} {{ seq 3 }} {{ seq 2 -2 -2 }}",
            "[0 1 2] [0 5] 1 2 3 1 2 3 2 0 -2",
        ),
        // Texts.
        ("{{ trunc 3 \"abcdef\" }} {{ trunc -3 \"abcdef\" }} {{ abbrev 5 \"hello world\" }}", "abc def he..."),
        (
            "{{ upper \"a\" }}{{ lower \"B\" }}{{ title \"a b\" }}{{ untitle \"A B\" }}{{ swapcase \"aB\" }}",
            "AbA Ba bAb",
        ),
        ("{{ repeat 3 \"ab\" }} {{ nospace \"a b\" }} {{ trim \" a \" }} {{ trimAll \"$\" \"$5$\" }}", "ababab ab a 5"),
        (
            "{{ contains \"ell\" \"hello\" }} {{ hasPrefix \"he\" \"hello\" }} {{ hasSuffix \"x\" \"hello\" }}",
            "true true false",
        ),
        (
            "{{ quote \"a\" 1 }} {{ squote \"a\" }} {{ cat \"a\" 1 true }} {{ indent 2 \"a\\nb\" }}",
            "\"a\" \"1\" 'a' a 1 true   a\n  b",
        ),
        (
            "{{ snakecase \"FirstName\" }} {{ camelcase \"http_server\" }} {{ kebabcase \"FirstName\" }}",
            "first_name HttpServer first-name",
        ),
        ("{{ splitList \",\" \"a,b\" }} {{ (split \",\" \"a,b\")._1 }} {{ join \"-\" (list 1 \"b\") }}", "[a b] b 1-b"),
        (
            "{{ initials \"First Try\" }} {{ plural \"one\" \"many\" 2 }} {{ sortAlpha (list \"b\" \"a\") }}",
            "FT many [a b]",
        ),
        ("{{ replace \" \" \"-\" \"a b\" }} {{ substr 1 -1 \"abc\" }} {{ print 1 2 \"a\" 1.0 }}", "a-b bc 1 2a1"),
        // Lists and dicts.
        ("{{ first (list 1 2) }} {{ last (list 1 2) }} {{ rest (list 1 2) }} {{ initial (list 1 2) }}", "1 2 [2] [1]"),
        (
            "{{ uniq (list 1 1 2) }} {{ without (list 1 2) 2 }} {{ has 1 (list 1) }} {{ reverse (list 1 2) }} {{ slice (list 1 2 3) 1 2 }}",
            "[1 2] [1] true [2 1] [2]",
        ),
        (
            "{{ $d := dict \"a\" 1 \"b\" 2.5 }}{{ $d.a }} {{ get $d \"b\" }} {{ hasKey $d \"c\" }} {{ keys $d }} {{ pick $d \"a\" }}",
            "1 2.5 false [a b] map[a:1]",
        ),
        (
            "{{ merge (dict \"a\" 1) (dict \"a\" 2 \"b\" 3) }} {{ dig \"a\" \"b\" \"no\" (dict \"a\" (dict \"b\" 1)) }}",
            "map[a:1 b:3] 1",
        ),
        (
            "{{ default \"x\" .missing }} {{ default \"x\" .app }} {{ coalesce .missing \"\" \"y\" }} {{ ternary 1 2 true }} {{ empty \"\" }}",
            "x loki y 1 true",
        ),
        ("{{ kindOf 1.5 }} {{ kindIs \"string\" .app }} {{ typeOf (list) }}", "float64 true []interface {}"),
        // Expressions, hashes, JSON.
        (
            "{{ regexMatch \"^l\" .app }} {{ regexFind \"o.\" .app }} {{ regexFindAll \"[lk]\" .app -1 }} {{ regexSplit \"k\" .app -1 }}",
            "true ok [l k] [lo i]",
        ),
        (
            "{{ b64enc \"hi\" }} {{ b64dec \"aGk=\" }} {{ b32enc \"hi\" }} {{ b32dec \"NBUQ====\" }} {{ adler32sum \"abc\" }}",
            "aGk= hi NBUQ==== hi 38600999",
        ),
        ("{{ sha1sum \"abc\" }}", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("{{ (fromJson .json).a.b }} {{ (fromJson .json).c }} {{ fromJson \"x\" }}", "[1 2.5 <nil>] < <no value>"),
        ("{{ toJson (dict \"a\" \"<\" \"b\" 1.0) }} {{ toRawJson \"<\" }}", "{\"a\":\"\\u003c\",\"b\":1} \"<\""),
        // Paths.
        (
            "{{ base \"/a/b.c\" }} {{ dir \"/a/b\" }} {{ ext \"b.c\" }} {{ clean \"/a/../b//c/.\" }} {{ isAbs \"a\" }}",
            "b.c /a .c /b/c false",
        ),
        (
            "{{ base \"\" }} {{ base \"/\" }} {{ dir \"a\" }} {{ clean \"../../a\" }} {{ ext \"a.b/c\" }}|{{ osBase \"a/\" }}",
            ". / . ../../a |a",
        ),
        // Times.
        (
            "{{ date \"2006-01-02\" 1562708916 }} {{ dateInZone \"15:04\" 1562708916 \"America/New_York\" }}",
            "2019-07-09 17:48",
        ),
        (
            "{{ $t := toDate \"2006-01-02\" \"2019-07-09\" }}{{ $t }} {{ $t.Unix }} {{ ($t | dateModify \"1h\").Format \"15:04\" }}",
            "2019-07-09 00:00:00 +0000 UTC 1562630400 01:00",
        ),
        (
            "{{ duration 95 }} {{ durationRound \"2h10m5s\" }} {{ unixEpoch (toDate \"2006\" \"1971\") }}",
            "1m35s 2h 31536000",
        ),
        ("{{ toDate \"2006\" \"x\" }}", "0001-01-01 00:00:00 +0000 UTC"),
        ("{{ eq (len (uuidv4)) 36 }} {{ len (randAlphaNum 5) }}", "true 5"),
    ] {
        assert_eq!(rendered(template), Ok(expected.to_owned()), "{template}");
    }
}

#[test]
fn what_goes_wrong_in_a_line_is_an_error() {
    for template in [
        "{{ regexReplaceAll \"\\\\K\" .Value \"x\" }}",
        "{{ eq .n 125 }}",
        "{{ ToUpper .missing }}",
        "{{ .app.x }}",
        "{{ div 1 0 }}",
        "{{ fail \"no\" }}",
        "{{ slice \"abc\" 1 2 }}",
        "{{ substr 5 1 \"abcdef\" }}",
        "{{ mustFromJson \"x\" }}",
        "{{ repeat -1 \"a\" }}",
        "{{ ToUpper 1 }}",
        "{{ mustToDate \"2006\" \"x\" }}",
        "{{ now.Nope }}",
    ] {
        assert!(rendered(template).is_err(), "{template}: {:?}", rendered(template));
    }
}

#[test]
fn mistakes_are_found_at_once() {
    for (template, error) in [
        ("{{ nofunc }}", "template: there is no function nofunc"),
        (
            "{{ env \"HOME\" }}",
            "template: the function env is not allowed in a pipeline: it reaches out of it, or costs too much for a line",
        ),
        ("{{ .Value | set }}", "template: the function set is not available here (try merge, pick or omit)"),
        ("{{ if .Value }}", "template: a block is not closed with {{end}}"),
        ("{{ end }}", "template: an {{end}} or {{else}} has no block"),
        ("{{ $x }}", "template: there is no variable $x"),
    ] {
        assert_eq!(Template::parse(template).map(|_| ()), Err(error.to_owned()), "{template}");
    }
    assert!(Template::parse("{{ .Value").is_err());
}

#[test]
fn nothing_grows_without_end() {
    for template in [
        "{{ repeat 2000000 \"a\" }}",
        "{{ $x := \"ab\" }}{{ range until 100 }}{{ $x = print $x $x }}{{ end }}{{ $x }}",
        "{{ $x := \"ab\" }}{{ range until 100 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}{{ $x }}",
        "{{ $x := list 1 }}{{ range until 100 }}{{ $x = list $x $x }}{{ end }}{{ $x }}",
        "{{ $x := list 1 }}{{ range until 100 }}{{ $x = concat $x $x }}{{ end }}{{ $x }}",
        "{{ $x := repeat 1000 \"a\" }}{{ Replace $x \"a\" (repeat 10000 \"b\") -1 }}",
        "{{ $x := repeat 1000 \"a\" }}{{ regexReplaceAll \"a\" $x (repeat 10000 \"b\") }}",
        "{{ range until 9999 }}{{ repeat 1000 \"a\" }}{{ end }}",
        "{{ range until 9000 }}{{ range until 9000 }}{{ end }}{{ end }}",
        "{{ until 1000000 }}",
        "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}",
        "{{ indent 1000000 \"a\\na\" }}",
        "{{ randAlpha 10000000 }}",
    ] {
        assert!(rendered(template).is_err(), "{template}");
    }
}

#[test]
fn what_is_put_together_is_refused_before_it_is_too_long() {
    for call in [
        "print $x $x",
        "println $x $x",
        "cat $x $x",
        "quote $x $x",
        "squote $x $x",
        "join \"\" (list $x $y)",
        "regexReplaceAll \"^b\" (print \"b\" $x) (repeat 600000 \"c\")",
        "regexReplaceAllLiteral \"^b\" (print \"b\" $x) (repeat 600000 \"c\")",
    ] {
        let text = format!("{{{{ $x := repeat 600000 \"a\" }}}}{{{{ $y := repeat 400000 \"a\" }}}}{{{{ {call} }}}}");
        match rendered(&text) {
            Ok(made) => assert_eq!((call, made.len()), ("join \"\" (list $x $y)", 1_000_000)),
            Err(error) => assert!(error.contains("the text would be longer than 1 MiB"), "{call}: {error}"),
        }
    }
}

proptest! {
    #[test]
    fn no_template_makes_it_panic(
        function in 0..400_usize,
        arguments in proptest::collection::vec("-?[0-9]{1,20}|-?1\\.5|\\.app|\\.json|\\.none|true|nil|\"[(\\[a-z%éß$1]{0,5}\"|\\(list 1 \"é\"\\)|\\(dict \"a\" 1\\)|\\(now\\)", 0..4),
        text in "\\PC{0,20}",
    ) {
        let _ = Template::parse(&text).map(|template| template.render(&data(), &mut Work::of_line()));
        let functions: Vec<String> = functions::all().into_keys().collect();
        let name = &functions[function % functions.len()];
        let text = format!("{{{{ {name} {} }}}}", arguments.join(" "));
        if let Ok(template) = Template::parse(&text) {
            prop_assert_ne!(template.render(&data(), &mut Work::of_line()), Err(PANICKED.to_owned()), "{}", text);
        }
    }
}

/// What a template comes to, and what that cost.
fn cost_of(text: &str) -> (Result<String, String>, Work) {
    let mut work = Work::of_line();
    let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    (template.render(&data(), &mut work), work)
}

#[test]
fn a_bomb_ends_within_its_budget() {
    let doubling: String = (0..24)
        .map(|at| format!(r#"{{{{define "t{at}"}}}}{{{{template "t{0}"}}}}{{{{template "t{0}"}}}}{{{{end}}}}"#, at + 1))
        .collect();
    let wide = "%[1]s".repeat(500);
    let many = "$x ".repeat(2_000);
    for text in [
        r#"{{define "a"}}{{if .}}{{template "a" (rest .)}}{{template "a" (rest .)}}{{end}}{{end}}{{template "a" (until 90)}}"#,
        r#"{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}"#,
        &format!(r#"{doubling}{{{{define "t24"}}}}x{{{{end}}}}{{{{template "t0"}}}}"#),
        r#"{{range until 10000}}{{$x := repeat 1048575 "x"}}{{end}}"#,
        r#"{{$l := splitList "" (repeat 9000 "x")}}{{range until 9999}}{{$x := sortAlpha $l}}{{end}}"#,
        r#"{{$l := until 9000}}{{range until 1000}}{{$x := uniq $l}}{{end}}"#,
        r#"{{$l := until 9000}}{{range until 9000}}{{range until 9000}}{{end}}{{end}}"#,
        r#"{{$x := repeat 1000000 "x"}}{{range until 9999}}{{if eq $x $x}}{{end}}{{end}}"#,
        r#"{{$x := repeat 1000000 "x"}}{{range until 9999}}{{$y := trimAll $x $x}}{{end}}"#,
        r#"{{$x := repeat 1000000 "x"}}{{range until 9999}}{{$y := contains "y" $x}}{{end}}"#,
        r#"{{$x := repeat 1000000 "x"}}{{range until 9999}}{{$y := len (html $x)}}{{end}}"#,
        r#"{{$x := repeat 100000 "a"}}{{range until 9999}}{{$y := regexMatch "(a|b)*a(a|b){200}c" $x}}{{end}}"#,
        r#"{{$x := repeat 100000 "a"}}{{$y := regexFindAll "(?s:.)*X|a" $x -1}}"#,
        r#"{{range $i := until 9999}}{{$y := regexMatch (printf "a{%d}" (mod $i 900)) "a"}}{{end}}"#,
        &format!(r#"{{{{$x := repeat 1000000 "x"}}}}{{{{printf "{wide}" $x}}}}"#),
        &format!(r#"{{{{$x := repeat 1000000 "x"}}}}{{{{$y := len (print {many})}}}}"#),
        r#"{{printf (repeat 10000 "%60000d") 1}}"#,
        r#"{{repeat 10000 "%60000d" | printf}}"#,
        r#"{{$x := repeat 900000 "[0,"}}{{$y := fromJson $x}}"#,
        r#"{{range until 10001}}x{{end}}"#,
        r#"{{range until 2}}{{repeat 1000000 "x"}}{{end}}"#,
        r#"{{repeat 9999999 "x"}}"#,
        r#"{{$l := list 1}}{{range until 40}}{{$l = list $l $l}}{{end}}"#,
    ] {
        let mut work = Work::of(crate::work::LINE / 10);
        let done = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).render(&data(), &mut work);
        let shown: String = text.chars().take(100).collect();
        assert!(done.is_err() && work.is_over(), "{shown}: {done:?}, {work:?}");
        assert!(work.spent() <= crate::work::LINE / 10, "{shown}");
    }
}

#[test]
fn what_is_written_for_logs_costs_little() {
    for text in [
        "{{ .Value }}",
        r#"{{ if eq .Value "x" }}a{{ else if contains "y" .Value }}b{{ else }}{{ .Entry | upper | trunc 10 }}{{ end }}"#,
        r#"{{ $p := splitList " " .Value }}{{ range $i, $w := $p }}{{ if $i }},{{ end }}{{ $w | lower | quote }}{{ end }}"#,
        r#"{{ regexReplaceAll "([A-Z])\\w+" .Value "${1}." }} {{ printf "%-20s|%05d" .Value 7 }}"#,
        r#"{{ .Value | sha256sum }}{{ dict "a" .Value | toJson }}"#,
    ] {
        let (done, work) = cost_of(text);
        assert!(done.is_ok(), "{text}: {done:?}");
        assert!(work.spent() < crate::work::LINE / 1_000, "{text}: {}", work.spent());
    }
}

#[test]
fn mistakes_are_no_matter_of_cost() {
    for text in [r#"{{fail "x"}}"#, "{{index .Value 99}}", r#"{{div 1 0}}"#] {
        let (done, work) = cost_of(text);
        assert!(done.is_err() && !work.is_over(), "{text}");
    }
}
