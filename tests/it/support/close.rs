//! Compares answers whose last digits depend on the processor.

use serde_json::Value;

/// Equal but for 1e-5, of the expected number where that is above 1.
pub fn assert_close(got: &Value, expected: &Value, place: &str) {
    match (got, expected) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{place}: {a} instead of {b}");
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| assert_close(a, b, place));
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            b.iter().for_each(|(key, b)| assert_close(&a[key], b, place));
        }
        (a, b) => assert_eq!(a, b, "{place}"),
    }
}
