//! Which models are live: an atomic snapshot that requests read without waiting for anybody.

mod description;
mod digest;
mod elsewhere;
mod features;
mod golden;
mod interface;
mod loader;
mod loading;
mod opened;
mod repository;
mod text;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use arc_swap::ArcSwap;

pub use description::{Description, Elsewhere};
pub use loader::{Loaded, Loader};
pub use repository::{ModelSource, Source, VersionSource};

use crate::{
    config::ModelsConfig,
    error::Error,
    model::{ModelName, ModelRef, Version},
};

/// All models, and how far each of their versions is.
#[derive(Debug)]
pub struct Registry {
    snapshot: ArcSwap<Snapshot>,
    /// Held while a new snapshot is made of the last one, so that no change is lost.
    writing: Mutex<()>,
    /// Held while models are loaded or unloaded on demand.
    changing: tokio::sync::Mutex<()>,
    /// Where to look again.
    config: ModelsConfig,
    sources: Vec<ModelSource>,
    default: Option<ModelName>,
    required: Vec<String>,
    /// Set where other processes load the models.
    elsewhere: bool,
}

/// What is served at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// All known models.
    pub models: BTreeMap<ModelName, ModelEntry>,
}

/// One model.
#[derive(Debug, Clone)]
pub struct ModelEntry {
    /// Answers requests that name no version.
    pub default_version: Option<Version>,
    /// All versions; empty when the model's folder is of no use.
    pub versions: BTreeMap<Version, State>,
    /// Why no version can be served at all: a broken manifest.
    pub fault: Option<Arc<str>>,
}

/// How far a version is.
#[derive(Debug, Clone)]
pub enum State {
    /// Not asked yet, or in the making.
    Loading,
    /// Warm, and its golden samples agree.
    Ready(Arc<Loaded>),
    /// Why not.
    Failed(Arc<str>),
    /// Its graph is made by a command that has not run yet: which one.
    NotBuilt(Arc<str>),
    /// Somebody asked for that.
    Unloaded,
    /// Other processes served it, and none does since then.
    Absent(Instant),
}

impl State {
    /// The word for it in answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready(_) => "ready",
            Self::Failed(_) => "failed",
            Self::NotBuilt(_) => NOT_BUILT,
            Self::Unloaded => UNLOADED,
            Self::Absent(_) => NO_WORKER,
        }
    }
}

/// The word for a version whose graph is not there yet. It is told, and nothing waits for it unless it is required by name.
const NOT_BUILT: &str = "not_built";

/// The word for a version that somebody asked not to serve. Nothing waits for it either, unless it is required by name.
const UNLOADED: &str = "unloaded";

/// What is told of it.
const UNLOADED_REASON: &str = "it was unloaded; it can be loaded again";

/// The word for a version that no worker serves at the moment.
const NO_WORKER: &str = "no_worker";

/// What is told of a version that no worker serves.
const ABSENT_REASON: &str = "no worker serves it at the moment";

impl ModelEntry {
    /// The state of the default version, in one word.
    pub fn state(&self) -> &'static str {
        let default = self.default_version.as_ref().and_then(|version| self.versions.get(version));
        default.map_or("failed", State::as_str)
    }
}

/// Something that is not ready, for probes and people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// The model, with its version where one is meant.
    pub model: String,
    /// `loading`, `failed`, `not_built`, `unloaded`, `no_worker` or `missing`.
    pub state: &'static str,
    /// Why, without paths of the machine.
    pub reason: String,
    /// Whether readiness waits for it.
    pub required: bool,
}

impl NotReady {
    /// Whether something is out of order, rather than not there yet.
    pub fn is_fault(&self) -> bool {
        self.state != NOT_BUILT && self.state != UNLOADED
    }
}

impl Registry {
    /// Looks at what there is to serve; loads nothing yet.
    ///
    /// # Errors
    /// When the repository cannot be read, or two models have one name.
    pub fn scan(config: &ModelsConfig) -> anyhow::Result<Self> {
        let sources = repository::scan(config)?;
        let entry = |source: &ModelSource| {
            let reason: Arc<str> = source.not_built_reason().into();
            let not_built =
                source.not_built.iter().map(|version| (version.clone(), State::NotBuilt(Arc::clone(&reason))));
            let built = source.versions.iter().map(|version| (version.version.clone(), State::Loading));
            let versions = built.chain(not_built).collect();
            let fault = source.fault.as_deref().map(Arc::from);
            let entry = ModelEntry { default_version: source.default_version(), versions, fault };
            (source.name.clone(), entry)
        };
        let snapshot = Snapshot { models: sources.iter().map(entry).collect() };
        let only = (sources.len() == 1).then(|| sources[0].name.clone());
        let default = match &config.default {
            Some(name) => Some(
                ModelName::parse(name).ok_or_else(|| anyhow::anyhow!("models.default '{name}' is no model name"))?,
            ),
            None => only,
        };
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            writing: Mutex::new(()),
            changing: tokio::sync::Mutex::default(),
            config: config.clone(),
            sources,
            default,
            required: config.required.clone(),
            elsewhere: false,
        })
    }

    /// Whether any model needs ONNX Runtime.
    pub fn needs_library(&self) -> bool {
        self.sources.iter().any(ModelSource::needs_library)
    }

    /// What is served now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The inputs of the version that has the most.
    pub fn max_inputs(&self) -> usize {
        let snapshot = self.snapshot.load();
        let versions = snapshot.models.values().flat_map(|entry| entry.versions.values());
        let inputs = versions.filter_map(|state| match state {
            State::Ready(loaded) => Some(loaded.signature.inputs.len().max(loaded.interface.inputs.len())),
            _ => None,
        });
        inputs.max().unwrap_or_default()
    }

    /// The model that answers requests which name none.
    pub const fn default_model(&self) -> Option<&ModelName> {
        self.default.as_ref()
    }

    /// Finds the version that a request means.
    ///
    /// # Errors
    /// `malformed_request` when no model is named and none is the default, `model_not_found`, `model_not_ready`.
    pub fn resolve(&self, wanted: &ModelRef) -> Result<Arc<Loaded>, Error> {
        let snapshot = self.snapshot.load();
        let (name, entry) = self.entry(&snapshot, wanted)?;
        let not_found =
            || Error::ModelNotFound { model: name.to_string(), version: wanted.version.as_deref().map(shorten) };
        let not_ready = |reason: String| Error::ModelNotReady { model: name.to_string(), reason };
        if let Some(fault) = &entry.fault {
            return Err(not_ready(fault.to_string()));
        }
        let version = match &wanted.version {
            Some(text) => Version::parse(text).ok_or_else(not_found)?,
            None => entry.default_version.clone().ok_or_else(|| not_ready("it has no version".to_owned()))?,
        };
        match entry.versions.get(&version).ok_or_else(not_found)? {
            State::Ready(loaded) => Ok(Arc::clone(loaded)),
            State::Loading => Err(not_ready("it is being loaded".to_owned())),
            State::Failed(reason) => Err(not_ready(format!("it could not be loaded: {reason}"))),
            State::NotBuilt(reason) => Err(not_ready(reason.to_string())),
            State::Unloaded => Err(not_ready(UNLOADED_REASON.to_owned())),
            State::Absent(_) => Err(not_ready(ABSENT_REASON.to_owned())),
        }
    }

    fn entry<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        wanted: &ModelRef,
    ) -> Result<(&'a ModelName, &'a ModelEntry), Error> {
        let not_found = |name: &str| Error::ModelNotFound { model: shorten(name), version: None };
        let name = match (&wanted.name, &self.default) {
            (Some(text), _) => ModelName::parse(text).ok_or_else(|| not_found(text))?,
            (None, Some(default)) => default.clone(),
            (None, None) if self.elsewhere && snapshot.models.len() == 1 => {
                snapshot.models.keys().next().cloned().ok_or_else(|| not_found(""))?
            }
            (None, None) => {
                let detail = "name a model: this server has no default one";
                return Err(Error::malformed("/model", "missing_model", detail));
            }
        };
        // Without any worker nobody knows which models there are.
        if self.elsewhere && snapshot.models.is_empty() {
            return Err(Error::ModelNotReady { model: shorten(name.as_str()), reason: ABSENT_REASON.to_owned() });
        }
        snapshot.models.get_key_value(&name).ok_or_else(|| not_found(name.as_str()))
    }

    /// Everything that is not ready. The server is ready when none of it is required.
    pub fn not_ready(&self) -> Vec<NotReady> {
        let snapshot = self.snapshot.load();
        let mut missing: Vec<NotReady> = Vec::new();
        for (name, entry) in &snapshot.models {
            let item = |model: String, state, reason: &str| NotReady {
                model,
                state,
                reason: reason.to_owned(),
                required: self.requires(name.as_str()),
            };
            missing.extend(entry.fault.as_deref().map(|fault| item(name.to_string(), "failed", fault)));
            missing.extend(entry.versions.iter().filter_map(|(version, state)| match state {
                State::Ready(_) => None,
                State::Loading => Some(item(format!("{name}/{version}"), "loading", "it is being loaded")),
                State::Failed(reason) => Some(item(format!("{name}/{version}"), "failed", reason)),
                State::NotBuilt(reason) => {
                    let required = self.requires_by_name(name.as_str());
                    Some(NotReady { required, ..item(format!("{name}/{version}"), NOT_BUILT, reason) })
                }
                State::Absent(_) => Some(item(format!("{name}/{version}"), NO_WORKER, ABSENT_REASON)),
                State::Unloaded => {
                    let required = self.requires_by_name(name.as_str());
                    Some(NotReady { required, ..item(format!("{name}/{version}"), UNLOADED, UNLOADED_REASON) })
                }
            }));
        }
        let named = self.required.iter().map(String::as_str).filter(|name| *name != "*");
        let named = named.chain(self.default.as_ref().map(ModelName::as_str));
        let unknown: std::collections::BTreeSet<_> = named.filter(|name| !known(&snapshot, name)).collect();
        missing.extend(unknown.into_iter().map(|name| NotReady {
            model: name.to_owned(),
            state: "missing",
            reason: "the configuration names it, but it is not there".to_owned(),
            required: true,
        }));
        if self.elsewhere && self.requires_by_name("*") && !snapshot.serves() {
            missing.push(NotReady {
                model: "*".to_owned(),
                state: NO_WORKER,
                reason: "no worker serves any model at the moment".to_owned(),
                required: true,
            });
        } else if snapshot.models.is_empty() && self.requires("*") {
            // A volume that is not mounted looks like this.
            missing.push(NotReady {
                model: "*".to_owned(),
                state: "missing",
                reason: "there is no model to serve".to_owned(),
                required: true,
            });
        }
        missing
    }

    fn requires_by_name(&self, name: &str) -> bool {
        self.required.iter().any(|required| required == name)
    }

    fn requires(&self, name: &str) -> bool {
        // Where workers come and go, one model without any must not take the others from their callers.
        self.required.iter().any(|required| required == "*" && !self.elsewhere || required == name)
    }
}

impl Snapshot {
    /// Whether anything is served.
    fn serves(&self) -> bool {
        let ready = |state: &State| matches!(state, State::Ready(_));
        self.models.values().any(|entry| entry.versions.values().any(ready))
    }
}

fn known(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.models.keys().any(|model| model.as_str() == name)
}

/// What a caller wrote, short enough to be said back.
pub fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}
