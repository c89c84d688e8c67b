//! What is read of an ONNX file, by the numbers of `onnx.proto`. Weights stay where they lie: only their shapes are looked at.

use bytes::Bytes;
use prost::Message;

#[derive(Message)]
pub(super) struct ModelProto {
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<FunctionProto>,
}

#[derive(Message)]
pub(super) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
}

/// Whether there is one is all that is asked.
#[derive(Message)]
pub(super) struct FunctionProto {}

#[derive(Message)]
pub(super) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

#[derive(Message)]
pub(super) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    #[prost(message, optional, tag = "6")]
    pub g: Option<SubgraphProto>,
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<SubgraphProto>,
}

/// Whether there is one is all that is asked.
#[derive(Message)]
pub(super) struct SubgraphProto {}

#[derive(Message)]
pub(super) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    /// 1 where the elements lie in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Message)]
pub(super) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

#[derive(Message)]
pub(super) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
}

#[derive(Message)]
pub(super) struct TensorTypeProto {
    #[prost(message, optional, tag = "2")]
    pub shape: Option<ShapeProto>,
}

#[derive(Message)]
pub(super) struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

/// A dimension without a value is a dynamic one. One of 0 is written as that, and so is one that is left open.
#[derive(Message)]
pub(super) struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
}

/// `TensorProto.DataType.INT64`
const INT64: i32 = 7;

/// Shapes and axes have few elements.
const MAX_INTEGERS: usize = 64;

impl TensorProto {
    /// Its dimensions.
    pub(super) fn shape(&self) -> Option<Vec<usize>> {
        self.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect()
    }

    /// Its elements, where they are a few integers: a shape, axes, ends of a slice.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        let count = self.shape()?.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim))?;
        if self.data_type != INT64 || self.data_location != 0 || count > MAX_INTEGERS {
            return None;
        }
        let integers = match self.raw_data.is_empty() {
            true => self.int64_data.clone(),
            false => self.raw_data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        };
        (integers.len() == count).then_some(integers)
    }
}

impl NodeProto {
    pub(super) fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// An integer attribute, with the operator's own default.
    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    /// A list of integers.
    pub(super) fn integers(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| &attribute.ints[..])
    }

    pub(super) fn has_subgraph(&self) -> bool {
        self.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
    }
}
