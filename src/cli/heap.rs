//! Has the C library give back the memory that loading a model has used.
//!
//! glibc takes the size of what a program frees for the size of what it will want again, and keeps as much for it, up to
//! 64 MiB. A server frees its largest pieces once, when its models are loaded: with a transformer of 23 MB, two sessions
//! of it, and nothing else to do, it held 117 MB like this and holds 85 MB otherwise. The thresholds stay where they are
//! once one of them is set, and they can be set before a process begins only, by its environment.

use std::{os::unix::process::CommandExt, process::Command};

use crate::config;

/// What glibc keeps at most of the memory that is free at the end of its heap: its own default.
const TRIM_THRESHOLD: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "131072");

/// Begins this process anew, in the same place and with the same arguments, unless that was done or the operator has set
/// the threshold himself. Goes on as it is where that is not possible.
pub(super) fn begin_with_steady_thresholds() {
    let (name, value) = TRIM_THRESHOLD;
    if !cfg!(all(target_os = "linux", target_env = "gnu")) || config::is_in_environment(name) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only when it has failed.
    let _ = again.args(arguments).env(name, value).exec();
}
