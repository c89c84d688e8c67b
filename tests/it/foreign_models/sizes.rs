//! Inputs of a size for which a task has no answer, though the graph has outputs.

use serde_json::{Value, json};

use crate::support::{Repository, TestApp, python};

async fn app(repository: &Repository) -> TestApp {
    python("python/foreign_sizes.py", &[repository.path().to_str().unwrap()], "");
    TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
    })
    .await
}

#[tokio::test]
async fn a_size_that_the_task_has_no_answer_for_is_the_callers_fault() {
    let repository = Repository::new();
    let app = app(&repository).await;
    let right = [("pooled", json!([[0, 1]]), json!([[2.0, 3.0]])), ("each", json!([[[0.0, 0.0]]]), json!("no"))];
    for (model, input, expected) in right {
        let prediction = app.predict(json!({"model": model, "input": input})).await;
        assert_eq!(prediction.get("label").unwrap_or(&prediction), &expected);
    }

    let wrong = [("pooled", json!([[]])), ("each", json!([[[0.0, 0.0], [1.0, 1.0]]]))];
    for (model, input) in &wrong {
        let (status, body) = app.post("/v1/predict", json!({"model": model, "input": input})).await;
        assert_eq!((status.as_u16(), &body["code"]), (422, &json!("invalid_input")), "{model}: {body}");
        let (status, body) = app.post("/v1/predict_batch", json!({"model": model, "inputs": [input]})).await;
        assert_eq!((status.as_u16(), &body["code"]), (422, &json!("invalid_input")), "{model}: {body}");
    }
    let tokens = json!({"name": "tokens", "datatype": "INT64", "shape": [1, 0], "data": []});
    let (status, body): (_, Value) = app.post("/v2/models/pooled/infer", json!({"inputs": [tokens]})).await;
    assert_eq!(status, 400, "{body}");
}
