//! One row for each option, in the order of the program's own table: what starts a container, and what does not.

/// Options as they are typed. In a value, $LOKI stands for where the stand-in is pushed to, $HOST for the same
/// without a path, and $FILES for a folder with files in it.
pub type Typed = &'static [(&'static str, &'static str)];

/// Invalid options, and the exact error.
pub type Refused = (Typed, &'static str);

/// The expectations about one option.
pub struct Row {
    pub key: &'static str,
    /// Options that start a container whose line arrives.
    pub good: &'static [Typed],
    /// Options that keep a container from starting, with the error of `docker run`.
    pub bad: &'static [Refused],
    /// The error about an empty value. `None`: an empty value counts as unset, and the container starts.
    pub empty: Option<&'static str>,
}

/// Options without an invalid value: dockerd reads two itself, and refuses invalid values before it calls a driver; two
/// have no effect; and a list of names is valid whatever it contains.
pub const NOTHING_IS_BAD: [&str; 6] = ["mode", "max-buffer-size", "compress", "cache-*", "labels", "env"];

pub const ROWS: &[Row] = &[
    Row {
        key: "loki-url",
        good: &[&[("loki-url", "$LOKI")], &[("loki-url", " $LOKI\n")]],
        bad: &[
            (
                &[("loki-url", "localhost:3100")],
                r#"loki-url: "localhost:3100" is not an http or https URL (try http://localhost:3100/loki/api/v1/push)"#,
            ),
            (
                &[("loki-url", "ftp://u:hunter2@loki.lan:3100")],
                r#"loki-url: "***@loki.lan:3100" is not an http or https URL (try http://loki.lan:3100/loki/api/v1/push)"#,
            ),
            (
                &[("loki-url", "http://")],
                r#"loki-url: "http://" is not an http or https URL: empty host (try http://localhost:3100/loki/api/v1/push)"#,
            ),
        ],
        empty: Some(
            "loki-url: is missing (give it for one container with --log-opt loki-url=http://localhost:3100/loki/api/v1/push, \
             for all in daemon.json under log-opts, or for this plugin with docker plugin set <plugin> \
             LOKI_URL=http://localhost:3100/loki/api/v1/push)",
        ),
    },
    Row {
        key: "loki-external-labels",
        good: &[
            &[("loki-external-labels", "app=web,name={{.Name}}")],
            &[("loki-external-labels", r#"command={{join .ContainerArgs ","}}"#)],
        ],
        bad: &[
            (
                &[("loki-external-labels", "app")],
                r#"loki-external-labels: "app" is not name=value,name=value (the part "app" has no name and =, try app=web,env=prod)"#,
            ),
            (
                &[("loki-external-labels", "app=web,")],
                r#"loki-external-labels: "app=web," is not name=value,name=value (the part "" has no name and =, try app=web,env=prod)"#,
            ),
        ],
        empty: None,
    },
    Row {
        key: "loki-batch-size",
        good: &[&[("loki-batch-size", "400")], &[("loki-batch-size", "1")]],
        bad: &[
            (&[("loki-batch-size", "-1")], r#"loki-batch-size: "-1" is not a number of bytes from 1 up (try 1048576)"#),
            (&[("loki-batch-size", "0")], r#"loki-batch-size: "0" is not a number of bytes from 1 up (try 1048576)"#),
            (&[("loki-batch-size", "1m")], r#"loki-batch-size: "1m" is not a number of bytes from 1 up (try 1048576)"#),
        ],
        empty: Some(r#"loki-batch-size: "" is not a number of bytes from 1 up (try 1048576)"#),
    },
    Row {
        key: "loki-batch-wait",
        good: &[&[("loki-batch-wait", "0s")], &[("loki-batch-wait", "10ms")]],
        bad: &[
            (
                &[("loki-batch-wait", "-1s")],
                r#"loki-batch-wait: "-1s" is not a duration of 0s or more (try 10s, 500ms, 1m)"#,
            ),
            (&[("loki-batch-wait", "1")], r#"loki-batch-wait: "1" is not a duration (try 10s, 500ms, 1m)"#),
        ],
        empty: Some(r#"loki-batch-wait: "" is not a duration (try 10s, 500ms, 1m)"#),
    },
    Row {
        key: "loki-timeout",
        good: &[&[("loki-timeout", "1m30s")]],
        bad: &[
            (&[("loki-timeout", "0s")], r#"loki-timeout: "0s" is not a duration above zero (try 10s, 500ms, 1m)"#),
            (&[("loki-timeout", "-1s")], r#"loki-timeout: "-1s" is not a duration above zero (try 10s, 500ms, 1m)"#),
            (&[("loki-timeout", "10")], r#"loki-timeout: "10" is not a duration (try 10s, 500ms, 1m)"#),
        ],
        empty: Some(r#"loki-timeout: "" is not a duration (try 10s, 500ms, 1m)"#),
    },
    Row {
        key: "loki-accept-any-2xx",
        good: &[&[("loki-accept-any-2xx", "true")], &[("loki-accept-any-2xx", "F")]],
        bad: &[(&[("loki-accept-any-2xx", "yes")], r#"loki-accept-any-2xx: "yes" is not a boolean (try true, false)"#)],
        empty: Some(r#"loki-accept-any-2xx: "" is not a boolean (try true, false)"#),
    },
    Row {
        key: "loki-retries",
        good: &[&[("loki-retries", "10")], &[("loki-retries", "0")]],
        bad: &[
            (
                &[("loki-retries", "-1")],
                r#"loki-retries: "-1" is not a whole number from 0 up (try 10, or 0 for ever)"#,
            ),
            (
                &[("loki-retries", "many")],
                r#"loki-retries: "many" is not a whole number from 0 up (try 10, or 0 for ever)"#,
            ),
        ],
        empty: Some(r#"loki-retries: "" is not a whole number from 0 up (try 10, or 0 for ever)"#),
    },
    Row {
        key: "loki-min-backoff",
        good: &[&[("loki-min-backoff", "100ms")]],
        bad: &[
            (
                &[("loki-min-backoff", "0s")],
                r#"loki-min-backoff: "0s" is not a duration above zero (try 10s, 500ms, 1m)"#,
            ),
            (
                &[("loki-min-backoff", "10m"), ("loki-max-backoff", "5m")],
                r#"loki-min-backoff: "10m" is not a duration of at most loki-max-backoff "5m" (make this one shorter or that one longer)"#,
            ),
        ],
        empty: Some(r#"loki-min-backoff: "" is not a duration (try 10s, 500ms, 1m)"#),
    },
    Row {
        key: "loki-max-backoff",
        good: &[&[("loki-max-backoff", "800ms")]],
        bad: &[(
            &[("loki-max-backoff", "-5s")],
            r#"loki-max-backoff: "-5s" is not a duration above zero (try 10s, 500ms, 1m)"#,
        )],
        empty: Some(r#"loki-max-backoff: "" is not a duration (try 10s, 500ms, 1m)"#),
    },
    Row {
        key: "loki-backpressure",
        good: &[&[("loki-backpressure", "block")], &[("loki-backpressure", "drop-oldest")]],
        bad: &[(
            &[("loki-backpressure", "never")],
            r#"loki-backpressure: "never" is not drop-oldest or block (try block)"#,
        )],
        empty: Some(r#"loki-backpressure: "" is not drop-oldest or block (try block)"#),
    },
    Row {
        key: "loki-block-timeout",
        good: &[&[("loki-block-timeout", "1h"), ("loki-backpressure", "block")]],
        bad: &[(
            &[("loki-block-timeout", "0")],
            r#"loki-block-timeout: "0" is not a duration above zero (try 10s, 500ms, 1m)"#,
        )],
        empty: Some(r#"loki-block-timeout: "" is not a duration (try 10s, 500ms, 1m)"#),
    },
    Row {
        key: "loki-tls-ca-file",
        good: &[&[("loki-tls-ca-file", "$FILES/ca.pem")]],
        bad: &[
            (
                &[("loki-tls-ca-file", "nowhere.pem")],
                r#"loki-tls-ca-file: "/tmp/nowhere.pem" cannot be read: No such file or directory (os error 2) (a managed plugin sees of the host's files those below the directory that docker plugin set <plugin> files.source=DIRECTORY names, as /etc/loki-rs)"#,
            ),
            (
                &[("loki-tls-ca-file", "$FILES/password")],
                r#"loki-tls-ca-file: "$FILES/password" has no certificate in PEM (try a file that begins with -----BEGIN CERTIFICATE-----)"#,
            ),
        ],
        empty: None,
    },
    Row {
        key: "loki-tls-cert-file",
        good: &[&[("loki-tls-cert-file", "$FILES/cert.pem"), ("loki-tls-key-file", "$FILES/key.pem")]],
        bad: &[(
            &[("loki-tls-cert-file", "$FILES/cert.pem")],
            "loki-tls-cert-file: is of no use without loki-tls-key-file (give both or neither)",
        )],
        empty: None,
    },
    Row {
        key: "loki-tls-key-file",
        good: &[&[("loki-tls-key-file", "$FILES/key.pem"), ("loki-tls-cert-file", "$FILES/cert.pem")]],
        bad: &[
            (
                &[("loki-tls-key-file", "$FILES/key.pem")],
                "loki-tls-key-file: is of no use without loki-tls-cert-file (give both or neither)",
            ),
            (
                &[("loki-tls-key-file", "$FILES/ca.pem"), ("loki-tls-cert-file", "$FILES/cert.pem")],
                r#"loki-tls-key-file: "$FILES/ca.pem" has no private key in PEM (one that is encrypted with a password cannot be used)"#,
            ),
        ],
        empty: None,
    },
    Row {
        key: "loki-tls-server-name",
        good: &[&[("loki-tls-server-name", "loki.example.com")]],
        bad: &[(
            &[("loki-tls-server-name", "loki:3100")],
            r#"loki-tls-server-name: "loki:3100" is not a host name (try loki.example.com)"#,
        )],
        empty: None,
    },
    Row {
        key: "loki-tls-insecure-skip-verify",
        good: &[&[("loki-tls-insecure-skip-verify", "true")], &[("loki-tls-insecure-skip-verify", "F")]],
        bad: &[(
            &[("loki-tls-insecure-skip-verify", "yes")],
            r#"loki-tls-insecure-skip-verify: "yes" is not a boolean (try true, false)"#,
        )],
        empty: Some(r#"loki-tls-insecure-skip-verify: "" is not a boolean (try true, false)"#),
    },
    Row {
        key: "loki-proxy-url",
        // There is no such proxy, and the plugin is configured not to use it for this Loki.
        good: &[&[("loki-proxy-url", "http://proxy.invalid:3128")]],
        bad: &[(
            &[("loki-proxy-url", "u:hunter2@proxy:3128")],
            r#"loki-proxy-url: "***@proxy:3128" is not an http or https URL of a proxy (try http://proxy.example.com:3128)"#,
        )],
        empty: None,
    },
    Row {
        key: "loki-username",
        good: &[&[("loki-username", "me"), ("loki-password", "hunter2")]],
        bad: &[(
            &[("loki-username", "a:hunter2")],
            "loki-username: is not a name that basic authentication can carry (leave out colons and control characters)",
        )],
        empty: None,
    },
    Row {
        key: "loki-password",
        good: &[&[("loki-password", "hunter2"), ("loki-username", "me")]],
        bad: &[(
            &[("loki-password", "hunter2")],
            "loki-password: is of no use without loki-username (give both or neither)",
        )],
        empty: None,
    },
    Row {
        key: "loki-password-file",
        good: &[&[("loki-password-file", "$FILES/password"), ("loki-username", "me")]],
        bad: &[
            (
                &[("loki-password-file", "$FILES/password"), ("loki-username", "me"), ("loki-password", "hunter2")],
                "loki-password-file: contradicts loki-password (give one of them)",
            ),
            (
                &[("loki-password-file", "$FILES/empty"), ("loki-username", "me")],
                r#"loki-password-file: "$FILES/empty" is empty (a password or token, on one line, is expected in it)"#,
            ),
        ],
        empty: None,
    },
    Row {
        key: "loki-bearer-token-file",
        good: &[&[("loki-bearer-token-file", "$FILES/password")]],
        bad: &[
            (
                &[("loki-bearer-token-file", "$FILES/password"), ("loki-username", "me")],
                "loki-bearer-token-file: contradicts loki-username (give one of them)",
            ),
            (
                &[("loki-bearer-token-file", "$FILES/nowhere")],
                r#"loki-bearer-token-file: "$FILES/nowhere" cannot be read: No such file or directory (os error 2) (a managed plugin sees of the host's files those below the directory that docker plugin set <plugin> files.source=DIRECTORY names, as /etc/loki-rs)"#,
            ),
        ],
        empty: None,
    },
    Row {
        key: "loki-headers",
        good: &[&[("loki-headers", "X-Team=a,X-Site=b")]],
        bad: &[
            (
                &[("loki-headers", "hunter2")],
                "loki-headers: is not Name=value,Name=value (part 1 has no =, try X-Team=a,X-Site=b)",
            ),
            (&[("loki-headers", "Host=x")], r#"loki-headers: cannot set "Host" (that is the driver's, use loki-url)"#),
        ],
        empty: None,
    },
    Row {
        key: "loki-tenant-id",
        good: &[&[("loki-tenant-id", "team-a")]],
        bad: &[(
            &[("loki-tenant-id", "a|b")],
            r#"loki-tenant-id: "a|b" is not a tenant id (up to 150 letters, digits and !-_.*'(), try team-a)"#,
        )],
        empty: None,
    },
    Row { key: "labels", good: &[&[("labels", "team,not-there")], &[("labels", ",")]], bad: &[], empty: None },
    Row {
        key: "labels-regex",
        good: &[&[("labels-regex", "^te")]],
        bad: &[(
            &[("labels-regex", "(")],
            r#"labels-regex: "(" is not a regular expression: unclosed group (try ^com\.example\.)"#,
        )],
        empty: None,
    },
    Row { key: "env", good: &[&[("env", "TIER")]], bad: &[], empty: None },
    Row {
        key: "env-regex",
        good: &[&[("env-regex", "^TI")]],
        bad: &[(
            &[("env-regex", "[z-a]")],
            r#"env-regex: "[z-a]" is not a regular expression: invalid character class range, the start must be <= the end (try ^com\.example\.)"#,
        )],
        empty: None,
    },
    Row {
        key: "tag",
        good: &[&[("tag", "{{.Name}}/{{.ID}}")]],
        bad: &[
            (
                &[("tag", "{{.Name")],
                r#"tag: "{{.Name" is not a Go template (1:8: unclosed action, try {{.Name}}/{{.ID}})"#,
            ),
            (
                &[("tag", "{{.Nmae}}")],
                r#"tag: the template does not go with this container: there is no field or method Nmae (known are Command, Config, ContainerArgs, ContainerCreated, ContainerEntrypoint, ContainerEnv, ContainerID, ContainerImageID, ContainerImageName, ContainerLabels, ContainerName, DaemonName, FullID, Hostname, ID, ImageFullID, ImageID, ImageName, LogPath, Name)"#,
            ),
        ],
        empty: None,
    },
    Row {
        key: "loki-relabel-config",
        good: &[&[("loki-relabel-config", "[{action: labeldrop, regex: filename}]")]],
        bad: &[(
            &[("loki-relabel-config", "- action: rename")],
            r#"loki-relabel-config: "- action: rename" is not a YAML list of relabel rules: rule 1, line 1, column 11: unknown relabel action "rename" (known are replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase) (try [{action: labeldrop, regex: host}], and loki-rs relabel check FILE)"#,
        )],
        empty: None,
    },
    Row {
        key: "loki-pipeline",
        good: &[&[("loki-pipeline", "json,redact-email")], &[("loki-pipeline", "go, redact-card")]],
        bad: &[
            (
                &[("loki-pipeline", "json,redact-mail")],
                r#"loki-pipeline: "json,redact-mail" is not a list of presets: "redact-mail" is not a preset, did you mean redact-email? (try json,redact-email, and loki-rs pipeline show json)"#,
            ),
            (
                &[("loki-pipeline", "json,go,json")],
                r#"loki-pipeline: "json,go,json" is not a list of presets: json is there twice (try json,redact-email, and loki-rs pipeline show json)"#,
            ),
        ],
        empty: None,
    },
    Row {
        key: "loki-pipeline-stages",
        good: &[&[("loki-pipeline-stages", "[{labels: {level: }}]")]],
        bad: &[(
            &[("loki-pipeline-stages", "- jsn: {}")],
            r#"loki-pipeline-stages: "- jsn: {}" is not a YAML list of stages: line 1, column 3: Unknown stage type: jsn (did you mean json?) (try [{labels: {level: }}], and loki-rs pipeline check FILE)"#,
        )],
        empty: None,
    },
    Row {
        key: "loki-pipeline-stage-file",
        good: &[&[("loki-pipeline-stage-file", "$FILES/stages.yaml")]],
        bad: &[(
            &[("loki-pipeline-stage-file", "$FILES/password")],
            r#"loki-pipeline-stage-file: "$FILES/password" is not a file with pipeline_stages, see line 1, column 1 (loki-rs pipeline check FILE says what is wrong there)"#,
        )],
        empty: None,
    },
    Row {
        key: "loki-structured-metadata",
        good: &[&[("loki-structured-metadata", "container_id,label:team,tier=env:TIER")]],
        bad: &[(
            &[("loki-structured-metadata", "pod")],
            r#"loki-structured-metadata: "pod" is not a list of metadata: "pod" is none of label:NAME, env:NAME, container_id, container_name, container_created, image_id, image_name, command, daemon_name, swarm_task_id, swarm_slot, swarm_node_id (try container_id,label:com.example.team,tier=env:TIER)"#,
        )],
        empty: None,
    },
    Row {
        key: "loki-filename-label",
        good: &[&[("loki-filename-label", "true")]],
        bad: &[(&[("loki-filename-label", "on")], r#"loki-filename-label: "on" is not a boolean (try true, false)"#)],
        empty: Some(r#"loki-filename-label: "" is not a boolean (try true, false)"#),
    },
    Row {
        key: "max-size",
        good: &[&[("max-size", "10m")], &[("max-size", "1.5 MB")]],
        bad: &[
            (&[("max-size", "-1")], r#"max-size: "-1" is not a size above zero (try 20m, 512k, 1g)"#),
            (&[("max-size", "0")], r#"max-size: "0" is not a size above zero (try 20m, 512k, 1g)"#),
            (&[("max-size", "10x")], r#"max-size: "10x" is not a size above zero (try 20m, 512k, 1g)"#),
        ],
        empty: Some(r#"max-size: "" is not a size above zero (try 20m, 512k, 1g)"#),
    },
    Row {
        key: "max-file",
        good: &[&[("max-file", "1")]],
        bad: &[
            (&[("max-file", "0")], r#"max-file: "0" is not a whole number from 1 up (try 5)"#),
            (&[("max-file", "-1")], r#"max-file: "-1" is not a whole number from 1 up (try 5)"#),
        ],
        empty: Some(r#"max-file: "" is not a whole number from 1 up (try 5)"#),
    },
    Row {
        key: "no-file",
        good: &[&[("no-file", "true")]],
        bad: &[(&[("no-file", "yes")], r#"no-file: "yes" is not a boolean (try true, false)"#)],
        empty: None,
    },
    Row {
        key: "keep-file",
        good: &[&[("keep-file", "true")]],
        bad: &[
            (&[("keep-file", "yes")], r#"keep-file: "yes" is not a boolean (try true, false)"#),
            (
                &[("keep-file", "true"), ("no-file", "true")],
                r#"keep-file: "true" contradicts no-file, which keeps nothing (leave one of them out)"#,
            ),
        ],
        empty: None,
    },
    Row { key: "mode", good: &[&[("mode", "non-blocking")]], bad: &[], empty: None },
    Row { key: "max-buffer-size", good: &[&[("max-buffer-size", "4m")]], bad: &[], empty: None },
    Row { key: "compress", good: &[&[("compress", "true")]], bad: &[], empty: None },
    Row {
        key: "cache-*",
        good: &[&[("cache-disabled", "true")], &[("cache-max-size", "20m"), ("cache-max-file", "5")]],
        bad: &[],
        empty: None,
    },
];

/// Values that are accepted in spite of their form, and the note in the plugin's log.
pub const NOTED: &[(Typed, &str)] = &[
    (&[("loki-url", "$HOST")], "loki-url: it has no path, so lines go to $HOST/loki/api/v1/push"),
    (&[("loki-url", "$HOST/")], "loki-url: it has no path, so lines go to $HOST/loki/api/v1/push"),
    (&[("loki-url", "$LOKI/")], "loki-url: Loki knows no path that ends with /, so lines go to $LOKI"),
    (
        &[("loki-batch-size", "9000000")],
        "loki-batch-size: 9000000 is lowered to 3145728, as Loki refuses requests above 4 MiB",
    ),
    (&[("loki-external-labels", "my-app=web")], "loki-external-labels: \"my-app\" is sent as \"my_app\""),
    (&[("labels", "team, tier")], "is looked up with its blanks, as Docker does"),
    (&[("env", "TIER ")], "is looked up with its blanks, as Docker does"),
    (&[("compress", "banana")], "compress: it has no effect"),
    (&[("cache-disabled", "true")], "cache-disabled: it has no effect"),
];
