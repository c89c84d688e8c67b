//! `/v2/logging` and `/v2/trace/setting`: the log and the traces in the protocol's words, as far as these say what exists.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;
use utoipa::ToSchema;

use super::{received::Received, refused::Refused};
use crate::{
    api::{auth::Caller, extract::parse, state::ApiState},
    error::{Error, Violation, pointer_segment},
};

/// What may be set, by its name. No more than can be named.
type Settings = BTreeMap<String, Value>;

/// `GET /v2/logging`
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct LogSettings {
    log_file: &'static str,
    log_info: bool,
    log_warning: bool,
    log_error: bool,
    log_verbose_level: u8,
    log_format: &'static str,
}

/// `GET /v2/trace/setting`
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TraceSettings {
    trace_level: [&'static str; 1],
    /// One of so many requests is traced.
    trace_rate: String,
    /// No end.
    trace_count: &'static str,
    log_frequency: &'static str,
    trace_file: &'static str,
    trace_mode: &'static str,
}

/// What is logged
#[utoipa::path(
    get,
    path = "/v2/logging",
    operation_id = "log_settings",
    tag = "open inference protocol",
    responses((status = 200, description = "OK", body = LogSettings))
)]
pub(in crate::api) async fn logging() -> Json<LogSettings> {
    Json(log_settings())
}

/// Set what is logged: only to what it is
#[utoipa::path(
    post,
    path = "/v2/logging",
    operation_id = "set_log_settings",
    tag = "open inference protocol",
    request_body(content = Option<BTreeMap<String, Value>>, content_type = "application/json"),
    responses((status = 200, description = "OK", body = LogSettings))
)]
pub(in crate::api) async fn set_logging(received: Received) -> Result<Json<LogSettings>, Refused> {
    let now = log_settings();
    let known = json!(now);
    for (name, value) in settings(&received)? {
        match known.get(&name) {
            Some(current) if value.is_null() || *current == value => {}
            Some(_) => return Err(fault(&name, "it is set when the server is started, by telemetry.log_filter").into()),
            None => return Err(fault(&name, "there is no such setting").into()),
        }
    }
    Ok(Json(now))
}

/// How many requests are traced
#[utoipa::path(
    get,
    path = "/v2/trace/setting",
    operation_id = "trace_settings",
    tag = "open inference protocol",
    responses((status = 200, description = "OK", body = TraceSettings))
)]
pub(in crate::api) async fn trace(State(state): State<ApiState>) -> Json<TraceSettings> {
    Json(trace_settings(&state))
}

/// Set how many requests are traced
#[utoipa::path(
    post,
    path = "/v2/trace/setting",
    operation_id = "set_trace_settings",
    tag = "open inference protocol",
    request_body(content = Option<BTreeMap<String, Value>>, content_type = "application/json"),
    responses((status = 200, description = "OK", body = TraceSettings))
)]
pub(in crate::api) async fn set_trace(
    State(state): State<ApiState>,
    received: Received,
) -> Result<Json<TraceSettings>, Refused> {
    let mut ratio = state.tracer.as_ref().map_or(0.0, |tracer| tracer.ratio());
    let mut off = false;
    for (name, value) in settings(&received)? {
        match (&*name, &value) {
            (_, Value::Null) => {}
            ("trace_level", Value::Array(levels)) => off = levels.iter().any(|level| level == "OFF"),
            ("trace_rate", value) => {
                ratio = 1.0 / f64::from(rate(value).ok_or_else(|| fault(&name, "it is a whole number from 1 on"))?)
            }
            _ => return Err(fault(&name, "only 'trace_level' and 'trace_rate' can be set here").into()),
        }
    }
    let ratio = if off { 0.0 } else { ratio };
    match &state.tracer {
        Some(tracer) => tracer.set_ratio(ratio),
        None if ratio == 0.0 => {}
        None => return Err(fault("trace_rate", "there is no collector: telemetry.otlp_endpoint is empty").into()),
    }
    Ok(Json(trace_settings(&state)))
}

/// How many requests to a model are traced
#[utoipa::path(
    get,
    path = "/v2/models/{model}/trace/setting",
    operation_id = "model_trace_settings",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    responses((status = 200, description = "OK", body = TraceSettings))
)]
pub(in crate::api) async fn model_trace(
    State(state): State<ApiState>,
    caller: Caller,
    Path(model): Path<String>,
) -> Result<Json<TraceSettings>, Refused> {
    find(&state, &caller, &model)?;
    Ok(Json(trace_settings(&state)))
}

/// Set it for a model: only to what it is for all
#[utoipa::path(
    post,
    path = "/v2/models/{model}/trace/setting",
    operation_id = "set_model_trace_settings",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    request_body(content = Option<BTreeMap<String, Value>>, content_type = "application/json"),
    responses((status = 200, description = "OK", body = TraceSettings))
)]
pub(in crate::api) async fn set_model_trace(
    State(state): State<ApiState>,
    caller: Caller,
    Path(model): Path<String>,
    received: Received,
) -> Result<Json<TraceSettings>, Refused> {
    find(&state, &caller, &model)?;
    match settings(&received)?.into_iter().find(|(_, value)| !value.is_null()) {
        None => Ok(Json(trace_settings(&state))),
        Some((name, _)) => Err(fault(&name, "traces are set for all models at once, at '/v2/trace/setting'").into()),
    }
}

fn find(state: &ApiState, caller: &Caller, model: &str) -> Result<(), Error> {
    caller.check_model(state, Some(model))?;
    let known = state.registry.snapshot().models.keys().any(|name| name.as_str() == model);
    let not_found = || Error::ModelNotFound { model: crate::registry::shorten(model), version: None };
    if known { Ok(()) } else { Err(not_found()) }
}

/// A few settings, small ones.
fn settings(received: &Received) -> Result<Settings, Error> {
    const MOST_BYTES: usize = 4096;
    match received.body.trim_ascii() {
        [] => Ok(Settings::new()),
        body if body.len() > MOST_BYTES => Err(Error::PayloadTooLarge { limit: MOST_BYTES as u64 }),
        body => Ok(parse::<Option<_>>(body)?.unwrap_or_default()),
    }
}

fn rate(value: &Value) -> Option<u32> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        value => value.as_u64()?,
    };
    u32::try_from(number).ok().filter(|rate| *rate > 0)
}

fn fault(name: &str, detail: &str) -> Error {
    let pointer = format!("/{}", pointer_segment(name));
    Error::Invalid(vec![Violation::new(
        pointer,
        "unsupported_setting",
        format!("'{}': {detail}", crate::registry::shorten(name)),
    )])
}

fn log_settings() -> LogSettings {
    let level = LevelFilter::current();
    LogSettings {
        log_file: "",
        log_info: level >= LevelFilter::INFO,
        log_warning: level >= LevelFilter::WARN,
        log_error: level >= LevelFilter::ERROR,
        log_verbose_level: u8::from(level >= LevelFilter::DEBUG) + u8::from(level >= LevelFilter::TRACE),
        log_format: "ISO8601",
    }
}

fn trace_settings(state: &ApiState) -> TraceSettings {
    let ratio = state.tracer.as_ref().map_or(0.0, |tracer| tracer.ratio());
    TraceSettings {
        trace_level: [if ratio > 0.0 { "TIMESTAMPS" } else { "OFF" }],
        trace_rate: if ratio > 0.0 { format!("{:.0}", 1.0 / ratio) } else { "0".to_owned() },
        trace_count: "-1",
        log_frequency: "0",
        trace_file: "",
        trace_mode: "opentelemetry",
    }
}
