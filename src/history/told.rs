//! What was answered, until the writer makes JSON of it.

use std::sync::Arc;

use serde::Serialize;

use crate::model::Prediction;

/// A few numbers, in bytes of JSON.
const SHORT: usize = 40;

/// An answer until it is written.
#[derive(Debug)]
pub enum Told {
    /// JSON that is shorter than what stands for it in memory. It is written while that is at hand, so that the request can
    /// give it back at once.
    Short([u8; SHORT], usize),
    /// All others, which the writer makes JSON of.
    Whole(Arc<Prediction>),
}

impl Told {
    /// The answer of one item.
    pub fn of(prediction: &Arc<Prediction>) -> Self {
        if matches!(**prediction, Prediction::Value(_)) && prediction.elements() <= SHORT / 8 {
            let mut json = [0; SHORT];
            let mut rest = &mut json[..];
            if serde_json::to_writer(&mut rest, &**prediction).is_ok() {
                let length = SHORT - rest.len();
                return Self::Short(json, length);
            }
        }
        Self::Whole(Arc::clone(prediction))
    }

    /// How many numbers and strings it holds, as far as they weigh anything.
    pub(super) fn elements(&self) -> usize {
        match self {
            Self::Short(..) => 1,
            Self::Whole(prediction) => prediction.elements(),
        }
    }

    /// JSON, unless that is longer than `limit`.
    pub(super) fn json(&self, limit: usize) -> Option<String> {
        match self {
            Self::Short(json, length) => {
                json.get(..*length).filter(|_| *length <= limit).and_then(|json| String::from_utf8(json.to_vec()).ok())
            }
            Self::Whole(prediction) => json(prediction.elements(), &**prediction, limit),
        }
    }

    /// The class that was named, and how probable it is; the most probable one of several.
    pub(super) fn classified(&self) -> (Option<String>, Option<f64>) {
        let best = match self {
            Self::Short(..) => None,
            Self::Whole(prediction) => best(prediction),
        };
        // As it is written in JSON: who asks for 0.97 and more finds a row that says 0.97.
        let decimal = |probability: f32| probability.to_string().parse().ok();
        best.map_or((None, None), |(label, probability)| (Some(label.to_owned()), decimal(probability)))
    }
}

fn best(prediction: &Prediction) -> Option<(&str, f32)> {
    match prediction {
        Prediction::Classification(classes) => classes.best(),
        Prediction::MultiLabel(labels) => labels.classes.best().filter(|(_, p)| *p >= labels.threshold),
        Prediction::Value(_) | Prediction::Named(_) => None,
    }
}

/// JSON, unless that is longer than `limit`.
pub(super) fn json(elements: usize, value: &impl Serialize, limit: usize) -> Option<String> {
    // Each takes a digit and a comma.
    if elements.saturating_mul(2) > limit {
        return None;
    }
    serde_json::to_string(value).ok().filter(|json| json.len() <= limit)
}
