//! Glassbox serves ONNX models over HTTP from one binary, and is the opposite of a black box.
//!
//! # The way of a request
//! [`api`] (route) → `api/layers.rs` (what already happened) → `api/v1/predict.rs` (the wire types, and the handler) →
//! [`predict::Predictor::predict`] (the story) → [`cache::Cache`] (what is known already) → [`engine::Model`] (where it waits
//! and runs) → [`history::History::tell`] (what is kept of it).
//!
//! # Eight questions, eight pages
//! | question | page |
//! |---|---|
//! | what is this, how does a request flow? | this one |
//! | which routes exist? | [`api`] |
//! | what happens to every request? | `src/api/layers.rs` |
//! | what does one prediction do? | [`predict`] |
//! | what can be configured? | `config/default.toml`, [`config`] |
//! | what can go wrong, and what does the caller see? | [`error`], `src/api/reject.rs` |
//! | what is measured? | [`telemetry`] |
//! | how is it put together, started and stopped? | [`app`] |
//!
//! # Invariants
//! - Modules import downwards only, and never their neighbours; a test reads the `use` lines.
//! - `ort` is named in `engine/session.rs`, `tokenizers` in `engine/text/tokenizer.rs`, moka in `cache/memory.rs`, `sqlx` in
//!   `history/`, Redis is spoken to through `link/redis.rs`, and the environment is read in `config/load.rs`: there and nowhere else.
//! - [`files`] reads files from the disk: regular ones only, each up to a bound.
//! - Every task is born in [`lifecycle`]; inference runs on threads of its own, never on the async ones.
//! - A failure is a value, [`error::Error`]: logged once, by the access log, and rendered once, by `api/reject.rs`.
//! - Every route says who may call it, or it does not compile; a test walks the list without a key.
//! - Inputs and keys never reach a log line, a metric or an error.

// Below all else: how files are read.
pub mod files;

// Ground.
pub mod config;
pub mod error;
pub mod lifecycle;
pub mod telemetry;

// Plain data, and the way to Redis.
pub mod link;
pub mod model;

// Parts.
pub mod cache;
pub mod engine;
pub mod history;
pub mod keys;
pub mod queue;

// What is live.
pub mod registry;

// The one path.
pub mod predict;

// Entrances.
pub mod api;
pub mod worker;

// Wiring.
pub mod app;
pub mod cli;
