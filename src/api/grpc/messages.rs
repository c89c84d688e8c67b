//! The messages, as they are generated from `proto/`; a test makes them anew and compares.

/// Those of the Open Inference Protocol.
#[expect(unreachable_pub, clippy::enum_variant_names, reason = "generated, with the protocol's names")]
pub(super) mod inference {
    include!("../../../proto/inference.rs");
}

/// Those of health checks.
#[expect(unreachable_pub, reason = "generated")]
pub(super) mod health {
    include!("../../../proto/grpc.health.v1.rs");
}

/// What reflection tells of them.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!("../../../proto/descriptors.bin");
