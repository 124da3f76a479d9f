//! What the plugin says of itself: how much, and in which form.

use std::str::FromStr;

use base::refusal::Refusal;

/// How much the plugin says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The form of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// `level=info msg="loki-rs serves" version=0.1.0`
    Logfmt,
    /// `{"level":"info","msg":"loki-rs serves","version":"0.1.0"}`
    Json,
}

// === impl LogLevel ===

impl LogLevel {
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<LogLevel, Refusal> {
        match text {
            "error" => Ok(LogLevel::Error),
            "warn" => Ok(LogLevel::Warn),
            "info" => Ok(LogLevel::Info),
            "debug" => Ok(LogLevel::Debug),
            "trace" => Ok(LogLevel::Trace),
            _ => Err(Refusal::new(text, "is not a log level (try error, warn, info, debug, trace)")),
        }
    }
}

// === impl LogFormat ===

impl FromStr for LogFormat {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<LogFormat, Refusal> {
        match text {
            "logfmt" => Ok(LogFormat::Logfmt),
            "json" => Ok(LogFormat::Json),
            _ => Err(Refusal::new(text, "is not a log format (try logfmt, json)")),
        }
    }
}
