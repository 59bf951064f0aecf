//! The `toolwarden` program: parse arguments, call the library, turn the result into an exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    toolwarden::cli::main()
}
