//! ONNX Runtime's library: missing, old, broken, hanging.
