//! Inputs as callers write them: a number, a string, a (nested) list, or an object of named ones.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    cost,
    nested::{Nested, Reader},
};

/// Names that are kept of one object where no budget knows better. Five bytes of JSON make hundreds of memory, and where
/// there are more names than a model has inputs, the first of them already hold one that is unknown or stands twice.
const MOST_NAMES: usize = 4096;

/// One item to predict.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The `text` of a text model.
    Text(String),
    /// The value of a model's only input.
    Value(Nested),
    /// Values by input name, in the caller's order. A name may stand twice.
    Named(Vec<(String, Nested)>),
}

impl Input {
    /// How many numbers and strings it holds.
    pub fn elements(&self) -> usize {
        match self {
            // A text weighs more than a number does.
            Self::Text(text) => text.len() / 8,
            Self::Value(value) => value.elements(),
            Self::Named(values) => values.iter().map(|(_, value)| value.elements()).sum(),
        }
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;

        /// Forwards everything that is not an object to the list reader.
        macro_rules! forward {
            ($($method:ident($type:ty))*) => {
                $(fn $method<E: serde::de::Error>(self, value: $type) -> Result<Input, E> {
                    let mut reader = Reader::default();
                    (&mut reader).$method::<E>(value)?;
                    reader.finish().map(Input::Value)
                })*
            };
        }

        impl<'de> Visitor<'de> for InputVisitor {
            type Value = Input;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a string, a boolean, a list, or an object of named ones")
            }

            forward! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) visit_string(String) }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Input, E> {
                let mut reader = Reader::default();
                (&mut reader).visit_unit::<E>()?;
                reader.finish().map(Input::Value)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Input, A::Error> {
                let mut reader = Reader::default();
                (&mut reader).visit_seq(list)?;
                reader.finish().map(Input::Value)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Input, A::Error> {
                let mut named: Vec<(String, Nested)> = Vec::new();
                let mut most = cost::FEW_NAMES;
                loop {
                    if named.len() == most {
                        most = cost::max_names(MOST_NAMES);
                    }
                    if named.len() == most {
                        break;
                    }
                    let Some(entry) = map.next_entry::<String, Nested>()? else { return Ok(Input::Named(named)) };
                    cost::charge(cost::of_text(entry.0.len()))?;
                    named.push(entry);
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Input::Named(named))
            }
        }

        deserializer.deserialize_any(InputVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_its_names_up_to_a_limit() {
        let names = |count: usize| {
            let members: Vec<String> = (0..count).map(|name| format!(r#""{name}":[0]"#)).collect();
            match serde_json::from_str(&format!("{{{}}}", members.join(","))).unwrap() {
                Input::Named(named) => named.len(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([names(0), names(2), names(MOST_NAMES), names(5000)], [0, 2, MOST_NAMES, MOST_NAMES]);
    }
}
