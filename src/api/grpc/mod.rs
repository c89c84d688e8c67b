//! The Open Inference Protocol (version 2) over gRPC, and gRPC's own health checks and reflection. Every method is a route
//! like any other: it passes the same layers, and what answers it is what answers `/v2`.

mod answer;
mod call;
mod deadline;
mod frame;
mod frugal;
mod health;
mod infer;
mod messages;
mod model;
mod reflection;
mod repository;
mod server;
mod status;
mod streams;
mod tensors;

use super::routes::{Access, Route};
use crate::keys::Scope;

pub(super) use self::{
    call::{MEDIA_TYPE, is_call},
    deadline::timeout,
    status::refused,
    streams::Streams,
};

/// The methods of all services.
pub(super) fn routes() -> Vec<Route> {
    use Access::Public;
    const PREDICT: Access = Access::Key(Scope::Predict);
    const ADMIN: Access = Access::Key(Scope::Admin);
    vec![
        Route::post("/inference.GRPCInferenceService/ServerLive", Public, server::live),
        Route::post("/inference.GRPCInferenceService/ServerReady", Public, server::ready),
        Route::post("/inference.GRPCInferenceService/ServerMetadata", Public, server::metadata),
        Route::post("/inference.GRPCInferenceService/ModelReady", PREDICT, model::ready),
        Route::post("/inference.GRPCInferenceService/ModelMetadata", PREDICT, model::metadata),
        Route::post("/inference.GRPCInferenceService/ModelInfer", PREDICT, infer::infer),
        Route::post("/inference.GRPCInferenceService/ModelConfig", PREDICT, model::config),
        Route::post("/inference.GRPCInferenceService/ModelStatistics", PREDICT, model::statistics),
        Route::post("/inference.GRPCInferenceService/RepositoryIndex", ADMIN, repository::index),
        Route::post("/inference.GRPCInferenceService/RepositoryModelLoad", ADMIN, repository::load),
        Route::post("/inference.GRPCInferenceService/RepositoryModelUnload", ADMIN, repository::unload),
        Route::post("/grpc.health.v1.Health/Check", Public, health::check),
        Route::post("/grpc.health.v1.Health/Watch", Public, health::watch),
        Route::post("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Public, reflection::v1),
        Route::post("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Public, reflection::v1alpha),
    ]
}
