//! The log: one JSON object per line on standard output, or lines for eyes when that is a terminal.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::json_lines::JsonLines;
use crate::config::{LogFormat, TelemetryConfig};

/// Lines that may wait for a reader of standard output who is slow. Further ones are dropped and counted: a log that
/// nobody reads must not hold up a request.
const WAITING_LINES: usize = 16 * 1024;

/// Keeps the log going. Dropping it writes what waits, for a second at most.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct Log {
    writer: Option<(WorkerGuard, ErrorCounter)>,
}

impl Log {
    /// Counts the lines that had to be dropped; `None` where none ever are.
    pub fn dropped(&self) -> Option<ErrorCounter> {
        self.writer.as_ref().map(|(_, dropped)| dropped.clone())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Some((worker, dropped)) = self.writer.take() else { return };
        drop(worker);
        if dropped.dropped_lines() > 0 {
            eprintln!("glassbox: {} lines of the log were dropped, because nobody read them", dropped.dropped_lines());
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
    let mut writer = None;
    if is_pretty(config.log_format) {
        registry.with(fmt::layer().with_target(false)).try_init()?;
    } else {
        let builder = NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).lossy(true);
        let (lines, worker) = builder.thread_name("glassbox-log").finish(std::io::stdout());
        writer = Some((worker, lines.error_counter()));
        registry.with(fmt::layer().event_format(JsonLines).with_writer(lines)).try_init()?;
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(Log { writer })
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
