//! The Open Inference Protocol over gRPC.

pub mod call;
mod clients;
mod deadlines;
mod failures;
mod generated;
mod life;
pub mod messages;
