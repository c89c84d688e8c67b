//! What lies where in Redis. The number in the names is raised when processes of two releases would misunderstand each other.

/// The names of all keys, which begin with the configured prefix.
#[derive(Debug, Clone)]
pub(super) struct Names(String);

/// The consumer group of every stream of entries.
pub(super) const GROUP: &str = "workers";

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self(format!("{prefix}queue1:"))
    }

    /// The set of all workers' ids.
    pub(super) fn workers(&self) -> String {
        format!("{}workers", self.0)
    }

    /// What a worker serves, for as long as it lives.
    pub(super) fn worker(&self, id: &str) -> String {
        format!("{}worker:{id}", self.0)
    }

    /// The description of a version.
    pub(super) fn description(&self, hash: &str) -> String {
        format!("{}version:{hash}", self.0)
    }

    /// The stream of entries for versions with this fingerprint: whoever reads it gives the same answers.
    pub(super) fn entries(&self, fingerprint: &str) -> String {
        format!("{}entries:{fingerprint}", self.0)
    }

    /// The stream of answers to one API server.
    pub(super) fn answers(&self, replica: &str) -> String {
        format!("{}answers:{replica}", self.0)
    }

    /// The stream of entries that were given up.
    pub(super) fn dead(&self) -> String {
        format!("{}dead", self.0)
    }

    /// A small value that is written to see whether that can be done.
    pub(super) fn probe(&self) -> String {
        format!("{}probe", self.0)
    }
}
