//! What the answers of a version look like, as far as its manifest and its graph say. What is read from a place that others
//! write to is held against it.

use std::sync::Arc;

use crate::model::{
    Activation, Classes, Dim, Manifest, MultiLabel, Pooling, Prediction, Signature, Task, TensorSpec, Value,
};

/// What the answers of a version look like.
#[derive(Debug)]
pub struct Form {
    kind: Kind,
    /// Whether an answer may leave out the first declared dimension.
    batch_dimension: bool,
}

#[derive(Debug)]
enum Kind {
    Classification {
        /// None when only the graph names the classes, and it was not run yet.
        labels: Option<Arc<[String]>>,
        activation: Activation,
        /// Whether labels do not exclude each other; none when that depends on how many numbers the graph gives.
        multi_label: Option<bool>,
        threshold: f32,
    },
    Value(Output),
    Named(Vec<Output>),
}

#[derive(Debug)]
struct Output {
    spec: TensorSpec,
    /// What names the entries of its last dimension, as a first run showed.
    keys: Option<Arc<[String]>>,
    /// Whether there was a first run.
    ran: bool,
}

impl Form {
    /// `batch_dimension` is what loading found out; `first_run` what came out then, nothing when nothing was run.
    pub fn new(manifest: &Manifest, signature: &Signature, batch_dimension: bool, first_run: &[Value]) -> Self {
        let answered = |spec| of_answers(spec, manifest);
        let mut outputs: Vec<Output> =
            signature.outputs.iter().map(answered).enumerate().map(output(first_run)).collect();
        let kind = match outputs.pop() {
            Some(only) if outputs.is_empty() && manifest.task == Task::Classification => Kind::Classification {
                labels: if manifest.labels.is_empty() { only.keys } else { Some(manifest.labels.clone().into()) },
                activation: manifest.output.activation,
                multi_label: multi_label(manifest, &only.spec),
                threshold: manifest.output.least_probability(),
            },
            Some(only) if outputs.is_empty() => Kind::Value(only),
            last => {
                outputs.extend(last);
                Kind::Named(outputs)
            }
        };
        Self { kind, batch_dimension }
    }

    /// The same where all outputs are wanted as `interface` declares them.
    pub fn of_tensors(interface: &Signature, first_run: &[Value]) -> Self {
        let outputs = interface.outputs.iter().cloned().enumerate().map(output(first_run));
        Self { kind: Kind::Named(outputs.collect()), batch_dimension: false }
    }

    /// Whether the version could have given this answer.
    pub fn admits(&self, prediction: &Prediction) -> bool {
        match (&self.kind, prediction) {
            (Kind::Classification { labels, activation, multi_label, .. }, Prediction::Classification(classes)) => {
                *multi_label != Some(true) && named(labels.as_ref(), classes) && in_range(*activation, classes)
            }
            (
                Kind::Classification { labels, activation, multi_label, threshold },
                Prediction::MultiLabel(MultiLabel { classes, threshold: used }),
            ) => {
                let possible = *multi_label != Some(false) && used == threshold;
                possible && named(labels.as_ref(), classes) && in_range(*activation, classes)
            }
            (Kind::Value(output), Prediction::Value(value)) => self.fits(output, value),
            (Kind::Named(outputs), Prediction::Named(values)) => {
                let fits = |(output, (name, value)): (&Output, &(Arc<str>, Value))| {
                    output.spec.name == *name && self.fits(output, value)
                };
                outputs.len() == values.len() && outputs.iter().zip(values).all(fits)
            }
            _ => false,
        }
    }

    fn fits(&self, output: &Output, value: &Value) -> bool {
        let (shape, declared) = (value.tensor.shape(), &output.spec.shape[..]);
        let admits =
            |dims: &[Dim]| dims.len() == shape.len() && dims.iter().zip(shape).all(|(dim, size)| dim.admits(*size));
        // Without declared dimensions, the graph leaves even their number open.
        let shaped = match declared {
            [] => true,
            [_, rest @ ..] => admits(declared) || (self.batch_dimension && admits(rest)),
        };
        let keyed = value.keys.as_ref().is_none_or(|keys| shape.last() == Some(&keys.len()));
        let known = !output.ran || output.keys == value.keys;
        value.tensor.data().datatype() == output.spec.datatype && shaped && keyed && known
    }
}

fn output(first_run: &[Value]) -> impl Fn((usize, TensorSpec)) -> Output {
    |(index, spec)| {
        let first = first_run.get(index);
        Output { spec, keys: first.and_then(|value| value.keys.clone()), ran: first.is_some() }
    }
}

/// What is answered of an output `[batch, sequence, …]` to a text: one vector, or as many as it has tokens, however many
/// the graph gives.
fn of_answers(spec: &TensorSpec, manifest: &Manifest) -> TensorSpec {
    let mut spec = spec.clone();
    let tokens = manifest.text.as_ref().is_some_and(|text| text.tokenizer.is_some());
    if spec.shape.len() >= 3 && manifest.output.pooling != Pooling::None {
        spec.shape.remove(1);
    } else if spec.shape.len() >= 3 && tokens {
        spec.shape[1] = Dim::Dynamic(None);
    }
    spec
}

fn multi_label(manifest: &Manifest, spec: &TensorSpec) -> Option<bool> {
    match (manifest.output.activation, spec.shape.last()) {
        (activation @ Activation::Sigmoid, Some(Dim::Fixed(logits))) => {
            Some(activation.is_multi_label(*logits, manifest.labels.len()))
        }
        (Activation::Sigmoid, _) => None,
        _ => Some(false),
    }
}

fn named(labels: Option<&Arc<[String]>>, classes: &Classes) -> bool {
    !classes.labels.is_empty() && labels.is_none_or(|labels| *labels == classes.labels)
}

/// What an activation makes lies between 0 and 1; NaN comes of NaN. Without one, the graph's numbers stand as they are.
fn in_range(activation: Activation, classes: &Classes) -> bool {
    let possible = |p: &f32| p.is_nan() || (0.0..=1.0).contains(p);
    activation == Activation::None || classes.probabilities.iter().all(possible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Data, Datatype, Tensor};

    fn form(manifest: &str, outputs: &[(&str, &[i64])], first_run: &[Value]) -> Form {
        let dim = |size: &i64| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed);
        let spec = |(name, shape): &(&str, &[i64])| TensorSpec {
            name: (*name).into(),
            datatype: Datatype::Fp32,
            shape: shape.iter().map(dim).collect(),
        };
        let signature = Signature { inputs: vec![], outputs: outputs.iter().map(spec).collect() };
        Form::new(&Manifest::parse(manifest).unwrap(), &signature, true, first_run)
    }

    fn value(shape: &[usize]) -> Value {
        let count = shape.iter().product();
        Value { tensor: Tensor::new(shape.to_vec(), Data::Fp32(vec![0.5; count])).unwrap(), keys: None }
    }

    fn names(names: &[&str]) -> Arc<[String]> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn classes(labels: &[&str], probabilities: &[f32]) -> Prediction {
        Prediction::Classification(Classes { labels: names(labels), probabilities: probabilities.to_vec() })
    }

    #[test]
    fn a_classifier_gives_its_labels_and_nothing_else() {
        let manifest = "task = \"classification\"\nlabels = [\"a\", \"b\"]";
        let plain = form(manifest, &[("p", &[-1, 2])], &[]);
        assert!(plain.admits(&classes(&["a", "b"], &[7.5, -1.0])));
        let softmax = form(&format!("{manifest}\noutput.activation = \"softmax\""), &[("p", &[-1, 2])], &[]);
        assert!(softmax.admits(&classes(&["a", "b"], &[1.0, f32::NAN])));
        assert!(!softmax.admits(&classes(&["a", "b"], &[1.5, 0.0])));
        for other in [
            classes(&["b", "a"], &[0.5, 0.5]),
            classes(&["a"], &[1.0]),
            classes(&[], &[]),
            Prediction::Value(value(&[2])),
            Prediction::Named(vec![("p".into(), value(&[2]))]),
        ] {
            assert!(!plain.admits(&other), "{other:?}");
        }
    }

    #[test]
    fn labels_exclude_each_other_or_not_as_the_graph_has_logits() {
        let manifest = "task = \"classification\"\nlabels = [\"a\", \"b\"]\n\
                        output = { activation = \"sigmoid\", threshold = 0.25 }";
        let (excluding, Prediction::Classification(inner)) =
            (classes(&["a", "b"], &[0.5; 2]), classes(&["a", "b"], &[0.5; 2]))
        else {
            panic!()
        };
        let own = |threshold| Prediction::MultiLabel(MultiLabel { classes: inner.clone(), threshold });
        for (logits, one, several) in [(1, true, false), (2, false, true), (-1, true, true)] {
            let form = form(manifest, &[("p", &[-1, logits])], &[]);
            assert_eq!((form.admits(&excluding), form.admits(&own(0.25))), (one, several), "{logits}");
            assert!(!form.admits(&own(0.5)));
        }
        let plain = form("task = \"classification\"\nlabels = [\"a\", \"b\"]", &[("p", &[-1, 2])], &[]);
        assert!(!plain.admits(&own(0.5)));
    }

    #[test]
    fn a_pooled_output_has_no_sequence_and_another_one_is_as_long_as_its_text() {
        let shape: &[i64] = &[-1, 128, 3];
        let pooled = form("task = \"embedding\"\noutput.pooling = \"mean\"", &[("y", shape)], &[]);
        assert!(
            pooled.admits(&Prediction::Value(value(&[3]))) && !pooled.admits(&Prediction::Value(value(&[1, 128, 3])))
        );
        let tokens = form("text.tokenizer = \"t\"\ntask = \"embedding\"", &[("y", shape)], &[]);
        assert!(
            tokens.admits(&Prediction::Value(value(&[5, 3]))) && !tokens.admits(&Prediction::Value(value(&[5, 4])))
        );
    }

    #[test]
    fn a_graph_that_names_its_classes_gives_these() {
        let keyed = Value { keys: Some(names(&["x", "y"])), ..value(&[1, 2]) };
        let form = form("task = \"classification\"", &[("p", &[-1, -1])], &[keyed]);
        assert!(form.admits(&classes(&["x", "y"], &[0.5, 0.5])));
        assert!(!form.admits(&classes(&["x", "z"], &[0.5, 0.5])));
    }

    #[test]
    fn a_tensor_has_its_declared_rank_dimensions_datatype_and_keys() {
        let form = |shape: &[i64], first_run: &[Value]| form("", &[("y", shape)], first_run);
        let vector = form(&[-1, 3], &[value(&[1, 3])]);
        for shape in [&[3][..], &[1, 3], &[7, 3]] {
            assert!(vector.admits(&Prediction::Value(value(shape))), "{shape:?}");
        }
        for shape in [&[][..], &[4], &[3, 1], &[1, 1, 3]] {
            assert!(!vector.admits(&Prediction::Value(value(shape))), "{shape:?}");
        }
        let wide = Tensor::new(vec![3], Data::Fp64(vec![0.5; 3])).unwrap();
        assert!(!vector.admits(&Prediction::Value(Value { tensor: wide, keys: None })));
        let keyed = |count: usize| Value { keys: Some(names(&["a", "b", "c"][..count])), ..value(&[3]) };
        assert!(!vector.admits(&Prediction::Value(keyed(3))));
        let unknown = form(&[-1, 3], &[]);
        assert!(unknown.admits(&Prediction::Value(keyed(3))) && !unknown.admits(&Prediction::Value(keyed(2))));
        assert!(form(&[], &[]).admits(&Prediction::Value(value(&[2, 2]))));
    }

    #[test]
    fn several_outputs_have_their_names_in_their_order() {
        let form = form("", &[("a", &[-1, 1]), ("b", &[-1, 2])], &[]);
        let named = |values: &[(&str, usize)]| {
            Prediction::Named(values.iter().map(|(name, size)| ((*name).into(), value(&[*size]))).collect())
        };
        assert!(form.admits(&named(&[("a", 1), ("b", 2)])));
        for other in [&[][..], &[("a", 1)], &[("b", 2), ("a", 1)], &[("a", 1), ("c", 2)], &[("a", 1), ("b", 3)]] {
            assert!(!form.admits(&named(other)), "{other:?}");
        }
    }
}
