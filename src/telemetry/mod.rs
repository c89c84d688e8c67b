//! What the server says about itself. Ground: knows no model and no protocol.

mod json_lines;
pub mod labels;
mod lines;
pub mod logging;
pub mod metrics;
pub mod record;

use std::time::Duration;

/// Milliseconds with three decimals, as answers and log lines show them.
pub fn millis(duration: Duration) -> f64 {
    let micros = micros(duration);
    #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are centuries")]
    let micros = micros as f64;
    micros / 1e3
}

/// Microseconds, rounded. What measures a request is shown with no more.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().saturating_add(500) / 1000).unwrap_or(u64::MAX)
}
