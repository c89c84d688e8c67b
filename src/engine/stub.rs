//! The provider `stub`: deterministic answers from the input's hash, for people who build clients.
//!
//! Equal inputs give equal answers on every machine and in every version, alone or in a batch. A row's seed is SHA-256
//! over "DATATYPE dims " and the little-endian elements of each input (strings with their length in 8 bytes before them);
//! element `i` of output `name` is drawn from the first 4 bytes of SHA-256 over seed, name and `i` in 8 bytes.

use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::model::{Data, Datatype, Dim, Manifest, Signature, Task, Tensor, TensorSpec, Value};

/// Answers in the shape that its manifest declares.
#[derive(Debug)]
pub struct Stub {
    outputs: Vec<TensorSpec>,
    task: Task,
}

impl Stub {
    /// What the manifest declares.
    pub fn signature(manifest: &Manifest) -> Signature {
        Signature {
            inputs: manifest.inputs.iter().map(TensorSpec::from).collect(),
            outputs: manifest.outputs.iter().map(TensorSpec::from).collect(),
        }
    }

    /// A stub that gives the outputs of `signature`.
    pub fn new(task: Task, signature: &Signature) -> Self {
        Self { outputs: signature.outputs.clone(), task }
    }

    /// One row of outputs per row of the inputs. Dynamic dimensions other than the first have length 1.
    pub fn run(&self, inputs: &[Tensor]) -> Vec<Value> {
        let rows = inputs.first().and_then(|tensor| tensor.shape().first().copied()).unwrap_or(1);
        let seeds: Vec<[u8; 32]> = (0..rows).map(|row| seed(inputs, row)).collect();
        self.outputs.iter().filter_map(|spec| self.output(spec, &seeds)).collect()
    }

    fn output(&self, spec: &TensorSpec, seeds: &[[u8; 32]]) -> Option<Value> {
        let batched = spec.has_dynamic_rows();
        let (rows, rest) = if batched { (seeds.len(), &spec.shape[1..]) } else { (1, &spec.shape[..]) };
        let rest: Vec<usize> = rest.iter().map(|dim| if let Dim::Fixed(size) = dim { *size } else { 1 }).collect();
        let width: usize = rest.iter().product();
        let draws = seeds.iter().take(rows).flat_map(|seed| {
            let mut row: Vec<f64> = (0..width).map(|index| draw(seed, &spec.name, index)).collect();
            self.normalise(&mut row);
            row
        });
        let shape = if batched { [vec![rows], rest].concat() } else { rest };
        Some(Value { tensor: Tensor::new(shape, data(spec.datatype, draws))?, keys: None })
    }

    /// Makes a row what the task promises: probabilities sum to 1, embeddings have length 1.
    fn normalise(&self, row: &mut [f64]) {
        let by = match self.task {
            Task::Classification => row.iter().sum(),
            Task::Embedding => row.iter().map(|value| value * value).sum::<f64>().sqrt(),
            Task::Regression | Task::Tensor => return,
        };
        row.iter_mut().for_each(|value| *value /= by);
    }
}

/// A hash over what one row of the inputs means: datatype, shape without the batch, elements.
fn seed(inputs: &[Tensor], row: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    for tensor in inputs {
        let alone = tensor.rows(row, 1);
        let tensor = alone.as_ref().unwrap_or(tensor);
        let dims: Vec<String> = tensor.shape().iter().skip(1).map(ToString::to_string).collect();
        hash.update(format!("{} {} ", tensor.data().datatype(), dims.join(",")));
        macro_rules! update {
            ($($number:ident)*) => {
                match tensor.data() {
                    $(Data::$number(values) => values.iter().for_each(|value| hash.update(value.to_le_bytes())),)*
                    Data::Bool(values) => values.iter().for_each(|value| hash.update([u8::from(*value)])),
                    Data::Bytes(values) => values.iter().for_each(|value| {
                        hash.update((value.len() as u64).to_le_bytes());
                        hash.update(value);
                    }),
                }
            };
        }
        update!(Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64);
    }
    hash.finalize().into()
}

/// A number in (0, 1] for one element of one output.
fn draw(seed: &[u8; 32], output: &str, index: usize) -> f64 {
    let digest =
        Sha256::new().chain_update(seed).chain_update(output).chain_update((index as u64).to_le_bytes()).finalize();
    let bits = digest.iter().take(4).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    (f64::from(bits) + 1.0) / 4_294_967_296.0
}

/// Draws as elements: fractions for floats, 0 to 99 for integers, words for strings.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "draws are in (0, 1]")]
fn data(datatype: Datatype, draws: impl Iterator<Item = f64>) -> Data {
    let whole = |draw: f64| ((draw * 100.0) as u8).min(99);
    match datatype {
        Datatype::Bool => Data::Bool(draws.map(|draw| draw > 0.5).collect()),
        Datatype::Bytes => Data::Bytes(draws.map(|draw| format!("stub-{}", whole(draw))).collect()),
        Datatype::Uint8 => Data::Uint8(draws.map(whole).collect()),
        Datatype::Uint16 => Data::Uint16(draws.map(|draw| whole(draw).into()).collect()),
        Datatype::Uint32 => Data::Uint32(draws.map(|draw| whole(draw).into()).collect()),
        Datatype::Uint64 => Data::Uint64(draws.map(|draw| whole(draw).into()).collect()),
        Datatype::Int8 => Data::Int8(draws.map(|draw| whole(draw) as i8).collect()),
        Datatype::Int16 => Data::Int16(draws.map(|draw| whole(draw).into()).collect()),
        Datatype::Int32 => Data::Int32(draws.map(|draw| whole(draw).into()).collect()),
        Datatype::Int64 => Data::Int64(draws.map(|draw| whole(draw).into()).collect()),
        Datatype::Fp16 => Data::Fp16(draws.map(f16::from_f64).collect()),
        Datatype::Bf16 => Data::Bf16(draws.map(bf16::from_f64).collect()),
        Datatype::Fp32 => Data::Fp32(draws.map(|draw| draw as f32).collect()),
        Datatype::Fp64 => Data::Fp64(draws.collect()),
    }
}
