//! Arguments, dispatch, exit code; nothing else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    loki_rs::cli::main()
}
