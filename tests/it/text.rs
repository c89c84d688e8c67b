//! Models that take text through a tokenizer: a manifest, a graph and a tokenizer.json are all that serving needs.
//!
//! Python makes small encoders with weights of chance, tokenises with rules of its own and runs them with its own
//! onnxruntime; the server must give the same answers, alone and in a batch. `python/text_models.py` is the table.

mod build;
mod embeddings;
mod faults;
mod padding;
mod tensors;

use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

use glassbox::config::Config;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{TestApp, assert_close, python};

/// What Python answers to the texts of one model.
#[derive(Debug, Deserialize)]
struct Answers {
    /// Of every kind.
    texts: Vec<Item>,
    /// Of all lengths.
    lengths: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    text: String,
    prediction: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_every_kind_are_answered_as_the_libraries_answer_them() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    for (model, answers) in answers() {
        for Item { text, prediction } in &answers.texts {
            let got = app.predict(json!({"model": model, "text": text})).await;
            assert_close(&got, prediction, &format!("{model}: {text}"));
        }
        batch(&app, model, &answers.texts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_all_lengths_share_a_batch_and_get_their_own_answers() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    for (model, answers) in answers() {
        assert_eq!(answers.lengths.len(), 64);
        batch(&app, model, &answers.lengths).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distilbert_of_the_same_layout_is_served_by_its_manifest_alone() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    let (_, told) = app.get("/v1/models/distilbert").await;
    let inputs: Vec<_> =
        told["inputs"].as_array().unwrap().iter().map(|input| input["name"].as_str().unwrap()).collect();
    assert_eq!((&told["state"], inputs), (&json!("ready"), vec!["input_ids", "attention_mask"]), "{told}");
    let Item { text, prediction } = &answers()["distilbert"].texts[1];
    let got = app.predict(json!({"model": "distilbert", "text": text})).await;
    assert_close(&got, prediction, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_tells_that_it_takes_text_and_how_much_of_it() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    // Said in the manifest, in tokenizer.json, and in the files that exporters put beside a graph.
    for (model, tokens) in [("bert", 16), ("roberta", 20), ("minilm", 12), ("every_token", 48)] {
        let (_, told) = app.get(&format!("/v1/models/{model}")).await;
        let expected = json!({"input": null, "tokenizer": "tokenizer.json", "max_tokens": tokens});
        assert_eq!(told["text"], expected, "{model}");
        assert_eq!(told["inputs"][0]["name"], "input_ids", "{model}");
        // Transformers are recognised as what they are: their rows know nothing of each other.
        assert!(told["batching"]["max_batch_size"].as_u64() > Some(1), "{model}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_may_send_tokens_instead_of_a_text() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    let text = app.predict(json!({"model": "distilbert", "text": "the a good"})).await;
    let tokens = json!({"input_ids": [2, 4, 5, 6, 3], "attention_mask": [1, 1, 1, 1, 1]});
    assert_close(&app.predict(json!({"model": "distilbert", "input": tokens})).await, &text, "tokens");
    let missing = json!({"model": "distilbert", "input": {"input_ids": [2, 4, 3]}});
    let (status, problem) = app.post("/v1/predict", missing).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["code"]), (422, &json!("missing_input")), "{problem}");
    // A pooled embedding of several rows: one vector for each.
    let row = |ids: &Value| json!([ids, ids]);
    let (ids, ones, zeros) = (json!([2, 4, 5, 3]), json!([1, 1, 1, 1]), json!([0, 0, 0, 0]));
    let rows = json!({"input_ids": row(&ids), "attention_mask": row(&ones), "token_type_ids": row(&zeros)});
    let vectors = app.predict(json!({"model": "minilm", "input": rows})).await;
    let vector = app.predict(json!({"model": "minilm", "text": "the a"})).await;
    assert_close(&vectors, &json!([vector, vector]), "two rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_text_is_kept_in_every_form() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    for model in answers().keys() {
        let body = json!({"model": model, "text": "the good film was kept"});
        let (_, first) = app.post("/v1/predict", body.clone()).await;
        let (_, again) = app.post("/v1/predict", body).await;
        assert_eq!((&first["cached"], &again["cached"]), (&json!(false), &json!(true)), "{model}: {again}");
        assert_eq!(first["prediction"], again["prediction"], "{model}");
    }
}

/// Asks for all items at once.
async fn batch(app: &TestApp, model: &str, items: &[Item]) {
    let texts: Vec<_> = items.iter().map(|item| &item.text).collect();
    let (status, answer) = app.post("/v1/predict_batch", json!({"model": model, "texts": texts})).await;
    assert_eq!(status, 200, "{model}: {answer}");
    for (index, Item { text, prediction }) in items.iter().enumerate() {
        assert_close(&answer["predictions"][index]["prediction"], prediction, &format!("{model} in a batch: {text}"));
    }
}

fn serve(config: &mut Config, repository: PathBuf) {
    config.models.repository = Some(repository);
    config.models.default = None;
}

/// Where Python puts the models; the next run takes them away.
pub fn folder() -> PathBuf {
    answers();
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("text_models")
}

/// Makes all models once, whichever test is first.
fn answers() -> &'static BTreeMap<String, Answers> {
    static MADE: LazyLock<BTreeMap<String, Answers>> = LazyLock::new(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("text_models");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let made: BTreeMap<String, Answers> =
            serde_json::from_str(&python("python/text_models.py", &[folder.to_str().unwrap()], "")).unwrap();
        assert_eq!(made.len(), 11);
        made
    });
    &MADE
}
