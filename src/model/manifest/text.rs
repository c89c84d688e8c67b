//! `[text]`: how a model that takes text is given it.

use serde::{Deserialize, Serialize};

/// `[text]`. Either the graph takes the text itself, or `tokenizer` makes tokens of it.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Text {
    /// The input that receives the text, where the graph takes it itself.
    pub input: Option<String>,
    /// The file beside `model.onnx` that says how tokens are made of the text: `tokenizer.json`, as the library
    /// `tokenizers` writes it.
    pub tokenizer: Option<String>,
    /// Tokens that a text is cut to, special ones included. Absent, what lies beside the graph and the graph itself say.
    pub max_tokens: Option<usize>,
    /// Where the graph's inputs have unusual names.
    pub inputs: TokenInputs,
    /// Lower-case the text first (Unicode, without regard to a locale). A tokenizer usually does so by itself.
    pub lowercase: bool,
}

/// `[text.inputs]`: the names of the inputs that receive tokens; the usual ones are found without it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenInputs {
    /// Receives the numbers of the tokens.
    pub input_ids: Option<String>,
    /// Receives 1 for each token, and 0 for what is added to make rows equally long.
    pub attention_mask: Option<String>,
    /// Receives the number of each token's segment.
    pub token_type_ids: Option<String>,
}

impl Text {
    /// Checks what can be checked without the graph.
    ///
    /// # Errors
    /// In words for the person who wrote the file.
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.input, &self.tokenizer) {
            (Some(_), Some(_)) => return Err("'text.input' and 'text.tokenizer' exclude each other".to_owned()),
            (None, None) => return Err("'text' needs 'input' or 'tokenizer'".to_owned()),
            (Some(_), None) if self.max_tokens.is_some() || self.inputs != TokenInputs::default() => {
                return Err("'text.max_tokens' and 'text.inputs' belong to 'text.tokenizer'".to_owned());
            }
            _ => {}
        }
        if self.max_tokens.is_some_and(|tokens| !(1..=MOST_TOKENS).contains(&tokens)) {
            return Err(format!("'text.max_tokens' must be from 1 to {MOST_TOKENS}"));
        }
        // Other places could hold anything, and would not be part of the version's digest.
        if self.tokenizer.as_ref().is_some_and(|name| name.is_empty() || name == ".." || name.contains(['/', '\\'])) {
            return Err("'text.tokenizer' is the name of a file beside the graph, without folders".to_owned());
        }
        Ok(())
    }
}

/// More than any encoder reads at once.
pub const MOST_TOKENS: usize = 65_536;
