//! The messages that a caller needs, written down by themselves: what is generated for the server is held against them.

use std::collections::HashMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct ServerLiveRequest {}

#[derive(Clone, PartialEq, Message)]
pub struct ServerLiveResponse {
    #[prost(bool, tag = "1")]
    pub live: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct RepositoryIndexRequest {
    #[prost(bool, tag = "2")]
    pub ready: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ModelInferRequest {
    #[prost(string, tag = "1")]
    pub model_name: String,
    #[prost(map = "string, message", tag = "4")]
    pub parameters: HashMap<String, Parameter>,
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Parameter {
    #[prost(oneof = "Choice", tags = "2")]
    pub choice: Option<Choice>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Choice {
    #[prost(int64, tag = "2")]
    Int64(i64),
}

/// An input or an output.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    pub contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Contents {
    #[prost(int64, repeated, tag = "3")]
    pub int64: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ModelInferResponse {
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<Tensor>,
}

impl ModelInferResponse {
    /// The numbers of the only output.
    pub fn numbers(&self) -> &[i64] {
        assert_eq!(self.outputs.len(), 1);
        &self.outputs[0].contents.as_ref().unwrap().int64
    }
}

/// A request for a model with one input of this name and shape.
pub fn of(model: &str, input: &str, shape: &[i64], numbers: &[i64]) -> ModelInferRequest {
    let input = Tensor {
        name: input.to_owned(),
        datatype: "INT64".to_owned(),
        shape: shape.to_vec(),
        contents: Some(Contents { int64: numbers.to_vec() }),
    };
    ModelInferRequest { model_name: model.to_owned(), parameters: HashMap::new(), inputs: vec![input] }
}

/// A request for the model that answers a row of numbers with themselves.
pub fn same(numbers: &[i64]) -> ModelInferRequest {
    of("same_int64", "x", &[1, numbers.len() as i64], numbers)
}
