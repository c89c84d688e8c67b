//! Texts to tokens, on threads that may block: the first step of an item whose model has a tokenizer.

pub(super) mod inputs;
mod tokenizer;

use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;

use self::{
    inputs::{Part, Slots},
    tokenizer::Tokenizer,
};
use super::Padding;
use crate::{
    error::{Error, Violation},
    model::{Data, Signature, conform::Item, manifest},
};

/// Texts of so many bytes are tokenised together: at least to be worth another thread, and at most so that a long batch
/// takes turns with others, and stops soon when its caller leaves.
const SLICE_BYTES: std::ops::RangeInclusive<usize> = 1024..=16 * 1024;

/// Tokens that a text is cut to when nothing says otherwise: what encoders are trained with.
const DEFAULT_MAX_TOKENS: usize = 512;

/// Makes tokens of texts.
#[derive(Debug)]
pub struct TextEncoder {
    encoder: Arc<Encoder>,
    /// Shared by all models: as many texts are tokenised at once as there are threads for inference.
    threads: Arc<Semaphore>,
    max_tokens: usize,
}

/// What lies beside a graph and says how its texts become tokens.
#[derive(Debug)]
pub struct TextFiles {
    /// The file that the manifest names.
    pub tokenizer: String,
    /// The most tokens that the model can take, where a file says so.
    pub most_tokens: Option<usize>,
}

#[derive(Debug)]
struct Encoder {
    tokenizer: Tokenizer,
    slots: Slots,
}

impl TextEncoder {
    /// Reads the tokenizer, and finds out which inputs of the graph receive tokens. As many texts are tokenised at once as
    /// `threads` has permits.
    ///
    /// # Errors
    /// When the manifest, the files and the graph do not fit together.
    pub fn new(
        text: &manifest::Text,
        files: &TextFiles,
        signature: &Signature,
        threads: Arc<Semaphore>,
    ) -> anyhow::Result<Self> {
        let name = text.tokenizer.as_deref().unwrap_or_default();
        let slots = Slots::find(signature, &text.inputs)?;
        let mut tokenizer = Tokenizer::parse(&files.tokenizer).with_context(|| format!("'{name}' cannot be used"))?;
        if let (Some(wanted), Some(fixed)) = (text.max_tokens, slots.fixed_length) {
            anyhow::ensure!(wanted <= fixed, "text.max_tokens is {wanted}, and the graph takes {fixed} tokens");
        }
        let declared = text.max_tokens.or(tokenizer.truncation).or(slots.fixed_length).or(files.most_tokens);
        let most = slots.fixed_length.unwrap_or(manifest::MOST_TOKENS);
        let max_tokens = declared.unwrap_or(DEFAULT_MAX_TOKENS).min(most);
        tokenizer.cut_to(max_tokens).with_context(|| format!("'{name}' cannot be used"))?;
        Ok(Self { encoder: Arc::new(Encoder { tokenizer, slots }), threads, max_tokens })
    }

    /// Tokens that a text is cut to, special ones included.
    pub const fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What makes texts equally long, where the graph tells padding from tokens or takes one length only. `most` is how
    /// much of a run may be padding, from 0 to 1.
    pub fn padding(&self, signature: &Signature, most: f64) -> Option<Padding> {
        let slots = &self.encoder.slots;
        let fixed = slots.fixed_length;
        let per_element = signature.outputs.iter().map(|output| slots.is_per_token(signature, output)).collect();
        (fixed.is_some() || slots.has_mask()).then(|| Padding { values: self.pad_values(), fixed, most, per_element })
    }

    /// What fills up a row that is shorter than others, for each input of the graph.
    fn pad_values(&self) -> Vec<i64> {
        let (token, segment) = self.encoder.tokenizer.padding;
        let value = |part| match part {
            Part::Ids => token.into(),
            Part::Mask => 0,
            Part::Types => segment.into(),
        };
        self.encoder.slots.each(value).collect()
    }

    /// Makes tokens of the items that are texts, each unpadded; the others hold tokens already and stay as they are. In
    /// order. Dropping the future ends it after what is being tokenised.
    pub async fn encode(&self, items: Vec<Item>) -> Vec<Result<Item, Error>> {
        let mut encoded: Vec<Option<Result<Item, Error>>> = Vec::with_capacity(items.len());
        let mut texts = Vec::new();
        let raw: Vec<bool> = items.iter().map(|item| item.raw).collect();
        for (position, item) in items.into_iter().enumerate() {
            encoded.push(match text_of(item) {
                Ok(text) => {
                    texts.push((position, text));
                    None
                }
                Err(item) => Some(Ok(item)),
            });
        }
        let slices = stream::iter(self.slices(texts)).map(|slice| self.encode_slice(slice));
        let mut done = slices.buffer_unordered(self.threads.available_permits().max(1));
        while let Some(items) = done.next().await {
            for (position, item) in items {
                let raw = raw[position];
                encoded[position] = Some(item.map(|item| Item { whole: raw, raw, ..item }));
            }
        }
        encoded.into_iter().map(|item| item.unwrap_or_else(|| Err(lost()))).collect()
    }

    /// The tokens of all `texts`, each cut like one that is predicted.
    ///
    /// # Errors
    /// `invalid_input` for a text without any; `internal`.
    pub async fn tokens_in(&self, texts: Vec<String>) -> Result<usize, Error> {
        let mut tokens = 0;
        for slice in self.slices(texts.into_iter().enumerate().collect()) {
            for (_, item) in self.encode_slice(slice).await {
                tokens += item?.length.unwrap_or_default();
            }
        }
        Ok(tokens)
    }

    /// Divides texts among threads.
    fn slices(&self, texts: Vec<Text>) -> Vec<Vec<Text>> {
        let total: usize = texts.iter().map(|(_, text)| text.len()).sum();
        let threads = self.threads.available_permits().max(1);
        let most = total.div_ceil(threads).clamp(*SLICE_BYTES.start(), *SLICE_BYTES.end());
        let mut slices: Vec<Vec<Text>> = Vec::new();
        let mut room = 0;
        for text in texts {
            let length = text.1.len();
            match slices.last_mut().filter(|_| length <= room) {
                Some(slice) => slice.push(text),
                None => {
                    slices.push(vec![text]);
                    room = most;
                }
            }
            room = room.saturating_sub(length);
        }
        slices
    }

    async fn encode_slice(&self, slice: Vec<Text>) -> Vec<(usize, Result<Item, Error>)> {
        let positions: Vec<usize> = slice.iter().map(|(position, _)| *position).collect();
        let encoder = Arc::clone(&self.encoder);
        // Never closed.
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            // Kept until the work ends, also when nobody waits for it any more.
            let _permit = permit;
            slice.into_iter().map(|(position, text)| (position, encoder.item(&text))).collect()
        });
        // What a panic says may quote the text.
        work.await.unwrap_or_else(|_| positions.into_iter().map(|position| (position, Err(lost()))).collect())
    }
}

/// A text and its position among all items.
type Text = (usize, String);

/// The text of an item that is one.
fn text_of(item: Item) -> Result<String, Item> {
    match item.tensors.first().map(|tensor| tensor.data()) {
        Some(Data::Bytes(texts)) => Ok(texts.first().cloned().unwrap_or_default()),
        _ => Err(item),
    }
}

fn lost() -> Error {
    Error::internal(anyhow::anyhow!("the tokenizer failed"))
}

impl Encoder {
    fn item(&self, text: &str) -> Result<Item, Error> {
        let tokens = self.tokenizer.encode(text).filter(|tokens| !tokens.ids().is_empty());
        let tokens = tokens.ok_or_else(|| {
            let detail = "the model's tokenizer finds no tokens in this text";
            Error::Invalid(vec![Violation::new("", "no_tokens", detail)])
        })?;
        let row = |part| match part {
            Part::Ids => tokens.ids(),
            Part::Mask => tokens.mask(),
            Part::Types => tokens.types(),
        };
        let length = tokens.ids().len();
        let tensors = self.slots.tensors(length, row).ok_or_else(lost)?;
        Ok(Item { tensors, rows: 1, whole: false, raw: false, length: Some(length) })
    }
}
