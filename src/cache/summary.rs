//! What the answers to one request have in common: one value for the log line, the headers and the body.

use std::time::Duration;

use super::Found;
use crate::telemetry::labels::{Label, Source, Tier};

/// How the items of a request were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The tier that is asked first.
    pub tier: Tier,
    /// Whether nobody looked.
    pub bypassed: bool,
    /// Items that memory knew.
    pub memory: usize,
    /// Items that Redis knew.
    pub redis: usize,
    /// Items that were computed for this request.
    pub computed: usize,
    /// Items that another request had computed, or that equal another one of this request.
    pub collapsed: usize,
    /// Whether all that was computed is kept now.
    pub stored: bool,
    /// The age of the oldest answer that was known.
    pub age: Duration,
    /// What is left of the time of the known answer that ends first.
    pub ttl: Duration,
}

impl Summary {
    pub(super) fn new<'a>(tier: Tier, bypassed: bool, ttl: Duration, found: impl Iterator<Item = &'a Found>) -> Self {
        let (memory, redis, computed, collapsed) = (0, 0, 0, 0);
        let mut summary =
            Self { tier, bypassed, memory, redis, computed, collapsed, stored: true, age: Duration::ZERO, ttl };
        for found in found {
            match found.source {
                Source::Memory => summary.memory += 1,
                Source::Redis => summary.redis += 1,
                Source::Collapsed => summary.collapsed += 1,
                Source::Computed => {
                    summary.computed += 1;
                    summary.stored &= found.kept;
                }
            }
            if matches!(found.source, Source::Memory | Source::Redis) {
                summary.age = summary.age.max(found.stored.age());
            }
        }
        summary.stored &= summary.computed > 0;
        summary.ttl = ttl.saturating_sub(summary.age);
        summary
    }

    /// Items that were known.
    pub const fn hits(&self) -> usize {
        self.memory + self.redis
    }

    /// All of it in one word.
    pub fn word(&self) -> &'static str {
        match (self.hits(), self.computed, self.collapsed) {
            _ if self.bypassed => "bypass",
            (1.., 0, 0) if self.redis > 0 => Tier::Redis.as_str(),
            (1.., 0, 0) => Tier::Memory.as_str(),
            (1.., ..) => "partial",
            (0, 0, 1..) => "collapsed",
            (0, ..) => "miss",
        }
    }
}
