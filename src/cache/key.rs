//! What an answer is found by: a hash over the version that computed it and over the typed input.
//!
//! Tensors are hashed, not JSON: spaces, the order of names, and 1 against 1.0 for a float input make no difference.
//! Every part is preceded by its length or its kind, so that no two inputs can be written alike.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::{
    Data, Manifest, ModelId, Signature, TensorSpec,
    conform::Item,
    manifest::{Output, Text, TokenInputs},
    wire::datatype_code,
};

/// Raised whenever this server computes something else from the same files and inputs, or writes keys otherwise.
const SCHEME: u8 = 2;

/// Finds an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// A key from its bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first half of it.
    pub fn half(&self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        half
    }

    /// The hash itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    /// Short: who knows a key and guesses an input can see whether the guess was right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Everything about a version that its answers depend on, hashed once when it is loaded.
#[derive(Clone)]
pub struct Fingerprint(Sha256);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

impl fmt::Display for Fingerprint {
    /// In hexadecimal. Equal for versions whose answers are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.clone().finalize().iter().take(16).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Fingerprint {
    /// `digest` is that of the version's files; `batch_dimension` and `max_batch_size` are what loading found out.
    pub fn new(
        id: &ModelId,
        digest: &str,
        manifest: &Manifest,
        signature: &Signature,
        (batch_dimension, max_batch_size): (bool, Option<usize>),
    ) -> Self {
        // Taken apart by name, so that a new setting cannot be overlooked here.
        let Manifest {
            name: _,
            description: _,
            // It says which inputs there may be, and nothing about the answer to one.
            input: _,
            task,
            provider,
            labels,
            text,
            output,
            batching: _,
            cache: _,
            versions: _,
            execution: _,
            source: _,
            inputs: _,
            outputs: _,
        } = manifest;
        let mut hash = Hasher::default();
        hash.byte(SCHEME);
        hash.text(id.name.as_str());
        hash.text(id.version.as_str());
        hash.text(digest);
        hash.text(format!("{task:?}"));
        hash.text(provider.as_str());
        hash.list(labels, Hasher::text);
        hash.list(text.as_ref(), Hasher::manifest_text);
        hash.output(output);
        hash.list(&signature.inputs, Hasher::spec);
        hash.list(&signature.outputs, Hasher::spec);
        hash.byte(u8::from(batch_dimension));
        hash.list(max_batch_size, Hasher::number);
        Self(hash.0)
    }

    /// The key of one item.
    pub fn key(&self, item: &Item) -> Key {
        let mut hash = Hasher(self.0.clone());
        hash.number(item.rows);
        // Who writes the batch dimension gets it back, and who asks for the graph's own outputs gets those: other answers.
        hash.byte(u8::from(item.whole) | u8::from(item.raw) << 1);
        hash.list(&item.tensors, |hash, tensor| {
            hash.byte(datatype_code(tensor.data().datatype()));
            hash.list(tensor.shape(), |hash, size| hash.number(*size));
            hash.data(tensor.data());
        });
        Key(hash.0.finalize().into())
    }
}

#[derive(Default)]
struct Hasher(Sha256);

impl Hasher {
    fn byte(&mut self, byte: u8) {
        self.0.update([byte]);
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }

    fn text(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref().as_bytes();
        self.number(text.len());
        self.0.update(text);
    }

    fn list<T, L: IntoIterator<Item = T, IntoIter: Clone>>(&mut self, list: L, mut one: impl FnMut(&mut Self, T)) {
        let list = list.into_iter();
        self.number(list.clone().count());
        list.for_each(|item| one(self, item));
    }

    fn manifest_text(&mut self, Text { input, tokenizer, max_tokens, inputs, lowercase }: &Text) {
        let TokenInputs { input_ids, attention_mask, token_type_ids } = inputs;
        for name in [input, tokenizer, input_ids, attention_mask, token_type_ids] {
            self.list(name.as_ref(), Self::text);
        }
        self.list(*max_tokens, Self::number);
        self.byte(u8::from(*lowercase));
    }

    fn output(&mut self, Output { name, activation, threshold, pooling, normalize }: &Output) {
        self.list(name.as_ref(), Self::text);
        self.text(format!("{activation:?}"));
        self.list(*threshold, |hash, threshold| hash.0.update(threshold.to_le_bytes()));
        self.text(format!("{pooling:?}"));
        self.byte(u8::from(*normalize));
    }

    fn spec(&mut self, spec: &TensorSpec) {
        self.text(&*spec.name);
        self.byte(datatype_code(spec.datatype));
        self.list(&spec.shape, |hash, dim| hash.0.update(dim.as_i64().to_le_bytes()));
    }

    fn data(&mut self, data: &Data) {
        self.number(data.len());
        macro_rules! bits {
            ($values:expr) => {
                self.bits($values.iter().map(|value| value.to_le_bytes()))
            };
        }
        match data {
            Data::Bool(values) => self.bits(values.iter().map(|value| [u8::from(*value)])),
            Data::Uint8(values) => self.0.update(values),
            Data::Uint16(values) => bits!(values),
            Data::Uint32(values) => bits!(values),
            Data::Uint64(values) => bits!(values),
            Data::Int8(values) => bits!(values),
            Data::Int16(values) => bits!(values),
            Data::Int32(values) => bits!(values),
            Data::Int64(values) => bits!(values),
            Data::Fp16(values) => bits!(values),
            Data::Bf16(values) => bits!(values),
            Data::Fp32(values) => bits!(values),
            Data::Fp64(values) => bits!(values),
            Data::Bytes(values) => values.iter().for_each(|value| self.text(value)),
        }
    }

    /// In pieces: a call per number would cost more than the hashing.
    fn bits<const N: usize>(&mut self, values: impl Iterator<Item = [u8; N]>) {
        let mut piece = [0_u8; 1024];
        let mut filled = 0;
        for value in values {
            if filled + N > piece.len() {
                self.0.update(&piece[..filled]);
                filled = 0;
            }
            piece[filled..filled + N].copy_from_slice(&value);
            filled += N;
        }
        self.0.update(&piece[..filled]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::{Datatype, Dim, ModelName, Tensor, Version};

    fn id(name: &str, version: &str) -> ModelId {
        ModelId { name: ModelName::parse(name).unwrap(), version: Version::parse(version).unwrap() }
    }

    fn signature() -> Signature {
        let spec = TensorSpec { name: "x".into(), datatype: Datatype::Fp32, shape: vec![Dim::Dynamic(None)] };
        Signature { inputs: vec![spec.clone()], outputs: vec![spec] }
    }

    fn item(shape: &[usize], data: Data) -> Item {
        let tensors = vec![Tensor::new(shape.to_vec(), data).unwrap()];
        Item { tensors, rows: 1, whole: false, raw: false, length: None }
    }

    #[test]
    fn everything_that_changes_an_answer_changes_the_key() {
        let manifest = |text: &str| Manifest::parse(text).unwrap();
        let classifier = "task = \"classification\"\nlabels = [\"a\", \"b\"]\n";
        let manifests = [
            "",
            "task = \"regression\"",
            "task = \"embedding\"",
            classifier,
            "task = \"classification\"\nlabels = [\"b\", \"a\"]",
            "task = \"classification\"\nlabels = [\"ab\"]",
            &format!("{classifier}output.activation = \"softmax\""),
            "output.name = \"x\"",
            "text.input = \"x\"",
            "text = { input = \"x\", lowercase = true }",
            "text.tokenizer = \"x\"",
            "text = { tokenizer = \"x\", max_tokens = 8 }",
            "text = { tokenizer = \"x\", inputs.input_ids = \"x\" }",
            "text = { tokenizer = \"x\", inputs.token_type_ids = \"x\" }",
            "task = \"embedding\"\noutput.pooling = \"cls\"",
            "task = \"embedding\"\noutput.pooling = \"mean\"",
            "task = \"embedding\"\noutput.normalize = true",
            &format!("{classifier}output.activation = \"sigmoid\""),
            &format!("{classifier}output = {{ activation = \"sigmoid\", threshold = 0.7 }}"),
        ];
        let item = item(&[2], Data::Fp32(vec![1.0, 2.0]));
        let mut keys = HashSet::new();
        let mut expected = 0;
        let mut other_output = signature();
        other_output.outputs[0].name = "y".into();
        for (id, digest) in [(id("m", "1"), "d"), (id("m", "2"), "d"), (id("n", "1"), "d"), (id("m", "1"), "e")] {
            for text in manifests {
                for (signature, batching) in [
                    (signature(), (true, Some(64))),
                    (signature(), (true, None)),
                    (signature(), (false, None)),
                    (other_output.clone(), (true, Some(64))),
                ] {
                    keys.insert(Fingerprint::new(&id, digest, &manifest(text), &signature, batching).key(&item));
                    expected += 1;
                }
            }
        }
        assert_eq!(keys.len(), expected);
    }

    #[test]
    fn what_changes_no_answer_leaves_the_key() {
        let key = |text: &str| {
            let manifest = Manifest::parse(text).unwrap();
            let fingerprint = Fingerprint::new(&id("m", "1"), "d", &manifest, &signature(), (true, None));
            fingerprint.key(&item(&[1], Data::Fp32(vec![1.0])))
        };
        assert_eq!(key(""), key("description = \"other words\"\nexecution.instances = 2\nversions.default = \"1\""));
    }

    #[test]
    fn no_two_inputs_share_a_key() {
        let texts = |texts: &[&str]| Data::Bytes(texts.iter().map(|text| (*text).to_owned()).collect());
        let mut items = vec![
            item(&[2], Data::Fp32(vec![1.0, 2.0])),
            item(&[2, 1], Data::Fp32(vec![1.0, 2.0])),
            item(&[1, 2], Data::Fp32(vec![1.0, 2.0])),
            item(&[2], Data::Fp32(vec![2.0, 1.0])),
            item(&[2], Data::Fp64(vec![1.0, 2.0])),
            item(&[2], Data::Int64(vec![1, 2])),
            item(&[2], Data::Uint64(vec![1, 2])),
            item(&[0], Data::Fp32(vec![])),
            item(&[0, 3], Data::Fp32(vec![])),
            item(&[1], Data::Bool(vec![true])),
            item(&[1], Data::Uint8(vec![1])),
            item(&[1], Data::Int8(vec![1])),
            item(&[2], texts(&["ab", ""])),
            item(&[2], texts(&["a", "b"])),
            item(&[2], texts(&["", "ab"])),
            item(&[1], texts(&["ab"])),
        ];
        items.push(Item { whole: true, ..items[0].clone() });
        items.extend([false, true].map(|whole| Item { whole, raw: true, ..items[0].clone() }));
        items.push(Item { rows: 2, ..items[0].clone() });
        let twice = Item { tensors: [items[0].tensors.clone(), items[0].tensors.clone()].concat(), ..items[0].clone() };
        items.push(twice);
        let fingerprint = Fingerprint::new(&id("m", "1"), "d", &Manifest::default(), &signature(), (true, None));
        let keys: HashSet<Key> = items.iter().map(|item| fingerprint.key(item)).collect();
        assert_eq!(keys.len(), items.len());
    }

    #[test]
    fn long_inputs_are_hashed_to_their_last_element() {
        let fingerprint = Fingerprint::new(&id("m", "1"), "d", &Manifest::default(), &signature(), (true, None));
        let keys: HashSet<Key> = (0..1000)
            .map(|at| {
                let mut values = vec![0_u32; 1000];
                values[at] = 1;
                fingerprint.key(&item(&[1000], Data::Uint32(values)))
            })
            .collect();
        assert_eq!(keys.len(), 1000);
    }
}
