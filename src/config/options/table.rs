//! The rows of the table: one for each option, in the words of the documentation.

use super::OptionSpec;

pub const LOKI_URL: &str = "loki-url";
pub const LOKI_EXTERNAL_LABELS: &str = "loki-external-labels";
pub const LOKI_BATCH_SIZE: &str = "loki-batch-size";
pub const LOKI_BATCH_WAIT: &str = "loki-batch-wait";
pub const LOKI_TIMEOUT: &str = "loki-timeout";
pub const LOKI_ACCEPT_ANY_2XX: &str = "loki-accept-any-2xx";
pub const LOKI_RETRIES: &str = "loki-retries";
pub const LOKI_BACKPRESSURE: &str = "loki-backpressure";
pub const LOKI_BLOCK_TIMEOUT: &str = "loki-block-timeout";
pub const LOKI_MIN_BACKOFF: &str = "loki-min-backoff";
pub const LOKI_MAX_BACKOFF: &str = "loki-max-backoff";
pub const LOKI_TENANT_ID: &str = "loki-tenant-id";
pub const LOKI_TLS_CA_FILE: &str = "loki-tls-ca-file";
pub const LOKI_TLS_CERT_FILE: &str = "loki-tls-cert-file";
pub const LOKI_TLS_KEY_FILE: &str = "loki-tls-key-file";
pub const LOKI_TLS_SERVER_NAME: &str = "loki-tls-server-name";
pub const LOKI_TLS_INSECURE_SKIP_VERIFY: &str = "loki-tls-insecure-skip-verify";
pub const LOKI_PROXY_URL: &str = "loki-proxy-url";
pub const LOKI_USERNAME: &str = "loki-username";
pub const LOKI_PASSWORD: &str = "loki-password";
pub const LOKI_PASSWORD_FILE: &str = "loki-password-file";
pub const LOKI_BEARER_TOKEN_FILE: &str = "loki-bearer-token-file";
pub const LOKI_HEADERS: &str = "loki-headers";
pub const LABELS: &str = "labels";
pub const LABELS_REGEX: &str = "labels-regex";
pub const ENV: &str = "env";
pub const ENV_REGEX: &str = "env-regex";
pub const LOKI_RELABEL_CONFIG: &str = "loki-relabel-config";
pub const LOKI_STRUCTURED_METADATA: &str = "loki-structured-metadata";
pub const LOKI_FILENAME_LABEL: &str = "loki-filename-label";
pub const LOKI_PIPELINE: &str = "loki-pipeline";
pub const LOKI_PIPELINE_STAGES: &str = "loki-pipeline-stages";
pub const LOKI_PIPELINE_STAGE_FILE: &str = "loki-pipeline-stage-file";
pub const TAG: &str = "tag";
pub const MAX_SIZE: &str = "max-size";
pub const MAX_FILE: &str = "max-file";
pub const NO_FILE: &str = "no-file";
pub const KEEP_FILE: &str = "keep-file";
pub const MODE: &str = "mode";
pub const MAX_BUFFER_SIZE: &str = "max-buffer-size";
pub const COMPRESS: &str = "compress";

/// The row of all options with this prefix.
pub const CACHE: &str = "cache-*";

/// All options, in the order in which they are shown.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: LOKI_URL,
        env: Some("LOKI_URL"),
        default: None,
        form: "http or https URL",
        doc: "Where to push. Without a path, /loki/api/v1/push is added. A user and password in it \
              go out as basic authentication. Of several, with commas between them, each gets all lines, and one that is away \
              holds up no other. Required.",
    },
    OptionSpec {
        key: LOKI_EXTERNAL_LABELS,
        env: Some("LOKI_EXTERNAL_LABELS"),
        default: Some("container_name={{.Name}}"),
        form: "name=value,name=value",
        doc: "Labels for every line. Values are Go templates over the container, as for Docker's \
              tag option. An empty value means no such labels.",
    },
    OptionSpec {
        key: LOKI_BATCH_SIZE,
        env: Some("LOKI_BATCH_SIZE"),
        default: Some("1048576"),
        form: "number of bytes",
        doc: "Bytes of lines after which a batch is pushed. At most 3145728 are used, because Loki \
              refuses requests above 4 MiB.",
    },
    OptionSpec {
        key: LOKI_BATCH_WAIT,
        env: Some("LOKI_BATCH_WAIT"),
        default: Some("1s"),
        form: "duration",
        doc: "How long a line may wait for others before its batch is pushed. 0s pushes at once.",
    },
    OptionSpec {
        key: LOKI_TIMEOUT,
        env: Some("LOKI_TIMEOUT"),
        default: Some("10s"),
        form: "duration",
        doc: "How long one push may take.",
    },
    OptionSpec {
        key: LOKI_ACCEPT_ANY_2XX,
        env: Some("LOKI_ACCEPT_ANY_2XX"),
        default: Some("false"),
        form: "boolean",
        doc: "Count any 2xx answer without a body as accepted, except 260. For endpoints that are compatible with Loki and do not \
              answer 204 as Loki does; other answers than 204 count as an outage without it.",
    },
    OptionSpec {
        key: LOKI_RETRIES,
        env: Some("LOKI_RETRIES"),
        default: None,
        form: "whole number",
        doc: "How often a batch is tried before its lines are given up; 0 is for ever. Not given, \
              it is tried for as long as the lines are on disk, see max-size.",
    },
    OptionSpec {
        key: LOKI_MIN_BACKOFF,
        env: Some("LOKI_MIN_BACKOFF"),
        default: Some("500ms"),
        form: "duration",
        doc: "How long to wait after the first failed push. It doubles with each further one.",
    },
    OptionSpec {
        key: LOKI_MAX_BACKOFF,
        env: Some("LOKI_MAX_BACKOFF"),
        default: Some("5m"),
        form: "duration",
        doc: "The longest wait between two tries. Without loki-retries it is five seconds at most, so that \
              lines arrive soon after an outage; one container then tries for all.",
    },
    OptionSpec {
        key: LOKI_BACKPRESSURE,
        env: Some("LOKI_BACKPRESSURE"),
        default: Some("drop-oldest"),
        form: "drop-oldest or block",
        doc: "What happens when the log on disk is full of lines that were not sent: the oldest go, or \
              the container waits until Loki has taken some.",
    },
    OptionSpec {
        key: LOKI_BLOCK_TIMEOUT,
        env: Some("LOKI_BLOCK_TIMEOUT"),
        default: Some("30s"),
        form: "duration",
        doc: "How long a container waits with loki-backpressure=block before the oldest lines go all the \
              same.",
    },
    OptionSpec {
        key: LOKI_TLS_CA_FILE,
        env: Some("LOKI_TLS_CA_FILE"),
        default: None,
        form: "file or PEM text",
        doc: "Certificates of authorities that are trusted instead of the public ones.",
    },
    OptionSpec {
        key: LOKI_TLS_CERT_FILE,
        env: Some("LOKI_TLS_CERT_FILE"),
        default: None,
        form: "file or PEM text",
        doc: "The certificate to show to Loki, with those between it and its authority behind it.",
    },
    OptionSpec {
        key: LOKI_TLS_KEY_FILE,
        env: Some("LOKI_TLS_KEY_FILE"),
        default: None,
        form: "file or PEM text",
        doc: "The private key of that certificate, not encrypted.",
    },
    OptionSpec {
        key: LOKI_TLS_SERVER_NAME,
        env: Some("LOKI_TLS_SERVER_NAME"),
        default: None,
        form: "host name",
        doc: "The name in Loki's certificate, where it is not the one in the URL.",
    },
    OptionSpec {
        key: LOKI_TLS_INSECURE_SKIP_VERIFY,
        env: Some("LOKI_TLS_INSECURE_SKIP_VERIFY"),
        default: Some("false"),
        form: "boolean",
        doc: "Believes every certificate, and so everybody who says that he is Loki.",
    },
    OptionSpec {
        key: LOKI_PROXY_URL,
        env: Some("LOKI_PROXY_URL"),
        default: None,
        form: "http or https URL",
        doc: "The HTTP proxy on the way to Loki. A user and password in it are for the proxy. The setting \
              NO_PROXY names hosts that it is not used for.",
    },
    OptionSpec {
        key: LOKI_USERNAME,
        env: Some("LOKI_USERNAME"),
        default: None,
        form: "name",
        doc: "Basic authentication, where it is not in the URL.",
    },
    OptionSpec {
        key: LOKI_PASSWORD,
        env: Some("LOKI_PASSWORD"),
        default: None,
        form: "password",
        doc: "The password that goes with it. docker inspect shows it; loki-password-file does not.",
    },
    OptionSpec {
        key: LOKI_PASSWORD_FILE,
        env: Some("LOKI_PASSWORD_FILE"),
        default: None,
        form: "file",
        doc: "The file that has the password in it.",
    },
    OptionSpec {
        key: LOKI_BEARER_TOKEN_FILE,
        env: Some("LOKI_BEARER_TOKEN_FILE"),
        default: None,
        form: "file",
        doc: "The file that has a token in it, sent as Authorization: Bearer.",
    },
    OptionSpec {
        key: LOKI_HEADERS,
        env: Some("LOKI_HEADERS"),
        default: None,
        form: "Name=value,Name=value",
        doc: "Headers of every push, for what stands in front of Loki.",
    },
    OptionSpec {
        key: LOKI_TENANT_ID,
        env: Some("LOKI_TENANT_ID"),
        default: None,
        form: "tenant id",
        doc: "The tenant the lines belong to, sent as X-Scope-OrgID.",
    },
    OptionSpec {
        key: LABELS,
        env: Some("LABELS"),
        default: None,
        form: "name,name",
        doc: "Container labels that become Loki labels.",
    },
    OptionSpec {
        key: LABELS_REGEX,
        env: Some("LABELS_REGEX"),
        default: None,
        form: "regular expression",
        doc: "The same for all container labels whose name matches. Go's syntax, not anchored.",
    },
    OptionSpec {
        key: ENV,
        env: Some("ENV"),
        default: None,
        form: "name,name",
        doc: "Environment variables of the container that become Loki labels.",
    },
    OptionSpec {
        key: ENV_REGEX,
        env: Some("ENV_REGEX"),
        default: None,
        form: "regular expression",
        doc: "The same for all environment variables whose name matches. Go's syntax, not anchored.",
    },
    OptionSpec {
        key: TAG,
        env: Some("TAG"),
        default: None,
        form: "Go template",
        doc: "The value of a label named tag, as for Docker's own drivers: {{.Name}}/{{.ID}}. Not given, there is no \
              such label.",
    },
    OptionSpec {
        key: LOKI_RELABEL_CONFIG,
        env: Some("LOKI_RELABEL_CONFIG"),
        default: None,
        form: "YAML list of relabel rules",
        doc: "Rules in the manner of Prometheus that change the labels, once for stdout and once for stderr. What they \
              drop is not sent; docker logs has it all the same. The label __tenant_id__ becomes the tenant.",
    },
    OptionSpec {
        key: LOKI_PIPELINE,
        env: Some("LOKI_PIPELINE"),
        default: None,
        form: "list of presets",
        doc: "Stages that are ready made, in the order given: json, logfmt, nginx, java, python, go, postgres, redact-email, \
              redact-ipv4, redact-bearer, redact-card. They go before those of loki-pipeline-stages.",
    },
    OptionSpec {
        key: LOKI_PIPELINE_STAGES,
        env: Some("LOKI_PIPELINE_STAGES"),
        default: None,
        form: "YAML list of stages",
        doc: "What lines go through on their way to Loki, in Promtail's stages. docker logs shows them as \
              they were printed.",
    },
    OptionSpec {
        key: LOKI_PIPELINE_STAGE_FILE,
        env: Some("LOKI_PIPELINE_STAGE_FILE"),
        default: None,
        form: "path of a YAML file",
        doc: "The same in a file, also under the key pipeline_stages.",
    },
    OptionSpec {
        key: LOKI_STRUCTURED_METADATA,
        env: Some("LOKI_STRUCTURED_METADATA"),
        default: Some("container_id,image_name,swarm_task_id,swarm_slot,swarm_node_id"),
        form: "list of metadata",
        doc: "What goes beside each line without being a label: label:NAME and env:NAME of the container, and \
              container_id, container_name, container_created, image_id, image_name, command, daemon_name, \
              swarm_task_id, swarm_slot, swarm_node_id. Any of them under another name with NAME=. An empty value means none.",
    },
    OptionSpec {
        key: LOKI_FILENAME_LABEL,
        env: Some("LOKI_FILENAME_LABEL"),
        default: Some("false"),
        form: "boolean",
        doc: "Adds the label filename that Grafana's driver always adds, for dashboards made for it. It is another one for \
              every container, and makes new streams each time.",
    },
    OptionSpec {
        key: MAX_SIZE,
        env: Some("MAX_SIZE"),
        default: Some("20m"),
        form: "size",
        doc: "Size of one file of the log on disk, which docker logs reads and which holds the \
              lines while Loki is away. k, m and g count in thousands.",
    },
    OptionSpec {
        key: MAX_FILE,
        env: Some("MAX_FILE"),
        default: Some("5"),
        form: "whole number",
        doc: "How many such files; the log takes max-size times max-file at most.",
    },
    OptionSpec {
        key: NO_FILE,
        env: Some("NO_FILE"),
        default: Some("false"),
        form: "boolean",
        doc: "true: nothing stays on disk but what has still to be sent, and docker logs has nothing to \
              show.",
    },
    OptionSpec {
        key: KEEP_FILE,
        env: Some("KEEP_FILE"),
        default: Some("false"),
        form: "boolean",
        doc: "true: the log of a container that is gone stays for longer than RING_RETENTION, for as long \
              as RING_BUDGET has room for it.",
    },
    OptionSpec {
        key: MODE,
        env: None,
        default: Some("blocking"),
        form: "blocking or non-blocking",
        doc: "Read by dockerd, as for every log driver. blocking is safe here: Loki being away \
              never holds up a container.",
    },
    OptionSpec {
        key: MAX_BUFFER_SIZE,
        env: None,
        default: Some("1m"),
        form: "size",
        doc: "Read by dockerd: its buffer when mode is non-blocking.",
    },
    OptionSpec {
        key: COMPRESS,
        env: None,
        default: None,
        form: "boolean",
        doc: "Taken and without effect: the log on disk is not compressed.",
    },
    OptionSpec {
        key: CACHE,
        env: None,
        default: None,
        form: "any value",
        doc: "cache-disabled, cache-max-size and the like: taken and without effect, as docker logs needs no cache here.",
    },
];
