//! The harness.

mod address;
mod app;
mod browser;
mod caller;
mod close;
mod collector;
mod enemy;
mod exposition;
#[cfg(target_os = "linux")]
mod held;
mod keys;
mod long;
#[cfg(target_os = "linux")]
mod nginx;
mod postgres;
mod process;
mod prometheus;
mod proxy;
mod python;
mod repository;
mod services;
mod slow;

pub use address::free;
pub use app::{TestApp, TestAppBuilder, serve_files};
pub use browser::{Browser, CONTROL_ENTER, TAB};
pub use caller::{Answer, Caller};
pub use close::assert_close;
pub use collector::{Collector, attribute};
pub use enemy::{Enemy, Trick};
pub use exposition::Metrics;
#[cfg(target_os = "linux")]
pub use held::HeldGolden;
pub use keys::{Key, KeysFile};
pub use long::Long;
#[cfg(target_os = "linux")]
pub use nginx::Nginx;
pub use postgres::Postgres;
pub use process::{
    Finished, PATIENCE, Server, children, eventually, glassbox, patiently, run, run_with_input, until, variable,
};
pub use prometheus::Prometheus;
pub use proxy::{Proxy, Weather};
pub use python::python;
pub use repository::{Repository, bundled};
pub use services::Redis;
pub use slow::Loop;

use std::path::PathBuf;

/// The project's folder.
pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// ONNX Runtime as `make setup` puts it.
pub fn onnxruntime() -> PathBuf {
    let folder = project().join(".onnxruntime");
    assert!(folder.is_dir(), "{} is missing: run 'make setup'", folder.display());
    folder
}
