//! The log: one JSON object per line on standard output, or lines for eyes when that is a terminal.

use std::io::IsTerminal;

use anyhow::Context;
use tracing::Level;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub use super::lines::Dropped;
use super::{json_lines::JsonLines, lines::Lines};
use crate::config::{LogFormat, TelemetryConfig};

/// Keeps the log going. Dropping it writes what waits, for a second at most.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct Log {
    lines: Option<Lines>,
}

impl Log {
    /// Counts the lines that had to be dropped; `None` where none ever are.
    pub fn dropped(&self) -> Option<Dropped> {
        self.lines.as_ref().map(Lines::dropped)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Some(lines) = self.lines.take() else { return };
        lines.end();
        let dropped = lines.dropped().lines();
        if dropped > 0 {
            eprintln!("glassbox: {dropped} lines of the log were dropped, because nobody read them");
        }
    }
}

/// Installs the process-wide subscriber. Call once, from the command line.
///
/// # Errors
/// When the filter cannot be parsed, or a subscriber is installed already.
pub fn init(config: &TelemetryConfig) -> anyhow::Result<Log> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .with_context(|| format!("telemetry.log_filter '{}' is not valid", config.log_filter))?;
    let registry = tracing_subscriber::registry().with(filter);
    let mut log = Log { lines: None };
    if is_pretty(config.log_format) {
        registry.with(fmt::layer().with_target(false)).try_init()?;
    } else {
        let lines = Lines::to(std::io::stdout()).context("cannot start the log's thread")?;
        log.lines = Some(lines.clone());
        // What is no everyday matter may be the last word of a process.
        registry.with(JsonLines(move |line: &[u8], level: &Level| lines.put(line, *level < Level::INFO))).try_init()?;
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(log)
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
