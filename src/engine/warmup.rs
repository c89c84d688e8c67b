//! First runs of a freshly opened session on made-up inputs: they fill its caches, and they show whether rows are
//! independent of each other, which no graph states.

use super::session::Session;
use crate::model::{Data, Datatype, Dim, Signature, Tensor, TensorSpec, Value};

/// Rows in one run when nobody said how many and the model turned out to be batchable.
pub const DEFAULT_BATCH_SIZE: usize = 32;

/// Lengths to try for dynamic dimensions other than the batch: exporters leave them open even where a graph
/// cannot take every length.
const LENGTHS: [usize; 3] = [4, 1, 32];

/// Runs the session once on made-up inputs and returns what came out; `None` when it takes none of them, which is no
/// fault.
pub fn run_once(session: &mut Session) -> Option<Vec<Value>> {
    let signature = session.signature().clone();
    LENGTHS.iter().find_map(|length| session.run(&inputs(&signature, &[0], *length)).ok())
}

/// Whether a run of several rows gives each row what it gets alone: only then may rows of different callers share a run.
pub fn rows_are_independent(session: &mut Session) -> bool {
    let signature = session.signature().clone();
    if !signature.could_batch() || first_dimensions_differ(&signature) {
        return false;
    }
    LENGTHS.iter().find_map(|length| compare(session, &signature, *length)).unwrap_or(false)
}

/// Names are a hint: inputs whose first dimensions have different names do not share a batch.
fn first_dimensions_differ(signature: &Signature) -> bool {
    let name = |spec: &TensorSpec| match spec.shape.first() {
        Some(Dim::Dynamic(name)) => name.clone(),
        _ => None,
    };
    let mut names: Vec<_> = signature.inputs.iter().filter_map(name).collect();
    names.dedup();
    names.len() > 1
}

/// `None` when the graph takes no input of this length.
fn compare(session: &mut Session, signature: &Signature, length: usize) -> Option<bool> {
    const ROWS: [usize; 3] = [0, 1, 2];
    let alone = ROWS.map(|row| session.run(&inputs(signature, &[row], length)).ok());
    let [Some(a), Some(b), Some(c)] = alone else { return None };
    let Ok(together) = session.run(&inputs(signature, &ROWS, length)) else { return Some(false) };
    Some([a, b, c].iter().enumerate().all(|(row, alone)| {
        alone.iter().zip(&together).all(|(alone, together)| {
            together.tensor.shape().first() == Some(&ROWS.len())
                && alone.keys == together.keys
                && together.tensor.rows(row, 1).is_some_and(|row| close(&Value { tensor: row, keys: None }, alone))
        })
    }))
}

/// Made-up inputs for the given row numbers: a row's elements depend on its number only.
fn inputs(signature: &Signature, rows: &[usize], length: usize) -> Vec<Tensor> {
    signature.inputs.iter().filter_map(|spec| input(spec, rows, length)).collect()
}

fn input(spec: &TensorSpec, rows: &[usize], length: usize) -> Option<Tensor> {
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { length };
    let mut shape: Vec<usize> = spec.shape.iter().map(size).collect();
    if spec.has_dynamic_rows() {
        shape[0] = rows.len();
    }
    let elements: usize = shape.iter().product();
    let per_row = elements.checked_div(rows.len()).unwrap_or(0).max(1);
    // 0 or 1: small enough for every datatype, and an index that every table of two entries has.
    let bit = |index: usize| {
        let (row, column) = (rows.get(index / per_row).copied().unwrap_or(0), index % per_row);
        (row * 7 + column * 3 + row * column) % 5 % 2
    };
    let bits = (0..elements).map(bit);
    #[expect(clippy::cast_possible_truncation, reason = "a bit fits")]
    let byte = |bit: usize| bit as u8;
    let data = match spec.datatype {
        Datatype::Bool => Data::Bool(bits.map(|bit| bit == 1).collect()),
        Datatype::Bytes => Data::Bytes(bits.map(|bit| format!("row {bit}")).collect()),
        Datatype::Uint8 => Data::Uint8(bits.map(byte).collect()),
        Datatype::Uint16 => Data::Uint16(bits.map(|bit| byte(bit).into()).collect()),
        Datatype::Uint32 => Data::Uint32(bits.map(|bit| byte(bit).into()).collect()),
        Datatype::Uint64 => Data::Uint64(bits.map(|bit| byte(bit).into()).collect()),
        Datatype::Int8 => Data::Int8(bits.map(|bit| i8::from(bit == 1)).collect()),
        Datatype::Int16 => Data::Int16(bits.map(|bit| byte(bit).into()).collect()),
        Datatype::Int32 => Data::Int32(bits.map(|bit| byte(bit).into()).collect()),
        Datatype::Int64 => Data::Int64(bits.map(|bit| byte(bit).into()).collect()),
        Datatype::Fp16 => Data::Fp16(bits.map(|bit| half::f16::from_f32(fraction(byte(bit)))).collect()),
        Datatype::Bf16 => Data::Bf16(bits.map(|bit| half::bf16::from_f32(fraction(byte(bit)))).collect()),
        Datatype::Fp32 => Data::Fp32(bits.map(|bit| fraction(byte(bit))).collect()),
        Datatype::Fp64 => Data::Fp64(bits.map(|bit| f64::from(fraction(byte(bit)))).collect()),
    };
    Tensor::new(shape, data)
}

/// Away from zero, where too many functions agree.
fn fraction(bit: u8) -> f32 {
    f32::from(bit).mul_add(0.7, 0.1)
}

/// Equal but for what reordered sums explain.
fn close(a: &Value, b: &Value) -> bool {
    let near = |a: f64, b: f64, relative: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= relative.mul_add(b.abs(), relative / 100.0)
    };
    if a.tensor.shape() != b.tensor.shape() {
        return false;
    }
    match (a.tensor.data(), b.tensor.data()) {
        (Data::Fp32(a), Data::Fp32(b)) => a.iter().zip(b).all(|(a, b)| near((*a).into(), (*b).into(), 1e-3)),
        (Data::Fp64(a), Data::Fp64(b)) => a.iter().zip(b).all(|(a, b)| near(*a, *b, 1e-6)),
        (Data::Fp16(a), Data::Fp16(b)) => a.iter().zip(b).all(|(a, b)| near(a.to_f64(), b.to_f64(), 1e-2)),
        (Data::Bf16(a), Data::Bf16(b)) => a.iter().zip(b).all(|(a, b)| near(a.to_f64(), b.to_f64(), 5e-2)),
        (a, b) => a == b,
    }
}
