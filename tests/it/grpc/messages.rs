//! The messages, as the server has them.

use std::collections::HashMap;

pub use generated::*;
use model_infer_request::InferInputTensor;

#[expect(clippy::enum_variant_names, reason = "generated, with the protocol's names")]
mod generated {
    include!("../../../proto/inference.rs");
}

/// A request for the model `same_int64` with as many numbers, sent as a list.
pub fn same(numbers: &[i64]) -> ModelInferRequest {
    let contents = InferTensorContents { int64_contents: numbers.to_vec(), ..Default::default() };
    let input = InferInputTensor {
        name: "x".to_owned(),
        datatype: "INT64".to_owned(),
        shape: vec![1, numbers.len() as i64],
        parameters: HashMap::new(),
        contents: Some(contents),
    };
    ModelInferRequest { model_name: "same_int64".to_owned(), inputs: vec![input], ..Default::default() }
}
