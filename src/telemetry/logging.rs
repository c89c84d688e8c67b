//! The log: one JSON object per line on standard output, or lines for eyes when that is a terminal.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, TelemetryConfig};

/// Installs the process-wide subscriber. Call once, from the command line.
///
/// # Errors
/// When the filter cannot be parsed, or a subscriber is installed already.
pub fn init(config: &TelemetryConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .with_context(|| format!("telemetry.log_filter '{}' is not valid", config.log_filter))?;
    let registry = tracing_subscriber::registry().with(filter);
    if is_pretty(config.log_format) {
        registry.with(fmt::layer().with_target(false)).try_init()?;
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry.with(json).try_init()?;
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is one line of the log, like everything else. Its message stays out: those of string slicing, for instance,
/// quote the string, and that can be a caller's text.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(location, thread = thread.name(), "panicked");
}

/// Whether lines are for eyes.
pub fn is_pretty(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => false,
        LogFormat::Pretty => true,
        LogFormat::Auto => std::io::stdout().is_terminal(),
    }
}
