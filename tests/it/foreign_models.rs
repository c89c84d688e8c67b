//! ONNX files that were not made here.
