//! Begins the process anew with what others read from its environment, and read when it begins only: the C library, the
//! allocator, ONNX Runtime. A safe program cannot change its own environment.
//!
//! **Telemetry.** The official builds of ONNX Runtime tell Microsoft about the machine, and about the models unless their
//! interface is told otherwise, and keep an id of the machine on its disk. That the library starts is told before its
//! interface can be used; this variable is what stops all of it (`docs/Privacy.md` there).
//!
//! **Allocators.** What Rust allocates lies in mimalloc, which keeps a buffer of a megabyte at hand for the next request,
//! where the C library would have every page of it made anew. What ONNX Runtime allocates outside of its arenas lies in the
//! C library's heap. Both keep more than a server should: mimalloc whatever was freed within the last second, until
//! somebody frees something after that (338 MB instead of 233 with an encoder of 23 MB); glibc as much as the largest
//! pieces that were freed, up to 64 MiB, for it takes their size for the size of what will be wanted again.

use std::{os::unix::process::CommandExt, process::Command};

use crate::{config, engine::library};

const TELEMETRY: (&str, &str) = (library::TELEMETRY_SWITCH, "1");

const ALLOCATORS: [(&str, &str); 2] = [
    // In bytes at the end of glibc's heap: its own default, which stays where it is once it is set.
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    // In milliseconds: longer than from one request to the next under load, so that none pays for pages.
    ("MIMALLOC_PURGE_DELAY", "10"),
];

/// For what stays: telemetry is off, and memory that loading a model has used is given back.
pub(super) fn of_a_server() {
    let [threshold, delay] = ALLOCATORS;
    if cfg!(target_os = "linux") { begin_with(&[TELEMETRY, threshold, delay]) } else { of_a_command() }
}

/// For what looks at models and ends.
pub(super) fn of_a_command() {
    begin_with(&[TELEMETRY]);
}

/// Begins this process anew, in the same place and with the same arguments, unless that was done or the operator has made
/// all settings himself. Goes on as it is where that is not possible.
fn begin_with(settings: &[(&str, &str)]) {
    let missing: Vec<_> = settings.iter().copied().filter(|(name, _)| !config::is_in_environment(name)).collect();
    if missing.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only when it has failed.
    let _ = again.envs(missing).args(arguments).exec();
}
