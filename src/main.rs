//! The `toolwarden` program: parse arguments, call the library, turn the result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    toolwarden::cli::main()
}
