//! How a server's process ends: with its log written, and without the destructors of the libraries in it. A model that is
//! still being loaded, and an operator that nothing can end, are inside of ONNX Runtime then, and would crash in what its
//! destructors take away.

use std::sync::{Arc, Mutex, PoisonError};

use crate::telemetry::logging::Log;

/// The way out, for every thread that may take it.
#[derive(Debug, Clone)]
pub(super) struct Exit(Arc<Mutex<Option<Log>>>);

impl Exit {
    /// Leaves when `log` has been written.
    pub(super) fn new(log: Log) -> Self {
        Self(Arc::new(Mutex::new(Some(log))))
    }

    /// Writes what waits in the log, for a process that has something to say after it.
    pub(super) fn end_log(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Writes the log and ends the process.
    pub(super) fn leave(&self, code: u8) -> ! {
        // Held to the end: a second thread that leaves must not cut off the log that the first one writes.
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(log.take());
        leave(code)
    }
}

/// Ends the process as it is. Standard output has been flushed up to its last line, and is not asked for more: the log may
/// hold it for a reader who does not read.
pub(super) fn leave(code: u8) -> ! {
    signal_hook::low_level::exit(code.into())
}
