//! What a route is made of. None can be written without a word on who may call it.

use std::collections::HashMap;

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{MethodRouter, get, post},
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

/// One path, one method that it answers, and who may call it.
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
    routes: HashMap<&'static str, Count>,
    no_route: RouteMetrics,
}

#[derive(Debug)]
struct Count {
    /// By method; of a path that answers several, there are several routes.
    own: Vec<(&'static str, RouteMetrics)>,
    others: RouteMetrics,
}

impl Counts {
    /// Begins the series of all `routes` at zero, and those of requests that no route answers.
    pub(super) fn of(routes: &[Route], metrics: &HttpMetrics) -> Self {
        let mut counts: HashMap<&'static str, Count> = HashMap::new();
        for Route { path, method, .. } in routes {
            let begun = || Count { own: Vec::new(), others: metrics.route(path, OTHER) };
            counts.entry(path).or_insert_with(begun).own.push((method, metrics.route(path, method)));
        }
        Self { routes: counts, no_route: metrics.route(OTHER, OTHER) }
    }

    /// Those of a route's own method, or those of all others.
    pub(super) fn get(&self, path: Option<&str>, method: &Method) -> &RouteMetrics {
        let Some(count) = path.and_then(|path| self.routes.get(path)) else { return &self.no_route };
        // HEAD is answered by what answers GET.
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        count.own.iter().find(|(own, _)| *own == method).map_or(&count.others, |(_, own)| own)
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
