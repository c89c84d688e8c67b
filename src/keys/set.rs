//! The keys and plans of one file, as they are looked up.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{
    Plan, Principal, Validity,
    secret::{KeyText, SecretHash},
};
use crate::telemetry::labels::AuthRejection;

/// All keys and plans of one file.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// In the file's order.
    entries: Vec<Entry>,
    places: HashMap<Arc<str>, usize>,
    default_plan: Arc<Plan>,
    plans: HashMap<Arc<str>, Arc<Plan>>,
    says_none: bool,
}

/// One key of the file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who it stands for.
    pub principal: Arc<Principal>,
    /// When it can be used.
    pub validity: Validity,
    hash: SecretHash,
}

/// Whether a key can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Yes.
    Valid,
    /// Later.
    NotYetValid,
    /// Not any more.
    Expired,
    /// Somebody took it back.
    Revoked,
}

impl KeySet {
    pub(super) fn new(default_plan: Plan) -> Self {
        let default_plan = Arc::new(default_plan);
        let plans = HashMap::from([(Arc::clone(&default_plan.name), Arc::clone(&default_plan))]);
        Self { entries: Vec::new(), places: HashMap::new(), default_plan, plans, says_none: false }
    }

    /// Takes the place of the plan that has the same name, the default one included.
    pub(super) fn add_plan(&mut self, plan: Plan) {
        let plan = Arc::new(plan);
        if plan.name == self.default_plan.name {
            self.default_plan = Arc::clone(&plan);
        }
        self.plans.insert(Arc::clone(&plan.name), plan);
    }

    /// The file holds an empty list of keys: nobody is to be let in.
    pub(super) const fn say_none(&mut self) {
        self.says_none = true;
    }

    /// Whether the file says that nobody is to be let in, in contrast to saying nothing.
    pub(super) const fn says_none(&self) -> bool {
        self.says_none
    }

    pub(super) fn add(&mut self, entry: Entry) {
        self.places.insert(Arc::clone(&entry.principal.key_id), self.entries.len());
        self.entries.push(entry);
    }

    /// The key that was presented.
    ///
    /// # Errors
    /// `unknown` or `mismatch`, in the same time.
    pub fn find(&self, presented: &KeyText<'_>) -> Result<&Entry, AuthRejection> {
        let entry = self.get(presented.id);
        let hash = entry.map_or(&SecretHash::NOBODY, |entry| &entry.hash);
        match (hash.is_of(presented), entry) {
            (true, Some(entry)) => Ok(entry),
            (_, Some(_)) => Err(AuthRejection::Mismatch),
            (_, None) => Err(AuthRejection::Unknown),
        }
    }

    /// The key with this id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.places.get(id).and_then(|place| self.entries.get(*place))
    }

    /// All keys, in the file's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The plan with this name.
    pub fn plan(&self, name: &str) -> Option<&Arc<Plan>> {
        self.plans.get(name)
    }

    /// All plans, the default one included.
    pub fn plans(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.plans.values()
    }

    /// The plan of keys that name none.
    pub const fn default_plan(&self) -> &Arc<Plan> {
        &self.default_plan
    }

    /// The same keys, and those are revoked that are revoked in `other`.
    pub(super) fn with_revocations_of(&self, other: &Self) -> Self {
        let mut set = self.clone();
        for entry in &mut set.entries {
            let revoked_at = other.get(&entry.principal.key_id).and_then(|entry| entry.validity.revoked_at);
            entry.validity.revoked_at = entry.validity.revoked_at.or(revoked_at);
        }
        set
    }

    /// How many keys can be used, now or later.
    pub fn usable(&self, now: Timestamp) -> usize {
        let usable = |entry: &&Entry| matches!(entry.state(now), KeyState::Valid | KeyState::NotYetValid);
        self.entries.iter().filter(usable).count()
    }
}

impl Entry {
    pub(super) fn new(principal: Principal, validity: Validity, hash: SecretHash) -> Self {
        Self { principal: Arc::new(principal), validity, hash }
    }

    /// Whether it can be used now.
    pub fn state_now(&self) -> KeyState {
        let always = self.validity.not_before.is_none() && self.validity.expires_at.is_none();
        // Asked by every request; the clock only where it matters.
        self.state(if always { Timestamp::UNIX_EPOCH } else { Timestamp::now() })
    }

    /// Whether it can be used at this moment.
    pub fn state(&self, now: Timestamp) -> KeyState {
        let Validity { not_before, expires_at, revoked_at } = self.validity;
        match () {
            () if revoked_at.is_some() => KeyState::Revoked,
            () if not_before.is_some_and(|from| now < from) => KeyState::NotYetValid,
            () if expires_at.is_some_and(|to| to <= now) => KeyState::Expired,
            () => KeyState::Valid,
        }
    }
}

impl KeyState {
    /// The word for it, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NotYetValid => "not yet valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}
