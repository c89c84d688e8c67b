//! Texts of different length share runs as far as padding may go, and padding changes no answer.

use glassbox::config::CacheMode;
use serde_json::json;

use super::{answers, batch, folder};
use crate::support::{Metrics, Repository, TestApp};

/// Texts of 64 lengths, which are 1 to 16 tokens with the special ones.
async fn runs(manifest: &str) -> f64 {
    let repository = Repository::new();
    let file = |name: &str| std::fs::read(folder().join("bert").join(name)).unwrap();
    for name in ["1/model.onnx", "1/tokenizer.json"] {
        repository.write(&format!("bert/{name}"), file(name));
    }
    let text = String::from_utf8(file("model.toml")).unwrap();
    repository.write("bert/model.toml", format!("{manifest}\n{text}"));
    let app = TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
        config.cache.mode = CacheMode::Off;
    })
    .await;
    batch(&app, "bert", &answers()["bert"].lengths).await;
    let metrics = Metrics::of(&app).await;
    assert_eq!(metrics.sum("inference_batch_size_sum", &[]), 64.0);
    metrics.sum("inference_batch_size_count", &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn padding_bounds_which_lengths_share_a_run_and_changes_no_answer() {
    let alone = runs("batching = { max_batch_size = 64, max_padding = 0.0 }").await;
    let some = runs("batching = { max_batch_size = 64, max_padding = 0.2 }").await;
    let any = runs("batching = { max_batch_size = 64, max_padding = 1.0 }").await;
    assert!(alone > some && some > any, "{alone}, {some} and {any} runs");
    assert_eq!(any, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_batching_includes_padding() {
    let app = TestApp::with(|config| super::serve(config, folder())).await;
    let (_, told) = app.get("/v1/models/bert").await;
    assert_eq!(told["batching"]["max_padding"], json!(0.1), "{told}");
    assert_eq!(told["batching"]["max_queue_delay_ms"], json!(0.0), "{told}");
}
