//! The JSON of an inference request. Members that are unknown are ignored: clients of this protocol send some.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use utoipa::ToSchema;

use super::parameters::Parameters;
use crate::{
    api::openapi::schemas,
    model::{Datatype, MAX_DIMENSIONS, cost, nested::Nested},
};

/// `POST /v2/models/{model}/infer`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(in crate::api) struct InferBody {
    /// Said back.
    pub id: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, schemas::Parameter>>)]
    pub parameters: Parameters,
    #[schema(value_type = Vec<InputBody>)]
    pub inputs: Tensors<InputBody>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<OutputBody>>)]
    pub outputs: Tensors<OutputBody>,
}

/// One of `inputs`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(super) struct InputBody {
    pub name: String,
    #[schema(value_type = Vec<i64>)]
    pub shape: Shape,
    #[schema(value_type = schemas::Datatype)]
    pub datatype: Datatype,
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, schemas::Parameter>>)]
    pub parameters: Parameters,
    /// Nested like the shape, or flat. None where it is in the binary part.
    #[schema(value_type = Option<Vec<Value>>)]
    pub data: Option<Nested>,
}

/// One of `outputs`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(super) struct OutputBody {
    pub name: String,
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, schemas::Parameter>>)]
    pub parameters: Parameters,
}

/// The dimensions of a tensor, as far as they are worth their memory: no model has more than [`MAX_DIMENSIONS`].
#[derive(Debug)]
pub(super) struct Shape {
    /// The first of them.
    pub kept: Vec<i64>,
    /// All of them.
    pub count: usize,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;

        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut shape = Shape { kept: Vec::new(), count: 0 };
                while let Some(size) = list.next_element()? {
                    if shape.count < MAX_DIMENSIONS {
                        shape.kept.push(size);
                    }
                    shape.count += 1;
                }
                Ok(shape)
            }
        }

        deserializer.deserialize_seq(ShapeVisitor)
    }
}

/// A list of tensors, as far as it is worth its memory: no model has more, and the first of them already hold one that is
/// unknown or stands twice.
#[derive(Debug)]
pub(super) struct Tensors<T>(pub Vec<T>);

const MOST_TENSORS: usize = 4096;

impl<T> Default for Tensors<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tensors<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TensorsVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for TensorsVisitor<T> {
            type Value = Tensors<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Tensors<T>, E> {
                Ok(Tensors::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tensors<T>, A::Error> {
                let mut tensors = Vec::new();
                while tensors.len() < MOST_TENSORS {
                    match list.next_element()? {
                        Some(tensor) => {
                            cost::charge(size_of::<T>())?;
                            tensors.push(tensor);
                        }
                        None => return Ok(Tensors(tensors)),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Tensors(tensors))
            }
        }

        deserializer.deserialize_any(TensorsVisitor(PhantomData))
    }
}
