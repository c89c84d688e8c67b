//! How much of what lies in Redis is believed: whoever can write there can claim to be a worker, and to serve anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Beat, Fleet, ModelBeat, Standing};
use crate::model::{ModelName, Version};

/// An entry, or an answer. The default `server.body_limit` of 8 MiB becomes less than this in all but odd cases, and a
/// larger message holds up those behind it.
pub(super) const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// Of several messages that are taken at once; the last one may go beyond it.
pub(super) const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The largest reply that is asked for: a message, those that are taken with it, and what Redis writes around them.
pub(super) const MAX_REPLY_BYTES: usize = MAX_MESSAGE_BYTES + MAX_BATCH_BYTES + 1024 * 1024;

/// API servers with more workers are beyond what one Redis carries.
pub(super) const MAX_WORKERS: usize = 1024;

/// Names in the set of workers that are looked at. Those of the dead are removed, so that the next look sees others.
pub(super) const MAX_NAMES: usize = 8192;

/// A worker's name has 40 bytes or so.
pub(super) const MAX_NAME_BYTES: usize = 64;

/// A heartbeat has 150 bytes or so for each version.
pub(super) const MAX_BEAT_BYTES: usize = 256 * 1024;

/// Of all heartbeats: 8 KiB, or 50 versions, for each of [`MAX_WORKERS`].
pub(super) const MAX_BEATS_BYTES: usize = 8 * 1024 * 1024;

/// Models and versions in the whole fleet. Each version has some hundred series in the metrics.
const MAX_MODELS: usize = 512;
const MAX_VERSIONS: usize = 1024;

/// The reason why a version is not served, as it is shown to operators.
pub(super) const MAX_REASON_BYTES: usize = 1024;

/// A description has some KiB, and up to 256 KiB of figures of quality.
pub(super) const MAX_DESCRIPTION_BYTES: usize = 1024 * 1024;

/// Of all descriptions: 16 KiB for each of [`MAX_VERSIONS`]. What is read from JSON takes many times this in memory.
pub(super) const MAX_DESCRIPTIONS_BYTES: usize = 16 * 1024 * 1024;

/// Fingerprints and hashes of descriptions, which become parts of names in Redis. Those of workers have 32.
const MAX_HASH_BYTES: usize = 64;

/// Models that no worker names any more, and how long they have series: an alert says that nobody serves them.
const MAX_REMEMBERED: usize = 256;
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// How much of what workers say is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub models: usize,
    pub versions: usize,
}

/// The heartbeat under the name `id`, which is bounded; what it says of its name itself is not.
pub(super) fn beat(id: &str, text: &str) -> Option<Beat> {
    let beat: Beat = serde_json::from_str(text).ok()?;
    Some(Beat { worker: id.to_owned(), ..beat })
}

/// Leaves out what has no possible name, and what is beyond the bounds. What was served `before` goes first: nothing that
/// comes later takes its place.
pub(super) fn bound(workers: &mut [Beat], before: &Fleet) -> LeftOut {
    let mut left_out = LeftOut::default();
    for model in workers.iter_mut().flat_map(|beat| beat.models.values_mut()) {
        let count = model.versions.len();
        tidy(model);
        left_out.versions += count - model.versions.len();
    }
    let admitted = admit(MAX_MODELS, models(before.workers.iter()), models(workers.iter()));
    let admitted: BTreeSet<String> = admitted.into_iter().map(str::to_owned).collect();
    for beat in workers.iter_mut() {
        let count = beat.models.len();
        beat.models.retain(|name, _| admitted.contains(name));
        left_out.models += count - beat.models.len();
    }
    let admitted = admit(MAX_VERSIONS, versions(before.workers.iter()), versions(workers.iter()));
    let admitted: BTreeSet<(String, String)> =
        admitted.into_iter().map(|(model, version)| (model.to_owned(), version.to_owned())).collect();
    for (name, model) in workers.iter_mut().flat_map(|beat| &mut beat.models) {
        let count = model.versions.len();
        model.versions.retain(|version, _| admitted.contains(&(name.clone(), version.clone())));
        left_out.versions += count - model.versions.len();
    }
    left_out
}

/// Up to `most` of those that are there `now`, the ones from `before` first.
fn admit<T: Ord + Copy>(most: usize, before: BTreeSet<T>, now: BTreeSet<T>) -> BTreeSet<T> {
    if now.len() <= most {
        return now;
    }
    let (known, new): (Vec<T>, Vec<T>) = now.into_iter().partition(|one| before.contains(one));
    known.into_iter().chain(new).take(most).collect()
}

fn models<'a>(workers: impl Iterator<Item = &'a Beat>) -> BTreeSet<&'a str> {
    workers.flat_map(|beat| beat.models.keys()).map(String::as_str).filter(|name| ModelName::is_name(name)).collect()
}

fn versions<'a>(workers: impl Iterator<Item = &'a Beat>) -> BTreeSet<(&'a str, &'a str)> {
    let models = workers.flat_map(|beat| &beat.models);
    models
        .flat_map(|(name, model)| model.versions.keys().map(move |version| (name.as_str(), version.as_str())))
        .collect()
}

/// Leaves out versions that are none, and cuts words.
fn tidy(model: &mut ModelBeat) {
    model.versions.retain(|version, standing| Version::parse(version).is_some() && is_possible(standing));
    model.default = model.default.take().filter(|version| Version::parse(version).is_some());
    model.cut_reasons();
}

fn is_possible(standing: &Standing) -> bool {
    match standing {
        Standing::Ready { fingerprint, description } => is_hash(fingerprint) && is_hash(description),
        Standing::Leaving { fingerprint } => is_hash(fingerprint),
        Standing::Loading | Standing::Failed(_) | Standing::NotBuilt(_) => true,
    }
}

fn is_hash(text: &str) -> bool {
    (1..=MAX_HASH_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The models that have series: those that workers name, and for a while those that they named before.
#[derive(Debug, Default)]
pub(super) struct Remembered(BTreeMap<String, Option<Instant>>);

impl Remembered {
    /// Workers name these now. Returns those that are new, and those that are forgotten.
    pub(super) fn see<'a>(&mut self, named: impl Iterator<Item = &'a str>, now: Instant) -> (Vec<String>, Vec<String>) {
        let named: BTreeSet<&str> = named.collect();
        for (model, since) in &mut self.0 {
            *since = if named.contains(&**model) { None } else { since.or(Some(now)) };
        }
        let new: Vec<String> =
            named.iter().filter(|model| !self.0.contains_key(**model)).map(|model| (*model).to_owned()).collect();
        self.0.extend(new.iter().map(|model| (model.clone(), None)));
        let absent = |(model, since): (&String, &Option<Instant>)| Some(((*since)?, model.clone()));
        let mut absent: Vec<(Instant, String)> = self.0.iter().filter_map(absent).collect();
        // The last ones first.
        absent.sort_unstable_by(|one, other| other.cmp(one));
        let kept = |(place, (since, _)): &(usize, (Instant, String))| {
            *place < MAX_REMEMBERED && now.saturating_duration_since(*since) < REMEMBERED
        };
        let forgotten: Vec<String> =
            absent.into_iter().enumerate().filter(|one| !kept(one)).map(|(_, (_, model))| model).collect();
        for model in &forgotten {
            self.0.remove(model);
        }
        (new, forgotten)
    }

    /// All of them.
    pub(super) fn models(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str, models: impl Iterator<Item = String>, versions: usize) -> Beat {
        let standing = || Standing::Ready { fingerprint: "a1".to_owned(), description: "b2".to_owned() };
        let versions: BTreeMap<String, Standing> = (0..versions).map(|n| (n.to_string(), standing())).collect();
        let model = |name| (name, ModelBeat { default: None, fault: None, versions: versions.clone() });
        Beat { worker: id.to_owned(), started_ms: 1, models: models.map(model).collect() }
    }

    fn names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
        (0..count).map(move |n| format!("{prefix}{n}"))
    }

    #[test]
    fn what_was_there_before_keeps_its_place_before_whatever_comes() {
        let mut first = vec![worker("b", names("own", 3), 2)];
        assert_eq!(bound(&mut first, &Fleet::default()), LeftOut::default());
        let before = Fleet { workers: first.clone(), ..Fleet::default() };
        let mut then = vec![worker("a", names("a_flood", 2000), 3), first.remove(0)];
        let left_out = bound(&mut then, &before);
        assert_eq!(left_out.models, 2003 - MAX_MODELS);
        assert_eq!(versions(then.iter()).len(), MAX_VERSIONS);
        assert_eq!(then[1], before.workers[0]);
    }

    #[test]
    fn names_that_are_none_are_left_out_and_reasons_are_cut() {
        let mut workers = vec![worker("a", ["good".to_owned(), "../x".to_owned(), "y".repeat(129)].into_iter(), 1)];
        let model = workers[0].models.get_mut("good").unwrap();
        model.fault = Some("ü".repeat(MAX_REASON_BYTES));
        model.versions.insert("no version".to_owned(), Standing::Loading);
        model.versions.insert("2".to_owned(), Standing::Leaving { fingerprint: "a:b".to_owned() });
        model.versions.insert("3".to_owned(), Standing::Failed("x".repeat(MAX_REASON_BYTES + 1)));
        assert_eq!(bound(&mut workers, &Fleet::default()), LeftOut { models: 2, versions: 2 });
        let model = &workers[0].models["good"];
        assert_eq!(model.versions.keys().collect::<Vec<_>>(), ["0", "3"]);
        assert_eq!(model.fault.as_ref().map(String::len), Some(MAX_REASON_BYTES));
        assert_eq!(model.versions["3"], Standing::Failed("x".repeat(MAX_REASON_BYTES)));
    }

    #[test]
    fn models_that_nobody_names_are_forgotten_after_a_while_and_sooner_when_they_are_many() {
        let (mut remembered, start) = (Remembered::default(), Instant::now());
        let named = |names: &'static [&'static str]| names.iter().copied();
        assert_eq!(remembered.see(named(&["a", "b"]), start), (vec!["a".into(), "b".into()], vec![]));
        assert_eq!(remembered.see(named(&["a"]), start), (vec![], vec![]));
        assert_eq!(remembered.see(named(&["a"]), start + REMEMBERED), (vec![], vec!["b".into()]));
        for look in 0..20 {
            let flood: Vec<String> = names(&format!("flood{look}_"), 100).collect();
            let named = flood.iter().map(String::as_str).chain(["a"]);
            let _ = remembered.see(named, start + REMEMBERED + Duration::from_secs(look));
            assert!(remembered.models().count() <= 101 + MAX_REMEMBERED);
            assert!(remembered.models().any(|model| model == "a"));
        }
    }
}
