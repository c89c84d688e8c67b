//! What a route is made of. None can be written without a word on who may call it.

use std::collections::HashMap;

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{MethodRouter, delete, get, post},
};

use super::{layers, state::ApiState};
use crate::{
    keys::Scope,
    telemetry::metrics::{HttpMetrics, OTHER, RouteMetrics},
};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Who has a key with this scope; anyone when the server asks for no keys.
    Key(Scope),
}

/// One path, a method that it answers, and who may call it so.
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

/// What requests are counted by.
#[derive(Debug)]
pub(super) struct Counts {
    routes: HashMap<&'static str, PathCounts>,
    no_route: RouteMetrics,
}

#[derive(Debug)]
struct PathCounts {
    /// By the methods that the path answers.
    own: Vec<(&'static str, RouteMetrics)>,
    others: RouteMetrics,
}

impl Counts {
    /// Begins the series of all `routes` at zero, and those of requests that no route answers.
    pub(super) fn of(routes: &[Route], metrics: &HttpMetrics) -> Self {
        let mut paths = HashMap::new();
        for Route { path, method, .. } in routes {
            let others = || PathCounts { own: Vec::new(), others: metrics.route(path, OTHER) };
            let counts: &mut PathCounts = paths.entry(*path).or_insert_with(others);
            counts.own.push((*method, metrics.route(path, method)));
        }
        Self { routes: paths, no_route: metrics.route(OTHER, OTHER) }
    }

    /// Those of one of a path's own methods, or those of all others.
    pub(super) fn get(&self, path: Option<&str>, method: &Method) -> &RouteMetrics {
        let Some(counts) = path.and_then(|path| self.routes.get(path)) else { return &self.no_route };
        // HEAD is answered by what answers GET.
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        counts.own.iter().find(|(own, _)| *own == method).map_or(&counts.others, |(_, own)| own)
    }
}

impl Route {
    pub(super) fn get<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self { method: "GET", path, access, handler: get(handler) }
    }

    pub(super) fn post<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self { method: "POST", path, access, handler: post(handler) }
    }

    pub(super) fn delete<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self { method: "DELETE", path, access, handler: delete(handler) }
    }

    /// The same path and method, with another answer to anyone.
    pub(super) fn answered_by<H: Handler<T, ApiState>, T: 'static>(self, handler: H) -> Self {
        let handler = match self.method {
            "GET" => get(handler),
            "POST" => post(handler),
            _ => delete(handler),
        };
        Self { access: Access::Public, handler, ..self }
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
