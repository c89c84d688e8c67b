//! A kept answer, and its form in Redis: magic, checksum, then a body of fixed-width numbers and length-prefixed parts.
//!
//! What is read back is checked before it is believed. The checksum covers the key too, so that an answer which lies
//! under another key is refused; and the body is read as if it came from an enemy all the same.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

use super::form::Form;
use super::key::Key;
use crate::model::{
    MultiLabel, Prediction, Tensor, Value,
    wire::{self, Reader, Writer},
};

/// Names the form and its version. Another version of the server may read another form: it is then a miss.
const MAGIC: [u8; 4] = *b"GBX1";

const CHECKSUM: usize = 16;

/// A larger answer is not kept in Redis: its reading would hold up what is read behind it.
pub(super) const MOST_BYTES: usize = 1024 * 1024;

/// How far the clock of who computed an answer may be ahead. It counts as computed now.
const MOST_AHEAD: Duration = Duration::from_secs(60);

/// No request waits for longer, so nothing took longer to compute.
const LONGEST_COMPUTING: Duration = Duration::from_secs(24 * 60 * 60);

/// An answer that is kept.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The answer.
    pub prediction: Arc<Prediction>,
    /// When it was computed, in milliseconds since 1970.
    pub stored_at: u64,
    /// How long computing it took at most: its share of the time that its request waited for runs.
    pub compute_time: Duration,
    /// When it came into this process, by the clock that nobody sets, and how old it was then.
    came: Instant,
    age_then: Duration,
}

impl Stored {
    /// An answer that was computed now.
    pub fn now(prediction: Prediction, compute_time: Duration) -> Self {
        let (came, age_then) = (Instant::now(), Duration::ZERO);
        Self { prediction: Arc::new(prediction), stored_at: unix_millis(), compute_time, came, age_then }
    }

    /// Since it was computed; since it was read when the clock of who computed it is ahead. Of two clocks that disagree, the
    /// one that says it is older is believed: the wall clock can be set, and the other one can stand still with the machine.
    pub fn age(&self) -> Duration {
        let by_wall_clock = Duration::from_millis(unix_millis().saturating_sub(self.stored_at));
        by_wall_clock.max(self.age_then.saturating_add(self.came.elapsed()))
    }

    /// Roughly what it takes in memory, in bytes. Labels are counted although they are often shared.
    pub fn bytes(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        let own = match &*self.prediction {
            Prediction::Classification(classes) | Prediction::MultiLabel(MultiLabel { classes, .. }) => {
                classes.probabilities.len() * 4 + texts(&classes.labels)
            }
            Prediction::Value(value) => bytes_of(value, texts),
            Prediction::Named(values) => {
                let one = |(name, value): &(Arc<str>, Value)| name.len() + size_of::<Value>() + bytes_of(value, texts);
                values.iter().map(one).sum()
            }
        };
        size_of::<Self>() + size_of::<Prediction>() + own
    }

    /// The form in which it is kept under `key` in Redis.
    pub(super) fn encode(&self, key: &Key) -> Vec<u8> {
        let mut body = Writer::new(self.bytes());
        body.number(self.stored_at);
        body.duration(self.compute_time);
        body.prediction(&self.prediction);
        let body = body.finish();
        [&MAGIC[..], &checksum(key, &body), &body].concat()
    }

    /// Reads what lies under `key`, which is to have this form.
    ///
    /// # Errors
    /// When it is not what [`encode`](Self::encode) writes under this key, or of another form.
    pub(super) fn decode(key: &Key, bytes: &[u8], form: &Form) -> Result<Self, Unbelievable> {
        let stored = Self::decode_any(key, bytes)?;
        if form.admits(&stored.prediction) { Ok(stored) } else { Err(Unbelievable) }
    }

    fn decode_any(key: &Key, bytes: &[u8]) -> Result<Self, Unbelievable> {
        // Before the work of a checksum.
        if bytes.len() > MOST_BYTES {
            return Err(Unbelievable);
        }
        let rest = bytes.strip_prefix(&MAGIC).ok_or(Unbelievable)?;
        let (found, body) = rest.split_at_checked(CHECKSUM).ok_or(Unbelievable)?;
        if found != checksum(key, body) {
            return Err(Unbelievable);
        }
        Self::read(body).ok_or(Unbelievable)
    }

    fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let (stored_at, compute_time) = (reader.number()?, reader.duration()?);
        let prediction = Arc::new(reader.prediction()?);
        let now = unix_millis();
        let ahead = Duration::from_millis(stored_at.saturating_sub(now));
        (reader.is_at_end() && ahead <= MOST_AHEAD).then(|| Self {
            prediction,
            stored_at: stored_at.min(now),
            compute_time: compute_time.min(LONGEST_COMPUTING),
            came: Instant::now(),
            age_then: Duration::from_millis(now.saturating_sub(stored_at)),
        })
    }
}

/// What was read is no answer of ours, or not one to this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unbelievable;

fn checksum(key: &Key, body: &[u8]) -> [u8; CHECKSUM] {
    let hash: [u8; 32] = Sha256::new().chain_update(key.as_bytes()).chain_update(body).finalize().into();
    let mut first = [0; CHECKSUM];
    first.copy_from_slice(&hash[..CHECKSUM]);
    first
}

fn bytes_of(value: &Value, texts: impl Fn(&[String]) -> usize) -> usize {
    use crate::model::Data;

    let elements = |tensor: &Tensor| match tensor.data() {
        Data::Bytes(values) => texts(values),
        other => other.len() * wire::width(other.datatype()),
    };
    size_of_val(value.tensor.shape()) + elements(&value.tensor) + value.keys.as_ref().map_or(0, |keys| texts(keys))
}

pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    #[cfg(test)]
    let millis = millis.saturating_add_signed(clock::SET_FORWARD.get());
    millis
}

/// A wall clock that tests set, each on its own thread.
#[cfg(test)]
pub(super) mod clock {
    use std::cell::Cell;

    thread_local! {
        /// By so many milliseconds.
        pub static SET_FORWARD: Cell<i64> = const { Cell::new(0) };
    }
}

#[cfg(test)]
impl Stored {
    /// The same, as if it had come at another time.
    pub(super) fn that_came(self, came: Instant) -> Self {
        Self { came, ..self }
    }
}

/// The same answer, whenever it came here.
#[cfg(test)]
impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &Self| (Arc::clone(&it.prediction), it.stored_at, it.compute_time);
        parts(self) == parts(other)
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::model::{Classes, Data};

    const KEY: Key = Key::new([7; 32]);

    fn samples() -> Vec<Stored> {
        let value = |shape: &[usize], data| Value { tensor: Tensor::new(shape.to_vec(), data).unwrap(), keys: None };
        let data = [
            Data::Bool(vec![true, false]),
            Data::Uint8(vec![0, 255]),
            Data::Uint16(vec![0, u16::MAX]),
            Data::Uint32(vec![1, u32::MAX]),
            Data::Uint64(vec![1, u64::MAX]),
            Data::Int8(vec![i8::MIN, i8::MAX]),
            Data::Int16(vec![i16::MIN, 1]),
            Data::Int32(vec![i32::MIN, 1]),
            Data::Int64(vec![i64::MIN, i64::MAX]),
            Data::Fp16(vec![f16::INFINITY, f16::from_bits(1)]),
            Data::Bf16(vec![bf16::NEG_INFINITY, bf16::from_bits(1)]),
            Data::Fp32(vec![-0.0, f32::MIN_POSITIVE]),
            Data::Fp64(vec![f64::MAX, 0.1]),
            Data::Bytes(vec![String::new(), "ü\n\0".to_owned()]),
        ];
        let named = data.iter().map(|data| ("näme".into(), value(&[1, 2], data.clone()))).collect();
        let labels: Arc<[String]> = ["a".to_owned(), "b".to_owned()].into();
        let keyed = Value { keys: Some(Arc::clone(&labels)), ..value(&[2], Data::Fp32(vec![0.25, 0.75])) };
        let mut predictions: Vec<Prediction> =
            data.into_iter().map(|data| Prediction::Value(value(&[2], data))).collect();
        predictions.extend([
            Prediction::Named(named),
            Prediction::Named(vec![]),
            Prediction::Value(keyed),
            Prediction::Value(value(&[], Data::Int64(vec![1]))),
            Prediction::Value(value(&[0, 4], Data::Fp32(vec![]))),
            Prediction::Classification(Classes { labels: Arc::clone(&labels), probabilities: vec![0.1, 0.9] }),
            Prediction::MultiLabel(MultiLabel {
                classes: Classes { labels, probabilities: vec![0.7, 0.9] },
                threshold: 0.5,
            }),
        ]);
        let stored = |prediction| Stored::now(prediction, Duration::from_nanos(123_456_789));
        predictions.into_iter().map(stored).collect()
    }

    #[test]
    fn every_datatype_and_every_form_comes_back_as_it_was() {
        for stored in samples() {
            assert_eq!(Stored::decode_any(&KEY, &stored.encode(&KEY)), Ok(stored));
        }
    }

    #[test]
    fn nan_keeps_its_bits() {
        let tensor = Tensor::new(vec![1], Data::Fp32(vec![f32::from_bits(0x7fc0_1234)])).unwrap();
        let stored = Stored::now(Prediction::Value(Value { tensor, keys: None }), Duration::ZERO);
        let back = Stored::decode_any(&KEY, &stored.encode(&KEY)).unwrap();
        let Prediction::Value(value) = &*back.prediction else { panic!("{back:?}") };
        assert!(matches!(value.tensor.data(), Data::Fp32(values) if values[0].to_bits() == 0x7fc0_1234));
    }

    #[test]
    fn what_was_cut_changed_lengthened_or_lies_under_another_key_is_not_believed() {
        for stored in samples() {
            let bytes = stored.encode(&KEY);
            assert_eq!(Stored::decode_any(&Key::new([8; 32]), &bytes), Err(Unbelievable));
            assert_eq!(Stored::decode_any(&KEY, &[&bytes[..], b"x"].concat()), Err(Unbelievable));
            for at in 0..bytes.len() {
                assert_eq!(Stored::decode_any(&KEY, &bytes[..at]), Err(Unbelievable));
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    assert_eq!(Stored::decode_any(&KEY, &changed), Err(Unbelievable));
                }
            }
        }
    }

    #[test]
    fn a_body_of_any_bytes_is_read_without_a_panic_and_without_much_memory() {
        for stored in samples() {
            let bytes = stored.encode(&KEY);
            let body = &bytes[MAGIC.len() + CHECKSUM..];
            for at in 0..body.len() {
                assert_eq!(Stored::read(&body[..at]), None);
                for byte in [0, 1, 2, 3, 14, 15, 127, 128, 255] {
                    let mut changed = body.to_vec();
                    changed[at] = byte;
                    // Another value is fine here, as long as it is no larger than what it was read from.
                    if let Some(read) = Stored::read(&changed) {
                        assert!(read.bytes() < 512 + 64 * body.len());
                    }
                }
            }
        }
    }
}
