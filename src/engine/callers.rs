//! Who waits for a run: it is ended when nobody does any more.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{session::Cancel, words::RunError};

/// One of those who wait for a run, before and while it goes on.
#[derive(Debug, Default)]
pub(super) struct Caller {
    left: AtomicBool,
    counted: AtomicBool,
    run: OnceLock<Arc<Callers>>,
}

/// All who wait for one run.
#[derive(Debug)]
pub(super) struct Callers {
    waiting: AtomicUsize,
    cancel: Cancel,
}

impl Callers {
    /// Those who wait for a run that is about to begin.
    ///
    /// # Errors
    /// When ONNX Runtime has no memory for it.
    pub(super) fn gather<'a>(callers: impl ExactSizeIterator<Item = &'a Arc<Caller>>) -> Result<Arc<Self>, RunError> {
        let run = Arc::new(Self { waiting: AtomicUsize::new(callers.len()), cancel: Cancel::new()? });
        for caller in callers {
            let _ = caller.run.set(Arc::clone(&run));
            // Who has left before that had no run to leave.
            if caller.left.load(Ordering::SeqCst) {
                caller.leave();
            }
        }
        Ok(run)
    }

    /// Ends the run.
    pub(super) const fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl Caller {
    /// Waits until what is returned is dropped.
    pub(super) fn wait(self: &Arc<Self>) -> Waits {
        Waits(Arc::clone(self))
    }

    fn leave(&self) {
        if let Some(run) = self.run.get()
            // Who leaves in the moment in which the run is gathered is seen from both sides.
            && !self.counted.swap(true, Ordering::SeqCst)
            && run.waiting.fetch_sub(1, Ordering::SeqCst) == 1
        {
            run.cancel.cancel();
        }
    }
}

/// Ends with the wait, with an answer or without one.
#[derive(Debug)]
pub(super) struct Waits(Arc<Caller>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.left.store(true, Ordering::SeqCst);
        self.0.leave();
    }
}
