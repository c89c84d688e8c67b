//! Reads a graph's large weights, so that all sessions of a model can share one copy.
//!
//! Each session would otherwise hold its own: ONNX Runtime shares only what it is handed from outside, prepacked layouts
//! included. Only the fields of `onnx.proto` that this needs are declared; the rest of the file is skipped.

use std::{
    collections::HashSet,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use bytes::Bytes;
use half::{bf16, f16};
use prost::Message;

use crate::{
    files::{self, GIB},
    model::{Data, Tensor},
};

/// Protobuf has no longer messages. Weights beyond that lie in files beside the graph.
pub const MAX_GRAPH: u64 = 2 * GIB;

/// A file of weights that is larger than the memory of any machine is of no use to it.
pub const MAX_FILE: u64 = 1024 * GIB;

/// Smaller weights cost less than the handle to them.
const SMALLEST: usize = 4096;

/// One weight of a graph.
#[derive(Debug)]
pub struct Weight {
    /// Its name in the graph.
    pub name: String,
    /// Its value.
    pub tensor: Tensor,
}

/// The large constant weights of the graph at `path`, those in files beside it included. A weight in a form that is not
/// read here is left out: it is then held once per session, which is no fault.
///
/// # Errors
/// When the file cannot be read. What is wrong inside of it is ONNX Runtime's to say.
pub fn read(path: &Path) -> anyhow::Result<Vec<Weight>> {
    let graph = graph(path)?;
    // A weight that is an input too can be overridden by a caller, so it is not constant.
    let inputs: HashSet<String> = graph.input.into_iter().map(|input| input.name).collect();
    let folder = path.parent().unwrap_or(path);
    let constants = graph.initializer.into_iter().filter(|tensor| !inputs.contains(&tensor.name));
    Ok(constants.filter_map(|tensor| tensor.read(folder)).collect())
}

/// The files beside the graph at `path` that hold weights of it.
///
/// # Errors
/// When the graph cannot be read.
pub fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = path.parent().unwrap_or(path);
    let mut files: Vec<_> = graph(path)?.initializer.iter().filter_map(|tensor| tensor.file(folder)).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

fn graph(path: &Path) -> anyhow::Result<GraphProto> {
    let bytes = files::read(path, MAX_GRAPH).context("the graph cannot be read")?;
    Ok(ModelProto::decode(Bytes::from(bytes)).ok().and_then(|model| model.graph).unwrap_or_default())
}

#[derive(Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
}

#[derive(Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "bytes", tag = "9")]
    raw_data: Bytes,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<StringStringEntryProto>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[derive(Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `data_location` of weights that lie in a file of their own.
const EXTERNAL: i32 = 1;

impl TensorProto {
    fn read(self, folder: &Path) -> Option<Weight> {
        let shape = self.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<Vec<_>>>()?;
        let length = shape.iter().try_fold(element_size(self.data_type)?, |bytes, dim| bytes.checked_mul(*dim))?;
        if length < SMALLEST {
            return None;
        }
        let bytes = if self.data_location == EXTERNAL { self.external(folder, length)? } else { self.raw_data };
        let tensor = Tensor::new(shape, elements(self.data_type, &bytes)?)?;
        Some(Weight { name: self.name, tensor })
    }

    /// The file beside the graph in which this weight lies, unless it is in the graph itself.
    fn file(&self, folder: &Path) -> Option<PathBuf> {
        let location = Path::new(self.entry("location").filter(|_| self.data_location == EXTERNAL)?);
        let stays_inside = location.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        stays_inside.then(|| folder.join(location)).filter(|file| file.is_file())
    }

    fn entry(&self, key: &str) -> Option<&str> {
        self.external_data.iter().find(|entry| entry.key == key).map(|entry| &*entry.value)
    }

    /// The `length` bytes that lie in a file beside the graph. ONNX Runtime reports what is wrong with such a file.
    fn external(&self, folder: &Path, length: usize) -> Option<Bytes> {
        let declared = self.entry("length").map_or(Some(length), |declared| declared.parse().ok())?;
        let mut file = files::open(&self.file(folder)?, MAX_FILE).ok().filter(|_| declared == length)?;
        let offset = self.entry("offset").map_or(Some(0), |offset| offset.parse().ok())?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset)).ok()?;
        let mut bytes = Vec::new();
        file.take(length as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes.into())
    }
}

/// The bytes of one element, by the number that `onnx.proto` gives its type.
const fn element_size(data_type: i32) -> Option<usize> {
    Some(match data_type {
        2 | 3 => 1,
        4 | 5 | 10 | 16 => 2,
        1 | 6 | 12 => 4,
        7 | 11 | 13 => 8,
        _ => return None,
    })
}

/// Little-endian elements by the number that `onnx.proto` gives their type.
fn elements(data_type: i32, bytes: &[u8]) -> Option<Data> {
    macro_rules! read {
        ($variant:ident $number:ident) => {
            Data::$variant(
                bytes
                    .as_chunks::<{ size_of::<$number>() }>()
                    .0
                    .iter()
                    .map(|bytes| $number::from_le_bytes(*bytes))
                    .collect(),
            )
        };
    }
    Some(match data_type {
        1 => read!(Fp32 f32),
        2 => Data::Uint8(bytes.to_vec()),
        3 => read!(Int8 i8),
        4 => read!(Uint16 u16),
        5 => read!(Int16 i16),
        6 => read!(Int32 i32),
        7 => read!(Int64 i64),
        10 => read!(Fp16 f16),
        11 => read!(Fp64 f64),
        12 => read!(Uint32 u32),
        13 => read!(Uint64 u64),
        16 => read!(Bf16 bf16),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, elements: usize) -> TensorProto {
        let raw_data = (0..elements).flat_map(|n| (n as f32).to_le_bytes()).collect::<Vec<u8>>().into();
        TensorProto { dims: vec![elements as i64], data_type: 1, name: name.into(), raw_data, ..TensorProto::default() }
    }

    fn read_graph(folder: &Path, initializer: Vec<TensorProto>, input: Vec<ValueInfoProto>) -> Vec<String> {
        let model = ModelProto { graph: Some(GraphProto { initializer, input }) };
        let path = folder.join("model.onnx");
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        read(&path).unwrap().into_iter().map(|weight| weight.name).collect()
    }

    #[test]
    fn large_constant_weights_are_shared() {
        let folder = tempfile::tempdir().unwrap();
        let weights = vec![tensor("large", 2000), tensor("small", 10), tensor("overridable", 2000)];
        let names = read_graph(folder.path(), weights, vec![ValueInfoProto { name: "overridable".into() }]);
        assert_eq!(names, ["large"]);
    }

    #[test]
    fn weights_beside_the_graph_are_read_but_none_outside_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("model");
        std::fs::create_dir(&inside).unwrap();
        for path in [inside.join("weights"), folder.path().join("weights")] {
            std::fs::write(path, vec![0; 8000 + 16]).unwrap();
        }
        let external = |location: &str| TensorProto {
            raw_data: Bytes::new(),
            data_location: EXTERNAL,
            external_data: [("location", location), ("offset", "16"), ("length", "8000")]
                .map(|(key, value)| StringStringEntryProto { key: key.into(), value: value.into() })
                .into(),
            ..tensor(location, 2000)
        };
        let names = read_graph(&inside, vec![external("weights"), external("../weights"), external("missing")], vec![]);
        assert_eq!(names, ["weights"]);
        assert_eq!(files(&inside.join("model.onnx")).unwrap(), [inside.join("weights")]);
    }
}
