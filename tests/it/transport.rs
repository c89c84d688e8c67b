//! What callers speak, and for how long they may keep silent: HTTP/1.1 and HTTP/2, in the clear and over TLS.

pub mod certificates;
mod chains;
pub mod client;
mod drain;
mod hosts;
mod patience;
mod places;
mod probes;
mod protocols;
mod slow;

use std::process::Command;

use crate::support::{glassbox, variable};

/// One small model, named `doubler`, served from its file on a free port.
fn serve(settings: &[(&str, &str)]) -> Command {
    let mut command = glassbox(&["serve", "--model", "model/doubler/1/model.onnx"]);
    command.env(variable("server.listen"), "127.0.0.1:0");
    // One address plays hundreds of callers here.
    command.env(variable("rate_limit.enabled"), "false");
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    command
}
