//! The Open Inference Protocol (version 2) over REST, as Triton, KServe and others speak it. Its wire types live here and
//! nowhere else.

pub(super) mod answer;
mod body;
pub(super) mod config;
mod division;
pub(super) mod infer;
pub(super) mod model;
pub(super) mod parameters;
mod received;
mod refused;
pub(super) mod repository;
pub(super) mod server;
pub(super) mod settings;
pub(super) mod statistics;
mod tensors;

pub(super) use self::refused::status;
use axum::http::{HeaderValue, Request, header};

use super::{
    reject::PROBLEM,
    routes::{Access, Route},
};
use crate::keys::Scope;

/// The routes of this protocol.
pub(super) fn routes() -> Vec<Route> {
    const PREDICT: Access = Access::Key(Scope::Predict);
    const ADMIN: Access = Access::Key(Scope::Admin);
    vec![
        Route::get("/v2", Access::Public, server::metadata),
        Route::get("/v2/", Access::Public, server::metadata),
        Route::get("/v2/health/live", Access::Public, server::live),
        Route::get("/v2/health/ready", Access::Public, server::ready),
        Route::get("/v2/models/{model}", PREDICT, model::metadata),
        Route::get("/v2/models/{model}/versions/{version}", PREDICT, model::version_metadata),
        Route::get("/v2/models/{model}/ready", PREDICT, model::ready),
        Route::get("/v2/models/{model}/versions/{version}/ready", PREDICT, model::version_ready),
        Route::post("/v2/models/{model}/infer", PREDICT, infer::infer),
        Route::post("/v2/models/{model}/versions/{version}/infer", PREDICT, infer::infer_version),
        Route::get("/v2/models/{model}/config", PREDICT, config::show),
        Route::get("/v2/models/{model}/versions/{version}/config", PREDICT, config::show_version),
        Route::get("/v2/models/stats", PREDICT, statistics::all),
        Route::get("/v2/models/{model}/stats", PREDICT, statistics::model),
        Route::get("/v2/models/{model}/versions/{version}/stats", PREDICT, statistics::version),
        Route::post("/v2/repository/index", ADMIN, repository::index),
        Route::post("/v2/repository/models/{model}/load", ADMIN, repository::load),
        Route::post("/v2/repository/models/{model}/unload", ADMIN, repository::unload),
        Route::get("/v2/logging", ADMIN, settings::logging),
        Route::post("/v2/logging", ADMIN, settings::set_logging),
        Route::get("/v2/trace/setting", ADMIN, settings::trace),
        Route::post("/v2/trace/setting", ADMIN, settings::set_trace),
        Route::get("/v2/models/{model}/trace/setting", ADMIN, settings::model_trace),
        Route::post("/v2/models/{model}/trace/setting", ADMIN, settings::set_model_trace),
    ]
}

/// The media type of a failure. Under this protocol's paths, clients look for the words of an error in what is called
/// JSON and nothing else; who asks for a problem document gets one.
pub(super) fn failures<B>(request: &Request<B>) -> &'static str {
    let asks = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains(PROBLEM));
    match is_own(request.uri().path()) && !request.headers().get_all(header::ACCEPT).iter().any(asks) {
        true => "application/json",
        false => PROBLEM,
    }
}

/// Whether a path is one of this protocol's.
pub(super) fn is_own(path: &str) -> bool {
    path.strip_prefix("/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The parts of the protocol beyond its core that are answered.
pub(super) const EXTENSIONS: [&str; 5] =
    ["binary_tensor_data", "model_configuration", "model_repository", "statistics", "trace"];
