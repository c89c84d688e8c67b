//! Mutated requests over all routes and protocols: a small run of `make fuzz`.

use std::{path::PathBuf, process::Command};

use crate::support::project;

#[test]
fn mutated_requests_of_every_kind_leave_the_server_as_it_was() {
    let keep = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    let script = project().join("scripts/fuzz/run.py");
    let mut command = Command::new("python3");
    command.arg(script).args(["--count", "1500", "--seed", "7", "--workers", "4"]);
    let output = command.args(["--binary", env!("CARGO_BIN_EXE_glassbox"), "--keep"]).arg(keep).output().unwrap();
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{errors}");
    for kind in ["rest", "grpc", "framing", "http2"] {
        assert!(told.lines().any(|line| line.starts_with(&format!("{kind} "))), "nothing of {kind} was sent: {told}");
    }
}
