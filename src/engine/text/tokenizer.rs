//! The only file that names `tokenizers`: from a text to the numbers of its tokens.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use anyhow::Context;
use tokenizers::{
    Encoding, ModelWrapper, PaddingDirection, PostProcessor, TruncationDirection, TruncationParams, TruncationStrategy,
};

/// Words that byte-pair encoding keeps for each thread that it ran on. The library's own number takes megabytes of each.
const KEPT_WORDS: usize = 1000;

/// What `tokenizer.json` describes. Never pads: rows get a common length where they meet.
#[derive(Debug)]
pub(super) struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    /// What fills a row up: a token, and its segment.
    pub padding: (u32, u32),
    /// The length to which the file cuts.
    pub truncation: Option<usize>,
}

/// The tokens of one text, special ones included.
pub(super) struct Tokens(Encoding);

impl Tokens {
    /// The numbers of the tokens.
    pub(super) fn ids(&self) -> &[u32] {
        self.0.get_ids()
    }

    /// Their segments.
    pub(super) fn types(&self) -> &[u32] {
        self.0.get_type_ids()
    }

    /// 1 for each.
    pub(super) fn mask(&self) -> &[u32] {
        self.0.get_attention_mask()
    }
}

impl Tokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// In words for the person who put it there.
    pub(super) fn parse(json: &str) -> anyhow::Result<Self> {
        // The library panics on some contradictions; that must cost this model only.
        let parsed = catch_unwind(AssertUnwindSafe(|| tokenizers::Tokenizer::from_str(json)));
        let parsed = parsed.map_err(|_| anyhow::anyhow!("its parts contradict each other"))?;
        let mut tokenizer = parsed.map_err(|error| anyhow::anyhow!("{error}"))?;
        let padding = tokenizer.get_padding();
        let left = padding.is_some_and(|padding| matches!(padding.direction, PaddingDirection::Left));
        anyhow::ensure!(!left, "it pads on the left, and encoders are padded on the right here");
        let padding = padding.map(|padding| (padding.pad_id, padding.pad_type_id)).unwrap_or_else(|| {
            let token = ["[PAD]", "<pad>"].into_iter().find_map(|token| tokenizer.token_to_id(token));
            (token.unwrap_or_default(), 0)
        });
        let truncation = tokenizer.get_truncation().map(|truncation| truncation.max_length);
        tokenizer.with_padding(None);
        if let ModelWrapper::BPE(model) = tokenizer.get_model() {
            let mut model = model.clone();
            model.resize_cache(KEPT_WORDS);
            tokenizer.with_model(model);
        }
        Ok(Self { tokenizer, padding, truncation })
    }

    /// Cuts texts to `most` tokens, special ones included, at the end that the file names.
    ///
    /// # Errors
    /// When that leaves no token for the text.
    pub(super) fn cut_to(&mut self, most: usize) -> anyhow::Result<()> {
        let special = self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        anyhow::ensure!(special < most, "{most} tokens are none for the text beside {special} special ones");
        let direction = self.tokenizer.get_truncation().map_or(TruncationDirection::Right, |cut| cut.direction);
        let cut =
            TruncationParams { direction, max_length: most, strategy: TruncationStrategy::LongestFirst, stride: 0 };
        let set = self.tokenizer.with_truncation(Some(cut)).map(|_| ());
        set.map_err(|error| anyhow::anyhow!("{error}")).context("texts cannot be cut")
    }

    /// Makes tokens of `text`; `None` when the vocabulary has none for it. The library's reason may quote the text.
    pub(super) fn encode(&self, text: &str) -> Option<Tokens> {
        self.tokenizer.encode_fast(text, true).ok().map(Tokens)
    }
}
