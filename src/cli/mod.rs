//! The command line: `serve`, `worker`, `predict`, `queue`, `models`, `keys`, `history`, `migrate`, `check-config`, `healthcheck`, `openapi`.

mod any_certificate;
mod environment;
mod healthcheck;
mod history;
mod keys;
mod leaving;
mod lines;
mod migrate;
mod models;
mod predict;
mod process;
mod queue;
mod serve;
mod stopping;
mod supervisor;
mod worker;

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, LazyLock},
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::{
    api,
    config::{self, Config, Flag, Problems},
    engine::library::{self, LibraryError},
    history::Trouble,
    keys::KeysError,
    lifecycle::Lifecycle,
    registry::{Loader, Registry},
    telemetry::metrics::Metrics,
};

/// Serves ONNX models over HTTP.
#[derive(Debug, Parser)]
#[command(name = "glassbox", version = VERSION.as_str(), about)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Shared {
    /// A configuration file over the defaults; repeatable, later files win.
    #[arg(long, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve models over HTTP until SIGTERM or SIGINT.
    #[command(
        after_help = "Examples:\n  glassbox serve\n  glassbox serve --model path/to/any.onnx\n  glassbox serve --config config/production.toml"
    )]
    Serve(serve::ServeArgs),
    /// Run models for API servers, which leave in Redis what is to be run, until SIGTERM or SIGINT.
    #[command(
        after_help = "Examples:\n  glassbox serve --role api\n  glassbox worker\n  glassbox worker --model path/to/any.onnx --listen 127.0.0.1:0"
    )]
    Worker(worker::WorkerArgs),
    /// Look at the requests that were given up, and give them to the workers once more.
    #[command(after_help = "Examples:\n  glassbox queue dead list\n  glassbox queue dead requeue 1700000000000-0")]
    Queue(queue::QueueArgs),
    /// Answer one input, or one per line of standard input.
    #[command(
        after_help = "Examples:\n  glassbox predict --model toxicity --text 'you are awful'\n  glassbox predict --model doubler --input '[1, 2.5]'\n  glassbox predict --model toxicity < comments.txt"
    )]
    Predict(predict::PredictArgs),
    /// List the models of the repository.
    #[command(after_help = "Example:\n  glassbox models")]
    Models,
    /// Make, list, revoke and check API keys.
    #[command(
        after_help = "Examples:\n  KEY=$(glassbox keys create --file keys.toml --name 'data team' --model 'toxicity*' --expires-in 90d)\n  glassbox keys list --file keys.toml\n  printf %s \"$KEY\" | glassbox keys check --file keys.toml\n  glassbox keys revoke --file keys.toml $(printf %s \"$KEY\" | cut -d_ -f2)"
    )]
    Keys(keys::KeysArgs),
    /// Show and export what was predicted, from the database of the history.
    #[command(
        after_help = "Examples:\n  glassbox history tail --follow\n  glassbox history export --format csv > predictions.csv"
    )]
    History(history::HistoryArgs),
    /// Make the tables of the history, and what is new of them.
    #[command(after_help = "Example:\n  glassbox migrate --config config/production.toml")]
    Migrate,
    /// Read the configuration, report every problem, print the result.
    #[command(after_help = "Example:\n  glassbox check-config --config config/production.toml")]
    CheckConfig,
    /// Ask a running server whether it is ready; for container health checks.
    #[command(after_help = "Example:\n  glassbox healthcheck --live")]
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the description of the API (OpenAPI 3.1), as a server that asks for keys would.
    #[command(after_help = "Example:\n  glassbox openapi > openapi.json")]
    Openapi,
    /// Load ONNX Runtime's library and say nothing if that goes well.
    #[command(hide = true)]
    ProbeLibrary {
        /// The library.
        path: PathBuf,
    },
}

const BAD_CONFIGURATION: u8 = 64;
const UNAVAILABLE: u8 = 69;

/// `0.1.0 (3b3d4a6)`: the release, and the sources that it was built from where those are known.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let release = env!("CARGO_PKG_VERSION");
    option_env!("GLASSBOX_REVISION").map_or_else(|| release.to_owned(), |revision| format!("{release} ({revision})"))
});

/// Runs the command line. Exit codes: 0, 1 failure, 2 usage, 64 bad configuration, 69 a needed part is unavailable.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("glassbox: {error:#}");
            // A server that fails may have models in the making.
            leaving::leave(match () {
                () if error.is::<Problems>() || error.is::<KeysError>() => BAD_CONFIGURATION,
                () if error.is::<LibraryError>() || error.is::<Trouble>() => UNAVAILABLE,
                () => 1,
            })
        }
    }
}

fn run(Cli { shared, command }: Cli) -> anyhow::Result<ExitCode> {
    let read = |flags| {
        let mut config = config::load(&shared.config, flags)?;
        config.runtime.prober = std::env::current_exe().ok();
        Ok::<_, Problems>(config)
    };
    match command {
        Command::Serve(args) => {
            environment::of_a_server();
            serve::run(read(args.flags())?)
        }
        Command::Worker(args) => {
            environment::of_a_server();
            worker::run(read(args.flags())?)
        }
        Command::Queue(args) => queue::run(&read(Vec::new())?, &args),
        Command::Predict(args) => {
            environment::of_a_command();
            predict::run(read(args.flags())?, args)
        }
        Command::Models => {
            environment::of_a_command();
            models::run(read(Vec::new())?)
        }
        Command::Keys(args) => keys::run(&read(Vec::new())?, args),
        Command::History(args) => history::run(&read(Vec::new())?, args),
        Command::Migrate => migrate::run(&read(Vec::new())?),
        Command::Healthcheck(args) => healthcheck::run(&read(Vec::new())?, &args),
        Command::CheckConfig => check_config(&read(Vec::new())?),
        Command::Openapi => openapi(),
        Command::ProbeLibrary { path } => Ok(library::answer_probe(&path)),
    }
}

/// Prints the configuration, with what is known of the keys as a comment. Those may be mounted only where the server runs,
/// so a file that is not here is none of its problems; a broken one is.
fn check_config(config: &Config) -> anyhow::Result<ExitCode> {
    let mut text = toml::to_string(config).context("the configuration cannot be shown")?;
    if let Some(path) = config.auth.keys() {
        let note = match keys::summary(path, config) {
            Err(KeysError::Unreadable { cause, .. }) if cause.kind() == ErrorKind::NotFound => {
                "the keys file is not here".to_owned()
            }
            summary => summary?,
        };
        text = format!("# {note}\n{text}");
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn openapi() -> anyhow::Result<ExitCode> {
    print(&format!("{:#}\n", api::description()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output. Returns whether anybody still reads: who has left has seen enough, which is no failure.
fn print(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("standard output cannot be written"),
    }
}

/// The flags that serve `files` instead of the configured repository.
fn files_instead_of_repository(files: &[PathBuf]) -> Vec<Flag> {
    let files = files.iter().map(|file| file.display().to_string()).collect();
    let only = |key, value: &str| Flag::text(key, "--model", value.to_owned());
    vec![Flag::list("models.files", "--model", files), only("models.repository", ""), only("models.default", "")]
}

/// Loads every model without serving it, for the commands that look at models from the terminal.
async fn load_models(config: &Config) -> anyhow::Result<Arc<Registry>> {
    let registry = Arc::new(Registry::scan(&config.models)?);
    let library = match registry.needs_library() {
        true => Some(library::load(&config.runtime)?),
        false => None,
    };
    let metrics = Arc::new(Metrics::new()?);
    let loader = Arc::new(Loader::new(&config.runtime, library, config.predict.max_text_chars, metrics));
    registry.load_all(&loader, &Lifecycle::new()).await;
    // Sessions must not be taken down while the process ends: the library takes itself down then.
    std::mem::forget(Arc::clone(&registry));
    Ok(registry)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("glassbox-io")
        .max_blocking_threads(64)
        .build()
        .context("cannot start the async runtime")
}
