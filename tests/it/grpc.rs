//! The Open Inference Protocol over gRPC.

mod generated;
