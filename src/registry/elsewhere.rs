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
    telemetry::metrics::{Gone, Metrics},
};

/// How long it is told of a version that no worker serves any more that it is missing. Then it was never there.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// Versions of which that is told. They keep their series in the metrics for as long.
const MAX_REMEMBERED: usize = 256;

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
                    anyhow::ensure!(description.is_of(&name, version), "its worker describes another version");
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
        let new = Snapshot { models };
        metrics.forget(&gone(&old, &new));
        self.snapshot.store(Arc::new(new));
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
    let mut absent: Vec<(Instant, &ModelName, &Version)> = Vec::new();
    for (name, entry) in &old.models {
        for (version, state) in &entry.versions {
            let since = match state {
                State::Absent(since) if since.elapsed() < REMEMBERED => *since,
                State::Ready(_) => Instant::now(),
                _ => continue,
            };
            if !models.get(name).is_some_and(|entry| entry.versions.contains_key(version)) {
                absent.push((since, name, version));
            }
        }
    }
    // The last ones first.
    absent.sort_unstable_by(|one, other| other.cmp(one));
    for (since, name, version) in absent.into_iter().take(MAX_REMEMBERED) {
        let kept = models.entry(name.clone()).or_insert_with(|| ModelEntry {
            default_version: old.models.get(name).and_then(|entry| entry.default_version.clone()),
            versions: BTreeMap::new(),
            fault: None,
        });
        kept.versions.insert(version.clone(), State::Absent(since));
    }
}

/// What has series for `old`, and is to have none for `new`.
fn gone(old: &Snapshot, new: &Snapshot) -> Gone {
    let mut gone = Gone::default();
    for (name, entry) in &old.models {
        let Some(now) = new.models.get(name) else {
            gone.models.insert(name.to_string());
            continue;
        };
        for (version, state) in &entry.versions {
            let id = || (name.to_string(), version.to_string());
            match (state, now.versions.get(version)) {
                (_, None) => drop(gone.versions.insert(id())),
                (State::Ready(before), Some(State::Ready(after)))
                    if before.metrics.labels() == after.metrics.labels() => {}
                // Of one that was away, it is not remembered how it was labelled.
                (_, Some(State::Ready(after))) => drop(gone.labels.insert(id(), labels(after))),
                _ => {}
            }
        }
    }
    gone
}

fn labels(loaded: &Loaded) -> BTreeSet<String> {
    loaded.metrics.labels().iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(versions: impl Iterator<Item = (String, u32)>, start: Instant) -> BTreeMap<ModelName, ModelEntry> {
        let mut models: BTreeMap<ModelName, ModelEntry> = BTreeMap::new();
        for (n, (model, version)) in versions.enumerate() {
            let entry = models.entry(ModelName::parse(&model).unwrap()).or_insert_with(|| ModelEntry {
                default_version: None,
                versions: BTreeMap::new(),
                fault: None,
            });
            let since = start + Duration::from_millis(n as u64);
            entry.versions.insert(Version::parse(&version.to_string()).unwrap(), State::Absent(since));
        }
        models
    }

    fn count(models: &BTreeMap<ModelName, ModelEntry>) -> usize {
        models.values().map(|entry| entry.versions.len()).sum()
    }

    #[test]
    fn of_what_nobody_serves_any_more_the_last_versions_are_remembered_and_the_others_lose_their_series() {
        let start = Instant::now();
        // Two versions of each model, but for the last one.
        let versions = (0..2 * MAX_REMEMBERED as u32 + 1).map(|n| (format!("m{}", n / 2), n % 2));
        let old = Snapshot { models: absent(versions, start) };
        let mut models = BTreeMap::new();
        remember(&old, &mut models);
        assert_eq!(count(&models), MAX_REMEMBERED);
        let gone = gone(&old, &Snapshot { models });
        assert_eq!(gone.models.len(), MAX_REMEMBERED / 2);
        assert!(gone.models.contains("m0") && !gone.models.contains(&format!("m{MAX_REMEMBERED}")));
        let half = (format!("m{}", MAX_REMEMBERED / 2), "0".to_owned());
        assert_eq!(gone.versions, BTreeSet::from([half]));
        assert!(gone.labels.is_empty());
    }

    #[test]
    fn what_is_served_again_is_remembered_no_more() {
        let start = Instant::now();
        let old = Snapshot { models: absent([("m".to_owned(), 1), ("n".to_owned(), 1)].into_iter(), start) };
        let mut models = absent([("m".to_owned(), 1)].into_iter(), start);
        let version = Version::parse("1").unwrap();
        models.get_mut(&ModelName::parse("m").unwrap()).unwrap().versions.insert(version.clone(), State::Loading);
        remember(&old, &mut models);
        assert_eq!(count(&models), 2);
        assert!(matches!(models[&ModelName::parse("m").unwrap()].versions[&version], State::Loading));
        assert!(gone(&old, &Snapshot { models }).is_empty());
    }
}
