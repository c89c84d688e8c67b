//! Inputs as JSON, the way callers write them.

use serde::{Serialize, Serializer};

use super::{
    Input,
    nested::{Leaves, Nested, Number},
    prediction::Block,
};

impl Nested {
    /// How many numbers and strings it holds.
    pub fn elements(&self) -> usize {
        match &self.leaves {
            Leaves::Numbers(numbers) => numbers.len(),
            Leaves::Bools(flags) => flags.len(),
            // They weigh more than numbers do.
            Leaves::Texts(texts) => texts.iter().map(|text| 1 + text.len() / 8).sum(),
        }
    }
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Value(value) => value.serialize(serializer),
            Self::Named(values) => serializer.collect_map(values.iter().map(|(name, value)| (name, value))),
        }
    }
}

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shape = &self.shape;
        match &self.leaves {
            Leaves::Numbers(values) => {
                let values: Vec<Number> = values.iter().collect();
                Block { shape, keys: None, values: &values }.serialize(serializer)
            }
            Leaves::Bools(values) => Block { shape, keys: None, values }.serialize(serializer),
            Leaves::Texts(values) => Block { shape, keys: None, values }.serialize(serializer),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::UInt(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_written_as_they_were_read() {
        for text in [
            r#""you are awful""#,
            "7",
            "-0.5",
            "18446744073709551615",
            "[]",
            "[[1,2.5],[3,4]]",
            "[[true],[false]]",
            r#"[["a","\"b"]]"#,
            r#"{"user":[[1]],"name":["x"],"flag":true}"#,
        ] {
            let input: Input = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&input).unwrap(), text);
        }
    }
}
