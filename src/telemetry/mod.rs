//! What the server says about itself. Ground: knows no model and no protocol.

mod json_lines;
pub mod labels;
mod lines;
pub mod logging;
pub mod metrics;
mod otlp;
pub mod record;
pub mod recorder;
pub mod statistics;
pub mod threads;
pub mod traces;

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

/// Appends a number in decimal digits. Every request writes dozens of them; the formatter of the standard library takes
/// several times as long for alignment and signs that nobody wants.
pub fn write_decimal(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 7, 10, 99, 100, 1_000_000, u64::MAX] {
            let mut text = Vec::new();
            write_decimal(&mut text, number);
            assert_eq!(String::from_utf8(text).unwrap(), number.to_string());
        }
    }
}
