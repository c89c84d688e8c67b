//! What lies beside the graph of a model that takes text through a tokenizer.

use std::sync::Arc;

use anyhow::Context;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    Source,
    loader::{SMALL_FILE, companion_up_to},
};
use crate::{
    engine::{TextEncoder, TextFiles},
    files::MIB,
    model::{
        Datatype, Manifest, Signature,
        conform::TextIntake,
        manifest::{MOST_TOKENS, Text},
    },
};

/// Vocabularies of a hundred languages take 17 MB.
const LARGEST_TOKENIZER: u64 = 64 * MIB;

/// What becomes of texts, if the model takes any.
///
/// # Errors
/// When the manifest, the files and the graph do not fit together.
pub(super) fn intake(
    manifest: &Manifest,
    source: &Source,
    signature: &Signature,
    threads: &Arc<Semaphore>,
) -> anyhow::Result<(Option<TextIntake>, Option<TextEncoder>)> {
    let Some((text, TextIntake::Tokens)) = manifest.text.as_ref().zip(kind(manifest, signature)?) else {
        return Ok((kind(manifest, signature)?, None));
    };
    let name = text.tokenizer.as_deref().unwrap_or_default();
    let tokenizer = companion_up_to(LARGEST_TOKENIZER, source, name)?;
    let tokenizer = tokenizer.with_context(|| format!("text.tokenizer '{name}' is not there, beside the graph"))?;
    let files = TextFiles { tokenizer, most_tokens: most_tokens(source)? };
    let encoder = TextEncoder::new(text, &files, signature, Arc::clone(threads))?;
    Ok((Some(TextIntake::Tokens), Some(encoder)))
}

/// The same without the tokenizer.
///
/// # Errors
/// When the manifest and the graph do not fit together.
pub(super) fn kind(manifest: &Manifest, signature: &Signature) -> anyhow::Result<Option<TextIntake>> {
    Ok(match &manifest.text {
        None => None,
        Some(Text { input: Some(input), .. }) => Some(TextIntake::Input(text_input(input, signature)?)),
        Some(_) => Some(TextIntake::Tokens),
    })
}

fn text_input(name: &str, signature: &Signature) -> anyhow::Result<usize> {
    let index = signature.inputs.iter().position(|spec| *spec.name == *name);
    let index = index.with_context(|| format!("text.input '{name}' is not an input of the graph"))?;
    let datatype = signature.inputs[index].datatype;
    anyhow::ensure!(datatype == Datatype::Bytes, "text.input '{name}' is {datatype}, not BYTES");
    Ok(index)
}

/// The most tokens, as the files say that exporters put beside a graph. Who knows of no limit writes a number beyond all
/// reason.
fn most_tokens(source: &Source) -> anyhow::Result<Option<usize>> {
    let read = |name: &str| -> anyhow::Result<Option<Value>> {
        let text = companion_up_to(SMALL_FILE, source, name)?;
        text.map(|text| serde_json::from_str(&text).with_context(|| format!("'{name}' cannot be read"))).transpose()
    };
    let tokenizer = read("tokenizer_config.json")?.and_then(|config| tokens(&config["model_max_length"]));
    let graph = read("config.json")?.and_then(|config| {
        let positions = tokens(&config["max_position_embeddings"])?;
        // RoBERTa and its kin count positions from behind the number of their padding, which is 1.
        let kin = config["model_type"].as_str().is_some_and(|kind| kind.contains("roberta") || kind == "camembert");
        Some(if kin { positions.saturating_sub(2) } else { positions })
    });
    Ok(tokenizer.into_iter().chain(graph).min())
}

fn tokens(value: &Value) -> Option<usize> {
    let number = usize::try_from(value.as_u64()?).ok()?;
    (1..=MOST_TOKENS).contains(&number).then_some(number)
}
