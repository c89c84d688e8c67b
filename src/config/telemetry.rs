//! `[telemetry]`: the log and the traces.

use serde::{Deserialize, Serialize};
use validator::Validate;

use super::{
    rules::{log_filter, otlp_endpoint},
    values,
};

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
pub struct TelemetryConfig {
    /// How log lines look.
    #[serde(deserialize_with = "values::log_format")]
    pub log_format: LogFormat,
    /// Which lines are written, in the syntax of `RUST_LOG`.
    #[validate(custom(function = "log_filter"))]
    pub log_filter: String,
    /// URL of an OpenTelemetry collector; empty for none.
    #[validate(custom(function = "otlp_endpoint"))]
    pub otlp_endpoint: String,
    /// What is spoken there.
    #[serde(deserialize_with = "values::otlp_protocol")]
    pub otlp_protocol: OtlpProtocol,
    /// The share of requests that are traced, 0 to 1.
    #[validate(range(min = 0.0, max = 1.0, message = "must be between 0 and 1"))]
    pub sample_ratio: f64,
}

/// How traces travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// HTTP with protobuf.
    Http,
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
