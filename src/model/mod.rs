//! Plain data that every part speaks: names and versions, manifests, tensors, inputs and predictions.
//!
//! The JSON form of an input and of a prediction is defined here, beside the data, because three entrances share it:
//! HTTP bodies, the terminal, and the golden samples that a version must reproduce before it is served.

pub mod binary;
pub mod conform;
pub mod cost;
mod datatype;
pub mod input;
mod input_json;
pub mod manifest;
mod name;
pub mod nested;
pub mod numbers;
mod prediction;
mod signature;
mod tensor;
pub mod wire;

pub use datatype::Datatype;
pub use input::Input;
pub use manifest::{Activation, Manifest, Missing, Pooling, Provider, Strategy, Task};
pub use name::{ModelId, ModelName, ModelRef, Version};
pub use prediction::{Classes, MultiLabel, Prediction, Value};
pub use signature::{Dim, Signature, TensorSpec};
pub use tensor::{Data, MAX_DIMENSIONS, Tensor};
