//! What cannot be tokenised, and tokenizers that are none.

use std::fs;

use serde_json::{Value, json};

use super::{folder, serve};
use crate::support::{Repository, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_text_without_words_or_of_unusual_size_is_refused_or_answered_like_any_other() {
    let app = TestApp::with(|config| {
        serve(config, folder());
        config.predict.max_text_chars = 2_000_000;
        config.server.body_limit = bytesize::ByteSize::mib(8);
    })
    .await;
    for (text, code) in [("", "empty_text"), (" \n\t", "empty_text"), ("a\u{0}b", "nul_character")] {
        let (status, problem) = app.post("/v1/predict", json!({"model": "bert", "text": text})).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["code"]), (422, &json!(code)), "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], "/text");
    }
    // What lies behind the last token that is taken makes no difference, however much it is.
    for model in ["bert", "roberta"] {
        let start = "the good film was the day of the plot but the film was terrible and awful ";
        let expected = app.predict(json!({"model": model, "text": start.repeat(2)})).await;
        for text in [start.repeat(14_000), format!("{}{}", start.repeat(2), "x".repeat(1_000_000))] {
            assert_eq!(app.predict(json!({"model": model, "text": text})).await, expected, "{model}");
        }
    }
    let unknown = app.predict(json!({"model": "bert", "text": "qqq zzz"})).await;
    assert_eq!(app.predict(json!({"model": "bert", "text": "vvv www"})).await, unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_text_in_a_batch_is_pointed_at() {
    let repository = Repository::new();
    // Nothing is added to the text, and words without a token are left out: some texts have no token at all.
    copy(&repository, "bare", |document| {
        document["post_processor"] = Value::Null;
        document["normalizer"] = json!({"type": "Replace", "pattern": {"Regex": "[^a-z ]+"}, "content": ""});
    });
    let app = TestApp::with(|config| serve(config, repository.path())).await;
    let (status, problem) = app.post("/v1/predict_batch", json!({"model": "bare", "texts": ["the", "123", "a"]})).await;
    let error = &problem["errors"][0];
    assert_eq!((status.as_u16(), &error["pointer"], &error["code"]), (422, &json!("/texts/1"), &json!("no_tokens")));
    app.predict(json!({"model": "bare", "text": "the a"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_beyond_the_graph_s_table_are_refused_without_saying_which() {
    let repository = Repository::new();
    copy(&repository, "larger", |document| {
        document["model"]["vocab"]["enormous"] = json!(77_317_731);
    });
    let app = TestApp::with(|config| serve(config, repository.path())).await;
    app.predict(json!({"model": "larger", "text": "the good"})).await;
    let (status, problem) = app.post("/v1/predict", json!({"model": "larger", "text": "the enormous"})).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["code"]), (422, &json!("rejected_by_model")), "{problem}");
    assert!(!problem.to_string().contains("77317731"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokenizer_that_does_not_fit_is_reported_with_its_reason() {
    let repository = Repository::new();
    let file = |name: &str, content: &[u8]| {
        copy(&repository, name, |_| {});
        repository.write(&format!("{name}/1/tokenizer.json"), content);
    };
    file("no_json", b"{");
    file("no_tokenizer", b"{\"version\": \"1.0\"}");
    file("of_the_future", b"{\"version\": \"9.0\"}");
    copy(&repository, "absent", |_| {});
    fs::remove_file(repository.path().join("absent/1/tokenizer.json")).unwrap();
    copy(&repository, "a_folder", |_| {});
    fs::remove_file(repository.path().join("a_folder/1/tokenizer.json")).unwrap();
    repository.write("a_folder/1/tokenizer.json/file", "");
    copy(&repository, "oversized", |_| {});
    let oversized = fs::File::create(repository.path().join("oversized/1/tokenizer.json")).unwrap();
    oversized.set_len(100 << 20).unwrap();
    copy(&repository, "left", |document| {
        document["padding"] = json!({"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    });
    let manifest = |name: &str, text: &str| {
        copy(&repository, name, |_| {});
        repository.write(&format!("{name}/model.toml"), format!("task = \"embedding\"\n{text}"));
    };
    manifest("no_place", "text = { tokenizer = \"tokenizer.json\", max_tokens = 2 }");
    manifest("other_input", "text = { tokenizer = \"tokenizer.json\", inputs.input_ids = \"x\" }");
    manifest("half", "text = { tokenizer = \"tokenizer.json\", inputs.input_ids = \"attention_mask\" }");
    manifest("elsewhere", "text.tokenizer = \"../1/tokenizer.json\"");
    manifest("pooled", "text.tokenizer = \"tokenizer.json\"\noutput.pooling = \"mean\"");

    let app = TestApp::with(|config| serve(config, repository.path())).await;
    for (model, words) in [
        ("no_json", "'tokenizer.json' cannot be used: "),
        ("no_tokenizer", "'tokenizer.json' cannot be used: "),
        ("of_the_future", "Unknown tokenizer version '9.0'"),
        ("absent", "text.tokenizer 'tokenizer.json' is not there, beside the graph"),
        ("a_folder", "'tokenizer.json' cannot be read: it is not a regular file"),
        ("oversized", "'tokenizer.json' cannot be read: it is larger than 64 MiB"),
        ("left", "it pads on the left"),
        ("no_place", "2 tokens are none for the text beside 2 special ones"),
        ("other_input", "text.inputs names 'x', which is not an input of the graph"),
        ("half", "no text gives the input 'input_ids"),
        ("elsewhere", "'text.tokenizer' is the name of a file beside the graph, without folders"),
        ("pooled", "'output.pooling' needs [batch, sequence, hidden]"),
    ] {
        let (_, told) = app.get(&format!("/v1/models/{model}")).await;
        let reason = told["reason"].as_str().unwrap_or_else(|| panic!("{model}: {told}"));
        assert!(reason.contains(words), "{model}: no '{words}' in '{reason}'");
        assert!(!reason.contains(repository.path().to_str().unwrap()), "{model}: {reason}");
    }
}

/// A copy of the smallest model whose tokenizer.json is changed.
fn copy(repository: &Repository, name: &str, change: impl FnOnce(&mut Value)) {
    let from = folder().join("bert");
    for file in ["model.toml", "1/model.onnx"] {
        repository.write(&format!("{name}/{file}"), fs::read(from.join(file)).unwrap());
    }
    let mut document = serde_json::from_slice(&fs::read(from.join("1/tokenizer.json")).unwrap()).unwrap();
    change(&mut document);
    repository.write(&format!("{name}/1/tokenizer.json"), document.to_string());
}
