//! A model whose answer is as long as a test wants, and costs next to nothing to compute, to read and to write.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::python;

/// Gives so many zeros. Gone with the test.
pub struct Long {
    folder: TempDir,
}

impl Long {
    pub fn new() -> Self {
        let made = Self { folder: TempDir::new().unwrap() };
        python("python/long_graph.py", &[made.path().to_str().unwrap()], "");
        made
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("long.onnx")
    }

    /// Where it is asked.
    pub const PATH: &str = "/v2/models/long/infer";

    /// Asks for a binary answer of so many bytes and a short head.
    pub fn ask(bytes: usize) -> Value {
        let input = json!({"name": "n", "datatype": "INT64", "shape": [1], "data": [bytes / 4]});
        json!({"inputs": [input], "parameters": {"binary_data_output": true}})
    }
}
