//! What a worker answers, and its form in Redis.

use std::time::Duration;

use super::bounds::MAX_MESSAGE_BYTES;
use crate::{
    error::{Error, MOST_VIOLATIONS, Violation},
    model::{
        Prediction,
        wire::{Reader, Writer},
    },
};

/// Names the form and its version.
const MAGIC: [u8; 4] = *b"GBA1";

/// Bytes before the answer itself: the magic and the question's number.
const HEAD: usize = 12;

const REJECTED: u8 = 1;
const INVALID: u8 = 2;
const EXPIRED: u8 = 3;
const OVERLOADED: u8 = 4;
const TOO_HASTY: u8 = 5;
const INTERNAL: u8 = 6;

const PREDICTIONS: u8 = 1;
const TOKENS: u8 = 2;

/// The answer to one entry.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How long tokens were made of texts.
    pub preprocess: Duration,
    /// How long the graph ran.
    pub inference: Duration,
    /// How long predictions were made of outputs.
    pub postprocess: Duration,
    /// What came out.
    pub given: Given,
}

/// What came out.
#[derive(Debug, Clone)]
pub enum Given {
    /// One for each item.
    Predictions(Vec<Result<Prediction, Failure>>),
    /// How many tokens the texts have.
    Tokens(Result<usize, Failure>),
}

/// Why there is no prediction.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The graph cannot take this item.
    Rejected,
    /// Everything else.
    Other(Error),
}

impl Answer {
    /// One that says that nothing was run, for so many items; for a question of tokens when none.
    pub fn failed(items: Option<usize>, error: &Error) -> Self {
        let failure = || Err(Failure::Other(error.clone()));
        let given = match items {
            Some(items) => Given::Predictions((0..items).map(|_| failure()).collect()),
            None => Given::Tokens(Err(Failure::Other(error.clone()))),
        };
        Self { preprocess: Duration::ZERO, inference: Duration::ZERO, postprocess: Duration::ZERO, given }
    }

    /// One that says instead that the answer cannot be sent.
    pub(super) fn too_large(&self) -> Self {
        let items = match &self.given {
            Given::Predictions(results) => Some(results.len()),
            Given::Tokens(_) => None,
        };
        let error = Error::internal(anyhow::anyhow!("the answer has more than {MAX_MESSAGE_BYTES} bytes"));
        let Self { preprocess, inference, postprocess, .. } = *self;
        Self { preprocess, inference, postprocess, ..Self::failed(items, &error) }
    }

    /// Its form in Redis, as the answer to question `number`.
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let mut writer = Writer::new(256);
        writer.put(MAGIC);
        writer.number(number);
        [self.preprocess, self.inference, self.postprocess].into_iter().for_each(|time| writer.duration(time));
        match &self.given {
            Given::Predictions(results) => {
                writer.put([PREDICTIONS]);
                writer.length(results.len());
                for result in results {
                    match result {
                        Ok(prediction) => {
                            writer.put([0]);
                            writer.prediction(prediction);
                        }
                        Err(failure) => write_failure(&mut writer, failure),
                    }
                }
            }
            Given::Tokens(result) => {
                writer.put([TOKENS]);
                match result {
                    Ok(count) => {
                        writer.put([0]);
                        writer.number(*count as u64);
                    }
                    Err(failure) => write_failure(&mut writer, failure),
                }
            }
        }
        writer.finish()
    }

    /// Which question these bytes answer; `None` when they are no answer.
    pub fn number_of(bytes: &[u8]) -> Option<u64> {
        let mut reader = Reader::new(bytes);
        if reader.array()? == MAGIC { reader.number() } else { None }
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` when these bytes are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::number_of(bytes)?;
        let mut reader = Reader::new(bytes.get(HEAD..)?);
        let (preprocess, inference, postprocess) = (reader.duration()?, reader.duration()?, reader.duration()?);
        let given = match reader.byte()? {
            PREDICTIONS => {
                let count = reader.length()?;
                let result = |_| match reader.byte()? {
                    0 => reader.prediction().map(Ok),
                    kind => read_failure(&mut reader, kind).map(Err),
                };
                Given::Predictions((0..count).map(result).collect::<Option<_>>()?)
            }
            TOKENS => Given::Tokens(match reader.byte()? {
                0 => Ok(usize::try_from(reader.number()?).ok()?),
                kind => Err(read_failure(&mut reader, kind)?),
            }),
            _ => return None,
        };
        reader.is_at_end().then_some(Self { preprocess, inference, postprocess, given })
    }
}

fn write_failure(writer: &mut Writer, failure: &Failure) {
    let error = match failure {
        Failure::Rejected => return writer.put([REJECTED]),
        Failure::Other(error) => error,
    };
    match error {
        Error::Invalid(violations) => {
            writer.put([INVALID]);
            writer.length(violations.len());
            for Violation { pointer, code, detail } in violations {
                writer.text(pointer);
                writer.text(code);
                writer.text(detail);
            }
        }
        Error::DeadlineExceeded => writer.put([EXPIRED]),
        Error::Overloaded { what, retry_after } => {
            writer.put([OVERLOADED]);
            writer.text(what);
            writer.duration(retry_after.unwrap_or_default());
        }
        Error::TooHasty { retry_after } => {
            writer.put([TOO_HASTY]);
            writer.duration(*retry_after);
        }
        Error::Internal(cause) => {
            writer.put([INTERNAL]);
            writer.text(&format!("{cause:#}"));
        }
        other => {
            writer.put([INTERNAL]);
            writer.text(&other.to_string());
        }
    }
}

fn read_failure(reader: &mut Reader<'_>, kind: u8) -> Option<Failure> {
    Some(Failure::Other(match kind {
        REJECTED => return Some(Failure::Rejected),
        INVALID => {
            let count = reader.length().filter(|count| *count <= MOST_VIOLATIONS)?;
            let violation = |_| {
                let (pointer, code, detail) = (reader.text()?, reader.text()?, reader.text()?);
                Some(Violation::new(pointer, known_code(&code), detail))
            };
            Error::Invalid((0..count).map(violation).collect::<Option<_>>()?)
        }
        EXPIRED => Error::DeadlineExceeded,
        OVERLOADED => {
            let (what, retry_after) = (reader.text()?, reader.duration()?);
            Error::Overloaded { what, retry_after: Some(retry_after).filter(|wait| !wait.is_zero()) }
        }
        TOO_HASTY => Error::TooHasty { retry_after: reader.duration()? },
        INTERNAL => Error::internal(anyhow::anyhow!("in the worker: {}", reader.text()?)),
        _ => return None,
    }))
}

/// The faults that only show when tokens are made.
fn known_code(code: &str) -> &'static str {
    ["no_tokens", "rejected_by_model"].into_iter().find(|known| *known == code).unwrap_or("invalid")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Classes, Data, Tensor, Value};

    fn samples() -> Vec<Answer> {
        let tensor = Tensor::new(vec![2], Data::Fp32(vec![0.1, f32::NAN])).unwrap();
        let labels: Arc<[String]> = ["a".to_owned()].into();
        let failures = [
            Error::Invalid(vec![Violation::new("/text", "no_tokens", "it has no tokens")]),
            Error::DeadlineExceeded,
            Error::Overloaded { what: "a queue".to_owned(), retry_after: None },
            Error::TooHasty { retry_after: Duration::from_millis(7) },
            Error::internal(anyhow::anyhow!("broken")),
        ];
        let mut results = vec![
            Ok(Prediction::Value(Value { tensor, keys: None })),
            Ok(Prediction::Classification(Classes { labels, probabilities: vec![0.25] })),
            Err(Failure::Rejected),
        ];
        results.extend(failures.into_iter().map(|error| Err(Failure::Other(error))));
        let ms = Duration::from_millis;
        let answer = |given| Answer { preprocess: ms(1), inference: ms(2), postprocess: ms(3), given };
        vec![
            answer(Given::Predictions(results)),
            answer(Given::Tokens(Ok(12))),
            Answer::failed(None, &Error::DeadlineExceeded),
        ]
    }

    #[test]
    fn every_answer_comes_back_as_it_was() {
        for answer in samples() {
            let bytes = answer.encode(42);
            assert_eq!(Answer::number_of(&bytes), Some(42));
            let back = Answer::decode(&bytes).unwrap();
            assert_eq!(words(&back), words(&answer));
        }
    }

    /// A cause has no equality, nor has NaN; and a cause's own words may hold a backtrace.
    fn words(answer: &Answer) -> Vec<String> {
        let failure = |failure: &Failure| match failure {
            Failure::Rejected => "rejected".to_owned(),
            Failure::Other(Error::Internal(cause)) => format!("internal: {cause}").replace("in the worker: ", ""),
            Failure::Other(error) => format!("{error:?}"),
        };
        let mut words = vec![format!("{:?}", (answer.preprocess, answer.inference, answer.postprocess))];
        match &answer.given {
            Given::Predictions(results) => words.extend(results.iter().map(|result| match result {
                Ok(prediction) => format!("{prediction:?}"),
                Err(error) => failure(error),
            })),
            Given::Tokens(result) => words.push(result.as_ref().map_or_else(failure, ToString::to_string)),
        }
        words
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        for answer in samples() {
            let bytes = answer.encode(1);
            assert!(Answer::decode(&[&bytes[..], b"x"].concat()).is_none());
            for at in 0..bytes.len() {
                assert!(Answer::decode(&bytes[..at]).is_none());
                for byte in [0, 1, 2, 6, 7, 127, 128, 255] {
                    let mut changed = bytes.clone();
                    changed[at] = byte;
                    let _ = Answer::decode(&changed);
                }
            }
        }
    }
}
