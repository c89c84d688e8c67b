//! The answers that are dear to make, and are shared by all who ask.

use std::sync::{Arc, OnceLock};

use super::{
    renderer::{Moment, Renderer},
    shared_text::SharedText,
    v1::{debug, stats},
};

/// The answers that all callers share.
#[derive(Debug)]
pub(super) struct Renderings {
    pub renderer: Renderer,
    pub metrics: Arc<Moment<(), Arc<SharedText>>>,
    pub stats: Arc<Moment<(), Arc<stats::Everything>>>,
    pub debug: Arc<Moment<debug::Filter, Arc<SharedText>>>,
    /// The API's description, which does not change.
    pub openapi: OnceLock<Arc<SharedText>>,
}

impl Renderings {
    /// None made yet.
    pub(super) fn new() -> Self {
        Self {
            renderer: Renderer::new(),
            metrics: Moment::new(),
            stats: Moment::new(),
            debug: Moment::new(),
            openapi: OnceLock::new(),
        }
    }
}
