//! Has both allocators give back the memory that loading a model has used.
//!
//! What Rust allocates lies in mimalloc, which keeps a buffer of a megabyte at hand for the next request, where the C
//! library would have every page of it made anew. What ONNX Runtime allocates outside of its arenas lies in the C
//! library's heap. Both keep more than a server should: mimalloc whatever was freed within the last second, until
//! somebody frees something after that (338 MB instead of 233 with an encoder of 23 MB); glibc as much as the largest
//! pieces that were freed, up to 64 MiB, for it takes their size for the size of what will be wanted again. Both read how
//! they should behave when a process begins, from its environment only.

use std::{os::unix::process::CommandExt, process::Command};

use crate::config;

const SETTINGS: [(&str, &str); 2] = [
    // In bytes at the end of glibc's heap: its own default, which stays where it is once it is set.
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    // In milliseconds: longer than from one request to the next under load, so that none pays for pages.
    ("MIMALLOC_PURGE_DELAY", "10"),
];

/// Begins this process anew, in the same place and with the same arguments, unless that was done or the operator has made
/// all settings himself. Goes on as it is where that is not possible.
pub(super) fn begin_with_steady_thresholds() {
    if !cfg!(target_os = "linux") || SETTINGS.iter().all(|(name, _)| config::is_in_environment(name)) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.envs(SETTINGS.into_iter().filter(|(name, _)| !config::is_in_environment(name)));
    // Returns only when it has failed.
    let _ = again.args(arguments).exec();
}
