//! Requests, their stages, and connections.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::{
    OTHER,
    family::Families,
    spread::{Spread, SpreadVec},
};
use crate::telemetry::{
    labels::{Label, Stage},
    record::Timings,
};

/// All statuses that are answered, and 499 for who left before.
const STATUSES: [u16; 20] =
    [200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 429, 431, 499, 500, 501, 502, 503, 504];

/// Requests, their stages, and connections.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: SpreadVec<IntCounterVec>,
    latency: SpreadVec<HistogramVec>,
    stages: Vec<Spread<Histogram>>,
    in_flight: Spread<IntGauge>,
    connections: Spread<IntGauge>,
    refused: IntCounter,
    displaced: IntCounter,
}

/// The series of one route and method, looked up once.
#[derive(Debug)]
pub struct RouteMetrics {
    /// As in [`STATUSES`], and one for all others.
    requests: Vec<Spread<IntCounter>>,
    latency: Spread<Histogram>,
}

impl HttpMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let stages =
            families.latencies("request_stage_seconds", "Time of the stages of callers' requests.", &["stage"])?;
        Ok(Self {
            requests: families.counters("http_requests_total", "Requests answered.", &["route", "method", "status"])?,
            latency: families.latencies(
                "http_request_latency_seconds",
                "Time from a request's head to its answer's head.",
                &["route", "method"],
            )?,
            stages: Stage::ALL.iter().map(|stage| stages.with_label_values(&[stage.as_str()])).collect(),
            in_flight: families.level("http_requests_in_flight", "Requests that are being answered.")?,
            connections: families.level("http_connections_open", "Connections that are open.")?,
            refused: families.counter(
                "http_connections_refused_total",
                "Connections, and requests on them, refused because all places were taken.",
            )?,
            displaced: families
                .counter("http_connections_displaced_total", "Idle connections closed to make room for new callers.")?,
        })
    }

    /// Begins the series of a route and method at zero. `route` is a template or [`OTHER`], and so is `method`.
    pub fn route(&self, route: &str, method: &str) -> RouteMetrics {
        let requests = |status: &str| self.requests.with_label_values(&[route, method, status]);
        RouteMetrics {
            requests: STATUSES.iter().map(|status| requests(&status.to_string())).chain([requests(OTHER)]).collect(),
            latency: self.latency.with_label_values(&[route, method]),
        }
    }

    /// A request begins.
    pub fn began(&self) {
        self.in_flight.here().inc();
    }

    /// A request ends, however.
    pub fn ended(&self) {
        self.in_flight.here().dec();
    }

    /// A connection was opened.
    pub fn connected(&self) {
        self.connections.here().inc();
    }

    /// A connection, or a request on it, was refused because all places were taken.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// An idle connection was closed to make room for another one.
    pub fn displaced(&self) {
        self.displaced.inc();
    }

    /// Connections that ended for want of places since the start, refused or displaced.
    pub fn turned_away(&self) -> u64 {
        self.refused.get() + self.displaced.get()
    }

    /// A connection was closed.
    pub fn disconnected(&self) {
        self.connections.here().dec();
    }

    /// A request was answered, or its caller left, after so long.
    pub fn answered(&self, route: &RouteMetrics, status: u16, time: Duration) {
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len());
        if let Some(requests) = route.requests.get(status) {
            requests.here().inc();
        }
        route.latency.here().observe(time.as_secs_f64());
    }

    /// A caller's request has passed these stages.
    pub fn passed(&self, timings: &Timings) {
        for (stage, time) in timings.stages() {
            self.stages[stage as usize].here().observe(time.as_secs_f64());
        }
    }
}
