//! Who calls.

use std::sync::Arc;

use crate::keys::Principal;

/// Who calls, as authentication found out.
#[derive(Debug, Clone)]
#[cfg_attr(not(test), expect(dead_code, reason = "nobody authenticates yet: everybody is known by address only"))]
pub(super) enum Caller {
    /// Somebody with a valid key.
    Key(Arc<Principal>),
    /// Anybody: no keys are asked for.
    Open,
}
