//! What an API server asks a worker, and its form in Redis: compact, of a version that its first bytes name, and read as if
//! it came from an enemy.

use crate::model::{
    conform::Item,
    wire::{Reader, Writer},
};

/// Names the form and its version.
const MAGIC: [u8; 4] = *b"GBE1";

const INFER: u8 = 1;
const COUNT_TOKENS: u8 = 2;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The API server that waits for the answer.
    pub replica: String,
    /// Which of its questions this is.
    pub number: u64,
    /// Trace and span of the request, if it is traced.
    pub span: Option<(u128, u64)>,
    /// What is wanted.
    pub wanted: Wanted,
}

/// What is wanted of a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Predictions, one for each item.
    Predictions(Vec<Item>),
    /// How many tokens these texts have.
    Tokens(Vec<String>),
}

impl Entry {
    /// Its form in Redis.
    pub fn encode(&self) -> Vec<u8> {
        let bytes: usize = match &self.wanted {
            Wanted::Predictions(items) => items.iter().flat_map(|item| &item.tensors).map(|it| it.bytes() + 64).sum(),
            Wanted::Tokens(texts) => texts.iter().map(String::len).sum(),
        };
        let mut writer = Writer::new(bytes + 128);
        writer.put(MAGIC);
        writer.text(&self.replica);
        writer.number(self.number);
        let (trace, span) = self.span.unwrap_or_default();
        writer.put(trace.to_le_bytes());
        writer.number(span);
        match &self.wanted {
            Wanted::Predictions(items) => {
                writer.put([INFER]);
                writer.length(items.len());
                items.iter().for_each(|item| writer.item(item));
            }
            Wanted::Tokens(texts) => {
                writer.put([COUNT_TOKENS]);
                writer.texts(texts);
            }
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` when these bytes are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return None;
        }
        let replica = reader.text().filter(|replica| is_replica(replica))?;
        let number = reader.number()?;
        let trace = u128::from_le_bytes(reader.array()?);
        let span = reader.number()?;
        let wanted = match reader.byte()? {
            INFER => {
                let count = reader.length()?;
                Wanted::Predictions((0..count).map(|_| reader.item()).collect::<Option<_>>()?)
            }
            COUNT_TOKENS => Wanted::Tokens(reader.texts()?),
            _ => return None,
        };
        let span = (trace != 0).then_some((trace, span));
        reader.is_at_end().then_some(Self { replica, number, span, wanted })
    }

    /// Rows of all items, one at least.
    pub fn rows(&self) -> usize {
        match &self.wanted {
            Wanted::Predictions(items) => items.iter().map(|item| item.rows.max(1)).sum::<usize>().max(1),
            Wanted::Tokens(_) => 1,
        }
    }
}

/// Who asks without waiting for the answer.
pub(super) const NOBODY: &str = "nobody";

/// It becomes a part of a key's name.
fn is_replica(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Data, Tensor};

    fn samples() -> Vec<Entry> {
        let tensor = |shape: &[usize], data| Tensor::new(shape.to_vec(), data).unwrap();
        let item = Item {
            tensors: vec![
                tensor(&[1, 2], Data::Fp32(vec![-0.0, f32::MAX])),
                tensor(&[1, 1], Data::Bytes(vec!["ü\n".to_owned()])),
                tensor(&[1, 0, 3], Data::Int64(Vec::new())),
            ],
            rows: 1,
            whole: true,
            raw: false,
            length: None,
        };
        let other = Item { whole: false, raw: true, length: Some(3), ..item.clone() };
        let entry = |span, wanted| Entry { replica: "0a-1".to_owned(), number: u64::MAX, span, wanted };
        vec![
            entry(Some((1 << 100, 7)), Wanted::Predictions(vec![item, other])),
            entry(None, Wanted::Predictions(Vec::new())),
            entry(None, Wanted::Tokens(vec![String::new(), "a".to_owned()])),
        ]
    }

    #[test]
    fn every_entry_comes_back_as_it_was() {
        for entry in samples() {
            assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_without_much_memory() {
        for entry in samples() {
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&[&bytes[..], b"x"].concat()), None);
            for at in 0..bytes.len() {
                assert_eq!(Entry::decode(&bytes[..at]), None);
                for byte in [0, 1, 2, 3, 7, 14, 15, 127, 128, 255] {
                    let mut changed = bytes.clone();
                    changed[at] = byte;
                    if let Some(Entry { wanted: Wanted::Predictions(items), .. }) = Entry::decode(&changed) {
                        let read: usize = items.iter().flat_map(|item| &item.tensors).map(Tensor::bytes).sum();
                        assert!(read <= 32 * bytes.len(), "{read} bytes were made of {}", bytes.len());
                    }
                }
            }
        }
    }

    #[test]
    fn noise_is_no_entry() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for length in 0..2000 {
            let mut noise: Vec<u8> = samples()[0].encode()[..30].to_vec();
            noise.extend((0..length).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            }));
            assert_eq!(Entry::decode(&noise), None);
        }
    }
}
