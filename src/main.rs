//! Runs the command line, prints the chain of an error, chooses the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    glassbox::cli::main()
}
