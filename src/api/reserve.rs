//! What is answered on connections that have no place: they are open beyond `server.max_connections`, so that those who look
//! after the server still reach it.

use axum::extract::State;

use super::{
    routes::{Access, Route},
    state::{ApiState, is_operators},
};
use crate::{error::Error, keys::Scope};

/// The same routes, of which those for callers refuse.
pub(super) fn routes(routes: Vec<Route>) -> Vec<Route> {
    let kept = |route: &Route| is_operators(route.path) || route.access == Access::Key(Scope::Admin);
    routes.into_iter().map(|route| if kept(&route) { route } else { route.answered_by(refuse) }).collect()
}

/// Whether a path is answered there. Routes with the scope `admin` are not counted: their methods tell them apart.
pub fn is_for_operators(path: &str) -> bool {
    is_operators(path) || path.starts_with("/console/")
}

pub(super) async fn refuse(State(state): State<ApiState>) -> Error {
    state.metrics.http.refused();
    let what = "the room for connections ('server.max_connections', and 'server.address_connections' for one address)";
    Error::Overloaded { what: what.to_owned(), retry_after: None }
}
