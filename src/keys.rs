//! API keys: who may call, what they may ask for, and how often.
//!
//! Keys live in a file, with a hash of each secret. [`KeyStore`] answers who a presented key stands for, and follows the
//! file; [`add`] and [`revoke`] change it.

mod edit;
mod faults;
mod fields;
mod file;
mod parse;
mod replace;
mod secret;
mod set;
mod store;
mod trust;
mod watch;

use std::sync::Arc;

use jiff::Timestamp;
use wildmatch::WildMatch;

pub use self::{
    edit::{Draft, Revoked, add, revoke},
    faults::{Fault, KeysError},
    file::read,
    parse::is_glob,
    secret::{KeyText, NewKey, is_id},
    set::{Entry, KeySet, KeyState},
    store::{KeyStore, Rejected},
};
use crate::config::RateLimitConfig;

/// The plan of a key that names none.
pub const DEFAULT_PLAN: &str = "default";

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Predicting, and reading what is served.
    Predict,
    /// Reading what was predicted.
    History,
    /// Reading `/metrics`, where that is not public.
    Metrics,
    /// Everything that changes the server or shows other callers' requests.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Predict, Self::History, Self::Metrics, Self::Admin];

    /// The word for it in the keys file and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::History => "history",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }

    /// The scope that a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// How often a key may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name, as it stands in headers and metrics.
    pub name: Arc<str>,
    /// Items per second.
    pub rate: u32,
    /// Items at once.
    pub burst: u32,
    /// Requests at the same time.
    pub concurrent: usize,
}

impl Plan {
    /// The plan of keys that name none, unless the keys file says otherwise.
    pub fn configured(limits: &RateLimitConfig) -> Self {
        let RateLimitConfig { rate, burst, concurrent, .. } = *limits;
        Self { name: DEFAULT_PLAN.into(), rate, burst, concurrent }
    }
}

/// Who a valid key stands for.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The key's id, which is no secret.
    pub key_id: Arc<str>,
    /// What people call it.
    pub name: Arc<str>,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// The models that it may use, as globs.
    pub models: Vec<WildMatch>,
    /// How often it may be used.
    pub plan: Arc<Plan>,
}

impl Principal {
    /// Whether the key has `scope`.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the key may use this model.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.iter().any(|glob| glob.matches(model))
    }
}

/// When a key can be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Validity {
    /// From this moment on.
    pub not_before: Option<Timestamp>,
    /// Up to this moment.
    pub expires_at: Option<Timestamp>,
    /// Not any more, since this moment. Whatever it says, the key is refused: clocks differ.
    pub revoked_at: Option<Timestamp>,
}
