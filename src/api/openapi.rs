//! The API, described: OpenAPI 3.1, put together from the handlers' own annotations, the routes' access, and the one table
//! of failures. `GET /openapi.json`, and `glassbox openapi`.

mod failures;
mod headers;
pub(super) mod schemas;

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{
    Access, Route, console, docs, health, metrics, openai, reject::Problem, service, shared_text::SharedText,
    state::ApiState, v1::debug, v1::models, v1::predict, v1::predictions, v1::stats, v2,
};
use crate::error::Error;

/// What is said of the whole. Paths and schemas are those of the handlers; see [`document`] for what is added to them.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Glassbox",
        description = "Serves ONNX models over HTTP, and shows what it does. Every answer names its request (`X-Request-Id`) and \
                       where its time went (`Server-Timing`); every failure is a problem document (RFC 9457) with a stable `code`.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = "predictions", description = "Ask models"),
        (name = "open inference protocol", description = "Version 2, as Triton, KServe and others speak it"),
        (name = "models", description = "What is served"),
        (name = "operation", description = "How the server is doing"),
        (name = "pages", description = "For people"),
    ),
    paths(
        service::describe,
        health::live,
        health::ready,
        metrics::show,
        predict::predict,
        predict::predict_batch,
        predictions::list,
        predictions::one,
        predictions::forget,
        models::list,
        models::model,
        models::version,
        stats::show,
        debug::requests,
        show,
        docs::swagger,
        docs::redoc,
        console::page,
        console::file,
        openai::embeddings,
        v2::server::metadata,
        v2::server::live,
        v2::server::ready,
        v2::model::metadata,
        v2::model::version_metadata,
        v2::model::ready,
        v2::model::version_ready,
        v2::infer::infer,
        v2::infer::infer_version,
        v2::config::show,
        v2::config::show_version,
        v2::statistics::all,
        v2::statistics::model,
        v2::statistics::version,
        v2::repository::index,
        v2::repository::load,
        v2::repository::unload,
        v2::settings::logging,
        v2::settings::set_logging,
        v2::settings::trace,
        v2::settings::set_trace,
        v2::settings::model_trace,
        v2::settings::set_model_trace,
    ),
    components(schemas(Problem))
)]
struct Annotations;

/// The document of `routes`: the handlers' annotations, and what their layers add: keys, headers, failures.
pub(super) fn document(routes: &[Route], keys: bool) -> Value {
    let mut document = json!(Annotations::openapi());
    let mut failures = failures::Failures::default();
    let mut paths = Map::new();
    for route in routes {
        let method = route.method.to_ascii_lowercase();
        let Some(operation) = document["paths"][route.path].get_mut(&method).map(Value::take) else { continue };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[method] = complete(operation, route, keys, &mut failures);
    }
    document["paths"] = paths.into();
    let components = &mut document["components"];
    schemas::complete(&mut components["schemas"], &failures.codes());
    components["responses"] = failures.components();
    components["headers"] = headers::answers();
    components["parameters"] = headers::questions();
    components["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "gb_<id>_<secret>"},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    });
    document
}

/// An operation with all that its handler cannot know.
fn complete(mut operation: Value, route: &Route, keys: bool, failures: &mut failures::Failures) -> Value {
    let guarded = matches!(route.access, Access::Key(_)) && keys;
    let takes_body = operation.get("requestBody").is_some();
    let takes_parameters = operation.get("parameters").is_some();
    if let Some(list) = operation["parameters"].as_array_mut() {
        list.extend(headers::asked(takes_body));
    } else {
        operation["parameters"] = headers::asked(takes_body).into();
    }
    let told = headers::told(guarded, takes_body);
    for (_, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        response["headers"] = told.clone();
        response["links"] = links(route.path);
    }
    for (status, reference) in failures.of(route, guarded, takes_body, takes_parameters) {
        operation["responses"][status] = reference;
    }
    if let (true, Access::Key(scope)) = (guarded, route.access) {
        operation["security"] = json!([{"bearer": []}, {"api_key": []}]);
        let about = operation["description"].as_str().map(|text| format!("{text}\n\n")).unwrap_or_default();
        operation["description"] = json!(format!("{about}Needs a key with the scope `{}`.", scope.as_str()));
    }
    operation
}

/// What can be asked with what an answer holds.
fn links(path: &str) -> Value {
    let record = json!({"operationId": "debug_requests", "parameters": {"request_id": "$response.body#/id"}});
    let version = json!({
        "operationId": "model_version",
        "parameters": {"model": "$response.body#/model", "version": "$response.body#/model_version"},
    });
    match path {
        "/v1/predict" | "/v1/predict_batch" => json!({"record": record, "version": version}),
        "/v1/models" => json!({
            "model": {"operationId": "model", "parameters": {"model": "$response.body#/models/0/name"}},
        }),
        "/v1/models/{model}" => json!({
            "version": {
                "operationId": "model_version",
                "parameters": {"model": "$response.body#/name", "version": "$response.body#/versions/0/version"},
            },
        }),
        _ => json!({}),
    }
}

/// This description: OpenAPI 3.1
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "pages",
    operation_id = "openapi",
    responses((status = 200, description = "The document", body = Object))
)]
pub(super) async fn show(State(state): State<ApiState>) -> Result<Response, Error> {
    const JSON: &str = "application/json";
    let renderings = &state.renderings;
    if let Some(made) = renderings.openapi.get() {
        return Ok(made.answer(JSON));
    }
    let turn = renderings.renderer.turn().await?;
    let this = state.clone();
    let write = move || {
        let text = || SharedText::lasting(document(&super::served(&this), this.keys.is_some()).to_string());
        Arc::clone(this.renderings.openapi.get_or_init(text))
    };
    Ok(renderings.renderer.run(turn, write).await?.answer(JSON))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_once_and_nothing_else_is() {
        let routes = crate::api::routes(Some(Access::Public));
        let document = json!(Annotations::openapi());
        let described: BTreeSet<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
            .collect();
        // gRPC has a description of its own, its reflection; and `/v2/` is another address of `/v2`.
        let described_here = |route: &&Route| {
            let grpc = ["/inference.", "/grpc."].iter().any(|service| route.path.starts_with(service));
            !grpc && route.path != "/v2/"
        };
        let served =
            routes.iter().filter(described_here).map(|route| format!("{} {}", route.method.to_lowercase(), route.path));
        assert_eq!(described, served.collect::<BTreeSet<_>>());
        let operations =
            document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
        let ids: BTreeSet<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), described.len());
    }
}
