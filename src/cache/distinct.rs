//! The items of a request with equal ones put together: each is looked for, and run, once.

use std::collections::HashMap;

use super::{
    flights::Answer,
    key::{Fingerprint, Key},
};
use crate::{model::conform::Item, telemetry::labels::Source};

/// Above this, hashing takes longer than an async thread should be held.
const INLINE_ELEMENTS: usize = 16 * 1024;

/// Items without their equals.
pub(super) struct Distinct {
    /// Each item with its key, in the order in which they came first.
    pub slots: Vec<(Key, Item)>,
    /// For every item of the request, in its order, which of them it is.
    pub slot_of: Vec<usize>,
}

impl Distinct {
    pub(super) async fn new(fingerprint: &Fingerprint, items: Vec<Item>, known: &[Key]) -> Self {
        let keyed: Vec<(Key, Item)> = match known {
            [] => {
                let (keys, items) = keys(fingerprint, items).await;
                keys.into_iter().zip(items).collect()
            }
            known => known.iter().copied().zip(items).collect(),
        };
        if keyed.len() == 1 {
            return Self { slots: keyed, slot_of: vec![0] };
        }
        let mut known = HashMap::new();
        let (mut slots, mut slot_of) = (Vec::with_capacity(keyed.len()), Vec::with_capacity(keyed.len()));
        for (key, item) in keyed {
            let slot = *known.entry(key).or_insert(slots.len());
            slot_of.push(slot);
            if slot == slots.len() {
                slots.push((key, item));
            }
        }
        Self { slots, slot_of }
    }
}

/// The key of each item; large ones are hashed away from the async threads.
pub async fn keys(fingerprint: &Fingerprint, items: Vec<Item>) -> (Vec<Key>, Vec<Item>) {
    let elements: usize = items.iter().flat_map(|item| &item.tensors).map(|tensor| tensor.data().len()).sum();
    if elements <= INLINE_ELEMENTS {
        return (items.iter().map(|item| fingerprint.key(item)).collect(), items);
    }
    let fingerprint = fingerprint.clone();
    let keyed = move || (items.iter().map(|item| fingerprint.key(item)).collect(), items);
    // It fails only while the server goes down with its runtime.
    tokio::task::spawn_blocking(keyed).await.unwrap_or_default()
}

/// Gives every item of the request its result. Of equal items that were computed, the others followed the first.
pub(super) fn spread(found: &[Answer], slot_of: &[usize]) -> Vec<Answer> {
    let mut next = 0;
    let mut spread = Vec::with_capacity(slot_of.len());
    for slot in slot_of {
        let first = *slot == next;
        next += usize::from(first);
        let mut result = found.get(*slot).cloned().unwrap_or_else(super::unanswered);
        if let Ok(found) = &mut result
            && !first
            && found.source == Source::Computed
        {
            found.source = Source::Collapsed;
        }
        spread.push(result);
    }
    spread
}
