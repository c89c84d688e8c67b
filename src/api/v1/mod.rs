//! Version 1 of the REST interface. Its wire types live here and nowhere else.

pub(super) mod debug;
mod items;
pub(super) mod models;
pub(super) mod predict;
pub(super) mod predictions;
pub(super) mod stats;

pub(super) use self::predictions::{EXPORTS_AT_ONCE, MAX_EXPORT_BYTES};
