//! The `forebay` command.

use std::process::ExitCode;

/// musl's own allocator has one lock for all threads, and costs 60 % more where many write.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    forebay::cli::main()
}
