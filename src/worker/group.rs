//! Entries that are run together: those of several callers, and of several API servers, share a run as they would in one
//! process.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::serving::{Held, Serving};
use crate::{
    engine::InferError,
    error::Error,
    model::{Prediction, conform::Item},
    queue::{Answer, Claimed, Failure, Given, Wanted},
    telemetry::{
        labels::{Entries, Stage},
        record::{Facts, Record},
        recorder::Seen,
        traces::{Finished, Span, span_id},
    },
};

/// An entry, with what tells that its caller has left.
type Entry = (Claimed, CancellationToken);

/// Divides entries into groups of one run's rows; where rows do not share a run, each is alone.
pub(super) fn divide(claimed: Vec<Claimed>, max_batch_size: Option<usize>) -> Vec<Vec<Claimed>> {
    let (mut groups, mut rows): (Vec<Vec<Claimed>>, usize) = (Vec::new(), usize::MAX);
    let most = max_batch_size.unwrap_or(1);
    for one in claimed {
        let own = match one.entry.wanted {
            Wanted::Predictions(_) => one.entry.rows(),
            // Nothing to share.
            Wanted::Tokens(_) => most,
        };
        rows = rows.saturating_add(own);
        match groups.last_mut() {
            Some(group) if rows <= most => group.push(one),
            _ => {
                groups.push(vec![one]);
                rows = own;
            }
        }
    }
    groups
}

/// Runs a group, and answers each of its entries.
pub(super) async fn run(mut held: Held<'_>) {
    let serving = held.serving();
    // Inputs may be large: they are run, and not copied.
    let taken = |(claimed, _): &mut (Claimed, _)| mem::replace(&mut claimed.entry.wanted, Wanted::Tokens(Vec::new()));
    let wanted: Vec<Wanted> = held.entries.iter_mut().map(taken).collect();
    let left = join_all(held.entries.iter().map(|(_, left)| left.clone().cancelled_owned()));
    let ran = tokio::select! {
        ran = answered(serving, &held.entries, wanted) => Some(ran),
        // Nobody waits for any of it: the run ends.
        _ = left => None,
    };
    let cancelled = held.entries.iter().filter(|(_, left)| left.is_cancelled()).count();
    let model = serving.loaded.model.id().name.as_str();
    (0..cancelled).for_each(|_| serving.parts.metrics.queue.entry(model, Entries::Cancelled));
    held.ran = ran;
}

/// Returns how long the run took.
async fn answered(serving: &Serving, entries: &[Entry], wanted: Vec<Wanted>) -> Duration {
    let loaded = &serving.loaded;
    let (mut items, mut owners, mut counts): (Vec<Item>, Vec<usize>, Vec<usize>) = Default::default();
    for ((claimed, _), wanted) in entries.iter().zip(wanted) {
        let own = match wanted {
            Wanted::Predictions(own) => own,
            // Always alone.
            Wanted::Tokens(texts) => return count_tokens(serving, claimed, texts).await,
        };
        // What does not fit was not made by this model's declaration, and is run by nobody.
        let (owner, count) = (counts.len(), own.len());
        counts.push(count);
        if own.iter().all(|item| loaded.model.admits(item)) {
            owners.extend(std::iter::repeat_n(owner, count));
            items.extend(own);
        }
    }
    let replicas: BTreeSet<&str> = entries.iter().map(|(claimed, _)| &*claimed.entry.replica).collect();
    serving.parts.metrics.queue.batch(loaded.model.id().name.as_str(), replicas.len());

    let record = Record::new();
    let spans: Vec<Option<Span>> = entries.iter().map(|(claimed, _)| span(serving, claimed)).collect();
    record.note(|facts| {
        facts.span = spans.iter().flatten().next().copied();
        facts.model = Some(Arc::clone(&loaded.metrics.served));
        facts.provider = Some(loaded.manifest.provider.as_str());
        facts.batch_size = Some(items.len());
    });
    let deadline = entries.iter().map(|(claimed, _)| claimed.deadline).max().unwrap_or_else(Instant::now);
    let results: Mutex<Vec<Option<Result<Prediction, Failure>>>> = Mutex::new(items.iter().map(|_| None).collect());
    let tell = |position: usize, result: Result<Prediction, InferError>| {
        let failure = |error| match error {
            InferError::Rejected => Failure::Rejected,
            InferError::Other(error) => Failure::Other(error),
        };
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = results.get_mut(position) {
            *place = Some(result.map_err(failure));
        }
    };
    loaded.model.infer(items, deadline, &record, &tell).await;

    let timings = record.timings();
    let stage = |stage| timings.stage(stage).unwrap_or_default();
    let [preprocess, inference, postprocess] = [Stage::Preprocess, Stage::Inference, Stage::Postprocess].map(stage);
    let mut given: Vec<Vec<Result<Prediction, Failure>>> = entries.iter().map(|_| Vec::new()).collect();
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (owner, result) in owners.into_iter().zip(results) {
        given[owner].push(result.unwrap_or_else(|| Err(Failure::Other(unanswered()))));
    }
    let facts = record.end();
    let answers = entries.iter().zip(given).zip(counts).map(|(((claimed, left), results), count)| async move {
        let answer = match results.len() == count {
            true => Answer { preprocess, inference, postprocess, given: Given::Predictions(results) },
            false => Answer::failed(Some(count), &strange()),
        };
        if !left.is_cancelled() {
            serving.claims.answer(claimed, &answer).await;
        }
    });
    join_all(answers).await;
    trace(serving, &spans, &facts);
    inference
}

async fn count_tokens(serving: &Serving, claimed: &Claimed, texts: Vec<String>) -> Duration {
    let started = Instant::now();
    let counted = serving.loaded.model.tokens_in(texts).await.map_err(Failure::Other);
    let (preprocess, none) = (started.elapsed(), Duration::ZERO);
    let answer = Answer { preprocess, inference: none, postprocess: none, given: Given::Tokens(counted) };
    serving.claims.answer(claimed, &answer).await;
    none
}

/// The span of this worker's part, below that of the request.
fn span(serving: &Serving, claimed: &Claimed) -> Option<Span> {
    serving.parts.tracer.as_ref()?;
    let (trace, parent) = claimed.entry.span?;
    Some(Span { trace, id: span_id(), parent: Some(parent) })
}

/// Tells the collector of each traced entry. All of them went through the same stages.
fn trace(serving: &Serving, spans: &[Option<Span>], facts: &Facts) {
    let Some(tracer) = &serving.parts.tracer else { return };
    for span in spans.iter().flatten() {
        let seen = Seen {
            time: SystemTime::now(),
            request_id: Arc::from(""),
            method: "process",
            route: Arc::from(serving.loaded.model.id().to_string()),
            status: 0,
            error_code: None,
            response_bytes: None,
            facts: facts.clone(),
        };
        tracer.finish(Finished { span: *span, seen: Arc::new(seen) });
    }
}

fn unanswered() -> Error {
    Error::internal(anyhow::anyhow!("an item was left without an answer"))
}

fn strange() -> Error {
    Error::internal(anyhow::anyhow!("the worker cannot read the request: it is not one of this model's"))
}
