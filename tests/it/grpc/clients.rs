//! Clients that nobody here wrote, unchanged.

use crate::{
    support::{KeysFile, TestApp, python, serve_files},
    v2::models,
};

/// Serves with keys, runs a script against it, and expects a line for every subject.
async fn clients_do(script: &str, form: &[&str], subjects: &[&str]) {
    let keys = KeysFile::new();
    let key = keys.create(&["--scope", "predict", "--scope", "admin"]).text;
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.auth.keys_file = Some(keys.path().to_owned());
        // On, and never used up: three tensors of 1024 rows come as fast as the machine takes them.
        config.rate_limit.enabled = true;
        (config.rate_limit.rate, config.rate_limit.burst) = (100_000, 100_000);
    })
    .await;
    let output = python(script, &[form, &[&*app.addr.to_string(), &*key]].concat(), "");
    assert_eq!(output.lines().collect::<Vec<_>>(), subjects);
}

const TRITON: [&str; 8] = [
    "health_and_metadata",
    "every_datatype",
    "several_tensors",
    "large_tensors",
    "reserved_parameters",
    "errors",
    "settings_and_statistics",
    "repository",
];

#[tokio::test(flavor = "multi_thread")]
async fn triton_s_grpc_client_is_served_as_by_triton() {
    clients_do("python/grpc_triton.py", &["grpc"], &TRITON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triton_s_asynchronous_grpc_client_is_served_as_by_triton() {
    clients_do("python/grpc_triton.py", &["aio"], &TRITON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kserve_s_grpc_client_is_served_as_by_kserve() {
    let subjects = ["health", "every_datatype", "lists_of_numbers", "zero_sized_tensors", "errors"];
    clients_do("python/grpc_kserve.py", &[], &subjects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_and_reflection_are_those_of_grpc() {
    let subjects = ["health", "watch", "reflection", "a_client_made_of_reflection"];
    clients_do("python/grpc_services.py", &[], &subjects).await;
}
