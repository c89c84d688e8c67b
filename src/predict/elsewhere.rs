//! Runs in other processes: what is not known here is asked of the model workers.

use std::{sync::Arc, time::Instant};

use futures_util::FutureExt;

use super::here::rejected;
use crate::{
    cache::{Compute, Sink},
    error::Error,
    model::conform::Item,
    queue::{Failure, Queue, Version},
    registry::Loaded,
    telemetry::record::Record,
};

/// Which version the workers are asked for.
pub(super) fn version<'a>(loaded: &'a Loaded, fingerprint: &'a Arc<str>) -> Version<'a> {
    Version { model: loaded.model.id().name.as_str(), fingerprint }
}

/// How the cache has items run that it does not know.
pub(super) fn runs(
    queue: &Arc<Queue>,
    loaded: &Arc<Loaded>,
    fingerprint: &Arc<str>,
    deadline: Instant,
    record: &Record,
) -> Compute {
    let (queue, loaded, record) = (Arc::clone(queue), Arc::clone(loaded), record.clone());
    let fingerprint = Arc::clone(fingerprint);
    Arc::new(move |items, sink| {
        let (queue, loaded, record) = (Arc::clone(&queue), Arc::clone(&loaded), record.clone());
        let fingerprint = Arc::clone(&fingerprint);
        async move {
            let version = version(&loaded, &fingerprint);
            ask(&queue, &loaded, version, items, (deadline, &record), &sink).await;
        }
        .boxed()
    })
}

async fn ask(
    queue: &Queue,
    loaded: &Loaded,
    version: Version<'_>,
    items: Vec<Item>,
    (deadline, record): (Instant, &Record),
    sink: &Sink,
) {
    let forms: Vec<_> = items.iter().map(|item| if item.raw { &loaded.tensor_form } else { &loaded.form }).collect();
    let results = match queue.predict(version, items, deadline, record).await {
        Ok(results) => results,
        Err(error) => return (0..forms.len()).for_each(|position| sink(position, Err(error.clone()))),
    };
    for (position, (result, form)) in results.into_iter().zip(forms).enumerate() {
        let result = match result {
            Ok(prediction) if form.admits(&prediction) => Ok(prediction),
            Ok(_) => {
                Err(Error::internal(anyhow::anyhow!("a worker's answer is none that '{}' gives", loaded.model.id())))
            }
            Err(Failure::Rejected) => Err(rejected()),
            Err(Failure::Other(error)) => Err(error),
        };
        sink(position, result);
    }
}
