//! Models that other processes load: the workers tell what they serve, and this server's snapshot follows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use serde_json::from_str;

use super::{Description, Elsewhere, Loaded, ModelEntry, Registry, Snapshot, State};
use crate::{
    config::ModelsConfig,
    model::{ModelName, Version},
    queue::{Beat, Fleet, ModelBeat, Standing},
    telemetry::metrics::Metrics,
};

/// How long it is told of a version that no worker serves any more that it is missing. Then it was never there.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

impl Registry {
    /// What other processes serve; nothing before they have said so: see [`follow`](Self::follow).
    ///
    /// # Errors
    /// When the default model's name is none.
    pub fn elsewhere(config: &ModelsConfig) -> anyhow::Result<Self> {
        let nothing_here = ModelsConfig { repository: None, files: Vec::new(), ..config.clone() };
        Ok(Self { elsewhere: true, ..Self::scan(&nothing_here)? })
    }

    /// What this process tells others that it serves, and the descriptions of its versions by their hashes.
    pub fn beat(&self) -> (BTreeMap<String, ModelBeat>, BTreeMap<String, String>) {
        let (mut models, mut descriptions) = (BTreeMap::new(), BTreeMap::new());
        for (name, entry) in &self.snapshot().models {
            let mut standing = |(version, state): (&Version, &State)| {
                let standing = match state {
                    State::Ready(loaded) => {
                        let description = loaded.describe();
                        let hash = description.hash();
                        descriptions.insert(hash.clone(), serde_json::to_string(&description).unwrap_or_default());
                        Standing::Ready { fingerprint: loaded.fingerprint.to_string(), description: hash }
                    }
                    State::Loading => Standing::Loading,
                    State::Failed(reason) => Standing::Failed(reason.to_string()),
                    State::NotBuilt(reason) => Standing::NotBuilt(reason.to_string()),
                    State::Unloaded | State::Absent(_) => return None,
                };
                Some((version.to_string(), standing))
            };
            let versions = entry.versions.iter().filter_map(&mut standing).collect();
            let default = entry.default_version.as_ref().map(ToString::to_string);
            let fault = entry.fault.as_deref().map(str::to_owned);
            models.insert(name.to_string(), ModelBeat { default, fault, versions });
        }
        (models, descriptions)
    }

    /// Serves what the workers of `fleet` serve from now on.
    pub fn follow(&self, fleet: &Fleet, max_text_chars: usize, metrics: &Metrics) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.snapshot();
        let mut models: BTreeMap<ModelName, ModelEntry> = BTreeMap::new();
        let workers: Vec<Beat> = fleet.workers.iter().map(Beat::without_leaving).collect();
        let names: BTreeSet<ModelName> =
            workers.iter().flat_map(|beat| beat.models.keys()).filter_map(|name| ModelName::parse(name)).collect();
        let latest = newest_first(&workers);
        for name in names {
            let told: Vec<(&Beat, &ModelBeat)> =
                latest.iter().filter_map(|beat| Some((*beat, beat.models.get(name.as_str())?))).collect();
            let known = old.models.get(&name);
            let of = |version: &Version| {
                let standings = told.iter().filter_map(|(_, model)| model.versions.get(version.as_str())).collect();
                state(standings, fleet, known.and_then(|entry| entry.versions.get(version)), |elsewhere, text| {
                    let description: Description = from_str(text)?;
                    description.loaded(elsewhere, max_text_chars, metrics)
                })
            };
            let versions: BTreeSet<Version> = told
                .iter()
                .flat_map(|(_, model)| model.versions.keys())
                .filter_map(|text| Version::parse(text))
                .collect();
            let versions: BTreeMap<Version, State> =
                versions.into_iter().map(|version| (version.clone(), of(&version))).collect();
            let default_version = told.iter().find_map(|(_, model)| Version::parse(model.default.as_deref()?));
            let fault = told.iter().find_map(|(_, model)| model.fault.as_deref()).filter(|_| versions.is_empty());
            if !versions.is_empty() || fault.is_some() {
                models.insert(name, ModelEntry { default_version, versions, fault: fault.map(Arc::from) });
            }
        }
        remember(&old, &mut models);
        self.snapshot.store(Arc::new(Snapshot { models }));
    }
}

fn newest_first(workers: &[Beat]) -> Vec<&Beat> {
    let mut workers: Vec<&Beat> = workers.iter().collect();
    workers.sort_by_key(|beat| std::cmp::Reverse(beat.started_ms));
    workers
}

/// The state of a version that several workers serve, the newest worker first. Where they do not agree on what they serve,
/// as while a new release is rolled out, it is what most of them serve.
fn state(
    standings: Vec<&Standing>,
    fleet: &Fleet,
    known: Option<&State>,
    load: impl Fn(Elsewhere, &str) -> anyhow::Result<Loaded>,
) -> State {
    let mut ready: HashMap<&str, (usize, BTreeSet<&str>)> = HashMap::new();
    let mut order = Vec::new();
    for standing in &standings {
        if let Standing::Ready { fingerprint, description } = standing
            && fleet.descriptions.contains_key(description)
        {
            let (count, descriptions) = ready.entry(fingerprint).or_default();
            *count += 1;
            descriptions.insert(description);
            order.push(&**fingerprint);
        }
    }
    let most = ready.values().map(|(count, _)| *count).max();
    let chosen = order.into_iter().find(|fingerprint| ready.get(fingerprint).map(|(count, _)| *count) == most);
    if let Some((fingerprint, (_, descriptions))) = chosen.and_then(|chosen| ready.get_key_value(chosen))
        && let Some(description) = descriptions.first()
        && let Some(text) = fleet.descriptions.get(*description)
    {
        let elsewhere = Elsewhere { description: (*description).to_owned(), fingerprint: Arc::from(*fingerprint) };
        if let Some(State::Ready(loaded)) = known
            && loaded.elsewhere.as_ref() == Some(&elsewhere)
        {
            return State::Ready(Arc::clone(loaded));
        }
        return match load(elsewhere, text) {
            Ok(loaded) => State::Ready(Arc::new(loaded)),
            Err(error) => State::Failed(format!("{error:#}").into()),
        };
    }
    let told = |standing: &&Standing| match standing {
        Standing::Ready { .. } | Standing::Leaving { .. } | Standing::Loading => State::Loading,
        Standing::Failed(reason) => State::Failed(reason.as_str().into()),
        Standing::NotBuilt(reason) => State::NotBuilt(reason.as_str().into()),
    };
    let loading = standings.iter().any(|standing| matches!(standing, Standing::Ready { .. } | Standing::Loading));
    if loading { State::Loading } else { standings.first().map_or(State::Loading, told) }
}

/// Keeps what was served a little while ago, and says that nobody serves it now.
fn remember(old: &Snapshot, models: &mut BTreeMap<ModelName, ModelEntry>) {
    for (name, entry) in &old.models {
        for (version, state) in &entry.versions {
            let since = match state {
                State::Absent(since) if since.elapsed() < REMEMBERED => *since,
                State::Ready(_) => Instant::now(),
                _ => continue,
            };
            let kept = models.entry(name.clone()).or_insert_with(|| ModelEntry {
                default_version: entry.default_version.clone(),
                versions: BTreeMap::new(),
                fault: None,
            });
            kept.versions.entry(version.clone()).or_insert(State::Absent(since));
        }
    }
}
