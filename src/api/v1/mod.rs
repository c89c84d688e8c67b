//! Version 1 of the REST interface. Its wire types live here and nowhere else.

pub(super) mod debug;
mod items;
pub(super) mod models;
pub(super) mod predict;
pub(super) mod predictions;
pub(super) mod stats;
