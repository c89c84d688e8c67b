//! Triton's and KServe's Python clients, unchanged.

use super::models;
use crate::support::{KeysFile, TestApp, python, serve_files};

/// Serves with keys, runs a script against it, and expects a line for every subject.
async fn clients_do(script: &str, form: &[&str], address: impl Fn(&TestApp) -> String, subjects: &[&str]) {
    let keys = KeysFile::new();
    let key = keys.create(&["--scope", "predict", "--scope", "admin"]).text;
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.auth.keys_file = Some(keys.path().to_owned());
    })
    .await;
    let address = address(&app);
    let output = python(script, &[form, &[&*address, &*key]].concat(), "");
    assert_eq!(output.lines().collect::<Vec<_>>(), subjects);
}

const TRITON: [&str; 9] = [
    "health_and_metadata",
    "every_datatype",
    "json_tensors",
    "several_tensors",
    "compression",
    "reserved_parameters",
    "repository",
    "statistics_and_configuration",
    "errors",
];

#[tokio::test(flavor = "multi_thread")]
async fn triton_s_client_is_served_as_by_triton() {
    clients_do("python/v2_triton.py", &["http"], |app| app.addr.to_string(), &TRITON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triton_s_asynchronous_client_is_served_as_by_triton() {
    clients_do("python/v2_triton.py", &["aio"], |app| app.addr.to_string(), &TRITON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kserve_s_client_is_served_as_by_kserve() {
    let subjects = ["health", "every_datatype", "zero_sized_tensors", "several_tensors", "errors"];
    clients_do("python/v2_kserve.py", &[], |app| app.url(""), &subjects).await;
}
