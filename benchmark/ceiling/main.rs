//! What the machine allows, to measure the server against: a bare handler (`serve`), ONNX Runtime in a loop (`raw`), and
//! callers who do not wait for each other (`load`). `benchmark/run.py` starts all three.

mod load;
mod raw;
mod serve;
mod session;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    /// ONNX Runtime's shared library, for `serve` and `raw`.
    #[arg(long, default_value = ".onnxruntime/libonnxruntime.so")]
    library: PathBuf,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Serve models with nothing around them.
    Serve(serve::ServeArgs),
    /// Run a model in a loop, without HTTP.
    Raw(raw::RawArgs),
    /// Call a server at a fixed rate, and measure from the moment at which each call was due.
    Load(load::LoadArgs),
}

fn main() -> anyhow::Result<()> {
    let Arguments { library, mode } = Arguments::parse();
    match mode {
        Mode::Serve(arguments) => serve::run(&library, arguments),
        Mode::Raw(arguments) => raw::run(&library, &arguments),
        Mode::Load(arguments) => load::run(&arguments),
    }
}
