//! Trees, refusals, bounds.

use super::*;
use proptest::prelude::*;

/// The tree, written as plainly as can be.
fn shown(text: &str) -> String {
    fn show(node: &Node) -> String {
        match &node.value {
            Value::Scalar { text, kind } => format!("{kind:?}({text})"),
            Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Value::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| format!("{}:{}", key.text().unwrap(), show(value)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
            }
        }
    }
    match parse(text) {
        Ok(node) => node.as_ref().map_or("none".into(), show),
        Err(error) => error.to_string(),
    }
}

#[test]
fn trees_are_those_of_go_yaml() {
    for (text, expected) in [
        ("", "none"),
        ("# nothing\n", "none"),
        ("foo", "Text(foo)"),
        ("- a\n- b: 1\n  c: [x, 2.5]\n", "[Text(a) {b:Int(1) c:[Text(x) Float(2.5)]}]"),
        (
            "[yes, off, true, ~, '1', \"true\", 2006-01-02]",
            "[Text(yes) Text(off) Bool(true) Null(~) Text(1) Text(true) Text(2006-01-02)]",
        ),
        (
            "[0x1F, 0o17, 017, 1_000, -5, +5, 1e3, .5, .inf, -.inf, .nan, 1.2.3, 0x, e5]",
            "[Int(0x1F) Int(0o17) Int(017) Int(1_000) Int(-5) Int(+5) Float(1e3) Float(.5) Float(.inf) Float(-.inf) Float(.nan) Text(1.2.3) Text(0x) Text(e5)]",
        ),
        ("a:\nb: ''\n", "{a:Null() b:Text()}"),
        ("a: !!str 5\nb: !!int '7'\n", "{a:Text(5) b:Int(7)}"),
        ("a: |\n  x\n  y\n", "{a:Text(x\ny\n)}"),
        ("- &x {a: 1}\n- *x\n", "[{a:Int(1)} {a:Int(1)}]"),
        ("- &x {a: 1, b: 2}\n- {<<: *x, b: 3}\n", "[{a:Int(1) b:Int(2)} {b:Int(3) a:Int(1)}]"),
        ("- &x {a: 1}\n- &y {a: 2, c: 3}\n- {<<: [*x, *y]}\n", "[{a:Int(1)} {a:Int(2) c:Int(3)} {a:Int(1) c:Int(3)}]"),
        ("a: 1\n---\nb: 2\n", "{a:Int(1)}"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, expected) in [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key \"a\" is there already"),
        ("? [a]\n: b\n", "line 1, column 3: a list or map cannot be a key"),
        ("a: !mine x\n", "line 1, column 4: its tag is not one of !!str, !!int, !!float, !!bool, !!null"),
        ("&x [*x]", "line 1, column 5: this alias is inside of what it stands for"),
        ("a: {<<: 5}", "line 1, column 9: a map, or a list of maps, is expected behind <<"),
    ] {
        assert_eq!(shown(text), expected, "{text}");
    }
    for text in ["a: b: c", "- a\nb", "a:\n\tb: 1", "[a", "\"\\/x", "*none", "\"a"] {
        assert!(shown(text).starts_with("line "), "{text:?}: {}", shown(text));
    }
}

#[test]
fn neither_depth_nor_aliases_of_aliases_cost_the_plugin_its_memory() {
    assert_eq!(shown(&"[".repeat(100)), "line 1, column 66: more than 64 lists and maps are inside each other");
    assert!(shown(&"[".repeat(100_000)).starts_with("line 1, "));
    let chain = |step: usize| format!("- &a{step} {}*a{}{}\n", "[".repeat(50), step - 1, "]".repeat(50));
    let chain = format!("- &a0 [x]\n{}", (1..50).map(chain).collect::<String>());
    assert!(shown(&chain).ends_with("more than 64 lists and maps are inside each other"), "{}", shown(&chain));
    let mut bomb = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("- &a{level} [{aliases}]\n"));
    }
    assert!(shown(&bomb).ends_with("more than 100000 values, those of aliases included"), "{}", shown(&bomb));
    let long = format!("- &a {}\n{}", "x".repeat(300_000), "- *a\n".repeat(40_000));
    assert!(shown(&long).ends_with("more than 4 MiB of text, that of aliases included"), "{}", shown(&long));
    let inside: String = (0..60).map(|at| format!("&a{at} [")).collect();
    let nested = format!("{inside}{}{}", "x, ".repeat(90_000), "]".repeat(60));
    assert!(shown(&nested).ends_with("more than 100000 values, those of aliases included"), "{}", shown(&nested));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}|[-\\[\\]{}:,&*!|>'\"#%@?a1 \\n\\t<~.]{0,60}") {
        let _ = parse(&text);
    }
}
