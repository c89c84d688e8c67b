//! Python with the packages of `make setup`: it makes ONNX files and runs them with its own onnxruntime.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::project;

/// Runs a script with `stdin` as its standard input and returns its standard output.
pub fn python(script: &str, args: &[&str], stdin: &str) -> String {
    let packages = project().join(".python");
    assert!(packages.is_dir(), "{} is missing: run 'make setup'", packages.display());
    let mut child = Command::new("python3")
        .arg(project().join("tests/it").join(script))
        .args(args)
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is not installed");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script} failed");
    String::from_utf8(output.stdout).unwrap()
}
