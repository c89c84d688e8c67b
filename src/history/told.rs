//! What was answered, until the writer makes JSON of it.

use std::{
    io::{self, Write},
    sync::Arc,
};

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

/// JSON, unless that is longer than `limit`. It is written no further than to there: a few numbers can have a shape of any
/// number of lists.
pub(super) fn json(elements: usize, value: &impl Serialize, limit: usize) -> Option<String> {
    // Each takes a digit and a comma.
    if elements.saturating_mul(2) > limit {
        return None;
    }
    let mut json = Bounded { bytes: Vec::new(), limit };
    serde_json::to_writer(&mut json, value).ok()?;
    String::from_utf8(json.bytes).ok()
}

/// Bytes that take no more than `limit`.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_ends_where_it_becomes_too_long() {
        assert_eq!(json(3, &[1, 2, 3], 7), Some("[1,2,3]".to_owned()));
        assert_eq!(json(3, &[1, 2, 3], 6), None);
        // Its end would come after the universe's.
        let endless = std::iter::repeat_n([0; 0], usize::MAX);
        struct Lists<I>(I);
        impl<I: Iterator<Item = [u8; 0]> + Clone> Serialize for Lists<I> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.clone())
            }
        }
        assert_eq!(json(0, &Lists(endless), 64 * 1024), None);
    }
}
