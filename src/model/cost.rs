//! What a document costs in memory, charged while it is read.
//!
//! A few bytes of JSON or protobuf can stand for hundreds of bytes in memory. Deserialisers take no argument through
//! which a budget could reach them, so the budget is the reading thread's: [`within`] sets it for one document, and
//! [`take`] and [`charge`] ask it. Without a budget (golden samples, the terminal) everything is free.

use std::cell::Cell;

use serde::de::Error;

/// Pays for what a thread reads.
pub trait Budget: Sync {
    /// Takes room for `bytes` more; `false` where there is none, which ends the reading.
    fn take(&self, bytes: usize) -> bool;

    /// Whether it has refused.
    fn is_spent(&self) -> bool;

    /// Counts anew: what was read so far is gone.
    fn start_over(&self);

    /// Names of one object that are worth their memory, [`FEW_NAMES`] or more: whichever model is meant, an object with
    /// more of them does not fit, and the first of them hold as many faults as are told.
    fn max_names(&self) -> usize;

    /// Items of one batch that are worth their memory.
    fn max_items(&self) -> usize;
}

/// Names of one object that are kept without a question.
pub const FEW_NAMES: usize = 64;

thread_local! {
    static BUDGET: Cell<Option<&'static dyn Budget>> = const { Cell::new(None) };
}

/// Runs `read` with `budget` on this thread.
pub fn within<T>(budget: &'static dyn Budget, read: impl FnOnce() -> T) -> T {
    /// A panic must not leave a budget behind.
    struct Restored(Option<&'static dyn Budget>);
    impl Drop for Restored {
        fn drop(&mut self) {
            BUDGET.set(self.0);
        }
    }
    let _restored = Restored(BUDGET.replace(Some(budget)));
    read()
}

/// Takes room for `bytes` more; `false` where there is none.
#[must_use]
pub fn take(bytes: usize) -> bool {
    BUDGET.get().is_none_or(|budget| budget.take(bytes))
}

/// Takes room for `bytes` more within a deserialiser.
///
/// # Errors
/// Where there is none. The words reach nobody: whoever set the budget knows why it refused.
pub fn charge<E: Error>(bytes: usize) -> Result<(), E> {
    if take(bytes) { Ok(()) } else { Err(E::custom("no room")) }
}

/// See [`Budget::is_spent`].
pub fn is_spent() -> bool {
    BUDGET.get().is_some_and(|budget| budget.is_spent())
}

/// See [`Budget::start_over`].
pub fn start_over() {
    if let Some(budget) = BUDGET.get() {
        budget.start_over();
    }
}

/// See [`Budget::max_names`]; `otherwise` where there is no budget.
pub fn max_names(otherwise: usize) -> usize {
    BUDGET.get().map_or(otherwise, |budget| budget.max_names().clamp(FEW_NAMES, otherwise))
}

/// See [`Budget::max_items`]; `otherwise` where there is no budget.
pub fn max_items(otherwise: usize) -> usize {
    BUDGET.get().map_or(otherwise, |budget| budget.max_items().min(otherwise))
}

/// What a string takes: its place in a list, and its bytes as allocators round them.
pub const fn of_text(bytes: usize) -> usize {
    size_of::<String>() + bytes.next_multiple_of(16)
}
