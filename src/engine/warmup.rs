//! First runs of a freshly opened session on made-up inputs: they fill its caches, and they show whether rows are
//! independent of each other, which no graph states.

mod measure;

use std::{
    path::Path,
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

pub use self::measure::measure;
use super::{
    operators,
    session::{Cancel, Session},
    text::inputs::Part,
    words::RunError,
};
use crate::model::{Data, Datatype, Dim, Signature, Tensor, TensorSpec, Value};

/// Rows in one run when nobody said how many and the model turned out to be batchable.
pub const DEFAULT_BATCH_SIZE: usize = 32;

/// Lengths to try for dynamic dimensions other than the batch, as exporters leave them open even where a graph cannot
/// take every length; and how many elements the inputs may have together. Images take the first three, sounds the last.
const LENGTHS: [(usize, usize); 4] = [(4, MOST_ELEMENTS), (1, MOST_ELEMENTS), (32, MOST_ELEMENTS), (1024, 1 << 18)];

/// A graph may declare more elements than any machine holds.
const MOST_ELEMENTS: usize = 1 << 24;

/// A first run that went well.
#[derive(Debug)]
pub struct Warm {
    /// How long the dynamic dimensions of its inputs were, the batch aside.
    pub length: usize,
    /// What came out.
    pub outputs: Vec<Value>,
    values: Values,
}

/// Lets `work` try runs for as long as `limit`; those that go on are ended then, and later ones at once. A graph that never
/// ends would otherwise keep the others from being loaded.
///
/// # Errors
/// When ONNX Runtime has no memory for it.
pub fn within<T>(limit: Duration, work: impl FnOnce(&Cancel) -> T) -> Result<T, RunError> {
    let cancel = Cancel::new()?;
    let (done, ended) = channel::<()>();
    Ok(std::thread::scope(|scope| {
        let cancel = &cancel;
        scope.spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                cancel.cancel();
            }
        });
        let result = work(cancel);
        drop(done);
        result
    }))
}

/// Runs the session once on made-up inputs; `None` when it takes none of them, which is no fault.
pub fn run_once(session: &mut Session, cancel: &Cancel) -> Option<Warm> {
    let signature = session.signature().clone();
    LENGTHS.into_iter().find_map(|length| {
        let inputs = |values| inputs(&signature, values, &[0], length);
        let mut tries = [Values::Small, Values::Wide].into_iter().filter_map(|values| Some((values, inputs(values)?)));
        tries.find_map(|(values, inputs)| {
            let outputs = session.run(&inputs, cancel).ok().filter(|outputs| !all_empty(outputs))?;
            Some(Warm { length: length.0, outputs, values })
        })
    })
}

/// The inputs without elements that the graph at `path` took: with all dynamic dimensions of 0, the number of rows among them
/// or not. Tried only where no operator can end the process for that.
pub fn without_elements(session: &mut Session, cancel: &Cancel, path: &Path) -> Vec<Vec<Tensor>> {
    let signature = session.signature().clone();
    if signature.inputs.is_empty() || !operators::takes_nothing(path) {
        return Vec::new();
    }
    let rows: [&[usize]; 2] = [&[0], &[]];
    let tried = rows.into_iter().filter_map(|rows| inputs(&signature, Values::Small, rows, (0, MOST_ELEMENTS)));
    tried.filter(|inputs| session.run(inputs, cancel).is_ok()).collect()
}

/// Whether a run of several rows gives each row what it gets alone, and in what words that was found out: only then may
/// rows of different callers share a run.
pub fn rows_are_independent(session: &mut Session, cancel: &Cancel) -> (bool, &'static str) {
    let signature = session.signature().clone();
    if !signature.could_batch() {
        return (false, "graph: not every input and output starts with a dynamic dimension");
    }
    if !signature.has_batch_dimension() {
        return (false, "graph: the first dimensions of its inputs have different names");
    }
    let mut compare =
        |values| LENGTHS.into_iter().find_map(|length| compare(session, cancel, &signature, values, length));
    match [compare(Values::Small), compare(Values::Wide)] {
        [None, None] => (false, "measured: the graph took none of the inputs that were tried"),
        [Some(false), _] | [_, Some(false)] => (false, "measured: rows depend on each other"),
        _ => (true, "measured: rows are independent"),
    }
}

/// What happens to inputs that are too small for a graph's windows and strides.
fn all_empty(outputs: &[Value]) -> bool {
    outputs.iter().all(|output| output.tensor.data().is_empty())
}

/// `None` when the graph takes no such input, or gives nothing for it that could be compared.
fn compare(
    session: &mut Session,
    cancel: &Cancel,
    signature: &Signature,
    values: Values,
    length: (usize, usize),
) -> Option<bool> {
    let together = inputs(signature, values, &ROWS, length)?;
    let mut alone = Vec::with_capacity(ROWS.len());
    for row in ROWS {
        alone.push(session.run(&inputs(signature, values, &[row], length)?, cancel).ok()?);
    }
    if alone.iter().all(|outputs| all_empty(outputs)) {
        return None;
    }
    let Ok(together) = session.run(&together, cancel) else { return Some(false) };
    Some(alone.iter().enumerate().all(|(row, alone)| {
        alone.iter().zip(&together).all(|(alone, together)| {
            together.tensor.shape().first() == Some(&ROWS.len())
                && alone.keys == together.keys
                && together.tensor.rows(row, 1).is_some_and(|row| close(&Value { tensor: row, keys: None }, alone))
        })
    }))
}

/// Four, because three bits are always a palindrome or sorted: a graph that reverses or sorts its rows would go unnoticed.
const ROWS: [usize; LOUDNESS.len()] = [0, 1, 2, 3];

/// What made-up elements are.
#[derive(Debug, Clone, Copy)]
enum Values {
    /// 0 or 1: an index that every table of two entries has. Fractions are 0.1 or 0.8, away from zero, where too many
    /// functions agree.
    Small,
    /// Digits, and fractions on both sides of zero, rows being as loud as [`LOUDNESS`] says: rows may see
    /// each other through the largest value only. A spectrogram that clips 80 dB below its peak, for instance, changes
    /// silence beside a sound. Integers stay small, because they can be sizes, and the product of sizes a lot of memory.
    Wide,
}

/// How large the fractions of each row are.
const LOUDNESS: [f32; 4] = [1.0, 64.0, 0.0, 64.0];

/// Made-up inputs for the given row numbers: a row's elements depend on its number only. `None` when that would be more
/// elements than are worth it.
fn inputs(
    signature: &Signature,
    values: Values,
    rows: &[usize],
    (length, most): (usize, usize),
) -> Option<Vec<Tensor>> {
    let shapes: Vec<_> = signature.inputs.iter().map(|spec| shape(spec, rows.len(), length)).collect();
    let elements = |shape: &Vec<usize>| shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let total = shapes.iter().try_fold(0_usize, |sum, shape| sum.checked_add(elements(shape)?))?;
    let pairs = signature.inputs.iter().zip(shapes);
    let input = |(number, (spec, shape)): (usize, (&TensorSpec, Vec<usize>))| match of_tokens(spec, &shape) {
        Some(tensor) => Some(tensor),
        None => input(spec.datatype, shape, values, number, rows),
    };
    if total > most { None } else { pairs.enumerate().map(input).collect() }
}

fn shape(spec: &TensorSpec, rows: usize, length: usize) -> Vec<usize> {
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { length };
    let mut shape: Vec<usize> = spec.shape.iter().map(size).collect();
    if spec.has_dynamic_rows() {
        shape[0] = rows;
    }
    shape
}

/// What goes with tokens in transformers: every token counts, and all are of the first segment. A row without any token
/// that counts, or of a segment that is not there, says nothing about a model.
fn of_tokens(spec: &TensorSpec, shape: &[usize]) -> Option<Tensor> {
    let value = match Part::by_usual_name(&spec.name)? {
        Part::Mask => 1,
        Part::Types => 0,
        Part::Ids => return None,
    };
    let elements = shape.iter().product();
    match spec.datatype {
        Datatype::Int64 => Tensor::new(shape.to_vec(), Data::Int64(vec![value; elements])),
        Datatype::Int32 => Tensor::new(shape.to_vec(), Data::Int32(vec![i32::from(value == 1); elements])),
        _ => None,
    }
}

fn input(datatype: Datatype, shape: Vec<usize>, values: Values, number: usize, rows: &[usize]) -> Option<Tensor> {
    let elements: usize = shape.iter().product();
    let per_row = elements.checked_div(rows.len()).unwrap_or(0).max(1);
    let row = |index: usize| rows.get(index / per_row).copied().unwrap_or(0);
    let draws = (0..elements).map(|index| (row(index), draw(number, row(index), index % per_row)));
    let integers = draws.clone().map(|(row, draw)| match values {
        Values::Small => draw & 1,
        Values::Wide if LOUDNESS[row] == 0.0 => 0,
        Values::Wide => draw % 10,
    });
    let floats = draws.map(|(row, draw)| match values {
        Values::Small => f32::from(draw & 1).mul_add(0.7, 0.1),
        Values::Wide => (f32::from(draw) / 127.5 - 1.0) * LOUDNESS[row],
    });
    let data = match datatype {
        Datatype::Bool => Data::Bool(integers.map(|value| value % 2 == 1).collect()),
        Datatype::Bytes => Data::Bytes(match values {
            Values::Small => integers.map(|value| format!("row {value}")).collect(),
            // Some graphs make numbers of their texts.
            Values::Wide => integers.map(|value| value.to_string()).collect(),
        }),
        Datatype::Uint8 => Data::Uint8(integers.collect()),
        Datatype::Uint16 => Data::Uint16(integers.map(Into::into).collect()),
        Datatype::Uint32 => Data::Uint32(integers.map(Into::into).collect()),
        Datatype::Uint64 => Data::Uint64(integers.map(Into::into).collect()),
        Datatype::Int8 => Data::Int8(integers.map(u8::cast_signed).collect()),
        Datatype::Int16 => Data::Int16(integers.map(Into::into).collect()),
        Datatype::Int32 => Data::Int32(integers.map(Into::into).collect()),
        Datatype::Int64 => Data::Int64(integers.map(Into::into).collect()),
        Datatype::Fp16 => Data::Fp16(floats.map(half::f16::from_f32).collect()),
        Datatype::Bf16 => Data::Bf16(floats.map(half::bf16::from_f32).collect()),
        Datatype::Fp32 => Data::Fp32(floats.collect()),
        Datatype::Fp64 => Data::Fp64(floats.map(Into::into).collect()),
    };
    Tensor::new(shape, data)
}

/// A byte that looks random, by the last steps of SplitMix64.
fn draw(input: usize, row: usize, column: usize) -> u8 {
    // Of the numbers tried for 64, one that gives the first column what the test below asks for.
    let mut mixed = ((input as u64) << 56 | (row as u64) << 40 | column as u64) ^ 64;
    mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 56) as u8
}

/// Equal but for what reordered sums explain: small beside the number itself, or beside the largest of its neighbours.
fn close(a: &Value, b: &Value) -> bool {
    if a.tensor.shape() != b.tensor.shape() {
        return false;
    }
    match (a.tensor.data(), b.tensor.data()) {
        (Data::Fp32(a), Data::Fp32(b)) => near(a, b, 1e-3),
        (Data::Fp64(a), Data::Fp64(b)) => near(a, b, 1e-6),
        (Data::Fp16(a), Data::Fp16(b)) => near(a, b, 1e-2),
        (Data::Bf16(a), Data::Bf16(b)) => near(a, b, 5e-2),
        (a, b) => a == b,
    }
}

fn near<T: Copy + Into<f64>>(a: &[T], b: &[T], relative: f64) -> bool {
    let numbers = |values: &[T]| values.iter().map(|value| (*value).into()).collect::<Vec<f64>>();
    let (a, b) = (numbers(a), numbers(b));
    let largest = b.iter().map(|b| b.abs()).filter(|b| b.is_finite()).fold(0.0, f64::max);
    a.iter().zip(&b).all(|(a, b)| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= relative.mul_add(b.abs(), relative / 100.0 * largest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of one element, the fewest that there can be, are neither sorted nor a palindrome.
    #[test]
    fn rows_that_are_sorted_reversed_or_summed_up_are_noticed() {
        for values in [Values::Small, Values::Wide] {
            for datatype in [Datatype::Int64, Datatype::Fp64] {
                let column = input(datatype, vec![4], values, 0, &ROWS).unwrap();
                let column: Vec<f64> = match column.data() {
                    Data::Int64(values) => values.iter().map(|value| *value as f64).collect(),
                    Data::Fp64(values) => values.clone(),
                    other => panic!("{other:?}"),
                };
                let reversed: Vec<f64> = column.iter().rev().copied().collect();
                assert_ne!(column, reversed);
                assert!(!column.is_sorted() && !reversed.is_sorted(), "{column:?}");
                assert!(column[..3].iter().any(|value| *value != 0.0), "{column:?}");
            }
        }
    }

    #[test]
    fn no_more_is_made_up_than_a_machine_can_hold() {
        let spec = |shape: &[usize]| TensorSpec {
            name: "x".into(),
            datatype: Datatype::Fp32,
            shape: shape.iter().map(|size| Dim::Fixed(*size)).collect(),
        };
        for shapes in [vec![spec(&[1 << 40])], vec![spec(&[1 << 40, 1 << 40])], vec![spec(&[1 << 23]); 3]] {
            let signature = Signature { inputs: shapes, outputs: Vec::new() };
            assert_eq!(inputs(&signature, Values::Small, &[0], LENGTHS[0]), None);
        }
    }
}
