//! The binary: hands over to the command line.

use std::process::ExitCode;

// A body or a tensor of a megabyte costs the C library's allocator fresh pages each time: see `cli/environment.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    glassbox::cli::main()
}
