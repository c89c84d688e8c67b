//! What can be configured: one struct per section of `config/default.toml`, which is the manual.
//!
//! Plain data: a part of the server takes its own section, never the whole. Reading the files and the environment, and
//! reporting every problem at once, is in `config/load.rs`; nothing else in the crate reads the environment.

mod load;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError};

pub use load::{Flag, Problem, Problems, load};

/// The embedded manual: every key with its default and its meaning.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

/// The whole configuration, read and checked.
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
#[validate(schema(function = "listens_where_it_may"))]
pub struct Config {
    /// Sockets, timeouts and limits of HTTP.
    #[validate(nested)]
    pub server: ServerConfig,
    /// Which models are served.
    pub models: ModelsConfig,
    /// ONNX Runtime and the threads that run it.
    #[validate(nested)]
    pub runtime: RuntimeConfig,
    /// Limits of one prediction.
    #[validate(nested)]
    pub predict: PredictConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// The log.
    #[validate(nested)]
    pub telemetry: TelemetryConfig,
    /// How the server stops.
    pub drain: DrainConfig,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
#[validate(schema(function = "one_body_fits"))]
pub struct ServerConfig {
    /// Where to listen; port 0 binds a free one.
    #[serde(deserialize_with = "values::address")]
    pub listen: SocketAddr,
    /// The longest that one request may take.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_day"))]
    pub request_timeout: Duration,
    /// For the request line and headers to arrive.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_day"))]
    pub header_timeout: Duration,
    /// For the whole body to arrive.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_day"))]
    pub body_timeout: Duration,
    /// The largest body that is read, in bytes.
    #[validate(custom(function = "at_least_1_kib"))]
    #[serde(with = "values::size")]
    pub body_limit: ByteSize,
    /// All requests that are being read and answers that wait to be taken, in bytes.
    #[serde(with = "values::size")]
    pub bodies_limit: ByteSize,
    /// Connections open at the same time.
    #[validate(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
}

/// `[models]`
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ModelsConfig {
    /// The model repository.
    #[serde(with = "values::optional")]
    pub repository: Option<PathBuf>,
    /// Single ONNX files to serve beside the repository.
    #[serde(deserialize_with = "values::list")]
    pub files: Vec<PathBuf>,
    /// Answers requests that name no model.
    #[serde(with = "values::optional")]
    pub default: Option<String>,
    /// Load only this model of the repository; for commands that need one.
    #[serde(skip)]
    pub only: Option<String>,
    /// Models that readiness waits for; `*` stands for all that were found.
    #[serde(deserialize_with = "values::list")]
    pub required: Vec<String>,
}

/// `[runtime]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
pub struct RuntimeConfig {
    /// ONNX Runtime's library, or the folder that holds it.
    #[serde(with = "values::optional")]
    pub onnxruntime_path: Option<PathBuf>,
    /// `ORT_DYLIB_PATH`, the variable by which other programs find the same library.
    #[serde(skip)]
    pub ort_dylib_path: Option<PathBuf>,
    /// This executable, to try the library in a child process first. Absent where it cannot be found (a sandbox without
    /// `/proc`), and in tests, whose executable does not answer such a call.
    #[serde(skip)]
    pub prober: Option<PathBuf>,
    /// Threads for inference; 0 follows the CPU quota and affinity.
    #[validate(range(max = 1024))]
    pub threads: usize,
    /// Runs that may wait per model.
    #[validate(range(min = 1, max = 1_000_000))]
    pub queue_capacity: usize,
}

/// The highest `predict.max_batch_items`: what one request may make the server keep in memory has to end somewhere.
pub const MOST_BATCH_ITEMS: usize = 65_536;

/// `[predict]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
pub struct PredictConfig {
    /// Items in one batch request.
    #[validate(range(min = 1, max = MOST_BATCH_ITEMS))]
    pub max_batch_items: usize,
    /// Characters in one text.
    #[validate(range(min = 1))]
    pub max_text_chars: usize,
}

/// `[auth]`
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct AuthConfig {
    /// Whether callers must be known.
    #[serde(deserialize_with = "values::auth_mode")]
    pub mode: AuthMode,
}

/// Whether callers must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Closed by default: without keys, only loopback is listened on.
    Required,
    /// Anyone who can reach the socket may call.
    Off,
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
pub struct TelemetryConfig {
    /// How log lines look.
    #[serde(deserialize_with = "values::log_format")]
    pub log_format: LogFormat,
    /// Which lines are written, in the syntax of `RUST_LOG`.
    #[validate(custom(function = "log_filter"))]
    pub log_filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For eyes.
    Pretty,
    /// `Pretty` on a terminal, else `Json`.
    Auto,
}

/// `[drain]`
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct DrainConfig {
    /// How long to go on accepting after the stop signal.
    #[serde(with = "values::duration")]
    pub delay: Duration,
    /// How long requests in flight may take to finish after that.
    #[serde(with = "values::duration")]
    pub timeout: Duration,
}

fn within_a_day(duration: &Duration) -> Result<(), ValidationError> {
    // Far enough for anybody, and near enough for the clock to reach.
    let longest = Duration::from_secs(24 * 60 * 60);
    if duration.is_zero() || *duration > longest {
        Err(problem("must be longer than 0s and at most 24h"))
    } else {
        Ok(())
    }
}

fn at_least_1_kib(size: &ByteSize) -> Result<(), ValidationError> {
    if size.as_u64() < 1024 { Err(problem("must be at least 1KiB")) } else { Ok(()) }
}

fn log_filter(filter: &str) -> Result<(), ValidationError> {
    let parsed = tracing_subscriber::EnvFilter::try_new(filter);
    parsed.map(drop).map_err(|_| problem("is no filter; write it like \"info\" or \"warn,glassbox=debug\""))
}

/// A body that can never fit would be refused for ever with a promise that later is better.
fn one_body_fits(server: &ServerConfig) -> Result<(), ValidationError> {
    if server.bodies_limit.as_u64() / 1024 > server.body_limit.as_u64() / 1024 {
        return Ok(());
    }
    let mut error = problem("must be larger than server.body_limit");
    error.add_param("key".into(), &"server.bodies_limit");
    Err(error)
}

/// Closed by default: nothing but loopback is listened on unless somebody said so aloud.
fn listens_where_it_may(config: &Config) -> Result<(), ValidationError> {
    if config.auth.mode == AuthMode::Off || config.server.listen.ip().is_loopback() {
        return Ok(());
    }
    let mut error = problem(
        "is not a loopback address, and this version has no API keys: put an authenticating gateway in front and set auth.mode = \"off\"",
    );
    error.add_param("key".into(), &"server.listen");
    Err(error)
}

fn problem(message: &'static str) -> ValidationError {
    ValidationError::new("invalid").with_message(message.into())
}
