//! API keys: who may call, what they may ask for, and how often.

use std::sync::Arc;

use wildmatch::WildMatch;

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

/// Who a valid key stands for.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The key's id, which is no secret.
    pub key_id: Arc<str>,
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
