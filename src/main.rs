//! The `toolwarden` program: parse arguments, call the library, turn the result into an exit code.

fn main() {}
