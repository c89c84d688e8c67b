//! Which of a graph's inputs receives which part of the tokens.

use anyhow::Context;

use crate::model::{Data, Datatype, Dim, Signature, Tensor, TensorSpec, manifest::TokenInputs};

/// A part of what tokenising gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Part {
    /// The numbers of the tokens.
    Ids,
    /// 1 for each token, and 0 for what is added to make rows equally long.
    Mask,
    /// The number of each token's segment.
    Types,
}

impl Part {
    /// What an input is for, by the names that exporters give it.
    pub(in crate::engine) fn by_usual_name(name: &str) -> Option<Self> {
        // TensorFlow numbers the outputs of its operators.
        match name.strip_suffix(":0").unwrap_or(name) {
            "input_ids" | "input_word_ids" => Some(Self::Ids),
            "attention_mask" | "input_mask" => Some(Self::Mask),
            "token_type_ids" | "input_type_ids" | "segment_ids" => Some(Self::Types),
            _ => None,
        }
    }
}

/// What each of a graph's inputs receives, in their order.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<(Part, Datatype)>,
    /// How many tokens the graph takes, where it takes exactly so many.
    pub fixed_length: Option<usize>,
}

impl Slots {
    /// Finds a part for each input.
    ///
    /// # Errors
    /// When an input has none, or no input receives the tokens.
    pub(super) fn find(signature: &Signature, named: &TokenInputs) -> anyhow::Result<Self> {
        let TokenInputs { input_ids, attention_mask, token_type_ids } = named;
        let named = [(Part::Ids, input_ids), (Part::Mask, attention_mask), (Part::Types, token_type_ids)];
        for name in named.iter().filter_map(|(_, name)| name.as_ref()) {
            let known = signature.inputs.iter().any(|spec| *spec.name == **name);
            anyhow::ensure!(known, "text.inputs names '{name}', which is not an input of the graph");
        }
        let part = |spec: &TensorSpec| {
            let by_manifest =
                named.iter().find(|(_, name)| name.as_deref() == Some(&*spec.name)).map(|(part, _)| *part);
            // What the manifest gives to another input is not looked for by its usual name.
            let usual = Part::by_usual_name(&spec.name)
                .filter(|part| named.iter().all(|(other, name)| other != part || name.is_none()));
            let part = by_manifest.or(usual).with_context(|| {
                format!("no text gives the input '{spec}': name the inputs for tokens in 'text.inputs'")
            })?;
            let fits = matches!(spec.datatype, Datatype::Int64 | Datatype::Int32) && matches!(spec.shape.len(), 0 | 2);
            anyhow::ensure!(fits, "tokens are INT64 or INT32 of shape [batch, sequence], and the graph has '{spec}'");
            Ok((part, spec.datatype))
        };
        let slots = signature.inputs.iter().map(part).collect::<anyhow::Result<Vec<_>>>()?;
        for part in [Part::Ids, Part::Mask, Part::Types] {
            let count = slots.iter().filter(|(slot, _)| *slot == part).count();
            anyhow::ensure!(count <= 1, "several inputs of the graph have one meaning: name them in 'text.inputs'");
            anyhow::ensure!(
                count == 1 || part != Part::Ids,
                "no input of the graph takes tokens: name it in 'text.inputs'"
            );
        }
        let lengths = signature.inputs.iter().filter_map(|spec| match spec.shape.get(1) {
            Some(Dim::Fixed(length)) => Some(*length),
            _ => None,
        });
        Ok(Self { slots, fixed_length: lengths.min() })
    }

    /// Whether the graph is told which tokens are padding.
    pub(super) fn has_mask(&self) -> bool {
        self.slots.iter().any(|(part, _)| *part == Part::Mask)
    }

    /// Whether an output has a value, or several, for each token: its second dimension is that of the inputs.
    pub(super) fn is_per_token(&self, signature: &Signature, output: &TensorSpec) -> bool {
        let tokens = signature.inputs.iter().find_map(|spec| spec.shape.get(1));
        match (tokens, output.shape.get(1)) {
            (Some(Dim::Dynamic(Some(tokens))), Some(Dim::Dynamic(Some(name)))) => tokens == name,
            (_, Some(Dim::Dynamic(_))) => true,
            // As many classes as tokens are possible, but not in three dimensions.
            (Some(Dim::Fixed(tokens)), Some(Dim::Fixed(size))) => tokens == size && output.shape.len() > 2,
            _ => false,
        }
    }

    /// One value for each input.
    pub(super) fn each<'a>(&'a self, value: impl Fn(Part) -> i64 + 'a) -> impl Iterator<Item = i64> + 'a {
        self.slots.iter().map(move |(part, _)| value(*part))
    }

    /// A row for each input.
    pub(super) fn tensors<'a>(&self, tokens: usize, row: impl Fn(Part) -> &'a [u32]) -> Option<Vec<Tensor>> {
        let tensor = |(part, datatype): &(Part, Datatype)| {
            let numbers = row(*part).iter();
            let data = match datatype {
                Datatype::Int32 => Data::Int32(numbers.map(|number| number.cast_signed()).collect()),
                _ => Data::Int64(numbers.map(|number| i64::from(*number)).collect()),
            };
            Tensor::new(vec![1, tokens], data)
        };
        self.slots.iter().map(tensor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(inputs: &[(&str, Datatype, &[i64])]) -> Signature {
        let dim = |size: &i64| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed);
        let inputs = inputs.iter().map(|(name, datatype, shape)| TensorSpec {
            name: (*name).into(),
            datatype: *datatype,
            shape: shape.iter().map(dim).collect(),
        });
        Signature { inputs: inputs.collect(), outputs: Vec::new() }
    }

    fn named(ids: Option<&str>, mask: Option<&str>) -> TokenInputs {
        TokenInputs { input_ids: ids.map(str::to_owned), attention_mask: mask.map(str::to_owned), token_type_ids: None }
    }

    #[test]
    fn inputs_are_found_by_their_usual_names_or_as_the_manifest_says() {
        const IDS: (&str, Datatype, &[i64]) = ("input_ids", Datatype::Int64, &[-1, -1]);
        const OTHER: (&str, Datatype, &[i64]) = ("a", Datatype::Int32, &[-1, 8]);
        let mask = ("attention_mask:0", Datatype::Int64, &[-1_i64, -1][..]);
        let cases = [
            (&[mask, IDS][..], named(None, None), vec![Part::Mask, Part::Ids]),
            (&[OTHER], named(Some("a"), None), vec![Part::Ids]),
            (&[IDS, OTHER], named(None, Some("a")), vec![Part::Ids, Part::Mask]),
            // Named otherwise than exporters would.
            (&[IDS, OTHER], named(Some("a"), Some("input_ids")), vec![Part::Mask, Part::Ids]),
        ];
        for (inputs, named, parts) in cases {
            let slots = Slots::find(&signature(inputs), &named).unwrap();
            assert_eq!(slots.slots.iter().map(|(part, _)| *part).collect::<Vec<_>>(), parts);
        }
    }

    #[test]
    fn inputs_that_no_text_gives_are_named() {
        let ids = ("input_ids", Datatype::Int64, &[-1_i64, -1][..]);
        let cases = [
            (vec![ids, ("pixels", Datatype::Fp32, &[-1, 3])], named(None, None), "'pixels FP32[?,3]'"),
            (vec![("input_ids", Datatype::Fp32, &[-1, -1])], named(None, None), "INT64 or INT32"),
            (vec![("input_ids", Datatype::Int64, &[-1])], named(None, None), "[batch, sequence]"),
            (vec![ids, ("input_ids:0", Datatype::Int64, &[-1, -1])], named(None, None), "one meaning"),
            (vec![("attention_mask", Datatype::Int64, &[-1, -1])], named(None, None), "takes tokens"),
            (vec![ids], named(Some("tokens"), None), "'tokens'"),
        ];
        for (inputs, named, expected) in cases {
            let error = Slots::find(&signature(&inputs), &named).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
