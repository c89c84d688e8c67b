//! What is known of one request: who, which model, how long each stage took. Measured once; the log line and the metrics
//! are views of it. Never holds an input, a prediction or a key.

use std::{
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::labels::{Label, Stage};

/// The times of one request's stages.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    started: Instant,
    ended: Option<Instant>,
    stages: [Option<Duration>; Stage::ALL.len()],
}

impl Timings {
    /// From the request's head to its answer's, or to now.
    pub fn total(&self) -> Duration {
        self.ended.unwrap_or_else(Instant::now).duration_since(self.started)
    }

    /// The stages that were reached, in the order in which a request passes them.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, Duration)> {
        Stage::ALL.iter().copied().zip(self.stages).filter_map(|(stage, time)| Some((stage, time?)))
    }

    /// What is in no stage.
    pub fn other(&self) -> Duration {
        self.total().saturating_sub(self.stages().map(|(_, time)| time).sum())
    }

    /// The time of one stage.
    pub fn stage(&self, stage: Stage) -> Option<Duration> {
        self.stages[stage as usize]
    }
}

/// A version that is served, by its names.
#[derive(Debug)]
pub struct Served {
    /// The model.
    pub model: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
}

/// What is known of one request so far.
#[derive(Debug, Clone)]
pub struct Facts {
    /// How long it took.
    pub timings: Timings,
    /// The address that it came from, behind trusted proxies.
    pub client: Option<IpAddr>,
    /// The id of the key that let it in.
    pub key_id: Option<Arc<str>>,
    /// The id of its trace (W3C), 32 hexadecimal digits.
    pub trace_id: Option<Arc<str>>,
    /// Its model, once that was found.
    pub model: Option<Arc<Served>>,
    /// What computes that model's answers.
    pub provider: Option<&'static str>,
    /// Its items.
    pub batch_size: Option<usize>,
    /// What the cache did, in one word.
    pub cache: Option<&'static str>,
}

impl Facts {
    const fn begin(timings: Timings) -> Self {
        Self {
            timings,
            client: None,
            key_id: None,
            trace_id: None,
            model: None,
            provider: None,
            batch_size: None,
            cache: None,
        }
    }
}

/// The record of one request, shared by all that add to it.
#[derive(Debug, Clone)]
pub struct Record(Arc<Mutex<Facts>>);

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

impl Record {
    /// Begins now.
    pub fn new() -> Self {
        let timings = Timings { started: Instant::now(), ended: None, stages: [None; Stage::ALL.len()] };
        Self(Arc::new(Mutex::new(Facts::begin(timings))))
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).timings.started
    }

    /// Adds what has become known.
    pub fn note(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds to the time of a stage.
    pub fn add(&self, stage: Stage, time: Duration) {
        self.note(|facts| *facts.timings.stages[stage as usize].get_or_insert_default() += time);
    }

    /// Adds the time until the watch is dropped to a stage.
    pub fn watch(&self, stage: Stage) -> Watch<'_> {
        Watch { record: self, stage, started: Instant::now() }
    }

    /// All that is known at the end, which is now. Nothing but the times is left here.
    pub fn end(&self) -> Facts {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.timings.ended.get_or_insert_with(Instant::now);
        let rest = Facts::begin(facts.timings);
        mem::replace(&mut facts, rest)
    }
}

/// Measures a stage until it is dropped.
#[derive(Debug)]
pub struct Watch<'a> {
    record: &'a Record,
    stage: Stage,
    started: Instant,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.record.add(self.stage, self.started.elapsed());
    }
}
