//! What is known of one request: who, which model, how long each stage took. Measured once; the log line and the metrics
//! are views of it. Never holds an input, a prediction or a key.

use std::{
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    labels::{Label, Protocol, Stage},
    traces::{Run, Span},
};

/// The times of one request's stages.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    started: Instant,
    ended: Option<Instant>,
    /// When each began, the first time, and how long it took, altogether.
    stages: [Option<(Instant, Duration)>; Stage::ALL.len()],
}

impl Timings {
    /// From the request's head to its answer's, or to now.
    pub fn total(&self) -> Duration {
        self.ended.unwrap_or_else(Instant::now).duration_since(self.started)
    }

    /// The stages that were reached, in the order in which a request passes them; what is in none of them is the last, once
    /// the request has ended.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let stages = Stage::ALL.iter().copied().zip(self.stages);
        stages.filter_map(|(stage, known)| known.map(|(_, time)| (stage, time)))
    }

    /// The same, with the time from the request's head to the beginning of each. What is in no stage has none: it lies
    /// before, between and after them.
    pub fn stages_begun(&self) -> impl Iterator<Item = (Stage, Duration, Duration)> {
        let begun = |begun: Instant| begun.saturating_duration_since(self.started);
        let stages = Stage::ALL.iter().copied().zip(self.stages).filter(|(stage, _)| *stage != Stage::Other);
        stages.filter_map(move |(stage, known)| known.map(|(since, time)| (stage, begun(since), time)))
    }

    /// The time of one stage.
    pub fn stage(&self, stage: Stage) -> Option<Duration> {
        self.stages[stage as usize].map(|(_, time)| time)
    }

    /// Ends now, unless it has ended: what is in no stage is known then.
    fn end(&mut self) {
        let ended = *self.ended.get_or_insert_with(Instant::now);
        let known: Duration = self.stages().map(|(_, time)| time).sum();
        let other = &mut self.stages[Stage::Other as usize];
        other.get_or_insert((self.started, ended.duration_since(self.started).saturating_sub(known)));
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

/// The shapes of some tensors. Every request notes them, so they take no memory of their own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shapes {
    tensors: [([u32; MOST_DIMENSIONS], u8); MOST_TENSORS],
    count: u8,
}

/// Further tensors, and further dimensions, are left out.
const MOST_TENSORS: usize = 4;
const MOST_DIMENSIONS: usize = 5;

impl Shapes {
    /// The shapes of the first tensors.
    pub fn of<'a>(shapes: impl Iterator<Item = &'a [usize]>) -> Self {
        let mut kept = Self::default();
        for (place, shape) in kept.tensors.iter_mut().zip(shapes) {
            for (dimension, size) in place.0.iter_mut().zip(shape) {
                *dimension = u32::try_from(*size).unwrap_or(u32::MAX);
                place.1 += 1;
            }
            kept.count += 1;
        }
        kept
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.tensors[..self.count.into()].iter().map(|(shape, rank)| &shape[..usize::from(*rank)])
    }
}

/// The id of a request whose caller named none.
#[derive(Debug, Clone, Copy)]
pub struct NewId {
    /// A UUID of version 7, of the millisecond in which the request came.
    pub id: Uuid,
    /// Whether its trace has the same bits.
    pub of_trace: bool,
}

/// What is known of one request so far.
#[derive(Debug, Clone)]
pub struct Facts {
    /// How long it took.
    pub timings: Timings,
    /// The address that it came from, behind trusted proxies.
    pub client: Option<IpAddr>,
    /// Its own id.
    pub request_id: Option<Arc<str>>,
    /// The same as a number, if the server made it.
    pub new_id: Option<NewId>,
    /// The id of the key that let it in.
    pub key_id: Option<Arc<str>>,
    /// The id of its trace (W3C), 32 hexadecimal digits.
    pub trace_id: Option<Arc<str>>,
    /// Its place in that trace, if it is traced.
    pub span: Option<Span>,
    /// The runs that it shared with other requests, or could have, if it is traced.
    pub runs: Vec<Arc<Run>>,
    /// What it is written in, where it asks for predictions; and for calls of gRPC.
    pub protocol: Option<Protocol>,
    /// Its model, once that was found.
    pub model: Option<Arc<Served>>,
    /// What computes that model's answers.
    pub provider: Option<&'static str>,
    /// Its items.
    pub batch_size: Option<usize>,
    /// The shapes of its first item's tensors.
    pub shapes: Option<Shapes>,
    /// The bytes of its body.
    pub request_bytes: Option<usize>,
    /// What the cache did, in one word.
    pub cache: Option<&'static str>,
}

impl Facts {
    const fn begin(timings: Timings) -> Self {
        Self {
            timings,
            client: None,
            request_id: None,
            new_id: None,
            key_id: None,
            trace_id: None,
            span: None,
            runs: Vec::new(),
            protocol: None,
            model: None,
            provider: None,
            batch_size: None,
            shapes: None,
            request_bytes: None,
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

    /// The times so far.
    pub fn timings(&self) -> Timings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).timings
    }

    /// Its place in a trace, if it is traced.
    pub fn span(&self) -> Option<Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).span
    }

    /// Adds what has become known.
    pub fn note(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds to the time of a stage, which began then.
    pub fn add_since(&self, stage: Stage, since: Instant, time: Duration) {
        self.note(|facts| facts.timings.stages[stage as usize].get_or_insert((since, Duration::ZERO)).1 += time);
    }

    /// Adds the time until the watch is dropped to a stage.
    pub fn watch(&self, stage: Stage) -> Watch<'_> {
        Watch { record: self, stage, started: Instant::now() }
    }

    /// All that is known at the end, which is now. Nothing but the times is left here.
    pub fn end(&self) -> Facts {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.timings.end();
        let rest = Facts::begin(facts.timings);
        mem::replace(&mut facts, rest)
    }
}

#[cfg(test)]
impl Record {
    /// As if it had taken so long.
    pub fn end_after(&self, time: Duration) -> Facts {
        self.note(|facts| facts.timings.ended = Some(facts.timings.started + time));
        self.end()
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
        self.record.add_since(self.stage, self.started, self.started.elapsed());
    }
}
