//! What a request leaves for the history, and the rows that the writer makes of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use uuid::Uuid;

use super::{
    row::{Ids, Row},
    told::{Told, json},
};
use crate::{
    model::Input,
    telemetry::{
        micros,
        record::{Facts, Served},
    },
};

/// One request that was answered. Made on the request's thread, so nothing of it is copied or written there.
#[derive(Debug)]
pub struct Answered {
    /// Who asked.
    pub asker: Asker,
    /// When it came.
    pub came: Instant,
    /// How long it took to predict.
    pub latency: Duration,
    /// What answered.
    pub served: Arc<Served>,
    /// What computed it.
    pub provider: &'static str,
    /// What was asked and answered, in order.
    pub items: SmallVec<[AnsweredItem; 1]>,
}

/// By which names a request is found again.
#[derive(Debug)]
pub struct Asker {
    name: Name,
    key_id: Option<Arc<str>>,
    /// None where it has the bits of the request's id.
    trace_id: Option<Arc<str>>,
}

/// The id of a request.
#[derive(Debug)]
enum Name {
    /// Made by the server, so it is nobody else's.
    New(Uuid),
    /// Its caller's choice.
    Given(Arc<str>),
}

impl Asker {
    /// Who asked, if the request has a name. A new one names one row: it is taken.
    pub fn of(facts: &mut Facts) -> Option<Self> {
        let new = facts.new_id.take();
        // Who has a number needs no text, nor a count of who holds it.
        let name = match new {
            Some(new) => Name::New(new.id),
            None => Name::Given(facts.request_id.clone()?),
        };
        let same = new.is_some_and(|new| new.of_trace);
        let trace_id = if same { None } else { facts.trace_id.clone() };
        Some(Self { name, key_id: facts.key_id.clone(), trace_id })
    }
}

/// One item of a request.
#[derive(Debug)]
pub struct AnsweredItem {
    /// A hash of the version and its typed input: half of a SHA-256, which no two inputs share either.
    pub input_hash: Uuid,
    /// The answer.
    pub prediction: Told,
    /// Whether it was known already.
    pub cached: bool,
    /// What was sent, where that is to be kept.
    pub input: Option<Box<Input>>,
}

/// Numbers and strings that weigh as much as a row without them.
const ELEMENTS_PER_ROW: usize = 256;

impl Answered {
    /// What it takes of the queue's room: one for a row of the usual size.
    pub(super) fn weight(&self) -> usize {
        let elements = |item: &AnsweredItem| {
            let input = item.input.as_ref().map_or(0, |input| input.elements());
            1 + (item.prediction.elements() + input) / ELEMENTS_PER_ROW
        };
        self.items.iter().map(elements).sum()
    }

    /// A row per item. JSON that is longer than `limit` is left out.
    pub(super) fn rows(self, ids: &mut Ids, limit: usize) -> impl Iterator<Item = Row> {
        let Self { asker, came, latency, served, provider, items } = self;
        let Asker { name, key_id, mut trace_id } = asker;
        let latency_us = i64::try_from(micros(latency)).unwrap_or(i64::MAX);
        let is_batch = items.len() > 1;
        // The only row of a request is named as that is, if nobody else may have chosen the name.
        let (own_id, request_id) = match name {
            Name::New(id) if !is_batch => (Some(id), None),
            Name::New(id) => {
                trace_id.get_or_insert_with(|| id.simple().to_string().into());
                (None, Some(id.to_string().into()))
            }
            Name::Given(text) => (None, Some(text)),
        };
        items.into_iter().enumerate().map(move |(position, item)| {
            let (label, confidence) = item.prediction.classified();
            Row {
                id: own_id.unwrap_or_else(|| ids.next(came)),
                request_id: request_id.clone(),
                item: is_batch.then(|| i32::try_from(position).unwrap_or(i32::MAX)),
                key_id: key_id.clone(),
                trace_id: trace_id.clone(),
                model: Arc::clone(&served.model),
                version: Arc::clone(&served.version),
                provider: provider.into(),
                input_hash: item.input_hash,
                prediction: item.prediction.json(limit),
                label,
                confidence,
                latency_us,
                cached: item.cached,
                input: item.input.and_then(|input| json(input.elements(), &*input, limit)),
            }
        })
    }
}
