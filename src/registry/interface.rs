//! What a version takes and gives as tensors, for protocols that speak of nothing else.

use crate::model::{
    Datatype, Dim, Manifest, Pooling, Signature, TensorSpec,
    conform::{TEXT, TextIntake},
};

/// What callers send and get, batch dimension included. `answers` is the graph's signature, without what padding adds.
pub(super) fn interface(manifest: &Manifest, answers: &Signature, text: Option<TextIntake>) -> Signature {
    let tokens = text == Some(TextIntake::Tokens);
    let inputs = match tokens {
        true => vec![TensorSpec {
            name: TEXT.into(),
            datatype: Datatype::Bytes,
            shape: vec![Dim::Dynamic(None), Dim::Fixed(1)],
        }],
        false => answers.inputs.clone(),
    };
    let output = |spec: &TensorSpec| {
        let mut spec = spec.clone();
        if spec.shape.len() == 3 && manifest.output.pooling != Pooling::None {
            spec.shape.remove(1);
        }
        // As many rows as texts, whatever the graph takes at once.
        if let Some(rows) = spec.shape.first_mut().filter(|_| tokens) {
            *rows = Dim::Dynamic(None);
        }
        spec
    };
    Signature { inputs, outputs: answers.outputs.iter().map(output).collect() }
}
