//! Compares an answer with the expected one, as numbers of the output's datatype.

use serde_json::Value;

/// The first difference. Without a tolerance every bit counts, the sign of zero included.
pub fn difference(got: &Value, expected: &Value, datatype: &str, tolerance: f64) -> Option<String> {
    match (got, expected) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(a, b)| difference(a, b, datatype, tolerance))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.values().zip(b.values()).find_map(|(a, b)| difference(a, b, datatype, tolerance))
        }
        (Value::Number(a), Value::Number(b)) if datatype.starts_with("FP") || datatype == "BF16" => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            let same = if tolerance > 0.0 {
                (a - b).abs() <= tolerance * b.abs().max(1.0)
            } else if datatype == "FP64" {
                a.to_bits() == b.to_bits()
            } else {
                // Written with as many digits as tell it from its neighbours, which is fewer than FP64 needs.
                fp32(a).to_bits() == fp32(b).to_bits()
            };
            (!same).then(|| format!("{a:e}, expected {b:e}"))
        }
        (a, b) => (a != b).then(|| format!("{}, expected {}", shorten(a), shorten(b))),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest FP32 is meant")]
const fn fp32(number: f64) -> f32 {
    number as f32
}

fn shorten(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}
