//! The way from API servers to model workers, over Redis Streams.
//!
//! One stream of entries for each version that is served, by the fingerprint of what its answers depend on; one consumer
//! group of workers; one stream of answers for each API server. [`Queue`] is the end of the API servers, [`Claims`] that of
//! the workers, and both stand on a [`Broker`].

mod answer;
mod attend;
mod beat;
mod bounds;
mod broker;
mod census;
mod claims;
mod dead;
mod entry;
mod life;
mod names;
mod pace;
mod pending;
mod scripts;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

pub use self::{
    answer::{Answer, Failure, Given},
    beat::{Beat, Fleet, ModelBeat, Standing},
    broker::{Broker, INTERRUPTED},
    claims::{Claimed, Claims, Taken},
    dead::{Dead, DeadLetters},
    entry::{Entry, Wanted},
    life::Life,
};
use self::{
    bounds::MAX_MESSAGE_BYTES,
    broker::{away, millis, number, text},
    pace::Paces,
    pending::{Pending, Place, Told},
};
use crate::{
    error::{Error, Violation},
    model::{Prediction, conform::Item},
    telemetry::{
        labels::{Asked, Stage},
        record::Record,
    },
};

/// A stream that nobody adds to is forgotten after this time.
const STREAM_KEPT: Duration = Duration::from_secs(60 * 60);

/// Callers who have left whose entries wait to be taken back. Further ones are run for nobody.
const MOST_LEAVING: usize = 8192;

/// The end of the API servers: asks the workers, and hands each answer to who waits for it.
#[derive(Debug)]
pub struct Queue {
    broker: Arc<Broker>,
    replica: String,
    pending: Pending,
    paces: Paces,
    max_wait: Duration,
    leaving: Sender<Place>,
    /// Who lived at the last look.
    seen: Mutex<Arc<Fleet>>,
    /// Until the task takes it that takes entries back.
    left: Mutex<Option<Receiver<Place>>>,
}

/// Which version is asked.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// Its model, for metrics and words.
    pub model: &'a str,
    /// Of what its answers depend on.
    pub fingerprint: &'a Arc<str>,
}

impl Queue {
    /// Asks nobody yet: see [`start`](Self::start). A question whose answer is foreseen to take longer than `max_wait` is
    /// refused.
    pub fn new(broker: Arc<Broker>, max_wait: Duration) -> Self {
        let (leaving, left) = channel(MOST_LEAVING);
        let replica = life::new_name();
        let (pending, paces, seen) = (Pending::default(), Paces::default(), Mutex::default());
        Self { broker, replica, pending, paces, max_wait, leaving, seen, left: Mutex::new(Some(left)) }
    }

    /// What it stands on.
    pub const fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// The workers that lived at the last look. While Redis is away, those from before.
    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has a worker predict; the answer has one result for each item. What its stages took goes to `record`. Dropping the
    /// future takes the question back.
    ///
    /// # Errors
    /// `overloaded`, `deadline_exceeded`, `dependency_unavailable`.
    pub async fn predict(
        &self,
        version: Version<'_>,
        items: Vec<Item>,
        deadline: Instant,
        record: &Record,
    ) -> Result<Vec<Result<Prediction, Failure>>, Error> {
        let count = items.len();
        let answer = self.ask(version, Wanted::Predictions(items), deadline, record).await?;
        match answer.given {
            Given::Predictions(results) if results.len() == count => Ok(results),
            _ => Err(strange()),
        }
    }

    /// Has a worker count the tokens of `texts`.
    ///
    /// # Errors
    /// As for [`predict`](Self::predict), and `invalid_input` for a text without any.
    pub async fn count_tokens(
        &self,
        version: Version<'_>,
        texts: Vec<String>,
        deadline: Instant,
        record: &Record,
    ) -> Result<usize, Error> {
        match self.ask(version, Wanted::Tokens(texts), deadline, record).await?.given {
            Given::Tokens(Ok(tokens)) => Ok(tokens),
            Given::Tokens(Err(Failure::Other(error))) => Err(error),
            _ => Err(strange()),
        }
    }

    async fn ask(
        &self,
        version: Version<'_>,
        wanted: Wanted,
        deadline: Instant,
        record: &Record,
    ) -> Result<Answer, Error> {
        let mut question = Question::new(self, version, record);
        let told = self.told(&mut question, wanted, deadline).await;
        question.result = match &told {
            Ok(_) => Asked::Answered,
            Err(Error::DependencyUnavailable(_)) => Asked::Lost,
            Err(Error::Overloaded { .. } | Error::TooHasty { .. }) => Asked::Refused,
            Err(_) => Asked::Left,
        };
        let answer = told?;
        question.divide(&answer);
        Ok(answer)
    }

    async fn told(&self, question: &mut Question<'_>, wanted: Wanted, deadline: Instant) -> Result<Answer, Error> {
        let version = question.version;
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(Error::DeadlineExceeded);
        }
        let full = || Error::Overloaded { what: "the way to the model workers".to_owned(), retry_after: None };
        let (own, told) = self.pending.begin().ok_or_else(full)?;
        question.number = Some(own);
        let span = question.record.span().map(|span| (span.trace, span.id));
        let entry = Entry { replica: self.replica.clone(), number: own, span, wanted };
        question.before = self.enqueue(question, &entry, remaining).await?;
        let bytes = match tokio::time::timeout_at(deadline.into(), told).await {
            Err(_elapsed) => return Err(Error::DeadlineExceeded),
            Ok(Ok(Told::Answer(bytes))) => bytes,
            Ok(Ok(Told::Lost) | Err(_)) => return Err(away()),
        };
        let answer = Answer::decode(&bytes).ok_or_else(strange)?;
        let ran = answer.preprocess + answer.inference + answer.postprocess;
        let waited = question.since.elapsed().saturating_sub(ran);
        self.paces.learn(version.fingerprint, question.before, waited, ran);
        Ok(answer)
    }

    /// Adds an entry to its stream; returns how many were there before.
    async fn enqueue(&self, question: &Question<'_>, entry: &Entry, remaining: Duration) -> Result<u64, Error> {
        let Version { model, fingerprint } = question.version;
        let (stream, most) = (self.broker.names.entries(fingerprint), self.broker.config.capacity);
        let most = self.paces.within(fingerprint, remaining.min(self.max_wait), most);
        let numbers = [millis(remaining).max(1), most as u64, millis(STREAM_KEPT)].map(|number| number.to_string());
        let [left, most, kept] = &numbers;
        let bytes = entry.encode();
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(too_large());
        }
        let arguments = [&bytes[..], left.as_bytes(), most.as_bytes(), kept.as_bytes()];
        let added = self.broker.script(scripts::ENQUEUE, &[&stream], &arguments).await;
        let Ok(Value::Array(parts)) = added else { return Err(away()) };
        let before = parts.first().and_then(number).ok_or_else(away)?;
        if let Some(id) = parts.get(1).and_then(text) {
            self.pending.placed(entry.number, Place { stream: stream.into(), id });
            return Ok(before);
        }
        let foreseen = self.paces.foresee(fingerprint, before);
        match foreseen {
            Some(wait) if wait <= self.max_wait && before < self.broker.config.capacity as u64 => {
                Err(Error::TooHasty { retry_after: wait })
            }
            retry_after => {
                let what = format!("the queue of model '{model}'");
                Err(Error::Overloaded { what, retry_after })
            }
        }
    }
}

/// A question, until it is answered or its caller leaves.
struct Question<'a> {
    queue: &'a Queue,
    version: Version<'a>,
    record: &'a Record,
    since: Instant,
    number: Option<u64>,
    before: u64,
    result: Asked,
    /// Whether its time was told.
    divided: bool,
}

impl<'a> Question<'a> {
    fn new(queue: &'a Queue, version: Version<'a>, record: &'a Record) -> Self {
        let since = Instant::now();
        Self { queue, version, record, since, number: None, before: 0, result: Asked::Left, divided: false }
    }

    /// What the worker measured are its stages; all else was the way there and back, and the time in the queue.
    fn divide(&mut self, answer: &Answer) {
        let Answer { preprocess, inference, postprocess, .. } = *answer;
        let queued = self.since.elapsed().saturating_sub(preprocess + inference + postprocess);
        let mut began = self.since;
        for (stage, time) in [
            (Stage::Queue, queued),
            (Stage::Preprocess, preprocess),
            (Stage::Inference, inference),
            (Stage::Postprocess, postprocess),
        ] {
            if !time.is_zero() || stage == Stage::Queue {
                self.record.add_since(stage, began, time);
            }
            began += time;
        }
        self.divided = true;
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if !self.divided {
            self.record.add_since(Stage::Queue, self.since, self.since.elapsed());
        }
        self.queue.broker.metrics.queue.asked(self.version.model, self.result);
        if let Some(place) = self.number.and_then(|number| self.queue.pending.end(number)) {
            // Where so many leave that there is no place for one more, what he asked for is run for nobody.
            let _ = self.queue.leaving.try_send(place);
        }
    }
}

fn too_large() -> Error {
    let detail = format!(
        "it takes more than {MAX_MESSAGE_BYTES} bytes on the way to a model worker: send fewer items at a time"
    );
    Error::Invalid(vec![Violation::new(String::new(), "too_large", detail)])
}

fn strange() -> Error {
    Error::internal(anyhow::anyhow!("a worker's answer cannot be read"))
}
