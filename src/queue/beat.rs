//! What a worker says of itself, again and again for as long as it lives.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::bounds::MAX_REASON_BYTES;

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Beat {
    /// Its id.
    pub worker: String,
    /// When it was started, in milliseconds since 1970 by its own clock.
    pub started_ms: u64,
    /// What it serves, by the models' names.
    pub models: BTreeMap<String, ModelBeat>,
}

impl Beat {
    /// The same without the versions that it takes no entries for any more.
    pub fn without_leaving(&self) -> Self {
        let mut stays = self.clone();
        for model in stays.models.values_mut() {
            model.versions.retain(|_, standing| !matches!(standing, Standing::Leaving { .. }));
        }
        stays
    }

    /// The hashes of what it describes.
    pub(super) fn descriptions(&self) -> impl Iterator<Item = &str> {
        self.models.values().flat_map(|model| model.versions.values()).filter_map(|standing| match standing {
            Standing::Ready { description, .. } => Some(description.as_str()),
            _ => None,
        })
    }
}

impl ModelBeat {
    /// The same of a worker that is about to end.
    pub fn leave(&mut self) {
        for standing in self.versions.values_mut() {
            if let Standing::Ready { fingerprint, .. } = standing {
                *standing = Standing::Leaving { fingerprint: std::mem::take(fingerprint) };
            }
        }
    }
}

impl ModelBeat {
    /// Shortens the reasons why something is not served: they are for people.
    pub(super) fn cut_reasons(&mut self) {
        self.fault.iter_mut().for_each(cut);
        for standing in self.versions.values_mut() {
            if let Standing::Failed(reason) | Standing::NotBuilt(reason) = standing {
                cut(reason);
            }
        }
    }
}

fn cut(reason: &mut String) {
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    // A text that was read keeps the room of all that it was.
    reason.shrink_to_fit();
}

/// What it says of one model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct ModelBeat {
    /// The version that answers requests which name none.
    pub default: Option<String>,
    /// Why no version can be served at all.
    pub fault: Option<String>,
    /// How far each version is.
    pub versions: BTreeMap<String, Standing>,
}

/// How far a version is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is served.
    Ready {
        /// Of what its answers depend on; names the stream that is read.
        fingerprint: String,
        /// Of its description.
        description: String,
    },
    /// It takes no more entries, and ends those that it holds.
    Leaving {
        /// As for one that is served.
        fingerprint: String,
    },
    /// Not yet.
    Loading,
    /// Why not.
    Failed(String),
    /// Why it is not there yet.
    NotBuilt(String),
}

/// What all live workers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// One of each.
    pub workers: Vec<Beat>,
    /// What they describe, by its hash.
    pub descriptions: BTreeMap<String, Arc<str>>,
}

impl Fleet {
    /// How many workers serve each model.
    pub(super) fn workers_by_model(&self) -> BTreeMap<&str, usize> {
        let mut count = BTreeMap::new();
        for (name, model) in self.workers.iter().flat_map(|beat| &beat.models) {
            let ready = model.versions.values().any(|standing| matches!(standing, Standing::Ready { .. }));
            *count.entry(name.as_str()).or_default() += usize::from(ready);
        }
        count
    }

    /// The streams whose entries somebody holds or takes, each with its model.
    pub(super) fn streams(&self) -> BTreeMap<&str, &str> {
        let models = self.workers.iter().flat_map(|beat| &beat.models);
        let read = models.flat_map(|(name, model)| {
            model.versions.values().filter_map(move |standing| match standing {
                Standing::Ready { fingerprint, .. } | Standing::Leaving { fingerprint } => {
                    Some((fingerprint.as_str(), name.as_str()))
                }
                _ => None,
            })
        });
        read.collect()
    }
}
