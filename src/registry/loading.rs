//! Loads and unloads models while others are served. What goes on keeps the version that it found: a snapshot is replaced,
//! and never changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Instant,
};

use super::{
    Loader, ModelEntry, ModelSource, Registry, Snapshot, State, VersionSource,
    repository::{self, NotListed},
    shorten,
};
use crate::{
    error::Error,
    lifecycle::Lifecycle,
    model::{ModelId, ModelName, Version},
    telemetry::millis,
};

impl Registry {
    /// Loads every version in the background, some at a time. Returns when all are ready or failed.
    pub async fn load_all(self: &Arc<Self>, loader: &Arc<Loader>, lifecycle: &Lifecycle) {
        let started = Instant::now();
        let permits = Arc::new(tokio::sync::Semaphore::new(loader.loads_at_once()));
        let (done, mut all_done) = tokio::sync::mpsc::channel::<()>(1);
        for source in self.sources.iter().cloned().map(Arc::new) {
            if !source.not_built.is_empty() {
                let versions: Vec<_> = source.not_built.iter().map(Version::as_str).collect();
                let (model, versions) = (source.name.as_str(), versions.join(", "));
                tracing::info!(model, versions, "model is not served: {}", source.not_built_reason());
            }
            if let Some(error) = &source.fault {
                loader.count_failed();
                tracing::error!(model = source.name.as_str(), error, "model could not be loaded");
            }
            for version in source.versions.iter().cloned() {
                let (registry, loader, source) = (Arc::clone(self), Arc::clone(loader), Arc::clone(&source));
                let (permits, done) = (Arc::clone(&permits), done.clone());
                lifecycle.spawn(async move {
                    let _permit = permits.acquire_owned().await;
                    let name = source.name.clone();
                    let version_name = version.version.clone();
                    let state = load(&loader, source, version).await;
                    registry.update(&loader, |snapshot| {
                        if let Some(entry) = snapshot.models.get_mut(&name) {
                            entry.versions.insert(version_name, state);
                        }
                    });
                    drop(done);
                });
            }
        }
        drop(done);
        let _ = all_done.recv().await;
        // Also where there was nothing to load.
        self.update(loader, |_| {});
        tracing::debug!(elapsed_ms = millis(started.elapsed()), "all models have been tried");
    }

    /// Loads a model as it lies in the repository now, in place of what is served of it. Until all of its versions have
    /// been tried, the old ones answer; a version that cannot be loaded leaves the old one of its name in place. Goes on
    /// when nobody waits for it any more.
    ///
    /// # Errors
    /// `model_not_found` when the repository has no such model; `model_not_ready` when a version could not be loaded.
    pub async fn reload(
        self: &Arc<Self>,
        loader: &Arc<Loader>,
        lifecycle: &Lifecycle,
        name: &str,
    ) -> Result<(), Error> {
        self.is_here()?;
        let not_found = || Error::ModelNotFound { model: shorten(name), version: None };
        let name = ModelName::parse(name).ok_or_else(not_found)?;
        let (told, result) = tokio::sync::oneshot::channel();
        let (registry, loader) = (Arc::clone(self), Arc::clone(loader));
        lifecycle.spawn(async move {
            let _ = told.send(registry.replace(&loader, name).await);
        });
        result.await.unwrap_or(Err(Error::Draining))
    }

    async fn replace(&self, loader: &Arc<Loader>, name: ModelName) -> Result<(), Error> {
        // One after the other: two that load one model at the same time would not know whose is the newer one.
        let _changing = self.changing.lock().await;
        let (config, wanted) = (self.config.clone(), name.clone());
        let found = tokio::task::spawn_blocking(move || repository::find(&config, &wanted)).await;
        let source = found.map_err(Error::internal)?.map_err(|error| match error {
            NotListed::Missing => Error::ModelNotFound { model: name.to_string(), version: None },
            NotListed::Unreadable(error) => Error::internal(error),
        })?;
        let not_ready = |reason: String| Err(Error::ModelNotReady { model: name.to_string(), reason });
        if let Some(fault) = source.fault {
            loader.count_failed();
            self.update(loader, |snapshot| snapshot.broken(&name, &fault));
            return not_ready(format!("it could not be loaded: {fault}"));
        }
        let source = Arc::new(source);
        let mut versions = BTreeMap::new();
        for version in source.versions.iter().cloned() {
            let name = version.version.clone();
            versions.insert(name, load(loader, Arc::clone(&source), version).await);
        }
        let reason: Arc<str> = source.not_built_reason().into();
        versions.extend(source.not_built.iter().map(|version| (version.clone(), State::NotBuilt(Arc::clone(&reason)))));
        let failed = versions.iter().find_map(|(version, state)| match state {
            State::Failed(reason) => Some(format!("version '{version}' could not be loaded: {reason}")),
            State::NotBuilt(reason) => Some(reason.to_string()),
            State::Loading | State::Ready(_) | State::Unloaded | State::Absent(_) => None,
        });
        let entry = ModelEntry { default_version: source.default_version(), versions, fault: None };
        self.update(loader, |snapshot| snapshot.replace(loader, name.clone(), entry));
        failed.map_or(Ok(()), not_ready)
    }

    /// Serves a model no more. Requests that found it before are answered.
    ///
    /// # Errors
    /// `model_not_found`
    pub async fn unload(&self, loader: &Loader, name: &str) -> Result<(), Error> {
        self.is_here()?;
        let _changing = self.changing.lock().await;
        let not_found = || Error::ModelNotFound { model: shorten(name), version: None };
        let name = ModelName::parse(name).ok_or_else(not_found)?;
        if !self.snapshot().models.contains_key(&name) {
            return Err(not_found());
        }
        self.update(loader, |snapshot| {
            if let Some(entry) = snapshot.models.get_mut(&name) {
                for state in entry.versions.values_mut() {
                    state.end(loader);
                    *state = State::Unloaded;
                }
                // Without a version, it is all that there is to tell.
                entry.fault = entry.fault.take().filter(|_| entry.versions.is_empty());
            }
        });
        tracing::info!(model = name.as_str(), "model is unloaded");
        Ok(())
    }

    /// Models that lie in the repository and are not known yet.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub async fn unknown(&self) -> anyhow::Result<Vec<ModelName>> {
        let config = self.config.clone();
        let mut names = tokio::task::spawn_blocking(move || repository::names(&config)).await??;
        let snapshot = self.snapshot();
        names.retain(|name| !snapshot.models.contains_key(name));
        Ok(names)
    }

    /// Whether models are loaded in this process.
    fn is_here(&self) -> Result<(), Error> {
        if !self.elsewhere {
            return Ok(());
        }
        let detail = "this server loads no models: its workers do, each from its own repository";
        Err(Error::malformed("", "served_by_workers", detail))
    }

    fn update(&self, loader: &Loader, change: impl FnOnce(&mut Snapshot)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        change(&mut snapshot);
        loader.tell_failed(snapshot.failed());
        self.snapshot.store(Arc::new(snapshot));
    }
}

impl Snapshot {
    /// Puts an entry in the place of another one, whose versions stay where the new ones could not be loaded.
    fn replace(&mut self, loader: &Loader, name: ModelName, mut entry: ModelEntry) {
        let old = self.models.remove(&name);
        for (version, state) in old.into_iter().flat_map(|old| old.versions) {
            match entry.versions.get_mut(&version) {
                Some(new @ State::Failed(_)) if matches!(state, State::Ready(_)) => *new = state,
                // Loaded again from the same files, or others: its series are the new one's.
                Some(State::Ready(new)) => {
                    if let State::Ready(old) = &state
                        && old.digest != new.digest
                    {
                        loader.forget_digest(old);
                    }
                }
                _ => state.end(loader),
            }
        }
        self.models.insert(name, entry);
    }

    /// A model's manifest cannot be used: what is served of it stays, and says so only when there is nothing.
    fn broken(&mut self, name: &ModelName, fault: &str) {
        let entry = self.models.entry(name.clone()).or_insert_with(|| ModelEntry {
            default_version: None,
            versions: BTreeMap::new(),
            fault: None,
        });
        if !entry.versions.values().any(|state| matches!(state, State::Ready(_))) {
            entry.fault = Some(fault.into());
        }
    }

    /// Versions that could not be loaded, and models none of whose versions can.
    fn failed(&self) -> usize {
        let of = |entry: &ModelEntry| {
            let versions = entry.versions.values().filter(|state| matches!(state, State::Failed(_)));
            versions.count() + usize::from(entry.fault.is_some())
        };
        self.models.values().map(of).sum()
    }
}

impl State {
    /// It is not served any more.
    fn end(&self, loader: &Loader) {
        if let Self::Ready(loaded) = self {
            loader.forget(loaded);
        }
    }
}

/// Loads one version on a thread that may block.
async fn load(loader: &Arc<Loader>, source: Arc<ModelSource>, version: VersionSource) -> State {
    let id = ModelId { name: source.name.clone(), version: version.version.clone() };
    let (work, loading) = (Arc::clone(loader), id.clone());
    let result = tokio::task::spawn_blocking(move || work.load(&loading, &source, &version)).await;
    match result.map_err(anyhow::Error::from).and_then(|result| result) {
        Ok(loaded) => {
            loader.count(&id, &loaded);
            tracing::info!(model = %id, load_ms = millis(loaded.load_time), digest = loaded.digest, "model is ready");
            State::Ready(Arc::new(loaded))
        }
        Err(error) => {
            loader.count_failed();
            let reason = format!("{error:#}");
            tracing::error!(model = %id, error = reason, "model could not be loaded");
            State::Failed(reason.into())
        }
    }
}
