//! What the server says about itself. Ground: knows no model and no protocol.

mod json_lines;
pub mod labels;
pub mod logging;
pub mod metrics;
pub mod record;

use std::time::Duration;

/// Milliseconds with three decimals, as answers and log lines show them.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
