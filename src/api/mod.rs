//! All routes, and who may call them. What happens to every request is in `layers.rs`.

mod access_log;
mod auth;
mod browsers;
mod cache_headers;
mod call;
mod client;
mod console;
mod context;
mod decompress;
mod deliver;
mod docs;
mod encodings;
mod explain;
mod extract;
mod grpc;
mod gzip;
mod health;
mod hosts;
mod layers;
mod ledger;
mod leftover;
mod metrics;
mod openapi;

mod openai;
mod page;
mod pieces;
mod rate_limit;
mod reject;
mod renderer;
mod renderings;
mod request_id;
mod reserve;
mod room;
mod routes;
mod service;
mod shared_text;
mod state;
mod v1;
mod v2;

use std::net::SocketAddr;

use axum::{Extension, Router, handler::Handler};

use self::hosts::Hosts;
pub use self::{
    rate_limit::Limits,
    reserve::is_for_operators,
    routes::{Access, Route},
    state::{ApiState, Parts},
    v1::predictions::ExportForm,
};
use crate::{error::Error, keys::Scope};

/// Every route. `metrics` tells who may read the metrics; `None` when they are read elsewhere.
pub fn routes(metrics: Option<Access>) -> Vec<Route> {
    use Access::{Key, Public};
    let mut routes = vec![
        Route::get("/", Public, service::describe),
        Route::get("/healthz", Public, health::live),
        Route::get("/readyz", Public, health::ready),
        Route::get("/console", Public, console::page),
        Route::get("/console/{file}", Public, console::file),
        Route::get("/openapi.json", Public, openapi::show),
        Route::get("/docs", Public, docs::swagger),
        Route::get("/redoc", Public, docs::redoc),
        Route::post("/v1/predict", Key(Scope::Predict), v1::predict::predict),
        Route::post("/v1/predict_batch", Key(Scope::Predict), v1::predict::predict_batch),
        Route::post("/v1/embeddings", Key(Scope::Predict), openai::embeddings),
        Route::get("/v1/models", Key(Scope::Predict), v1::models::list),
        Route::get("/v1/models/{model}", Key(Scope::Predict), v1::models::model),
        Route::get("/v1/models/{model}/versions/{version}", Key(Scope::Predict), v1::models::version),
        Route::get("/v1/predictions", Key(Scope::History), v1::predictions::list),
        Route::get("/v1/predictions/{id}", Key(Scope::History), v1::predictions::one),
        Route::delete("/v1/predictions", Key(Scope::Admin), v1::predictions::forget),
        Route::get("/v1/stats", Key(Scope::Predict), v1::stats::show),
        Route::get("/v1/debug/requests", Key(Scope::Admin), v1::debug::requests),
    ];
    routes.extend(v2::routes());
    routes.extend(grpc::routes());
    routes.extend(metrics.map(|access| Route::get("/metrics", access, metrics::show)));
    routes
}

/// Everything that is answered over HTTP on the listener at `listen`.
pub fn router(state: ApiState, listen: SocketAddr) -> Router {
    let hosts = Hosts::without_keys(&state, listen);
    finish(served(&state), not_found, state, hosts)
}

/// What is answered there on connections that have no place: probes and operators. All else is refused.
pub fn reserve(state: ApiState, listen: SocketAddr) -> Router {
    let hosts = Hosts::without_keys(&state, listen);
    finish(reserve::routes(served(&state)), reserve::refuse, state, hosts)
}

/// The routes of the API's listener, as configured.
fn served(state: &ApiState) -> Vec<Route> {
    const PAGES: [&str; 5] = ["/console", "/console/{file}", "/openapi.json", "/docs", "/redoc"];
    const HISTORY: [&str; 2] = ["/v1/predictions", "/v1/predictions/{id}"];
    let routes = routes(state.metrics_access()).into_iter();
    let routes = routes.filter(|route| state.docs.enabled || !PAGES.contains(&route.path));
    routes.filter(|route| state.history.is_some() || !HISTORY.contains(&route.path)).collect()
}

/// The description of all routes (OpenAPI 3.1), without a server that would leave some out.
pub fn description() -> serde_json::Value {
    openapi::document(&routes(Some(Access::Public)), true)
}

/// What is answered over gRPC, and nothing else: for a listener of its own, at `listen`.
pub fn grpc(state: ApiState, listen: SocketAddr) -> Router {
    let hosts = Hosts::without_keys(&state, listen);
    finish(grpc::routes(), not_found, state, hosts)
}

/// What is answered there on connections that have no place.
pub fn grpc_reserve(state: ApiState, listen: SocketAddr) -> Router {
    let hosts = Hosts::without_keys(&state, listen);
    finish(reserve::routes(grpc::routes()), reserve::refuse, state, hosts)
}

/// What the second listener, at `listen`, answers without a key: for those who look after the server.
pub fn probes(state: ApiState, listen: SocketAddr) -> Router {
    let routes = routes(Some(Access::Public)).into_iter().filter(|route| state::PROBES.contains(&route.path));
    let hosts = Hosts::of(listen, &state.server.hosts);
    finish(routes.collect(), not_found, state, hosts).layer(Extension(health::Operator))
}

fn finish<T: 'static>(
    routes: Vec<Route>,
    fallback: impl Handler<T, ApiState>,
    state: ApiState,
    hosts: Option<Hosts>,
) -> Router {
    let routes = routes
        .into_iter()
        .fold(Router::new(), |router, route| route.join(router, &state))
        .fallback(fallback)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);
    layers::common(routes, &state, hosts).with_state(state)
}

async fn not_found() -> Error {
    Error::NotFound
}
