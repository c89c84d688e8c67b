//! `glassbox serve`

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use super::{
    healthcheck::Listener,
    process::{self, Begun},
};
use crate::{
    app::{self, App},
    config::{Config, Flag},
    model::{Datatype, Dim, ModelName, ModelRef, TensorSpec},
    registry::{Loaded, Registry, State},
    telemetry::logging,
};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Serve this ONNX file instead of the repository; repeatable.
    #[arg(long, value_name = "FILE")]
    model: Vec<PathBuf>,
    /// What the server does: `all` in one process, or `api`, with models in the processes of `glassbox worker`.
    #[arg(long, value_name = "all|api")]
    role: Option<String>,
    /// Listen here instead of on server.listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

impl ServeArgs {
    pub(super) fn flags(&self) -> Vec<Flag> {
        let mut flags = match &self.model[..] {
            [] => Vec::new(),
            files => super::files_instead_of_repository(files),
        };
        flags.extend(self.role.iter().map(|role| Flag::text("server.role", "--role", role.clone())));
        flags.extend(self.listen.iter().map(|listen| Flag::text("server.listen", "--listen", listen.clone())));
        flags
    }
}

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let telemetry = config.telemetry.clone();
    let pretty = logging::is_pretty(telemetry.log_format);
    process::run(&telemetry, app::longest_stop(&config), |stop, supervisor| {
        let app = App::build(config)?;
        let place = Place { scheme: app.scheme(), addr: app.http_addr() };
        // Models may load for minutes, and with port 0 nobody else knows whom to ask how far they are.
        let metrics_addr = app.metrics_addr().map(tracing::field::display);
        let grpc_addr = app.grpc_addr().map(tracing::field::display);
        let later = app.state().server.listen_when_ready.then_some("callers are refused until all models were tried");
        tracing::info!(addr = %place.addr, scheme = place.scheme, grpc_addr, metrics_addr, later, "listening");
        let (registry, metrics) = (Arc::clone(&app.state().registry), Arc::clone(&app.state().metrics));
        let (keys, counts) = (app.state().keys.clone(), Arc::clone(&metrics));
        let reload = async move || {
            if let Some(keys) = &keys {
                keys.reload().await;
            }
        };
        let turned_away = move || counts.http.turned_away();
        let (itself, supervisor) = (Listener::at(place.addr, place.scheme == "https"), Arc::clone(supervisor));
        let serve = app.run(async { drop(stop.await) }, move |registry| {
            supervisor.ready(registry);
            announce(registry, &place, started.elapsed(), pretty);
        });
        Ok(Begun { registry, metrics, serve, reload, itself, turned_away })
    })
}

/// Where the server is reached.
struct Place {
    scheme: &'static str,
    addr: SocketAddr,
}

/// Says what is served, where, and how long that took.
fn announce(registry: &Registry, Place { scheme, addr }: &Place, elapsed: Duration, pretty: bool) {
    let snapshot = registry.snapshot();
    let ready = |state: Option<&State>| matches!(state, Some(State::Ready(_)));
    let (served, broken): (Vec<_>, Vec<_>) =
        snapshot.models.iter().partition(|(_, entry)| entry.versions.values().any(|state| ready(Some(state))));
    let names = |models: Vec<(&ModelName, &crate::registry::ModelEntry)>| {
        models.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (elapsed_ms, first) = (elapsed.as_millis(), served.first().map(|(name, _)| (*name).clone()));
    let (models, not_served) = (names(served), names(broken));
    let elapsed_ms = u64::try_from(elapsed_ms).unwrap_or(u64::MAX);
    if !pretty {
        tracing::info!(%addr, models, not_served, elapsed_ms, version = env!("CARGO_PKG_VERSION"), "ready");
        return;
    }
    println!("Glassbox {} serves {models} on {scheme}://{addr}, ready in {elapsed_ms} ms", env!("CARGO_PKG_VERSION"));
    if !not_served.is_empty() {
        println!("Not served: {not_served}. The reasons are above, and at {scheme}://{addr}/readyz");
    }
    let name = registry.default_model().cloned().or(first);
    let Some(name) = name else { return };
    let Ok(loaded) = registry.resolve(&ModelRef { name: Some(name.to_string()), version: None }) else { return };
    match example(&loaded, &name) {
        Some(body) => {
            // Names in a graph may hold quotes of every kind.
            let body = body.replace('\'', r"'\''");
            println!("Try:  curl -s {scheme}://{addr}/v1/predict -H 'Content-Type: application/json' -d '{body}'");
        }
        None => println!("What it takes:  curl -s {scheme}://{addr}/v1/models/{name}"),
    }
}

/// A body that the model answers, if a short one is known.
fn example(loaded: &Loaded, name: &ModelName) -> Option<String> {
    if loaded.manifest.text.is_some() {
        return Some(format!(r#"{{"model":"{name}","text":"you are awful"}}"#));
    }
    let (length, skip) = (loaded.example_length?, usize::from(loaded.batch_dimension));
    let value = |spec: &TensorSpec| {
        let leaf = match spec.datatype {
            Datatype::Bytes => r#""a""#,
            Datatype::Bool => "true",
            _ => "1",
        };
        let size = |(index, dim): (usize, &Dim)| match dim {
            Dim::Fixed(size) => *size,
            // As in the try that showed the length.
            Dim::Dynamic(_) if index == 0 => 1,
            Dim::Dynamic(_) => length,
        };
        let dims: Vec<usize> = spec.shape.iter().enumerate().skip(skip).map(size).collect();
        let elements = dims.iter().try_fold(1_usize, |product, size| product.checked_mul((*size).max(1)))?;
        // An image is too long for a line to try.
        (elements <= 32).then(|| {
            dims.iter().rev().fold(leaf.to_owned(), |inner, size| format!("[{}]", vec![inner; *size].join(",")))
        })
    };
    let inputs = &loaded.signature.inputs;
    let values: Vec<String> = inputs.iter().map(value).collect::<Option<_>>()?;
    let input = match &values[..] {
        [only] => only.clone(),
        several => {
            let pairs: Vec<_> =
                inputs.iter().zip(several).map(|(spec, value)| format!("{}:{value}", json!(&*spec.name))).collect();
            format!("{{{}}}", pairs.join(","))
        }
    };
    Some(format!(r#"{{"model":"{name}","input":{input}}}"#))
}
