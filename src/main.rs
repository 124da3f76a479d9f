//! Arguments, dispatch, exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    loki_rs::cli::main()
}
