//! Models that take text through a tokenizer: workers make the tokens, and count them.

use glassbox::config::CacheMode;
use serde_json::json;

use super::{api, until_workers, worker_command};
use crate::{
    support::{Redis, Server, TestApp, assert_close, variable},
    text::folder,
};

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_answered_as_by_one_process_and_their_tokens_counted() {
    let redis = Redis::start();
    let _worker = Server::start(
        worker_command(&redis).env(variable("models.repository"), folder()).env(variable("models.default"), ""),
    );
    let split = api(&redis).await;
    let whole = TestApp::with(|config| {
        config.models.repository = Some(folder());
        config.models.default = None;
        config.cache.mode = CacheMode::Off;
    })
    .await;
    let (_, listed) = whole.get("/v1/models").await;
    let models = listed["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap());
    for model in models {
        until_workers(&split, model, 1).await;
        let texts = ["the", "have a lovely day", "A text with CAPITALS, a comma and more words than the others."];
        for (path, body) in [
            ("/v1/predict", json!({"model": model, "text": texts[1]})),
            ("/v1/predict_batch", json!({"model": model, "texts": texts})),
            ("/v1/embeddings", json!({"model": model, "input": texts})),
            ("/v1/predict", json!({"model": model, "text": " "})),
        ] {
            let (mut expected, mut got) = (whole.post(path, body.clone()).await, split.post(path, body.clone()).await);
            assert_eq!(got.0, expected.0, "{path} {body}: {}", got.1);
            for answer in [&mut expected.1, &mut got.1] {
                for name in ["id", "request_id", "latency_ms"] {
                    answer.as_object_mut().unwrap().remove(name);
                }
            }
            assert_close(&got.1, &expected.1, &format!("{path} {body}"));
        }
        let details = |path: &str| format!("/v1/models/{model}{path}");
        let (expected, got) = (whole.get(&details("")).await.1, split.get(&details("")).await.1);
        assert_eq!(
            (&got["text"], &got["inputs"], &got["digest"]),
            (&expected["text"], &expected["inputs"], &expected["digest"])
        );
    }
}
