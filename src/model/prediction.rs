//! What a model answers, and its JSON form.

use std::sync::Arc;

use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap, SerializeSeq},
};

use super::tensor::{Data, Tensor};

/// A shape costs no bytes, however large it is, where it holds nothing. As JSON it is lists in lists: at most this many of
/// them are written without an element.
pub(super) const MAX_EMPTY_LISTS: usize = 4096;

/// The answer to one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// `{"label", "confidence", "probabilities": {label: probability}}`
    Classification(Classes),
    /// `{"labels": [those that are named], "probabilities": {label: probability}}`: labels that do not exclude each other.
    MultiLabel(MultiLabel),
    /// A number or a (nested) list: the one output of a regression, an embedding or a tensor model.
    Value(Value),
    /// An object of named values: a model with several outputs.
    Named(Vec<(Arc<str>, Value)>),
}

impl Prediction {
    /// How many numbers and strings it holds.
    pub fn elements(&self) -> usize {
        match self {
            Self::Classification(classes) | Self::MultiLabel(MultiLabel { classes, .. }) => classes.probabilities.len(),
            Self::Value(value) => value.tensor.data().len(),
            Self::Named(values) => values.iter().map(|(_, value)| value.tensor.data().len()).sum(),
        }
    }
}

impl Prediction {
    /// The shape that has no form as JSON, if there is one: more lists than `MAX_EMPTY_LISTS` and nothing in them.
    pub fn endless_shape(&self) -> Option<&[usize]> {
        let endless = |value: &Value| !has_few_lists(value.tensor.shape(), value.tensor.data().len());
        match self {
            Self::Classification(_) | Self::MultiLabel(_) => None,
            Self::Value(value) => endless(value).then(|| value.tensor.shape()),
            Self::Named(values) => {
                values.iter().find(|(_, value)| endless(value)).map(|(_, value)| value.tensor.shape())
            }
        }
    }

    /// Whether it holds no NaN and no infinity, which JSON has no word for.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Classification(classes) | Self::MultiLabel(MultiLabel { classes, .. }) => {
                classes.probabilities.iter().all(|p| p.is_finite())
            }
            Self::Value(value) => value.is_finite(),
            Self::Named(values) => values.iter().all(|(_, value)| value.is_finite()),
        }
    }
}

impl Value {
    fn is_finite(&self) -> bool {
        match self.tensor.data() {
            Data::Fp16(values) => all(values, |value| value.is_finite()),
            Data::Bf16(values) => all(values, |value| value.is_finite()),
            Data::Fp32(values) => all(values, |value| value.is_finite()),
            Data::Fp64(values) => all(values, |value| value.is_finite()),
            _ => true,
        }
    }
}

/// Looks at blocks without a way out of them, which the compiler makes into few instructions.
fn all<T: Copy>(values: &[T], is: impl Fn(T) -> bool) -> bool {
    values.chunks(256).all(|block| block.iter().fold(true, |all, value| all & is(*value)))
}

/// Probabilities of declared labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes {
    /// All labels, in the order of the probabilities.
    pub labels: Arc<[String]>,
    /// One per label.
    pub probabilities: Vec<f32>,
}

impl Classes {
    /// The most probable label and its probability. The first of equals; NaN is never the most probable.
    pub fn best(&self) -> Option<(&str, f32)> {
        let (class, probability) = self.most_probable()?;
        Some((self.labels.get(class)?, probability))
    }

    /// The same with the label's place among the labels.
    pub fn most_probable(&self) -> Option<(usize, f32)> {
        let pairs = self.probabilities.iter().copied().enumerate().take(self.labels.len());
        pairs.filter(|(_, p)| !p.is_nan()).reduce(|best, next| if next.1 > best.1 { next } else { best })
    }
}

/// Probabilities of labels that do not exclude each other.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabel {
    /// Every label with a probability of its own.
    pub classes: Classes,
    /// The least probability of a label that is named.
    pub threshold: f32,
}

impl MultiLabel {
    /// The labels that reach the threshold, in the order of the manifest.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.named_classes().filter_map(|class| self.classes.labels.get(class)).map(String::as_str)
    }

    /// Their places among all labels.
    pub fn named_classes(&self) -> impl Iterator<Item = usize> {
        let probabilities = self.classes.probabilities.iter().enumerate();
        probabilities.filter(|(_, p)| **p >= self.threshold).map(|(class, _)| class)
    }
}

/// One output tensor. `keys` names the entries of its last dimension: ONNX's map outputs arrive so.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The elements.
    pub tensor: Tensor,
    /// Names for the last dimension, when the graph gives them.
    pub keys: Option<Arc<[String]>>,
}

impl Serialize for Prediction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Classification(classes) => classes.serialize(serializer),
            Self::MultiLabel(labels) => labels.serialize(serializer),
            Self::Value(value) => value.serialize(serializer),
            Self::Named(values) => serializer.collect_map(values.iter().map(|(name, value)| (name.as_ref(), value))),
        }
    }
}

impl Serialize for Classes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let best = self.best();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("label", &best.map(|(label, _)| label))?;
        map.serialize_entry("confidence", &best.map(|(_, confidence)| confidence))?;
        map.serialize_entry("probabilities", &Keyed { keys: &self.labels, values: &self.probabilities })?;
        map.end()
    }
}

impl Serialize for MultiLabel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Classes { labels, probabilities } = &self.classes;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("labels", &self.named().collect::<Vec<_>>())?;
        map.serialize_entry("probabilities", &Keyed { keys: labels, values: probabilities })?;
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (shape, keys) = (self.tensor.shape(), self.keys.as_deref());
        macro_rules! block {
            ($($plain:ident)* | $($half:ident)*) => {
                match self.tensor.data() {
                    $(Data::$plain(values) => Block { shape, keys, values }.serialize(serializer),)*
                    // serde has no 16-bit floats; FP32 holds each of them exactly.
                    $(Data::$half(values) => {
                        let values: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
                        Block { shape, keys, values: &values }.serialize(serializer)
                    })*
                }
            };
        }
        block!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64 Bytes | Fp16 Bf16)
    }
}

/// Whether a tensor of this shape is not many more lists than elements.
fn has_few_lists(shape: &[usize], elements: usize) -> bool {
    elements > 0 || lists(shape).is_some_and(|lists| lists <= MAX_EMPTY_LISTS)
}

/// How many lists a tensor of this shape is as JSON: one, and for each dimension but the last one per element so far.
pub(super) fn lists(shape: &[usize]) -> Option<usize> {
    let mut lists = 1_usize;
    let mut product = 1_usize;
    for size in shape.split_last().map_or(&[][..], |(_, outer)| outer) {
        product = product.checked_mul(*size)?;
        lists = lists.checked_add(product)?;
    }
    Some(lists)
}

/// `values` as lists nested like `shape`. NaN and infinity become `null`, as JSON has no word for them.
pub(super) struct Block<'a, T> {
    pub shape: &'a [usize],
    pub keys: Option<&'a [String]>,
    pub values: &'a [T],
}

impl<T: Serialize> Serialize for Block<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !has_few_lists(self.shape, self.values.len()) {
            return Err(S::Error::custom("its shape is too many lists of nothing"));
        }
        match (self.shape, self.keys) {
            ([], _) => self.values.first().serialize(serializer),
            ([_], Some(keys)) => Keyed { keys, values: self.values }.serialize(serializer),
            ([_], None) => self.values.serialize(serializer),
            ([rows, shape @ ..], keys) => {
                let row = self.values.len().checked_div(*rows).unwrap_or(0);
                let mut list = serializer.serialize_seq(Some(*rows))?;
                for index in 0..*rows {
                    let values = &self.values[index * row..(index + 1) * row];
                    list.serialize_element(&Block { shape, keys, values })?;
                }
                list.end()
            }
        }
    }
}

struct Keyed<'a, T> {
    keys: &'a [String],
    values: &'a [T],
}

impl<T: Serialize> Serialize for Keyed<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.keys.iter().zip(self.values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(shape: &[usize], data: Data) -> Value {
        Value { tensor: Tensor::new(shape.to_vec(), data).unwrap(), keys: None }
    }

    #[test]
    fn tensors_become_lists_nested_like_their_shape() {
        let cases = [
            (value(&[], Data::Int64(vec![7])), json!(7)),
            (value(&[2, 1], Data::Bool(vec![true, false])), json!([[true], [false]])),
            (value(&[2, 0], Data::Fp32(vec![])), json!([[], []])),
            (value(&[0, 2], Data::Fp32(vec![])), json!([])),
            (value(&[2], Data::Fp32(vec![f32::NAN, f32::INFINITY])), json!([null, null])),
            (value(&[1], Data::Fp16(vec![half::f16::from_f32(0.5)])), json!([0.5])),
            (value(&[1, 2], Data::Bytes(vec!["a".into(), "\"\n".into()])), json!([["a", "\"\n"]])),
        ];
        for (value, expected) in cases {
            assert_eq!(serde_json::to_value(&value).unwrap(), expected);
        }
    }

    #[test]
    fn a_shape_without_elements_is_written_as_far_as_its_lists_are_few() {
        for shape in [&[4000, 0][..], &[1, 0, 1 << 40], &[0, 1 << 40]] {
            let value = value(shape, Data::Fp32(vec![]));
            assert!(serde_json::to_string(&value).is_ok() && Prediction::Value(value).endless_shape().is_none());
        }
        for shape in [&[1, 3, 1 << 31, 0][..], &[5000, 0], &[1 << 40, 1 << 20, 0]] {
            let value = value(shape, Data::Fp32(vec![]));
            assert!(serde_json::to_string(&value).is_err(), "{shape:?}");
            let named = Prediction::Named(vec![("y".into(), value)]);
            assert_eq!(named.endless_shape(), Some(shape));
        }
    }

    #[test]
    fn numbers_keep_their_own_precision() {
        let text = serde_json::to_string(&value(&[1], Data::Fp32(vec![0.1]))).unwrap();
        assert_eq!(text, "[0.1]");
    }

    #[test]
    fn the_label_is_the_most_probable_one() {
        let labels: Arc<[String]> = ["a".to_owned(), "b".to_owned()].into();
        let classes =
            |probabilities| Prediction::Classification(Classes { labels: Arc::clone(&labels), probabilities });
        let expected = json!({"label": "b", "confidence": 0.75, "probabilities": {"a": 0.25, "b": 0.75}});
        assert_eq!(serde_json::to_value(classes(vec![0.25, 0.75])).unwrap(), expected);
        let broken = json!({"label": null, "confidence": null, "probabilities": {"a": null, "b": null}});
        assert_eq!(serde_json::to_value(classes(vec![f32::NAN, f32::NAN])).unwrap(), broken);
    }

    #[test]
    fn all_labels_that_reach_the_threshold_are_named() {
        let labels: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        let classes = Classes { labels, probabilities: vec![0.5, f32::NAN, 0.25] };
        let json = |threshold| {
            serde_json::to_value(Prediction::MultiLabel(MultiLabel { classes: classes.clone(), threshold })).unwrap()
        };
        let probabilities = json!({"a": 0.5, "b": null, "c": 0.25});
        for (threshold, named) in [(0.2, json!(["a", "c"])), (0.5, json!(["a"])), (0.6, json!([]))] {
            assert_eq!(json(threshold), json!({"labels": named, "probabilities": probabilities}));
        }
    }
}
