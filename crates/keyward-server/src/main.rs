//! The `keyward` binary.

use std::process::ExitCode;

/// Threads that hash and sign allocate at once; this allocator keeps them out of each other's way.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyward_server::run()
}
