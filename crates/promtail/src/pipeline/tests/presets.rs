//! What each preset makes of lines as programs print them.

mod redactions;

use proptest::prelude::*;

use super::*;
use crate::pipeline::presets::{PRESETS, expand};

/// Lines that are printed a millisecond after each other, and what comes out: level, metadata, time, line.
struct Case {
    preset: &'static str,
    lines: &'static [&'static str],
    expected: &'static [(&'static str, &'static str)],
}

/// All levels that there can be.
const LEVELS: [&str; 7] = ["trace", "debug", "info", "warn", "error", "critical", "fatal"];

/// When the first line of a case is printed: 2026-11-20T12:00:00Z.
const NOON: i64 = 1_795_176_000 * SECOND;

/// Entries as `level metadata… time`, and their lines. A time that is Docker's is a dash.
fn through(names: &str, lines: &[&str]) -> Vec<(String, String)> {
    let stages = expand(names).unwrap_or_else(|why| panic!("{why}"));
    let mut scene = Scene::new(&stages);
    for (line, at) in lines.iter().zip(0..) {
        scene.line(line, NOON + at * SECOND / 1000);
    }
    scene.pipeline.flush(NOON + SECOND, &mut scene.out);
    let told = |entry: Entry| {
        let mut words = vec![entry.labels.get("level").unwrap_or("none").to_owned()];
        let mut metadata: Vec<_> =
            entry.structured_metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
        metadata.sort();
        words.append(&mut metadata);
        let first = i64::try_from(entry.seq.first).unwrap();
        let own = entry.timestamp == NOON + first * SECOND / 1000;
        let time = jiff::Timestamp::from_nanosecond(entry.timestamp.into()).unwrap();
        words.push(if own { "-".to_owned() } else { time.to_string() });
        (words.join(" "), String::from_utf8(entry.line).unwrap())
    };
    scene.out.into_iter().map(told).collect()
}

fn hold(cases: &[Case]) {
    for case in cases {
        let found = through(case.preset, case.lines);
        let found: Vec<_> = found.iter().map(|(told, line)| (told.as_str(), line.as_str())).collect();
        assert_eq!(found, case.expected, "{}", case.preset);
    }
}

/// Lines that come out as they went in: what was printed, and what is told of it.
fn each(preset: &str, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        let found = through(preset, &[line]);
        assert_eq!(found, [((*expected).to_owned(), (*line).to_owned())], "{preset}: {line}");
    }
}

#[test]
fn json_of_many_libraries() {
    each(
        "json",
        &[
            // slog, zap, logrus, pino, bunyan, the encoders of Elastic and Logstash, and python-json-logger.
            (
                r#"{"time":"2026-11-20T11:59:59.123456789Z","level":"INFO","msg":"started"}"#,
                "info 2026-11-20T11:59:59.123456789Z",
            ),
            (
                r#"{"level":"error","ts":1795175999.5,"caller":"a/b.go:1","msg":"failed","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}"#,
                "error span_id=00f067aa0ba902b7 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 2026-11-20T11:59:59.5Z",
            ),
            (
                r#"{"level":"warn","time":"2026-11-20T12:59:59.25+01:00","message":"slow"}"#,
                "warn 2026-11-20T11:59:59.25Z",
            ),
            (r#"{"level":"warning","msg":"slow","time":"2026-11-20T11:59:59Z"}"#, "warn -"),
            (
                r#"{"level":50,"time":1795175999125,"pid":1,"hostname":"web","msg":"boom"}"#,
                "error 2026-11-20T11:59:59.125Z",
            ),
            (
                r#"{"name":"app","hostname":"web","pid":1,"level":30,"msg":"hi","time":"2026-11-20T11:59:59.000Z","v":0}"#,
                "info 2026-11-20T11:59:59Z",
            ),
            (
                r#"{"@timestamp":"2026-11-20T11:59:59.001Z","log.level":"WARN","message":"m","ecs.version":"1.2.0","trace.id":"t1"}"#,
                "warn trace_id=t1 2026-11-20T11:59:59.001Z",
            ),
            (
                r#"{"@timestamp":"2026-11-20T11:59:59.001Z","log":{"level":"debug"},"message":"m","span":{"id":"s1"}}"#,
                "debug span_id=s1 2026-11-20T11:59:59.001Z",
            ),
            (
                r#"{"@timestamp":"2026-11-20T12:59:59.001+0100","@version":"1","message":"m","level":"ERROR","traceId":"t2"}"#,
                "error trace_id=t2 2026-11-20T11:59:59.001Z",
            ),
            (
                r#"{"severity":"CRITICAL","message":"m","timestamp":"2026-11-20T11:59:59.9Z"}"#,
                "critical 2026-11-20T11:59:59.9Z",
            ),
            (r#"{"asctime":"2026-11-20 11:59:59,123","levelname":"WARNING","message":"m"}"#, "warn -"),
            // No zone, no time; no known level, no label; no JSON, no change.
            (r#"{"time":"2026-11-20T11:59:59.123","level":"user-4711","msg":"m"}"#, "none -"),
            (r#"{"time":"2026-11-20 11:59:59","level":{"a":1},"trace_id":"","msg":"m"}"#, "none -"),
            (r#"{"time":12,"level":null,"msg":"m"}"#, "none -"),
            (r#"["level","info"]"#, "none -"),
            ("Listening on :8080", "none -"),
            (r#"{"level":"info","msg":"cut o"#, "none -"),
        ],
    );
}

#[test]
fn logfmt_of_many_libraries() {
    each(
        "logfmt",
        &[
            (r#"time="2026-11-20T11:59:59Z" level=warning msg="slow query" took=3s"#, "warn -"),
            (
                "time=2026-11-20T12:59:59.125+01:00 level=ERROR msg=failed trace_id=4bf9 span_id=00f0",
                "error span_id=00f0 trace_id=4bf9 2026-11-20T11:59:59.125Z",
            ),
            (
                r#"level=info ts=2026-11-20T11:59:59.5Z caller=metrics.go:159 component=querier traceID=2a org_id=fake latency=fast"#,
                "info trace_id=2a 2026-11-20T11:59:59.5Z",
            ),
            (r#"ts=2026-11-20T11:59:59.25Z lvl=eror severity=ERROR msg=x"#, "none 2026-11-20T11:59:59.25Z"),
            ("severity=NOTICE msg=x", "info -"),
            (r#"time="2026-11-20 11:59:59" level=fatal msg="no zone""#, "fatal -"),
            ("level=tenant-1 msg=x", "none -"),
            ("plain words", "none -"),
        ],
    );
}

#[test]
fn nginx_and_its_two_logs() {
    each(
        "nginx",
        &[
            (r#"172.17.0.1 - - [20/Nov/2026:11:59:59 +0000] "GET / HTTP/1.1" 200 615 "-" "curl/8.5.0" "-""#, "info -"),
            (
                r#"172.17.0.1 - me [20/Nov/2026:11:59:59 +0000] "GET /favicon.ico HTTP/1.1" 404 153 "http://localhost/" "Mozilla/5.0 (X11; Linux x86_64)""#,
                "warn -",
            ),
            (r#"2001:db8::1 - - [20/Nov/2026:11:59:59 +0000] "POST /a?b=\"c\" HTTP/2.0" 502 157 "-" "-""#, "error -"),
            (r#"10.0.0.7 - - [20/Nov/2026:11:59:59 +0000] "\x16\x03\x01\x02" 400 157 "-" "-""#, "warn -"),
            (r#"10.0.0.7 - - [20/Nov/2026:11:59:59 +0000] "" 499 0 "-" "-""#, "warn -"),
            ("2026/11/20 11:59:59 [notice] 1#1: nginx/1.27.3", "info -"),
            (
                r#"2026/11/20 11:59:59 [error] 31#31: *1 open() "/usr/share/nginx/html/x" failed (2: No such file or directory), client: 172.17.0.1, server: localhost"#,
                "error -",
            ),
            ("2026/11/20 11:59:59 [emerg] 1#1: host not found in upstream \"app\"", "fatal -"),
            ("2026/11/20 11:59:59 [crit] 31#31: *5 SSL_do_handshake() failed", "critical -"),
            ("/docker-entrypoint.sh: Configuration complete; ready for start up", "none -"),
        ],
    );
}

#[test]
fn java_and_its_stack_traces() {
    each(
        "java",
        &[
            (
                "2026-11-20T11:59:59.123Z  INFO 1 --- [demo] [main] com.example.Demo : Started Demo in 1.2 seconds",
                "info 2026-11-20T11:59:59.123Z",
            ),
            (
                "2026-11-20T12:59:59.123+01:00  WARN 1 --- [demo] [nio-8080-exec-1] [4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7] com.example.Demo : slow",
                "warn span_id=00f067aa0ba902b7 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 2026-11-20T11:59:59.123Z",
            ),
            (
                "2026-11-20 11:59:59.123 ERROR [demo,4bf92f3577b34da6,00f067aa0ba902b7] 1 --- [main] c.e.Demo : failed",
                "error span_id=00f067aa0ba902b7 trace_id=4bf92f3577b34da6 -",
            ),
            ("11:59:59.123 [main] DEBUG com.example.Demo - no ERROR at all", "debug -"),
            ("2026-11-20 11:59:59,123 TRACE [main] com.example.Demo: x", "trace -"),
            ("20-Nov-2026 11:59:59.123 SEVERE [main] org.apache.catalina.core.StandardService Failed", "error -"),
            ("[11:59:59] [Server thread/INFO]: Done", "none -"),
        ],
    );
    hold(&[
        Case {
            preset: "java",
            lines: &[
                "2026-11-20T11:59:59.123Z ERROR 1 --- [main] com.example.Demo : it failed",
                "java.lang.IllegalStateException: no",
                "\tat com.example.Demo.main(Demo.java:7)",
                "Caused by: java.io.IOException: disk",
                "\t... 1 more",
                "2026-11-20T11:59:59.200Z  INFO 1 --- [main] com.example.Demo : on we go",
            ],
            expected: &[
                (
                    "error 2026-11-20T11:59:59.123Z",
                    "2026-11-20T11:59:59.123Z ERROR 1 --- [main] com.example.Demo : it failed\njava.lang.IllegalStateException: no\n\tat com.example.Demo.main(Demo.java:7)\nCaused by: java.io.IOException: disk\n\t... 1 more",
                ),
                (
                    "info 2026-11-20T11:59:59.2Z",
                    "2026-11-20T11:59:59.200Z  INFO 1 --- [main] com.example.Demo : on we go",
                ),
            ],
        },
        Case {
            preset: "java",
            lines: &[
                "  .   ____          _            __ _ _",
                "Exception in thread \"main\" java.lang.NullPointerException: x",
                "\tat Main.main(Main.java:3)",
                "Nov 20, 2026 11:59:59 AM com.example.Main run",
                "WARNING: low",
            ],
            expected: &[
                ("none -", "  .   ____          _            __ _ _"),
                (
                    "error -",
                    "Exception in thread \"main\" java.lang.NullPointerException: x\n\tat Main.main(Main.java:3)",
                ),
                ("warn -", "Nov 20, 2026 11:59:59 AM com.example.Main run\nWARNING: low"),
            ],
        },
    ]);
}

#[test]
fn python_and_its_tracebacks() {
    each(
        "python",
        &[
            ("WARNING:root:low", "warn -"),
            ("2026-11-20 11:59:59,123 - app.db - ERROR - no INFO at all", "error -"),
            (
                "2026-11-20 11:59:59,123 INFO [app] [views.py:7] [trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7 resource.service.name=web] - hi",
                "info span_id=00f067aa0ba902b7 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 -",
            ),
            ("[2026-11-20 11:59:59 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:8)", "critical -"),
            ("INFO:     127.0.0.1:40000 - \"GET / HTTP/1.1\" 200 OK", "info -"),
            ("[2026-11-20 11:59:59,123: DEBUG/MainProcess] mingle: all alone", "debug -"),
            ("[20/Nov/2026 11:59:59] \"GET / HTTP/1.1\" 200 123", "none -"),
            ("2026-11-20T12:59:59.123456+01:00 | INFO | loguru", "info 2026-11-20T11:59:59.123456Z"),
            ("hello", "none -"),
        ],
    );
    hold(&[
        Case {
            preset: "python",
            lines: &[
                "2026-11-20 11:59:59,123 - app - ERROR - it failed",
                "Traceback (most recent call last):",
                "  File \"/app/a.py\", line 1, in f",
                "    1 / 0",
                "ZeroDivisionError: division by zero",
                "During handling of the above exception, another exception occurred:",
                "Traceback (most recent call last):",
                "  File \"/app/a.py\", line 3, in <module>",
                "KeyError: 'x'",
                "2026-11-20 11:59:59,200 - app - INFO - on we go",
            ],
            expected: &[
                (
                    "error -",
                    "2026-11-20 11:59:59,123 - app - ERROR - it failed\nTraceback (most recent call last):\n  File \"/app/a.py\", line 1, in f\n    1 / 0\nZeroDivisionError: division by zero\nDuring handling of the above exception, another exception occurred:\nTraceback (most recent call last):\n  File \"/app/a.py\", line 3, in <module>\nKeyError: 'x'",
                ),
                ("info -", "2026-11-20 11:59:59,200 - app - INFO - on we go"),
            ],
        },
        Case {
            preset: "python",
            lines: &[
                "starting",
                "Traceback (most recent call last):",
                "  File \"a.py\", line 1, in <module>",
                "NameError: name 'x' is not defined",
            ],
            expected: &[
                ("none -", "starting"),
                (
                    "error -",
                    "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nNameError: name 'x' is not defined",
                ),
            ],
        },
    ]);
}

#[test]
fn go_and_its_panics() {
    each(
        "go",
        &[
            ("2026/11/20 11:59:59 listening on :8080", "none -"),
            ("2026/11/20 11:59:59 ERROR failed err=\"no such file\"", "error -"),
            ("2026/11/20 11:59:59 http: panic serving 10.0.0.1:1: boom", "fatal -"),
            (
                "time=2026-11-20T11:59:59.123Z level=WARN msg=\"slow level=debug\" trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
                "warn trace_id=4bf92f3577b34da6a3ce929d0e0e4736 2026-11-20T11:59:59.123Z",
            ),
            (
                r#"{"level":"error","ts":"2026-11-20T12:59:59.123+0100","msg":"x","span_id":"00f067aa0ba902b7"}"#,
                "error span_id=00f067aa0ba902b7 2026-11-20T11:59:59.123Z",
            ),
            (
                "2026-11-20T12:59:59.123+0100\tINFO\tserver/main.go:10\tstarted\t{\"port\": 80}",
                "info 2026-11-20T11:59:59.123Z",
            ),
            ("E1120 11:59:59.123456       1 reflector.go:147] failed", "error -"),
            ("11:59AM INF started port=80", "info -"),
            (r#"[GIN] 2026/11/20 - 11:59:59 | 200 |     1.2ms |  10.0.0.1 | GET "/""#, "none -"),
            ("WARN[0003] slow                                          took=3s", "warn -"),
        ],
    );
    hold(&[
        Case {
            preset: "go",
            lines: &[
                "2026/11/20 11:59:59 INFO before",
                "panic: runtime error: index out of range [3] with length 3",
                "goroutine 1 [running]:",
                "main.main()",
                "\t/app/main.go:8 +0x1d",
                "exit status 2",
            ],
            expected: &[
                ("info -", "2026/11/20 11:59:59 INFO before"),
                (
                    "fatal -",
                    "panic: runtime error: index out of range [3] with length 3\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:8 +0x1d\nexit status 2",
                ),
            ],
        },
        Case {
            preset: "go",
            lines: &[
                "fatal error: all goroutines are asleep - deadlock!",
                "goroutine 1 [chan receive]:",
                "main.main()",
            ],
            expected: &[(
                "fatal -",
                "fatal error: all goroutines are asleep - deadlock!\ngoroutine 1 [chan receive]:\nmain.main()",
            )],
        },
    ]);
}

#[test]
fn postgres_and_its_statements() {
    each(
        "postgres",
        &[
            (
                "2026-11-20 11:59:59.123 UTC [1] LOG:  database system is ready to accept connections",
                "info 2026-11-20T11:59:59.123Z",
            ),
            ("2026-11-20 11:59:59.123 CET [1] WARNING:  out of date", "warn -"),
            (
                "2026-11-20 11:59:59.123 GMT [77] app@shop FATAL:  password authentication failed for user \"app\"",
                "fatal 2026-11-20T11:59:59.123Z",
            ),
            ("PostgreSQL init process complete; ready for start up.", "none -"),
        ],
    );
    hold(&[Case {
        preset: "postgres",
        lines: &[
            "2026-11-20 11:59:59.123 UTC [77] ERROR:  relation \"x\" does not exist at character 15",
            "2026-11-20 11:59:59.123 UTC [77] STATEMENT:  select 'LOG:  '",
            "\tfrom x;",
            "2026-11-20 11:59:59.200 UTC [27] LOG:  checkpoint starting: time",
        ],
        expected: &[
            (
                "error 2026-11-20T11:59:59.123Z",
                "2026-11-20 11:59:59.123 UTC [77] ERROR:  relation \"x\" does not exist at character 15\n2026-11-20 11:59:59.123 UTC [77] STATEMENT:  select 'LOG:  '\n\tfrom x;",
            ),
            ("info 2026-11-20T11:59:59.2Z", "2026-11-20 11:59:59.200 UTC [27] LOG:  checkpoint starting: time"),
        ],
    }]);
}

#[test]
fn a_block_that_ended_does_not_lend_its_time_to_a_crash_an_hour_later() {
    let mut scene = Scene::new(&expand("python").unwrap());
    scene.line("WARNING:root:low", NOON);
    for at in 1..=3 {
        scene.pipeline.tick(NOON + at * SECOND, &mut scene.out);
    }
    assert_eq!(scene.came(), ["WARNING:root:low"]);
    let later = NOON + 3600 * SECOND;
    scene.line("Traceback (most recent call last):", later);
    scene.line("  File \"a.py\", line 1, in <module>", later + 1);
    scene.line("NameError: x", later + 2);
    scene.pipeline.flush(later + SECOND, &mut scene.out);
    let found: Vec<_> = scene.out.iter().map(|entry| (entry.timestamp, entry.labels.get("level"))).collect();
    assert_eq!(found, [(later, Some("error"))]);
}

#[test]
fn no_level_makes_a_stream_of_its_own() {
    let lines = [
        "{\"level\":\"LEVEL\"}",
        "level=LEVEL",
        "2026/11/20 11:59:59 [LEVEL] 1#1: x",
        "LEVEL: x",
        "11:59:59.1 LEVEL x",
    ];
    for preset in PRESETS {
        for level in ["info", "WARNING", "x-4711", "NOTICE", "E", "é", "<no value>", "", "Error ", "50", "51"] {
            for line in lines {
                let line = line.replace("LEVEL", level);
                for (told, _) in through(preset.name, &[&line]) {
                    let level = told.split(' ').next().unwrap();
                    assert!(level == "none" || LEVELS.contains(&level), "{}: {line} has {told}", preset.name);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_printed_nothing_is_lost_and_no_level_is_made_up(
        lines in proptest::collection::vec("(20[0-9]{2}-01-31 12:00:00[.,]5|level=|\\{\"level\":|INFO|panic: |Traceback \\(most recent call last\\):|\t| )?[ -~é]{0,20}[!-~]", 0..12),
    ) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for preset in PRESETS.iter().filter(|preset| !preset.name.starts_with("redact-")) {
            let found = through(preset.name, &lines);
            let whole: Vec<&str> = found.iter().map(|(_, line)| line.as_str()).collect();
            prop_assert_eq!(whole.join("\n"), lines.join("\n"), "{}", preset.name);
            for (told, _) in &found {
                let level = told.split(' ').next().unwrap_or_default();
                prop_assert!(level == "none" || LEVELS.contains(&level), "{}: {}", preset.name, told);
            }
        }
    }
}

#[test]
fn names_that_are_no_presets_are_refused() {
    for (names, expected) in [
        ("jsn", "\"jsn\" is not a preset, did you mean json?"),
        ("json,redact-emails", "\"redact-emails\" is not a preset, did you mean redact-email?"),
        (
            "json,",
            "\"\" is not a preset, known are json, logfmt, nginx, java, python, go, postgres, redact-email, redact-ipv4, redact-bearer, redact-card",
        ),
        ("go,go", "go is there twice"),
    ] {
        assert_eq!(expand(names), Err(expected.to_owned()));
    }
    let all = PRESETS.map(|preset| preset.name).join(" , ");
    let text = expand(&all).unwrap();
    assert!(Pipeline::parse(&text, Form::List).is_ok(), "one behind the other they are one list");
}
