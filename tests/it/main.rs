//! Looks at Glassbox from outside: the real app, the real binary, real models.
//!
//! `support` holds the harness; every other module is one subject.

#![expect(
    unreachable_pub,
    reason = "a test crate is reached by nobody; pub marks what the harness offers its subjects"
)]

// Under cfg(test), so that the lints that spare tests spare the harness too.
#[cfg(test)]
mod support;

#[cfg(test)]
mod access_log;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod batching;
#[cfg(test)]
mod browsers;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod console;
#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod endless;
#[cfg(test)]
mod files;
#[cfg(test)]
mod foreign_models;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod history;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod library;
#[cfg(test)]
mod life;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod metrics_contract;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod nginx;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod pillars;
#[cfg(test)]
mod predict;
#[cfg(test)]
mod rate_limit;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod redis_enemy;
#[cfg(test)]
mod redis_outage;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod series;
#[cfg(test)]
mod split;
#[cfg(test)]
mod stats;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod strategy;
#[cfg(test)]
mod structure;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod systemd;
#[cfg(test)]
mod text;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod transport;
#[cfg(test)]
mod v2;
#[cfg(test)]
mod zero_sizes;
