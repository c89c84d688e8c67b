//! What a route is made of. None can be written without a word on who may call it.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodRouter, get, post},
};

use super::{layers, state::ApiState};
use crate::keys::Scope;

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
