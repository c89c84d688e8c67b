//! `/v1/predict` and `/v1/predict_batch` on the bundled models.

use serde_json::{Value, json};

use crate::support::{TestApp, assert_close, project};

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_names_its_request_and_its_model() {
    let app = TestApp::start().await;
    let (status, answer) = app.post("/v1/predict", json!({"model": "doubler", "input": [1.0, 2.5]})).await;
    assert_eq!(status, 200);
    assert_eq!(answer["prediction"], json!([2.0, 5.0]));
    assert_eq!(
        [&answer["model"], &answer["model_version"], &answer["provider"], &answer["cached"]],
        [&json!("doubler"), &json!("1"), &json!("onnxruntime-cpu"), &json!(false)]
    );
    assert!(answer["id"].as_str().is_some_and(|id| id.len() == 36), "{answer}");
    assert!(answer["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_model_answers_requests_that_name_none() {
    let app = TestApp::start().await;
    let awful = app.predict(json!({"text": "you are awful"})).await;
    let lovely = app.predict(json!({"text": "have a lovely day"})).await;
    assert_eq!((&awful["label"], &lovely["label"]), (&json!("toxic"), &json!("non_toxic")));
    assert_eq!(awful["confidence"], awful["probabilities"]["toxic"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_may_carry_its_batch_dimension() {
    let app = TestApp::start().await;
    for (input, expected) in [
        (json!([1, 2]), json!([2.0, 4.0])),
        (json!([[1, 2]]), json!([[2.0, 4.0]])),
        (json!([[1, 2], [3, 4]]), json!([[2.0, 4.0], [6.0, 8.0]])),
        (json!({"x": [1, 2]}), json!([2.0, 4.0])),
        (json!([]), json!([])),
    ] {
        assert_eq!(app.predict(json!({"model": "doubler", "input": input})).await, expected, "{input}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bundled_model_gives_its_reference_answers_alone_and_in_a_batch() {
    let app = TestApp::start().await;
    let mut compared = 0;
    for (model, samples) in golden() {
        for sample in &samples {
            let mut body = sample.clone();
            let expected = body.as_object_mut().unwrap().remove("prediction").unwrap();
            body["model"] = json!(model);
            let got = app.predict(body).await;
            assert_close(&got, &expected, &format!("{model} {sample}"));
            compared += 1;
        }
        for field in ["text", "input"] {
            let (items, expected): (Vec<_>, Vec<_>) = samples
                .iter()
                .filter_map(|sample| Some((sample.get(field)?.clone(), sample["prediction"].clone())))
                .unzip();
            if items.is_empty() {
                continue;
            }
            let mut body = json!({"model": model});
            body[format!("{field}s")] = json!(items);
            let (status, answer) = app.post("/v1/predict_batch", body).await;
            assert_eq!(status, 200, "{model}: {answer}");
            assert_eq!(answer["count"], items.len());
            for (got, expected) in answer["predictions"].as_array().unwrap().iter().zip(&expected) {
                assert_close(&got["prediction"], expected, &format!("{model} in a batch"));
            }
        }
    }
    assert!(compared >= 30, "only {compared} samples were compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_its_order_across_shapes_and_runs() {
    let app = TestApp::start().await;
    let inputs: Vec<Value> = (0..500).map(|n| json!(vec![n; n % 7 + 1])).collect();
    let expected: Vec<Value> = (0..500).map(|n| json!(vec![f64::from(n * 2); (n % 7 + 1) as usize])).collect();
    let (status, answer) = app.post("/v1/predict_batch", json!({"model": "doubler", "inputs": inputs})).await;
    assert_eq!(status, 200, "{answer}");
    let got: Vec<Value> =
        answer["predictions"].as_array().unwrap().iter().map(|item| item["prediction"].clone()).collect();
    assert_eq!(got, expected);
    assert_eq!((&answer["count"], &answer["cached_count"]), (&json!(500), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_get_their_own_answers() {
    let app = std::sync::Arc::new(TestApp::start().await);
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..200 {
        let app = std::sync::Arc::clone(&app);
        callers.spawn(async move {
            let prediction = app.predict(json!({"model": "doubler", "input": [n, n + 1]})).await;
            assert_eq!(prediction, json!([f64::from(n * 2), f64::from(n * 2 + 2)]));
        });
    }
    while let Some(result) = callers.join_next().await {
        result.unwrap();
    }
}

/// The reference samples of every bundled model.
fn golden() -> Vec<(String, Vec<Value>)> {
    let folders = std::fs::read_dir(project().join("model")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = folders
        .filter_map(|folder| {
            // What `make models` builds may be here or not, and its answers depend on the processor's last digits.
            if std::fs::read_to_string(folder.join("model.toml")).is_ok_and(|manifest| manifest.contains("[source]")) {
                return None;
            }
            let text = std::fs::read_to_string(folder.join("1/golden.json")).ok()?;
            let golden: Value = serde_json::from_str(&text).unwrap();
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            Some((name, golden["samples"].as_array().unwrap().clone()))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(all.len(), 5, "every bundled model has golden samples");
    all
}
