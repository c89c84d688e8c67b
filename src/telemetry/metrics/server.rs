//! The process itself: its version, its log, its certificate, and what the system says of it.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, process_collector::ProcessCollector};

use super::{
    family::{Families, each},
    spread::SpreadVec,
};
use crate::telemetry::{
    labels::{Attempt, Label, SpanEnd},
    logging::Dropped,
};

/// The process itself.
#[derive(Debug)]
pub struct ServerMetrics {
    ready: IntGauge,
    onnxruntime: IntGaugeVec,
    tls_expiry: IntGaugeVec,
    tls_loads: SpreadVec<IntCounterVec>,
    log_dropped: IntCounter,
    log: OnceLock<Dropped>,
    spans: SpreadVec<IntCounterVec>,
}

impl ServerMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let build = families.gauges("build_info", "1, with what this binary is.", &["version", "revision"])?;
        let revision = option_env!("GLASSBOX_REVISION").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);
        let ready = families.gauges("server_ready", "1 while /readyz is answered with 200.", &[])?;
        let new = Self {
            ready: ready.with_label_values::<&str>(&[]),
            onnxruntime: families.gauges("onnxruntime_info", "1, with the library that runs graphs.", &["version"])?,
            tls_expiry: families.gauges(
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate that callers are shown ends, in seconds since 1970.",
                &[],
            )?,
            tls_loads: families.counters(
                "tls_certificate_loads_total",
                "Times that the certificate was read.",
                &["result"],
            )?,
            log_dropped: families.counter("log_lines_dropped_total", "Lines of the log that nobody took in time.")?,
            log: OnceLock::new(),
            spans: families.counters(
                "traced_requests_total",
                "Traced requests, by what became of them.",
                &["result"],
            )?,
        };
        each::<SpanEnd>(|result| drop(new.spans.with_label_values(&[result])));
        each::<Attempt>(|result| drop(new.tls_loads.with_label_values(&[result])));
        // Where /proc is hidden there are none of these.
        let _ = families.0.register(Box::new(ProcessCollector::for_self()));
        Ok(new)
    }

    /// Tells from now on what the log had to drop.
    pub fn follow_log(&self, dropped: Dropped) {
        let _ = self.log.set(dropped);
    }

    /// Brings up to date what is counted elsewhere.
    pub(super) fn observe(&self) {
        let dropped = self.log.get().map_or(0, Dropped::lines);
        self.log_dropped.inc_by(dropped.saturating_sub(self.log_dropped.get()));
    }

    /// Whether requests may be sent here.
    pub fn ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    /// Graphs are run by this version of ONNX Runtime.
    pub fn onnxruntime(&self, version: &str) {
        self.onnxruntime.with_label_values(&[version]).set(1);
    }

    /// Traced requests were told to the collector, or were not.
    pub fn spans(&self, end: SpanEnd, requests: usize) {
        self.spans.here(&[end.as_str()]).inc_by(requests as u64);
    }

    /// The certificate was read.
    pub fn tls_loaded(&self, result: Attempt) {
        self.tls_loads.here(&[result.as_str()]).inc();
    }

    /// The certificate that callers are shown ends then, in seconds since 1970, as far as that is known.
    pub fn tls_ends(&self, time: Option<i64>) {
        match time {
            Some(time) => self.tls_expiry.with_label_values::<&str>(&[]).set(time),
            None => {
                let _ = self.tls_expiry.remove_label_values::<&str>(&[]);
            }
        }
    }
}
