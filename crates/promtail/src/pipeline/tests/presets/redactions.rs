//! What must not get to Loki.

use super::through;

#[test]
fn redactions_take_what_they_are_for_and_leave_the_rest() {
    for (preset, line, expected) in [
        (
            "redact-email",
            "mail from <jane.doe+x@mail.example.co.uk>, to bob@example.com.",
            "mail from <<email>>, to <email>.",
        ),
        ("redact-email", r#"{"user":"a@example.com","handle":"@a"}"#, r#"{"user":"<email>","handle":"@a"}"#),
        ("redact-email", "root@localhost git@v1 5 @ 6.50", "root@localhost git@v1 5 @ 6.50"),
        ("redact-ipv4", "from 10.0.0.7:80 to 192.168.255.1, 256.1.1.1", "from <ipv4>:80 to <ipv4>, 256.1.1.1"),
        ("redact-ipv4", "version 1.2.3 took 0.5s", "version 1.2.3 took 0.5s"),
        ("redact-bearer", "Authorization: Bearer abc123", "Authorization: Bearer <token>"),
        (
            "redact-bearer",
            r#"{"authorization":"Bearer s3cr3t.x","a":1}"#,
            r#"{"authorization":"Bearer <token>","a":1}"#,
        ),
        (
            "redact-bearer",
            r#"{"h":"{\"Authorization\":\"Bearer abc\"}"}"#,
            r#"{"h":"{\"Authorization\":\"Bearer <token>\"}"}"#,
        ),
        ("redact-bearer", "using bearer 0123456789abcdef0123", "using bearer <token>"),
        ("redact-bearer", "GET /?t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln&x=1", "GET /?t=<token>&x=1"),
        ("redact-bearer", "the bearer of bad news", "the bearer of bad news"),
        ("redact-card", "paid with 4111 1111 1111 1111.", "paid with <card>."),
        (
            "redact-card",
            r#"{"pan":"5500000000000004","amex":"3782-822463-10005"}"#,
            r#"{"pan":"<card>","amex":"<card>"}"#,
        ),
        ("redact-card", "at 1795176000000000 order 41111111111111112", "at 1795176000000000 order 41111111111111112"),
        ("redact-email,redact-ipv4", "a@example.com at 10.0.0.1", "<email> at <ipv4>"),
        // Labels and ids are taken first, and the line still loses what it must not have.
        (
            "json,redact-email",
            r#"{"level":"error","msg":"no mail to a@example.com"}"#,
            r#"{"level":"error","msg":"no mail to <email>"}"#,
        ),
    ] {
        let found: Vec<String> = through(preset, &[line]).into_iter().map(|(_, line)| line).collect();
        assert_eq!(found, [expected], "{preset}");
    }
}
