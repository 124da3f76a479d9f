//! Go templates over what dockerd says of a container, as Docker's `tag` option has them.
//!
//! `loki-external-labels` takes a template for each value. Docker runs Go's `text/template` over
//! its `logger.Info`, and people have such templates in their compose files, so this does the
//! same:
//!
//! | | |
//! | --- | --- |
//! | methods | `.ID .FullID .Name .Command .ImageID .ImageFullID .ImageName .Hostname` |
//! | fields | `.Config .ContainerID .ContainerName .ContainerEntrypoint .ContainerArgs .ContainerImageID .ContainerImageName .ContainerCreated .ContainerEnv .ContainerLabels .LogPath .DaemonName` |
//! | of a time | `.ContainerCreated.Format "2006-01-02"`, `.Year .Month .Day .YearDay .Weekday .Hour .Minute .Second .Unix .UnixMilli .UnixNano .UTC .Local .String` |
//! | functions | `json split join title lower upper pad truncate`, and those of Go |
//!
//! The language is that of the crate `gotmpl`, which knows maps but neither structs nor methods,
//! and which looks away from some mistakes. Three steps close the gap:
//!
//! 1. [`syntax`] parses, and refuses what Go refuses: blocks that are not closed, an `end` too
//!    many, functions and variables that do not exist. It then turns each `.Field` into a call.
//! 2. `data` answers these calls, so that a field that does not exist is an error and a method
//!    can have arguments.
//! 3. `functions` adds Docker's own.
//!
//! What differs: `.ExtraAttributes` is refused (the options `labels` and `env` do that),
//! `truncate` never cuts a character in two, and the text that comes out is bounded.
//!
//! This imports `streams::info` and `golang`, which are leaves, and nothing else of ours.

mod data;
mod functions;
mod time;

use thiserror::Error;

use self::functions::KNOWN;
use dockerd::info::Info;
use go_compat::template::cost;
use go_compat::template::engine::{self, Output, clipped};
use go_compat::template::syntax::{self, Dialect};
use go_compat::work::Work;

/// Bytes a template may write. A label holds 2048.
const MAX_OUTPUT: usize = 64 * 1024;

/// What `printf` says, before it shows what it got.
const PRINTF: &str = "printf: first arg must be string";

/// Turns of all loops of one template together. No list of a container is that long.
const MAX_TURNS: u64 = 10_000;

/// Why a template gives no text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// It does not parse; found by [`check`], before there is a container.
    #[error("{0}")]
    Syntax(String),
    /// It does not go with this container: a field that does not exist, a wrong argument.
    #[error("{0}")]
    Execution(String),
    /// It writes without end.
    #[error("it writes more than {MAX_OUTPUT} bytes")]
    TooLong,
    /// It takes more than what [`work::LABELS`](go_compat::work::LABELS) allows all templates of a container together.
    #[error("it needs too many steps or too much memory (the templates of a container are to be simple)")]
    TooCostly,
    /// The engine panicked. Nothing is left behind.
    #[error("the template engine cannot cope with it")]
    Panicked,
}

/// The functions of Docker.
struct Docker;

/// Whether a template parses.
///
/// # Errors
///
/// [`TemplateError::Syntax`] with line, column and cause.
pub fn check(text: &str) -> Result<(), TemplateError> {
    if is_literal(text) {
        return Ok(());
    }
    contained(|| parse(text).map(drop))
}

/// The text of a template for one container.
///
/// `hostname` is the host's; it may be empty if it is not known. `work` is what all templates of the container may cost.
pub fn render(text: &str, info: &Info, hostname: &str, work: &mut Work) -> Result<String, TemplateError> {
    if is_literal(text) {
        return Ok(text.to_owned());
    }
    contained(|| {
        let parsed = parse(text)?;
        let (data, functions) = data::of(info, hostname);
        let functions = cost::charging(functions);
        let template = parsed.with(functions).max_range_iters(MAX_TURNS);
        let mut output = Output::up_to(MAX_OUTPUT);
        let done = engine::executed(&template, &mut output, &data, work);
        match done {
            Ok(()) => Ok(output.text),
            Err(_) if output.overflowed => Err(TemplateError::TooLong),
            Err(error @ (gotmpl::TemplateError::RangeIterLimit | gotmpl::TemplateError::RecursionLimit)) => {
                Err(execution(&error))
            }
            Err(_) if work.is_over() => Err(TemplateError::TooCostly),
            Err(error) => Err(execution(&error)),
        }
    })
}

/// Text without actions stands for itself, whatever else is in it.
fn is_literal(text: &str) -> bool {
    !text.contains("{{")
}

fn parse(text: &str) -> Result<syntax::Parsed, TemplateError> {
    syntax::parse(text, &Docker).map_err(TemplateError::Syntax)
}

fn contained<T>(work: impl FnOnce() -> Result<T, TemplateError>) -> Result<T, TemplateError> {
    engine::contained(work).unwrap_or(Err(TemplateError::Panicked))
}

// === impl Docker ===

impl Dialect for Docker {
    fn function(&self, name: &str) -> Result<(), String> {
        if KNOWN.contains(&name) { Ok(()) } else { Err(format!("there is no function {name}")) }
    }

    fn prints(&self) -> bool {
        false
    }
}

// === impl TemplateError ===

fn execution(error: &gotmpl::TemplateError) -> TemplateError {
    let text = error.to_string();
    let text = text.trim_start_matches("execution error: ");
    // The one complaint of the engine that has a whole value in it, which may be a secret.
    let text = match text.strip_prefix(PRINTF) {
        Some(_) => PRINTF,
        None => text,
    };
    TemplateError::Execution(clipped(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use go_compat::work;
    use proptest::prelude::*;

    fn render(text: &str, info: &Info, hostname: &str) -> Result<String, TemplateError> {
        super::render(text, info, hostname, &mut Work::of(work::LABELS))
    }

    const ID: &str = "abcdef01234567890abcdef01234567890abcdef01234567890abcdef0123456";
    const IMAGE: &str = "sha256:582c496ccf79d8aa6f8203a79d32aaf7ffd8b13362c60a701a2f9ac64886c93d";

    /// The container of moby's own tests of `tag`, and a little more.
    fn info() -> Info {
        let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Info {
            config: [("tag".to_owned(), "t".to_owned())].into(),
            container_id: ID.to_owned(),
            container_name: "/test-container".to_owned(),
            container_entrypoint: "/bin/sh".to_owned(),
            container_args: strings(&["-c", "hello"]),
            container_image_id: IMAGE.to_owned(),
            container_image_name: "docker.io/library/hello-world:alpine".to_owned(),
            container_created: "2026-11-20T08:24:57.418162077Z".to_owned(),
            container_env: strings(&["A=1", "B=x y"]),
            container_labels: [
                ("app".to_owned(), "web".to_owned()),
                ("com.example.tier".to_owned(), "<front> \u{2028}".to_owned()),
            ]
            .into(),
            log_path: String::new(),
            daemon_name: "test-dockerd".to_owned(),
        }
    }

    fn rendered(text: &str) -> String {
        render(text, &info(), "box").unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// moby, daemon/logger/loggerutils/log_tag_test.go
    #[test]
    fn dockers_own_cases() {
        for (template, expected) in [
            ("", ""),
            ("my-custom-tag", "my-custom-tag"),
            ("{{.Name}}/{{.ID}}", "test-container/abcdef012345"),
            ("{{.ID}}", "abcdef012345"),
            ("{{.FullID}}", ID),
            ("{{.Command}}", "/bin/sh -c hello"),
            ("{{.ImageID}}", "582c496ccf79"),
            ("{{.ImageFullID}}", IMAGE),
            ("{{.ImageName}}", "docker.io/library/hello-world:alpine"),
            ("{{.Hostname}}", "box"),
            ("{{.DaemonName}}", "test-dockerd"),
            ("{{.ContainerID}}", ID),
            ("{{.ContainerName}}", "/test-container"),
            ("{{.ContainerImageID}}", IMAGE),
            ("{{.ContainerImageName}}", "docker.io/library/hello-world:alpine"),
        ] {
            assert_eq!(rendered(template), expected, "{template}");
        }
        let empty = Info::default();
        assert_eq!(render("{{.ID}}{{.ImageID}}{{.Name}}{{.Command}}", &empty, ""), Ok(String::new()));
    }

    #[test]
    fn fields_methods_and_functions() {
        for (template, expected) in [
            ("{{.ContainerEntrypoint}} {{.ContainerArgs}}", "/bin/sh [-c hello]"),
            ("{{.Config}} {{.Config.tag}} {{.LogPath}}|", "map[tag:t] t |"),
            ("{{.ContainerLabels.app}}", "web"),
            ("{{index .ContainerLabels \"com.example.tier\"}}", "<front> \u{2028}"),
            ("{{.ContainerLabels.none}}", "<no value>"),
            ("{{.ContainerLabels.none.deeper}}", "<no value>"),
            ("{{index .ContainerLabels \"none\"}}|", "|"),
            ("{{or .ContainerLabels.none .Name}}", "test-container"),
            ("{{with .ContainerLabels.app}}{{.}}{{end}}", "web"),
            ("{{with .ContainerLabels}}{{.app}} {{$.Name}}{{end}}", "web test-container"),
            ("{{if eq .ContainerLabels.app \"web\"}}yes{{else}}no{{end}}", "yes"),
            ("{{range .ContainerArgs}}[{{.}}]{{end}}", "[-c][hello]"),
            ("{{range $k, $v := .Config}}{{$k}}={{$v}}{{end}}", "tag=t"),
            ("{{range .ContainerEnv}}{{$p := split . \"=\"}}{{index $p 0}};{{end}}", "A;B;"),
            ("{{$i := .}}{{$i.Name}} {{$.ID}} {{(.).Name}}", "test-container abcdef012345 test-container"),
            ("{{index .ContainerEnv 1}} {{len .ContainerEnv}}", "B=x y 2"),
            ("{{slice .Name 0 4}}", "test"),
            ("{{index (split .ImageName \":\") 1}}", "alpine"),
            ("{{join .ContainerArgs \",\"}}", "-c,hello"),
            ("{{join (split \"a.b\" \".\") \"-\"}} {{split \"ab\" \"\"}}", "a-b [a b]"),
            ("{{upper .Name}} {{.Name | upper | lower}}", "TEST-CONTAINER test-container"),
            ("{{title .Name}} {{title \"a_b c.d 1e\"}}", "Test-Container A_b C.D 1e"),
            ("{{pad .Name 1 2}}|{{pad .LogPath 1 2}}|", " test-container  ||"),
            ("{{truncate .Name 4}} {{truncate .Name 99}} {{.Name | printf \"%.3s\"}}", "test test-container tes"),
            ("{{truncate \"é\" 1}}|{{truncate \"aé\" 2}}", "|a"),
            ("{{json .ContainerLabels}}", "{\"app\":\"web\",\"com.example.tier\":\"<front> \\u2028\"}"),
            (
                "{{json .ContainerArgs}} {{json .Name}} {{json 1}} {{json nil}}",
                "[\"-c\",\"hello\"] \"test-container\" 1 null",
            ),
            ("{{printf \"%s-%d\" .Name 7}} {{print 1 2}}", "test-container-7 1 2"),
            ("{{html \"<\"}} {{js \"'\"}} {{urlquery \"a b\"}} {{not true}}", "&lt; \\' a+b false"),
            ("a{{- /* comment */ -}} b", "ab"),
            ("  {{- .Name -}}  {", "test-container{"),
            ("{{define \"x\"}}<{{.Name}}>{{end}}{{template \"x\" .}}", "<test-container>"),
            ("{{block \"x\" .}}{{.ID}}{{end}}", "abcdef012345"),
            ("{{if .LogPath}}a{{else if .Name}}b{{else}}c{{end}}d", "bd"),
            ("{{range 3}}{{if eq . 1}}{{continue}}{{end}}{{.}}{{end}}", "02"),
            ("{{ .Name }} } {{`}}`}}", "test-container } }}"),
        ] {
            assert_eq!(rendered(template), expected, "{template}");
            assert_eq!(check(template), Ok(()), "{template}");
        }
        let whole = rendered("{{json .}}");
        assert_eq!(serde_json::from_str::<Info>(&whole).ok(), Some(info()));
    }

    #[test]
    fn the_time_of_creation_is_a_go_time() {
        for (template, expected) in [
            ("{{.ContainerCreated}}", "2026-11-20 08:24:57.418162077 +0000 UTC"),
            ("{{.ContainerCreated.String}}", "2026-11-20 08:24:57.418162077 +0000 UTC"),
            ("{{.ContainerCreated.Format \"2006-01-02T15:04:05Z07:00\"}}", "2026-11-20T08:24:57Z"),
            ("{{\"2006\" | .ContainerCreated.Format}}", "2026"),
            ("{{(.ContainerCreated.UTC).Format \"Jan _2\" | upper}}", "NOV 20"),
            ("{{with .ContainerCreated}}{{.Unix}}{{end}}", "1795163097"),
            ("{{with .ContainerCreated}}{{.Year}} {{.Month}} {{.Day}} {{.Weekday}}{{end}}", "2026 November 20 Friday"),
            ("{{with .ContainerCreated}}{{.YearDay}} {{.Hour}} {{.Minute}} {{.Second}}{{end}}", "324 8 24 57"),
            ("{{$t := .ContainerCreated}}{{$t.UnixMilli}} {{$t.UnixNano}}", "1795163097418 1795163097418162077"),
            ("{{json .ContainerCreated}}", "\"2026-11-20T08:24:57.418162077Z\""),
        ] {
            assert_eq!(rendered(template), expected, "{template}");
        }
        let mut odd = info();
        odd.container_created = "yesterday".to_owned();
        assert_eq!(render("{{.ContainerCreated}}", &odd, "").unwrap(), "yesterday");
        let error = render("{{.ContainerCreated.Unix}}", &odd, "").unwrap_err().to_string();
        assert!(error.contains("yesterday"), "{error}");
    }

    #[test]
    fn what_does_not_parse_is_refused_before_there_is_a_container() {
        for (template, cause) in [
            ("{{.Name", "1:8: unclosed action"),
            ("a {{", "1:5: unclosed action"),
            ("{{\"a}}", "1:7: unterminated string"),
            ("{{.Name | }}", "1:13: empty command"),
            ("{{(.Name}}", "1:11: expected RightParen"),
            ("{{if .Name}}x", "a block is not closed"),
            ("{{define \"x\"}}x", "a block is not closed"),
            ("{{range .ContainerArgs}}{{if .}}x{{end}}", "a block is not closed"),
            ("x{{end}}", "an {{end}} or {{else}} has no block"),
            ("x{{else}}y", "an {{end}} or {{else}} has no block"),
            ("{{if .Name}}x{{end}}{{end}}{", "an {{end}} or {{else}} has no block"),
            ("{{shout .Name}}", "there is no function shout"),
            ("{{if false}}{{.Name | shout}}{{end}}", "there is no function shout"),
            ("{{define \"x\"}}{{print (shout)}}{{end}}", "there is no function shout"),
            ("{{break}}", "{{break}} or {{continue}} is outside a {{range}}"),
            ("{{range 1}}{{end}}{{continue}}", "{{break}} or {{continue}} is outside a {{range}}"),
        ] {
            let error = check(template).unwrap_err();
            assert!(matches!(error, TemplateError::Syntax(_)));
            assert!(error.to_string().starts_with(cause), "{template}: {error}");
            assert_eq!(render(template, &info(), ""), Err(error));
        }
    }

    #[test]
    fn what_does_not_go_with_the_container_is_refused() {
        for (template, cause) in [
            ("{{.Nmae}}", "there is no field or method Nmae (known are Command, Config, ContainerArgs,"),
            ("{{$.Nmae}}", "there is no field or method Nmae"),
            ("{{.Name.First}}", "First: a string has no fields"),
            ("{{.Name 1}}", "Name takes no argument"),
            ("{{1 | .Name}}", "Name takes no argument"),
            ("{{.ContainerLabels.app 1}}", "app takes no argument"),
            ("{{.ExtraAttributes nil}}", "ExtraAttributes is not available; name them with the options labels and env"),
            ("{{.ContainerCreated.Truncate}}", "a time has no method Truncate here (known are Day, Format,"),
            ("{{.ContainerCreated.Format}}", "Format takes a layout, as in .ContainerCreated.Format \"2006-01-02\""),
            ("{{upper .ContainerLabels.none}}", "upper: argument 1 is to be a string, and is no value"),
            ("{{upper .ContainerArgs}}", "upper: argument 1 is to be a string, and is a list"),
            ("{{upper}}", "upper takes 1 argument and got 0"),
            ("{{split .Name}}", "split takes 2 arguments and got 1"),
            ("{{join .Name \",\"}}", "join: argument 1 is to be a list of strings, and is a string"),
            ("{{truncate .Name \"4\"}}", "truncate: argument 2 is to be a whole number, and is a string"),
            ("{{truncate .Name -1}}", "truncate: argument 2 is to be 0 or more, and is -1"),
            ("{{pad .Name 99999999 0}}", "pad: argument 2 is to be 65536 at most, and is 99999999"),
            ("{{index .ContainerArgs 5}}", "index out of range"),
            ("{{printf .ContainerEnv}}", "printf: first arg must be string"),
            ("{{template \"none\"}}", "undefined template: none"),
            ("{{range 100000}}{{end}}", "range iteration budget exhausted"),
            ("{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}", "recursion limit exceeded"),
        ] {
            let error = render(template, &info(), "box").unwrap_err().to_string();
            assert!(error.starts_with(cause), "{template}: {error}");
        }
        let error = render("{{printf .ContainerEnv}}", &info(), "box").unwrap_err();
        assert!(!error.to_string().contains("x y"), "{error}");
        let endless = "{{range 9000}}{{$.FullID}}{{end}}";
        assert_eq!(render(endless, &info(), ""), Err(TemplateError::TooLong));
    }

    #[test]
    fn deep_nesting_ends_in_an_error_and_not_in_the_stack() {
        for template in [
            format!("{{{{{}.Name{}}}}}", "(".repeat(5_000), ")".repeat(5_000)),
            format!("{{{{{}.Name{}}}}}", "(".repeat(90), ")".repeat(90)),
            format!("{}{}", "{{if .Name}}".repeat(5_000), "{{end}}".repeat(5_000)),
            format!("{}{{{{end}}}}", "{{if .LogPath}}{{else if .LogPath}}".repeat(90)),
            format!("{{{{if .LogPath}}}}{}{{{{end}}}}", "{{else if .LogPath}}".repeat(3_000)),
            format!(
                "{{{{if .LogPath}}}}{}{}.Name{}{{{{end}}}}",
                "{{else if .LogPath}}".repeat(97),
                "{{".to_owned() + &"(".repeat(97),
                ")".repeat(97) + "}}"
            ),
            format!("{{{{.Name{}}}}}", " | print".repeat(5_000)),
            format!("{{{{.Name{}}}}}", ".a".repeat(5_000)),
        ] {
            let _ = check(&template);
            let _ = render(&template, &info(), "");
        }
        let many = "{{.Name}}".repeat(101);
        let error = check(&many).unwrap_err().to_string();
        assert_eq!(error, "it has more than 100 actions");
    }

    #[test]
    fn a_panic_stays_inside() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let outcome = contained(|| -> Result<(), TemplateError> { panic!("boom") });
        std::panic::set_hook(hook);
        assert_eq!(outcome, Err(TemplateError::Panicked));
    }

    #[test]
    fn a_bomb_ends_within_what_the_labels_of_a_container_may_cost() {
        let x = "x".repeat(60);
        let doubling: String = (0..24)
            .map(|at| {
                format!(r#"{{{{define "t{at}"}}}}{{{{template "t{0}"}}}}{{{{template "t{0}"}}}}{{{{end}}}}"#, at + 1)
            })
            .collect();
        for text in [
            format!(
                r#"{{{{define "a"}}}}{{{{if .}}}}{{{{template "a" (slice . 1)}}}}{{{{template "a" (slice . 1)}}}}{{{{end}}}}{{{{end}}}}{{{{template "a" "{x}"}}}}"#
            ),
            format!(r#"{doubling}{{{{define "t24"}}}}x{{{{end}}}}{{{{template "t0"}}}}"#),
            r#"{{range 9999}}{{$x := pad "x" 65536 65536}}{{end}}"#.to_owned(),
            r#"{{$x := pad "x" 65536 65536}}{{range 9999}}{{$y := json $x}}{{end}}"#.to_owned(),
            r#"{{$x := pad "x" 65536 65536}}{{range 9999}}{{if eq $x $x}}{{end}}{{end}}"#.to_owned(),
        ] {
            let mut work = Work::of(work::LABELS);
            assert_eq!(super::render(&text, &info(), "", &mut work), Err(TemplateError::TooCostly), "{text}");
            assert!(work.spent() <= work::LABELS);
            // What is used up stays used up for the next label.
            assert!(super::render("{{.Name}}", &info(), "", &mut work).is_err());
        }
        let mut work = Work::of(work::LABELS);
        assert_eq!(super::render("{{.Name}}/{{.ID}}", &info(), "", &mut work).unwrap(), "test-container/abcdef012345");
        assert!(work.spent() < work::LABELS / 100, "{}", work.spent());
    }

    proptest! {
        #[test]
        fn no_template_makes_it_panic(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "{{", "}}", "{{-", "-}}", " ", ".", ".Name", "$", "$x", ":=", "=", "|", "(", ")", "\"", "`", "'", ",",
                    "if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil",
                    "true", "1", "-1", "0x", "1.5", "upper", "json", "index", "printf", "\"%d\"", "{{end}}", "/*", "*/",
                    "é", "\n", ".ContainerCreated.Format", ".ContainerLabels", "slice", "pad",
                ]),
                0..20,
            )
        ) {
            let template = parts.concat();
            let checked = check(&template);
            let rendered = render(&template, &info(), "box");
            prop_assert!(!matches!(checked, Err(TemplateError::Panicked)), "{}", template);
            prop_assert!(!matches!(rendered, Err(TemplateError::Panicked)), "{}", template);
            if let Err(error) = checked {
                prop_assert_eq!(rendered, Err(error));
            }
        }
    }
}
