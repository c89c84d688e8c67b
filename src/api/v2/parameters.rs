//! `parameters`: those that mean something here are kept, all others are read and forgotten.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

/// What a request or one of its tensors can ask for.
#[derive(Debug, Default)]
pub(in crate::api) struct Parameters {
    /// The bytes of an input in the binary part.
    pub binary_data_size: Option<u64>,
    /// Whether an output is wanted in the binary part.
    pub binary_data: Option<bool>,
    /// Whether all outputs are, unless they say otherwise.
    pub binary_data_output: Option<bool>,
    /// Microseconds until nobody waits for the answer any more.
    pub timeout: Option<u64>,
    /// One that asks for what this server does not do.
    pub unsupported: Option<&'static str>,
}

/// What would be answered with something else than was asked for, were it ignored.
const UNSUPPORTED: [&str; 3] = ["shared_memory_region", "classification", "config"];

/// A file of a model, sent along.
const FILE: &str = "file:";

/// The one whose value is an object, in the servers that know it.
const HEADERS: &str = "headers";

/// The value of any parameter.
#[derive(Debug)]
pub(in crate::api) enum Value {
    Bool(bool),
    /// None for what is no whole number, or below 0.
    Number(Option<u64>),
    Text(String),
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ParametersVisitor;

        impl<'de> Visitor<'de> for ParametersVisitor {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<Parameters, E> {
                Ok(Parameters::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut parameters = Parameters::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == HEADERS {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        parameters.set(&name, map.next_value()?).map_err(A::Error::custom)?;
                    }
                }
                Ok(parameters)
            }
        }

        deserializer.deserialize_any(ParametersVisitor)
    }
}

impl Parameters {
    /// Takes one that stands by itself.
    ///
    /// # Errors
    /// Says what it should have been.
    pub(in crate::api) fn set(&mut self, name: &str, value: Value) -> Result<(), String> {
        let count = |value| match value {
            Value::Number(Some(number)) => Ok(Some(number)),
            // Some clients write every value as a string.
            Value::Text(text) => text.parse().map(Some).map_err(|_| format!("'{name}' is a whole number")),
            _ => Err(format!("'{name}' is a whole number, 0 or more")),
        };
        let flag = |value| match value {
            Value::Bool(flag) => Ok(Some(flag)),
            _ => Err(format!("'{name}' is true or false")),
        };
        match name {
            "binary_data_size" => self.binary_data_size = count(value)?,
            "binary_data" => self.binary_data = flag(value)?,
            "binary_data_output" => self.binary_data_output = flag(value)?,
            "timeout" => self.timeout = count(value)?.filter(|microseconds| *microseconds > 0),
            other => {
                let unsupported = UNSUPPORTED.into_iter().find(|name| *name == other);
                let unsupported = unsupported.or(other.starts_with(FILE).then_some("file:…"));
                self.unsupported = self.unsupported.or(unsupported);
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl Visitor<'_> for ValueVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(u64::try_from(value).ok()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(Some(value)))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Number(None))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}
