//! What a graph declares, in our words.

use anyhow::Context;
use ort::value::{Outlet, TensorElementType, ValueType};

use crate::model::{Datatype, Dim, TensorSpec};

pub(super) fn input_spec(outlet: &Outlet) -> anyhow::Result<TensorSpec> {
    tensor_spec(outlet)
        .with_context(|| format!("input '{}' is a {}, not a tensor of a known datatype", outlet.name(), outlet.dtype()))
}

/// scikit-learn's exporter gives a classifier's probabilities as a sequence of maps: that becomes an FP32 table whose
/// last dimension has keys.
pub(super) fn output_spec(outlet: &Outlet) -> anyhow::Result<TensorSpec> {
    if is_sequence_of_maps(outlet.dtype()) {
        let shape = vec![Dim::Dynamic(None), Dim::Dynamic(None)];
        return Ok(TensorSpec { name: outlet.name().into(), datatype: Datatype::Fp32, shape });
    }
    tensor_spec(outlet)
        .with_context(|| format!("output '{}' is a {}, which cannot be served", outlet.name(), outlet.dtype()))
}

pub(super) fn is_sequence_of_maps(dtype: &ValueType) -> bool {
    let ValueType::Sequence(inner) = dtype else { return false };
    matches!(
        **inner,
        ValueType::Map { key: TensorElementType::Int64 | TensorElementType::String, value: TensorElementType::Float32 }
    )
}

fn tensor_spec(outlet: &Outlet) -> Option<TensorSpec> {
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else { return None };
    let dim = |(index, size): (usize, &i64)| match usize::try_from(*size) {
        Ok(size) => Dim::Fixed(size),
        Err(_) => {
            Dim::Dynamic(dimension_symbols.get(index).filter(|name| !name.is_empty()).map(|name| name.as_str().into()))
        }
    };
    let shape = shape.iter().enumerate().map(dim).collect();
    Some(TensorSpec { name: outlet.name().into(), datatype: datatype(*ty)?, shape })
}

const fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}
