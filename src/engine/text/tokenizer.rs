//! The only file that names `tokenizers`: from a text to the numbers of its tokens.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use anyhow::Context;
use tokenizers::{
    Encoding, ModelWrapper, NormalizerWrapper, PaddingDirection, PostProcessor, PreTokenizerWrapper,
    TruncationDirection, TruncationParams, TruncationStrategy,
};

/// Words that byte-pair encoding keeps for each thread that it ran on. The library's own number takes megabytes of each.
const KEPT_WORDS: usize = 1000;

/// Of a text that is cut, so many bytes are read per token at first; four times as many where that is not enough.
const BYTES_PER_TOKEN: usize = 8;

/// What `tokenizer.json` describes. Never pads: rows get a common length where they meet.
#[derive(Debug)]
pub(super) struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    /// What fills a row up: a token, and its segment.
    pub padding: (u32, u32),
    /// The length to which the file cuts.
    pub truncation: Option<usize>,
    /// How many tokens a text has at most.
    most: usize,
    /// Whether what follows a space changes no token before it.
    spaces_divide: bool,
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
        let spaces_divide = spaces_divide(&tokenizer);
        Ok(Self { tokenizer, padding, truncation, most: usize::MAX, spaces_divide })
    }

    /// Cuts texts to `most` tokens, special ones included, at the end that the file names.
    ///
    /// # Errors
    /// When that leaves no token for the text.
    pub(super) fn cut_to(&mut self, most: usize) -> anyhow::Result<()> {
        let special = self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        anyhow::ensure!(special < most, "{most} tokens are none for the text beside {special} special ones");
        let direction = self.tokenizer.get_truncation().map_or(TruncationDirection::Right, |cut| cut.direction);
        self.most = most;
        self.spaces_divide &= matches!(direction, TruncationDirection::Right);
        let cut =
            TruncationParams { direction, max_length: most, strategy: TruncationStrategy::LongestFirst, stride: 0 };
        let set = self.tokenizer.with_truncation(Some(cut)).map(|_| ());
        set.map_err(|error| anyhow::anyhow!("{error}")).context("texts cannot be cut")
    }

    /// Makes tokens of `text`; `None` when the vocabulary has none for it. The library's reason may quote the text.
    pub(super) fn encode(&self, text: &str) -> Option<Tokens> {
        // The library reads a text to its end before it cuts: 3 seconds for a megabyte.
        let mut bytes = self.most.saturating_mul(BYTES_PER_TOKEN);
        while let Some(beginning) = beginning(text, bytes).filter(|_| self.spaces_divide) {
            let tokens = self.tokenizer.encode_fast(beginning, true).ok()?;
            if tokens.get_ids().len() >= self.most {
                return Some(Tokens(tokens));
            }
            bytes = bytes.saturating_mul(4);
        }
        self.tokenizer.encode_fast(text, true).ok().map(Tokens)
    }
}

/// Whether a text's beginning, up to a space behind a letter, has the tokens that it has inside of the text. So it is for
/// the steps of BERT and RoBERTa, which never look across a space; of others, who knows.
fn spaces_divide(tokenizer: &tokenizers::Tokenizer) -> bool {
    let normalizer = matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::BertNormalizer(_)));
    let words = match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::BertPreTokenizer(_)) => true,
        Some(PreTokenizerWrapper::ByteLevel(bytes)) => bytes.use_regex,
        _ => false,
    };
    let added = tokenizer.get_added_tokens_decoder();
    normalizer && words && added.values().all(|token| !token.content.contains(char::is_whitespace))
}

/// The first `bytes` of a longer text, and what follows up to a space behind a letter or digit.
fn beginning(text: &str, bytes: usize) -> Option<&str> {
    let rest = text.as_bytes().get(bytes..)?;
    let end = rest.windows(2).position(|pair| pair[0].is_ascii_alphanumeric() && pair[1] == b' ')?;
    text.get(..=bytes + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_ends_behind_a_word() {
        let cases = [
            ("one two three", 0, Some("one")),
            ("one two three", 2, Some("one")),
            ("one two three", 3, Some("one two")),
            ("one two three", 8, None),
            ("é. x y", 0, Some("é. x")),
            ("é", 1, None),
            ("a", 9, None),
        ];
        for (text, bytes, expected) in cases {
            assert_eq!(beginning(text, bytes), expected, "{text} {bytes}");
        }
    }
}
