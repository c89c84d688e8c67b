//! Tensors to ONNX Runtime and back.

use anyhow::Context;
use ort::{
    session::SessionInputValue,
    value::{
        DynMap, DynMapValueType, DynSequenceValueType, DynValue, Tensor as OrtTensor, TensorElementType, TensorRef,
        ValueType,
    },
};

use super::specs::is_sequence_of_maps;
use crate::model::{Data, Tensor, Value};

/// Lends a tensor's memory to ONNX Runtime; only strings are copied.
pub(super) fn feed(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    let shape = tensor.shape();
    macro_rules! lend {
        ($($variant:ident)*) => {
            match tensor.data() {
                $(Data::$variant(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),)*
                Data::Bytes(values) => OrtTensor::from_string_array((shape, values.as_slice()))?.into(),
            }
        };
    }
    Ok(lend!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64))
}

/// Gives a tensor's memory to ONNX Runtime.
pub(super) fn own(tensor: Tensor) -> ort::Result<DynValue> {
    let (shape, data) = tensor.into_parts();
    macro_rules! give {
        ($($variant:ident)*) => {
            match data {
                $(Data::$variant(values) => OrtTensor::from_array((shape, values))?.into_dyn(),)*
                Data::Bytes(values) => OrtTensor::from_string_array((shape, values.as_slice()))?.into_dyn(),
            }
        };
    }
    Ok(give!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64))
}

/// Copies an output.
pub(super) fn read(value: &DynValue) -> anyhow::Result<Value> {
    match value.dtype() {
        ValueType::Tensor { ty, .. } => Ok(Value { tensor: read_tensor(value, *ty)?, keys: None }),
        dtype if is_sequence_of_maps(dtype) => read_maps(value),
        dtype => anyhow::bail!("a {dtype} cannot be served"),
    }
}

fn read_tensor(value: &DynValue, element: TensorElementType) -> anyhow::Result<Tensor> {
    macro_rules! copy {
        ($($element:ident $variant:ident)*) => {
            match element {
                $(TensorElementType::$element => {
                    let (shape, values) = value.try_extract_tensor()?;
                    (shape, Data::$variant(values.to_vec()))
                })*
                TensorElementType::String => {
                    let (shape, values) = value.try_extract_strings()?;
                    (shape, Data::Bytes(values))
                }
                other => anyhow::bail!("datatype {other} cannot be served"),
            }
        };
    }
    let (shape, data) = copy!(Bool Bool Uint8 Uint8 Uint16 Uint16 Uint32 Uint32 Uint64 Uint64 Int8 Int8 Int16 Int16
        Int32 Int32 Int64 Int64 Float16 Fp16 Bfloat16 Bf16 Float32 Fp32 Float64 Fp64);
    let shape = shape.iter().map(|size| usize::try_from(*size)).collect::<Result<_, _>>()?;
    Tensor::new(shape, data).context("its elements do not fill its shape")
}

/// Rows of maps become one table; every row must have the same keys.
fn read_maps(value: &DynValue) -> anyhow::Result<Value> {
    let sequence = value.view().downcast::<DynSequenceValueType>()?;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let maps = sequence.try_extract_sequence::<DynMapValueType>()?;
    for (row, map) in maps.iter().enumerate() {
        let (row_keys, row_values) = read_map(map)?;
        anyhow::ensure!(row == 0 || row_keys == keys, "its rows have different keys");
        keys = row_keys;
        values.extend(row_values);
    }
    let tensor = Tensor::new(vec![maps.len(), keys.len()], Data::Fp32(values)).context("its rows differ in length")?;
    Ok(Value { tensor, keys: Some(keys.into()) })
}

fn read_map(map: &DynMap) -> anyhow::Result<(Vec<String>, Vec<f32>)> {
    if let ValueType::Map { key: TensorElementType::Int64, .. } = map.dtype() {
        let mut pairs = map.try_extract_key_values::<i64, f32>()?;
        pairs.sort_by_key(|(key, _)| *key);
        return Ok(pairs.into_iter().map(|(key, value)| (key.to_string(), value)).unzip());
    }
    let mut pairs = map.try_extract_key_values::<String, f32>()?;
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(pairs.into_iter().unzip())
}
