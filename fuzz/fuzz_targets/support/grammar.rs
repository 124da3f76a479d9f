//! JMESPath expressions and templates out of bytes: each byte is a choice, and without bytes the simplest is taken.

/// Bytes that choices are made of.
pub struct Choices<'a>(pub std::slice::Iter<'a, u8>);

/// How deep expressions and bodies go.
const DEPTH: usize = 5;

/// Expressions in which `E` is another one.
const EXPRESSIONS: &[&str] = &[
    "a",
    "@",
    "`[3,1,2]`",
    "'text'",
    "(E).level",
    "(E)[*]",
    "(E)[]",
    "(E)[].a",
    "(E).*",
    "(E)[*].[E, E]",
    "[E, E]",
    "{x: E, y: E}",
    "(E) | (E)",
    "(E)[?E == E]",
    "(E)[?a > `1`].{z: E}",
    "(E)[1:]",
    "(E)[::-1]",
    "(E)[-1]",
    "(E) || (E)",
    "(E) && !(E)",
    "map(&(E), E)",
    "sort_by(E, &(E))",
    "max_by(E, &(E))",
    "sort(E)",
    "reverse(E)",
    "join(', ', E)",
    "merge(E, E)",
    "not_null(E, E)",
    "contains(E, E)",
    "to_string(E)",
    "to_array(E)",
    "to_number(E)",
    "keys(E)",
    "values(E)",
    "length(E)",
    "sum(E)",
    "type(&(E))",
];

/// Expressions that are piped into each other any number of times.
const REPEATED: &[&str] = &["[@, @]", "[]", "{a: @, b: @}", "to_string(@)", "map(&[@, @], @)", "join(',', @)", "*"];

/// Actions of a template in which `P` is a pipeline, `B` a body and `N` the number of a definition.
const ACTIONS: &[&str] = &[
    "text ",
    "{{ P }}",
    "{{ P }}{{ P }}",
    "{{ if P }}B{{ else }}B{{ end }}",
    "{{ range P }}B{{ end }}",
    "{{ range $i, $x := P }}{{ $i }}{{ $x }}B{{ else }}B{{ end }}",
    "{{ with P }}B{{ end }}",
    "{{ template \"dN\" . }}",
    "{{ template \"dN\" P }}",
    "{{ template \"b0\" P }}",
    "{{ block \"bN\" . }}B{{ end }}",
    "{{ $x := P }}{{ range until 99 }}{{ $x = cat $x . }}{{ end }}{{ $x }}",
    "{{ range until 9000 }}{{ range until 9000 }}B{{ end }}{{ break }}{{ end }}",
];

/// Definitions in which `N` is their own number, and `M` the next.
const DEFINITIONS: &[&str] = &[
    "B",
    "{{ template \"dM\" . }}{{ template \"dM\" . }}",
    "{{ template \"dN\" . }}{{ template \"dN\" . }}",
    "{{ template \"dM\" (cat . .) }}",
    "{{ template \"dM\" (list . .) }}",
    "{{ range (list 1 2 3) }}{{ template \"dM\" $ }}{{ end }}",
    "{{ if . }}{{ template \"dN\" (substr 1 -1 (toString .)) }}{{ end }}B",
];

/// Pipelines in which `P` is another one.
const PIPELINES: &[&str] = &[
    ".Value",
    ".Entry",
    ".a",
    ".",
    "1",
    "\"text\"",
    "P | sortAlpha",
    "P | uniq",
    "P | reverse",
    "P | toString | repeat 99",
    "P | toString | splitList \"\"",
    "P | toStrings | join \",\"",
    "P | toJson",
    "P | toJson | fromJson",
    "P | upper | lower | title | swapcase | snakecase",
    "P | toString | b64enc | b32enc",
    "P | toString | sha256sum",
    "P | toString | replace \"a\" \"aaaaaaaaaaaaaaaa\"",
    "P | toString | regexReplaceAll \".\" P \"$0$0$0$0\"",
    "P | toString | regexFindAll \".\" P 9999",
    "P | toString | indent 99 | nindent 99",
    "P | printf \"%99999s%[1]s%[1]s\"",
    "P | printf \"%v %q %x\" P",
    "P | cat P P P",
    "P | list P",
    "P | append (list P P)",
    "concat (list P P) (list P P)",
    "chunk 2 (list P P P P)",
    "dict \"a\" (P) \"b\" (P)",
    "merge (dict \"a\" (P)) (dict \"b\" (P))",
    "deepCopy (P)",
    "pluck \"a\" (dict \"a\" (P))",
    "until 9999",
    "untilStep 0 9999 3",
    "seq 1 9999",
    "eq (P) (P)",
    "and (P) (P) | not",
    "index (P) 0",
    "slice (P) 0 1",
    "ternary (P) (P) true",
    "add (P | int64) 1",
    "toDate \"2006-01-02\" (P | toString)",
    "html (P) | js | urlquery",
];

/// An expression of JMESPath.
pub fn expression(choices: &mut Choices<'_>) -> String {
    let mut text = filled("E", DEPTH, choices, &[('E', EXPRESSIONS)]);
    if let Some(repeated) = REPEATED.get(choices.below(2 * REPEATED.len())) {
        let times = choices.below(64);
        text.push_str(&format!(" | {repeated}").repeat(times));
    }
    text
}

/// A template, with definitions that call each other.
pub fn template(choices: &mut Choices<'_>) -> String {
    let holes = [('P', PIPELINES), ('B', ACTIONS)];
    // A template has at most 100 actions.
    let definitions = choices.below(16);
    let mut text = String::new();
    for own in 0..definitions {
        let body = DEFINITIONS[choices.below(DEFINITIONS.len())];
        let body = filled(body, 2, choices, &holes);
        let (own, next) = (own.to_string(), (own + 1).min(definitions - 1).to_string());
        let body = body.replace("\"dM\"", &format!("\"d{next}\"")).replace("\"dN\"", &format!("\"d{own}\""));
        text.push_str(&format!("{{{{ define \"d{own}\" }}}}{body}{{{{ end }}}}"));
    }
    for _ in 0..=choices.below(3) {
        text.push_str(&filled("B", DEPTH, choices, &holes));
    }
    let mut blocks = 0;
    while text.contains("\"bN\"") {
        text = text.replacen("\"bN\"", &format!("\"b{blocks}\""), 1);
        blocks += 1;
    }
    text.replace("\"dN\"", "\"d0\"")
}

/// A form whose holes are filled with other forms, down to the first of each.
fn filled(form: &str, depth: usize, choices: &mut Choices<'_>, holes: &[(char, &[&str])]) -> String {
    let mut text = String::new();
    let mut rest = form;
    while let Some(at) = rest.find(|c| holes.iter().any(|(hole, _)| *hole == c)) {
        let (hole, forms) = holes.iter().find(|(hole, _)| rest[at..].starts_with(*hole)).expect("it was found");
        text.push_str(&rest[..at]);
        let count = if depth == 0 { 1 } else { forms.len() };
        text.push_str(&filled(forms[choices.below(count)], depth.saturating_sub(1), choices, holes));
        rest = &rest[at + hole.len_utf8()..];
    }
    text + rest
}

// === impl Choices ===

impl Choices<'_> {
    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % count)
    }
}
