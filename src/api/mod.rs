//! All routes, and who may call them. What happens to every request is in `layers.rs`.

mod access_log;
mod auth;
mod client;
mod explain;
mod extract;
mod health;
mod layers;
mod rate_limit;
mod reject;
mod room;
mod routes;
mod service;
mod state;
mod v1;

use axum::Router;

pub use self::{
    rate_limit::Limits,
    routes::{Access, Route},
    state::{ApiState, Parts},
};
use crate::{error::Error, keys::Scope};

/// Every route.
pub fn routes() -> Vec<Route> {
    use Access::{Key, Public};
    vec![
        Route::get("/", Public, service::describe),
        Route::get("/healthz", Public, health::live),
        Route::get("/readyz", Public, health::ready),
        Route::post("/v1/predict", Key(Scope::Predict), v1::predict::predict),
        Route::post("/v1/predict_batch", Key(Scope::Predict), v1::predict::predict_batch),
        Route::get("/v1/models", Key(Scope::Predict), v1::models::list),
        Route::get("/v1/models/{model}", Key(Scope::Predict), v1::models::model),
        Route::get("/v1/models/{model}/versions/{version}", Key(Scope::Predict), v1::models::version),
    ]
}

/// Everything that is answered over HTTP.
pub fn router(state: ApiState) -> Router {
    let routes = routes()
        .into_iter()
        .fold(Router::new(), |router, route| route.join(router, &state))
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);
    layers::common(routes, &state).with_state(state)
}
