//! What a route is made of. None can be written without a word on who may call it.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{MethodRouter, get, post},
};

use super::{layers, state::ApiState};
use crate::{keys::Scope, telemetry::metrics::OTHER};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Who has a key with this scope; anyone when the server asks for no keys.
    Key(Scope),
}

/// One path, the one method that it answers, and who may call it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method; `GET` answers `HEAD` too.
    pub method: &'static str,
    /// The path's template.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    handler: MethodRouter<ApiState>,
}

/// The methods that routes answer, for labels.
#[derive(Debug, Clone)]
pub(super) struct Methods(Arc<HashMap<&'static str, &'static str>>);

impl Methods {
    /// Of all `routes`.
    pub(super) fn of(routes: &[Route]) -> Self {
        Self(Arc::new(routes.iter().map(|route| (route.path, route.method)).collect()))
    }

    /// The route's own method, or a word for all others.
    pub(super) fn label(&self, path: &str, method: &Method) -> &'static str {
        // HEAD is answered by what answers GET.
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        self.0.get(path).copied().filter(|own| *own == method).unwrap_or(OTHER)
    }
}

impl Route {
    pub(super) fn get<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self { method: "GET", path, access, handler: get(handler) }
    }

    pub(super) fn post<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self { method: "POST", path, access, handler: post(handler) }
    }

    /// Adds the route, behind what guards it.
    pub(super) fn join(self, router: Router<ApiState>, state: &ApiState) -> Router<ApiState> {
        let handler = match self.access {
            Access::Public => self.handler,
            Access::Key(scope) => layers::protected(self.handler, scope, state),
        };
        router.route(self.path, handler)
    }
}
