//! One predicted item, as it stands in a database and in the spool.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One predicted item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// A UUID of version 7, of the millisecond in which the request came: ids are in the order of time. Where a request is
    /// for one item and its caller names it not, it is the request's id.
    pub id: Uuid,
    /// The id of its request, where that is another one.
    pub request_id: Option<Arc<str>>,
    /// Its position in its batch; none when it was the only item of its request.
    pub item: Option<i32>,
    /// The id of the key that let it in.
    pub key_id: Option<Arc<str>>,
    /// The id of its trace (W3C), where that has other bits than the row's own.
    pub trace_id: Option<Arc<str>>,
    /// The model.
    pub model: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// What computed the prediction.
    pub provider: Cow<'static, str>,
    /// The same for equal inputs of one version. No UUID, but as many bits, which both databases keep in 16 bytes.
    pub input_hash: Uuid,
    /// JSON; none when it was too long.
    pub prediction: Option<String>,
    /// The class that was named.
    pub label: Option<String>,
    /// How probable that is.
    pub confidence: Option<f64>,
    /// From the request to its predictions, in microseconds.
    pub latency_us: i64,
    /// Whether the prediction was known already.
    pub cached: bool,
    /// JSON, where inputs are kept and it was not too long.
    pub input: Option<String>,
}

impl Row {
    /// When the request came, in milliseconds since 1970.
    pub const fn time(&self) -> i64 {
        // 48 bits.
        (self.id.as_u128() >> 80) as i64
    }

    /// The id of its request.
    pub fn request_id(&self) -> String {
        self.request_id.as_ref().map_or_else(|| self.id.to_string(), ToString::to_string)
    }

    /// The id of its trace, 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.trace_id.as_ref().map_or_else(|| self.id.simple().to_string(), ToString::to_string)
    }

    /// Roughly what it takes in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.prediction, &self.input].into_iter().flatten().map(String::len).sum::<usize>();
        size_of::<Self>() + 256 + texts
    }
}

/// The columns, in the order in which rows are written and read.
pub(super) const COLUMNS: [&str; 15] = [
    "id",
    "request_id",
    "item",
    "key_id",
    "trace_id",
    "model",
    "version",
    "provider",
    "input_hash",
    "prediction",
    "label",
    "confidence",
    "latency_us",
    "cached",
    "input",
];

/// Makes ids: UUIDs of version 7 (RFC 9562) with the millisecond in which a request came, then a counter, then what tells
/// this process from others. Rows of one millisecond are in the order in which they were made.
#[derive(Debug)]
pub(super) struct Ids {
    counter: u32,
    process: u64,
}

impl Ids {
    pub(super) fn new() -> Self {
        let mut bytes = [0; 8];
        // Without random numbers, ids are still unique in this process.
        let _ = getrandom::fill(&mut bytes);
        Self { counter: 0, process: u64::from_le_bytes(bytes) }
    }

    /// The next one, of a request that came then.
    pub(super) fn next(&mut self, came: Instant) -> Uuid {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = now.saturating_sub(came.elapsed()).as_millis();
        self.at(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn at(&mut self, millis: u64) -> Uuid {
        self.counter = self.counter.wrapping_add(1);
        let (high, low) = (u128::from(self.counter >> 20), u128::from(self.counter & 0xf_ffff));
        let process = u128::from(self.process) & ((1 << 42) - 1);
        Uuid::from_u128(beginning(millis) | 7 << 76 | high << 64 | 2 << 62 | low << 42 | process)
    }
}

/// Below every id of this moment (milliseconds since 1970) and later ones, and above all earlier ones.
pub(super) fn first_id_at(millis: i64) -> Uuid {
    Uuid::from_u128(beginning(millis.max(0).cast_unsigned()))
}

fn beginning(millis: u64) -> u128 {
    u128::from(millis & 0xffff_ffff_ffff) << 80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_7_in_the_order_of_time_and_then_of_making() {
        let mut ids = Ids::new();
        ids.counter = 0x0f_fffd;
        let made: Vec<Uuid> = [1000, 1000, 1001, 1001, 9000].into_iter().map(|millis| ids.at(millis)).collect();
        assert!(made.is_sorted() && made.iter().all(|id| id.get_version_num() == 7), "{made:?}");
        assert!(made.iter().all(|id| id.get_variant() == uuid::Variant::RFC4122));
        assert_ne!(Ids::new().at(0), Ids::new().at(0), "two processes make different ones");
    }

    #[test]
    fn a_moment_stands_between_the_ids_before_and_from_it_on() {
        let mut ids = Ids::new();
        let (before, from) = (ids.at(1000), ids.at(1001));
        let between = first_id_at(1001);
        assert!(before < between && between < from);
    }
}
