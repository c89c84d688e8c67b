//! Tensors, items and predictions as bytes, for what is kept in Redis and what goes through it: little-endian numbers of fixed
//! width, exact; every list behind its length. What is read is believed in nothing.

use std::{sync::Arc, time::Duration};

use half::{bf16, f16};

use super::{
    Classes, Data, Datatype, MultiLabel, Prediction, Tensor, Value,
    binary::shape_fault,
    conform::Item,
    prediction::{MAX_EMPTY_LISTS, lists},
    tensor::MAX_DIMENSIONS,
};

const CLASSIFICATION: u8 = 1;
const VALUE: u8 = 2;
const NAMED: u8 = 3;
const MULTI_LABEL: u8 = 4;

/// Lists for each element that a shape is believed, beside those without one.
const MOST_LISTS_PER_ELEMENT: usize = 4;

/// Stable numbers for datatypes: they stand in keys and in stored answers.
pub const fn datatype_code(datatype: Datatype) -> u8 {
    match datatype {
        Datatype::Bool => 1,
        Datatype::Uint8 => 2,
        Datatype::Uint16 => 3,
        Datatype::Uint32 => 4,
        Datatype::Uint64 => 5,
        Datatype::Int8 => 6,
        Datatype::Int16 => 7,
        Datatype::Int32 => 8,
        Datatype::Int64 => 9,
        Datatype::Fp16 => 10,
        Datatype::Bf16 => 11,
        Datatype::Fp32 => 12,
        Datatype::Fp64 => 13,
        Datatype::Bytes => 14,
    }
}

/// Bytes of one element; of a string, those of its length.
pub const fn width(datatype: Datatype) -> usize {
    match datatype {
        Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => 1,
        Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => 2,
        Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 | Datatype::Bytes => 4,
        Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => 8,
    }
}

/// Writes.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Nothing yet, with room for so many bytes.
    pub fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// All that was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Bytes whose number the reader knows.
    pub fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    /// A number.
    pub fn number(&mut self, number: u64) {
        self.put(number.to_le_bytes());
    }

    /// A time, to the nanosecond.
    pub fn duration(&mut self, duration: Duration) {
        self.number(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What is too long for this is too long to be sent; it would not be believed when it is read.
    pub fn length(&mut self, length: usize) {
        self.put(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A list of texts.
    pub fn texts(&mut self, texts: &[String]) {
        self.length(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    /// What is to be predicted.
    pub fn item(&mut self, item: &Item) {
        let Item { tensors, rows, whole, raw, length } = item;
        self.put([u8::from(*whole) | u8::from(*raw) << 1 | u8::from(length.is_some()) << 2]);
        self.length(*rows);
        self.length(length.unwrap_or_default());
        self.length(tensors.len());
        tensors.iter().for_each(|tensor| self.tensor(tensor));
    }

    /// What was predicted.
    pub fn prediction(&mut self, prediction: &Prediction) {
        match prediction {
            Prediction::Classification(classes) => {
                self.put([CLASSIFICATION]);
                self.classes(classes);
            }
            Prediction::MultiLabel(MultiLabel { classes, threshold }) => {
                self.put([MULTI_LABEL]);
                self.put(threshold.to_le_bytes());
                self.classes(classes);
            }
            Prediction::Value(value) => {
                self.put([VALUE]);
                self.value(value);
            }
            Prediction::Named(values) => {
                self.put([NAMED]);
                self.length(values.len());
                for (name, value) in values {
                    self.text(name);
                    self.value(value);
                }
            }
        }
    }

    fn classes(&mut self, classes: &Classes) {
        self.texts(&classes.labels);
        self.length(classes.probabilities.len());
        classes.probabilities.iter().for_each(|probability| self.put(probability.to_le_bytes()));
    }

    fn value(&mut self, value: &Value) {
        self.put([u8::from(value.keys.is_some())]);
        if let Some(keys) = &value.keys {
            self.texts(keys);
        }
        self.tensor(&value.tensor);
    }

    fn tensor(&mut self, tensor: &Tensor) {
        let (shape, data) = (tensor.shape(), tensor.data());
        self.put([datatype_code(data.datatype())]);
        self.length(shape.len());
        shape.iter().for_each(|size| self.length(*size));
        self.0.reserve(tensor.bytes());
        macro_rules! each {
            ($values:expr) => {
                $values.iter().for_each(|value| self.put(value.to_le_bytes()))
            };
        }
        match data {
            Data::Bool(values) => values.iter().for_each(|value| self.put([u8::from(*value)])),
            Data::Uint8(values) => self.0.extend_from_slice(values),
            Data::Uint16(values) => each!(values),
            Data::Uint32(values) => each!(values),
            Data::Uint64(values) => each!(values),
            Data::Int8(values) => each!(values),
            Data::Int16(values) => each!(values),
            Data::Int32(values) => each!(values),
            Data::Int64(values) => each!(values),
            Data::Fp16(values) => each!(values),
            Data::Bf16(values) => each!(values),
            Data::Fp32(values) => each!(values),
            Data::Fp64(values) => each!(values),
            Data::Bytes(values) => values.iter().for_each(|text| self.text(text)),
        }
    }
}

/// Reads. `None` from any of its methods: the bytes are not what a [`Writer`] wrote.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// See [`Writer::item`].
    pub fn item(&mut self) -> Option<Item> {
        let flags = self.byte().filter(|flags| *flags < 8)?;
        let (rows, length) = (self.length()?, self.length()?);
        let (whole, raw, length) = (flags & 1 != 0, flags & 2 != 0, (flags & 4 != 0).then_some(length));
        let count = self.length()?;
        let tensors = (0..count).map(|_| self.tensor()).collect::<Option<_>>()?;
        Some(Item { tensors, rows, whole, raw, length })
    }

    /// See [`Writer::prediction`].
    pub fn prediction(&mut self) -> Option<Prediction> {
        match self.byte()? {
            CLASSIFICATION => self.classes().map(Prediction::Classification),
            MULTI_LABEL => {
                let threshold = f32::from_le_bytes(self.array()?);
                self.classes().map(|classes| Prediction::MultiLabel(MultiLabel { classes, threshold }))
            }
            VALUE => self.value().map(Prediction::Value),
            NAMED => {
                let count = self.length()?;
                let values = (0..count).map(|_| Some((Arc::from(self.text()?), self.value()?)));
                values.collect::<Option<_>>().map(Prediction::Named)
            }
            _ => None,
        }
    }

    fn classes(&mut self) -> Option<Classes> {
        let labels = self.texts()?;
        let count = self.length()?;
        let probabilities = self.elements(count, f32::from_le_bytes)?;
        (labels.len() == count).then(|| Classes { labels: labels.into(), probabilities })
    }

    fn value(&mut self) -> Option<Value> {
        let keys = match self.byte()? {
            0 => None,
            1 => Some(self.texts()?.into()),
            _ => return None,
        };
        let tensor = self.tensor()?;
        let most_lists = tensor.data().len().checked_mul(MOST_LISTS_PER_ELEMENT)?.checked_add(MAX_EMPTY_LISTS)?;
        lists(tensor.shape()).filter(|lists| *lists <= most_lists)?;
        Some(Value { tensor, keys })
    }

    fn tensor(&mut self) -> Option<Tensor> {
        let code = self.byte()?;
        let rank = self.length().filter(|rank| *rank <= MAX_DIMENSIONS)?;
        let shape = (0..rank).map(|_| self.length()).collect::<Option<Vec<_>>>()?;
        let count = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
        // A dimension of 0 does not make the others countable.
        if shape_fault(&shape, usize::MAX).is_some() {
            return None;
        }
        macro_rules! numbers {
            ($datatype:ident, $number:ty) => {
                Data::$datatype(self.elements(count, <$number>::from_le_bytes)?)
            };
        }
        let data = match code {
            1 => Data::Bool(self.take(count)?.iter().map(boolean).collect::<Option<_>>()?),
            2 => Data::Uint8(self.take(count)?.to_vec()),
            3 => numbers!(Uint16, u16),
            4 => numbers!(Uint32, u32),
            5 => numbers!(Uint64, u64),
            6 => numbers!(Int8, i8),
            7 => numbers!(Int16, i16),
            8 => numbers!(Int32, i32),
            9 => numbers!(Int64, i64),
            10 => numbers!(Fp16, f16),
            11 => numbers!(Bf16, bf16),
            12 => numbers!(Fp32, f32),
            13 => numbers!(Fp64, f64),
            14 => Data::Bytes((0..count).map(|_| self.text()).collect::<Option<_>>()?),
            _ => return None,
        };
        Tensor::new(shape, data)
    }

    /// See [`Writer::texts`].
    pub fn texts(&mut self) -> Option<Vec<String>> {
        let count = self.length()?;
        // Collected one by one: memory is taken for what is there, not for what is announced.
        (0..count).map(|_| self.text()).collect()
    }

    /// See [`Writer::text`].
    pub fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn elements<const N: usize, T>(&mut self, count: usize, read: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        let bytes = self.take(count.checked_mul(N)?)?;
        let (chunks, _) = bytes.as_chunks::<N>();
        Some(chunks.iter().map(|chunk| read(*chunk)).collect())
    }

    /// See [`Writer::length`].
    pub fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    /// See [`Writer::number`].
    pub fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// See [`Writer::duration`].
    pub fn duration(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_nanos)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// So many bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

fn boolean(byte: &u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
