//! Requests, their stages, and connections.

use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGauge};

use super::{OTHER, family::Families};
use crate::telemetry::{
    labels::{Label, Stage},
    record::Timings,
};

/// All statuses that are answered, and 499 for who left before.
const STATUSES: [u16; 19] =
    [200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431, 499, 500, 501, 502, 503, 504];

/// Requests, their stages, and connections.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    latency: HistogramVec,
    stages: Vec<Histogram>,
    /// Requests that are being answered.
    pub in_flight: IntGauge,
    /// Connections that are open.
    pub connections: IntGauge,
}

impl HttpMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let stages = families.latencies("request_stage_seconds", "Time of a request's stages.", &["stage"])?;
        let new = Self {
            requests: families.counters("http_requests_total", "Requests answered.", &["route", "method", "status"])?,
            latency: families.latencies(
                "http_request_latency_seconds",
                "Time from a request's head to its answer's head.",
                &["route", "method"],
            )?,
            stages: Stage::ALL.iter().map(|stage| stages.with_label_values(&[stage.as_str()])).collect(),
            in_flight: families.gauge("http_requests_in_flight", "Requests that are being answered.")?,
            connections: families.gauge("http_connections_open", "Connections that are open.")?,
        };
        new.expect(OTHER, OTHER);
        Ok(new)
    }

    /// Begins the series of a route at zero, for its own method and for all others.
    pub fn expect(&self, route: &str, method: &str) {
        for method in [method, OTHER] {
            self.latency.with_label_values(&[route, method]);
            for status in STATUSES {
                self.requests.with_label_values(&[route, method, &status.to_string()]);
            }
            self.requests.with_label_values(&[route, method, OTHER]);
        }
    }

    /// A request was answered, or its caller left. `route` is a template, `method` the route's own or [`OTHER`].
    pub fn answered(&self, route: &str, method: &str, status: u16, timings: &Timings) {
        let known = STATUSES.contains(&status);
        let status = if known { status.to_string() } else { OTHER.to_owned() };
        self.requests.with_label_values(&[route, method, &status]).inc();
        self.latency.with_label_values(&[route, method]).observe(timings.total().as_secs_f64());
        for (stage, time) in timings.stages() {
            self.stages[stage as usize].observe(time.as_secs_f64());
        }
    }
}
