//! What is left to the history of a request.

use std::sync::Arc;

use uuid::Uuid;

use super::{Predicted, Predictions};
use crate::{
    cache::Key,
    history::{Answered, AnsweredItem, Asker, History, Told},
    model::Input,
    telemetry::record::Record,
};

/// What the history keeps of a request's items; nothing where there is none.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub keys: Vec<Key>,
    pub inputs: Vec<Input>,
}

impl Noted {
    /// Leaves what is known of a request to the history. Who has no request id, as at the terminal, leaves nothing.
    pub(super) fn tell(self, history: &History, answered: &Predictions, record: &Record) {
        let mut asker = None;
        record.note(|facts| asker = Asker::of(facts));
        let Some(asker) = asker else { return };
        let mut inputs = self.inputs.into_iter();
        let item = |(predicted, key): (&Predicted, Key)| AnsweredItem {
            input_hash: Uuid::from_bytes(key.half()),
            prediction: Told::of(&predicted.prediction),
            cached: predicted.cached,
            input: inputs.next().map(Box::new),
        };
        history.tell(Answered {
            asker,
            came: record.started(),
            latency: answered.latency,
            served: Arc::clone(&answered.loaded.metrics.served),
            provider: answered.loaded.manifest.provider.as_str(),
            items: answered.predictions.iter().zip(self.keys).map(item).collect(),
        });
    }
}
