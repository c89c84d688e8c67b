//! Looks which workers live and what they serve, within bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use redis::{Value, cmd, pipe};

use super::{
    Beat, Fleet, Queue,
    bounds::{self, MAX_BEAT_BYTES, MAX_BEATS_BYTES, MAX_DESCRIPTION_BYTES, MAX_DESCRIPTIONS_BYTES, MAX_NAME_BYTES},
    bounds::{MAX_NAMES, MAX_WORKERS},
    broker::{number, text},
    scripts,
};
use crate::{link::Trouble, telemetry::labels::LeftOut};

/// Descriptions that are read with one command.
const AT_ONCE: usize = 8;

/// What is remembered from one look to the next, so that a fault is logged once.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// Workers that are left out.
    workers: BTreeSet<String>,
    /// Hashes of descriptions that are too large: they name their content, so none is read again.
    too_large: BTreeSet<String>,
    /// How much else is left out.
    rest: (bounds::LeftOut, usize),
}

/// What lies in Redis under the names of workers.
struct Beats {
    workers: Vec<Beat>,
    /// Names of some that are left out, and how many these are.
    left_out: BTreeSet<String>,
    count: usize,
}

impl Queue {
    /// The workers that live, and what they serve.
    pub(super) async fn who_lives(&self, census: &mut Census) -> Result<Fleet, Trouble> {
        let before = self.fleet();
        let Beats { mut workers, left_out, count } = self.beats(&before).await?;
        let rest = bounds::bound(&mut workers, &before);
        let (descriptions, missing) = self.descriptions(&workers, &before, census).await?;
        let metrics = &self.broker.metrics.queue;
        metrics.left_out(LeftOut::Worker, count);
        metrics.left_out(LeftOut::Model, rest.models);
        metrics.left_out(LeftOut::Version, rest.versions);
        metrics.left_out(LeftOut::Description, missing);
        census.tell(left_out, (rest, missing));
        workers.sort_by(|one, other| one.worker.cmp(&other.worker));
        Ok(Fleet { workers, descriptions })
    }

    /// The heartbeats, those of the workers from `before` first.
    async fn beats(&self, before: &Fleet) -> Result<Beats, Trouble> {
        let names = &self.broker.names;
        let numbers = [MAX_NAMES, MAX_WORKERS, MAX_NAME_BYTES, MAX_BEAT_BYTES, MAX_BEATS_BYTES];
        let numbers = numbers.map(|number| number.to_string());
        let prefix = names.worker("");
        let mut arguments = vec![prefix.as_bytes()];
        arguments.extend(numbers.iter().map(String::as_bytes));
        arguments.extend(before.workers.iter().map(|beat| beat.worker.as_bytes()));
        let answer = self.broker.script(scripts::BEATS, &[&names.workers()], &arguments).await?;
        let Value::Array(parts) = answer else { return Err(Trouble::Failing) };
        let [count, left_out, found] = &parts[..] else { return Err(Trouble::Failing) };
        let (Some(count), Value::Array(left_out), Value::Array(found)) = (number(count), left_out, found) else {
            return Err(Trouble::Failing);
        };
        let mut beats = Beats {
            workers: Vec::new(),
            left_out: left_out.iter().filter_map(text).collect(),
            count: usize::try_from(count).unwrap_or(usize::MAX),
        };
        for pair in found.chunks_exact(2) {
            let id = text(&pair[0]);
            let beat = id.as_ref().and_then(|id| bounds::beat(id, &text(&pair[1])?));
            if let Some(beat) = beat {
                beats.workers.push(beat);
            } else {
                beats.count += 1;
                beats.left_out.extend(id);
            }
            // Large ones take milliseconds to read.
            tokio::task::yield_now().await;
        }
        Ok(beats)
    }

    /// The descriptions that workers refer to, and how many of them are left out.
    async fn descriptions(
        &self,
        workers: &[Beat],
        before: &Fleet,
        census: &mut Census,
    ) -> Result<(BTreeMap<String, Arc<str>>, usize), Trouble> {
        let wanted: BTreeSet<&str> = workers.iter().flat_map(Beat::descriptions).collect();
        let mut known = before.descriptions.clone();
        known.retain(|hash, _| wanted.contains(&**hash));
        census.too_large.retain(|hash| wanted.contains(&**hash));
        let mut left_out = census.too_large.len();
        let mut bytes = known.values().map(|text| text.len()).sum::<usize>();
        let is_missing = |hash: &&str| !known.contains_key(*hash) && !census.too_large.contains(*hash);
        let missing: Vec<&str> = wanted.into_iter().filter(is_missing).collect();
        for hashes in missing.chunks(AT_ONCE) {
            // What is beyond the bound is not read: it would be read anew at every look.
            if bytes >= MAX_DESCRIPTIONS_BYTES {
                left_out += hashes.len();
                continue;
            }
            for (hash, text) in hashes.iter().zip(self.read(hashes).await?) {
                if text.len() > MAX_DESCRIPTION_BYTES {
                    census.too_large.insert((*hash).to_owned());
                    left_out += 1;
                } else if bytes + text.len() > MAX_DESCRIPTIONS_BYTES {
                    left_out += 1;
                } else if !text.is_empty() {
                    bytes += text.len();
                    known.insert((*hash).to_owned(), text.into());
                }
            }
        }
        Ok((known, left_out))
    }

    /// The texts of some descriptions; an empty one where there is none.
    async fn read(&self, hashes: &[&str]) -> Result<Vec<String>, Trouble> {
        let mut commands = pipe();
        for hash in hashes {
            // One byte more than is taken: what is too long is seen to be.
            let key = self.broker.names.description(hash);
            commands.add_command(cmd("GETRANGE").arg(key).arg(0).arg(MAX_DESCRIPTION_BYTES).to_owned());
        }
        let values = self.broker.ask(&commands).await?;
        Ok(values.iter().map(|value| text(value).unwrap_or_default()).collect())
    }
}

impl Census {
    /// Logs what is left out, once for as long as it is.
    fn tell(&mut self, workers: BTreeSet<String>, rest: (bounds::LeftOut, usize)) {
        for worker in workers.difference(&self.workers) {
            tracing::warn!(worker, "a worker is left out: its heartbeat cannot be read, or is beyond what is taken");
        }
        self.workers = workers;
        let (bounds::LeftOut { models, versions }, descriptions) = rest;
        if rest != Default::default() && self.rest == Default::default() {
            let reason = "names that are none, or more than are taken";
            tracing::warn!(models, versions, descriptions, reason, "some of what workers serve is left out");
        }
        self.rest = rest;
    }
}
