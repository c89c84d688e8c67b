//! What can be configured: one struct per section of `config/default.toml`, which is the manual.
//!
//! Plain data: a part of the server takes its own section, never the whole. Reading the files and the environment, and
//! reporting every problem at once, is in `config/load.rs`; nothing else in the crate reads the environment.

mod history;
mod load;
mod queue;
mod rules;
mod secret_files;
mod telemetry;
mod values;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use validator::Validate;

use self::rules::{
    at_least_1_kib, hosts, listens_where_it_may, memory_has_room, one_body_fits, origins, redis_url, tls_is_whole,
    within_a_day, within_a_minute, within_a_year,
};
pub use self::{
    history::{HistoryConfig, HistoryMode},
    load::{Flag, Manager, Problem, Problems, is_in_environment, load, manager},
    queue::{QueueConfig, Role},
    telemetry::{LogFormat, OtlpProtocol, TelemetryConfig},
};

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
    /// How often callers may call.
    #[validate(nested)]
    pub rate_limit: RateLimitConfig,
    /// Where answers are kept.
    #[validate(nested)]
    pub cache: CacheConfig,
    /// The Redis that keeps answers.
    #[validate(nested)]
    pub redis: RedisConfig,
    /// The way to model workers.
    #[validate(nested)]
    pub queue: QueueConfig,
    /// Where predictions are kept.
    #[validate(nested)]
    pub history: HistoryConfig,
    /// The log.
    #[validate(nested)]
    pub telemetry: TelemetryConfig,
    /// The pages for people.
    pub docs: DocsConfig,
    /// How the server stops.
    pub drain: DrainConfig,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
#[validate(schema(function = "one_body_fits"), schema(function = "tls_is_whole"))]
pub struct ServerConfig {
    /// What the server does.
    #[serde(deserialize_with = "values::role")]
    pub role: Role,
    /// Where to listen; port 0 binds a free one.
    #[serde(deserialize_with = "values::address")]
    pub listen: SocketAddr,
    /// Whether callers are refused until every model has been tried.
    pub listen_when_ready: bool,
    /// Where gRPC is listened for, beside `listen`.
    #[serde(with = "values::optional_address")]
    pub grpc_listen: Option<SocketAddr>,
    /// Where probes and metrics are listened for; beside the API when absent.
    #[serde(with = "values::optional_address")]
    pub metrics_listen: Option<SocketAddr>,
    /// Certificate chain in PEM; with it, HTTPS is spoken.
    #[serde(with = "values::optional")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM.
    #[serde(with = "values::optional")]
    pub tls_key: Option<PathBuf>,
    /// Proxies whose `X-Forwarded-For` is believed.
    #[serde(with = "values::networks")]
    pub trusted_proxies: Vec<IpNet>,
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
    /// For a connection without a request.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_day"))]
    pub idle_timeout: Duration,
    /// The largest body that is read, in bytes.
    #[validate(custom(function = "at_least_1_kib"))]
    #[serde(with = "values::size")]
    pub body_limit: ByteSize,
    /// All requests that are being read and answers that wait to be taken, in bytes.
    #[serde(with = "values::size")]
    pub bodies_limit: ByteSize,
    /// What one caller may hold of what the others leave of that, 0 to 1.
    #[validate(range(min = 0.0, max = 1.0, message = "must be between 0 and 1"))]
    pub bodies_share: f64,
    /// Connections open at the same time.
    #[validate(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
    /// Connections of one address open at the same time.
    #[validate(range(min = 1, max = 1_000_000))]
    pub address_connections: usize,
    /// Further names of a loopback listener that asks for no key.
    #[serde(deserialize_with = "values::list")]
    #[validate(custom(function = "hosts"))]
    pub hosts: Vec<String>,
    /// Requests at the same time on one HTTP/2 connection.
    #[validate(range(min = 1, max = 10_000))]
    pub max_streams: u32,
    /// Origins whose pages may call; `*` stands for all.
    #[serde(deserialize_with = "values::list")]
    #[validate(custom(function = "origins"))]
    pub cors_origins: Vec<String>,
    /// Whether answers carry the headers that browsers are told to be careful by.
    pub security_headers: bool,
    /// Answers from this size on are compressed for callers who accept that; 0 compresses none.
    #[serde(with = "values::size")]
    pub compress_from: ByteSize,
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
    /// How long a run may have to wait, as far as that can be foreseen.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_day"))]
    pub max_queue_wait: Duration,
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
    /// The keys, their scopes and their plans.
    #[serde(with = "values::optional")]
    pub keys_file: Option<PathBuf>,
    /// Whether `/metrics` is answered without a key.
    pub public_metrics: bool,
}

impl AuthConfig {
    /// The keys file, where keys are asked for.
    pub fn keys(&self) -> Option<&Path> {
        self.keys_file.as_deref().filter(|_| self.mode == AuthMode::Required)
    }
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

/// `[rate_limit]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
pub struct RateLimitConfig {
    /// Whether there are limits at all.
    pub enabled: bool,
    /// Items per second of a key whose plan says nothing else.
    #[validate(range(min = 1, max = 1_000_000))]
    pub rate: u32,
    /// Items at once of a key whose plan says nothing else.
    #[validate(range(min = 1, max = 1_000_000))]
    pub burst: u32,
    /// Requests at the same time of a key whose plan says nothing else.
    #[validate(range(min = 1, max = 1_000_000))]
    pub concurrent: usize,
    /// Items per second of an address that shows no valid key.
    #[validate(range(min = 1, max = 1_000_000))]
    pub address_rate: u32,
    /// Items at once of an address that shows no valid key.
    #[validate(range(min = 1, max = 1_000_000))]
    pub address_burst: u32,
    /// Requests at the same time of an address that shows no valid key.
    #[validate(range(min = 1, max = 1_000_000))]
    pub address_concurrent: usize,
    /// Whether answers carry `X-RateLimit-*` too.
    pub legacy_headers: bool,
}

/// `[cache]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
#[validate(schema(function = "memory_has_room"))]
pub struct CacheConfig {
    /// Where answers are kept.
    #[serde(deserialize_with = "values::cache_mode")]
    pub mode: CacheMode,
    /// What the answers in memory may take, in bytes; at least 1 MiB where memory is used.
    #[serde(with = "values::size")]
    pub capacity: ByteSize,
    /// How long an answer is kept.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_year"))]
    pub ttl: Duration,
}

/// Where answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// Nowhere.
    Off,
    /// In this process.
    Memory,
    /// In a Redis that several servers share.
    Redis,
    /// In this process, and behind that in Redis.
    Tiered,
}

/// `[redis]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/database]`, or `unix:///path`.
    #[serde(with = "values::secret_url")]
    #[validate(custom(function = "redis_url"))]
    pub url: String,
    /// The longest that a request waits for an answer of Redis.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_minute"))]
    pub timeout: Duration,
    /// For a connection to be made, in the background.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_minute"))]
    pub connect_timeout: Duration,
    /// What all keys in Redis start with.
    pub prefix: String,
}

/// `[docs]`
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct DocsConfig {
    /// Whether the pages for people are answered.
    pub enabled: bool,
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
