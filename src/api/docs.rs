//! `GET /docs` and `/redoc`: the API's description for people, as Swagger UI and ReDoc show it. Their files are in the binary.

use std::sync::LazyLock;

use aide::{redoc::Redoc, swagger::Swagger};
use axum::{http::HeaderMap, response::Response};

use super::page::Page;

const DOCUMENT: &str = "/openapi.json";

static SWAGGER: LazyLock<Page> =
    LazyLock::new(|| Page::with_own_scripts(Swagger::new(DOCUMENT).with_title("Glassbox API").html()));
static REDOC: LazyLock<Page> =
    LazyLock::new(|| Page::with_own_scripts(Redoc::new(DOCUMENT).with_title("Glassbox API").html()));

/// This description, in Swagger UI
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs",
    tag = "pages",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub(super) async fn swagger(headers: HeaderMap) -> Response {
    SWAGGER.answer(&headers)
}

/// This description, in ReDoc
#[utoipa::path(
    get,
    path = "/redoc",
    tag = "pages",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub(super) async fn redoc(headers: HeaderMap) -> Response {
    REDOC.answer(&headers)
}
