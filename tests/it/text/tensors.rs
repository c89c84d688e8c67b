//! The same models over the Open Inference Protocol: texts as a tensor, and the graph's outputs as tensors.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Item, answers, folder, serve};
use crate::support::{TestApp, assert_close};

async fn infer(app: &TestApp, model: &str, texts: &[&str]) -> (StatusCode, Value) {
    let input = json!({"name": "text", "shape": [texts.len(), 1], "datatype": "BYTES", "data": texts});
    app.post(&format!("/v2/models/{model}/infer"), json!({"inputs": [input]})).await
}

fn texts(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.text.as_str()).collect()
}

/// `data` cut into rows of the last dimensions.
fn rows(output: &Value) -> Vec<Value> {
    let data = output["data"].as_array().unwrap();
    let count = usize::try_from(output["shape"][0].as_u64().unwrap()).unwrap();
    data.chunks(data.len() / count).map(|row| Value::from(row.to_vec())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_texts_stand_in_one_tensor_as_the_manifest_pools_them() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    for model in ["roberta", "minilm", "fixed_mean"] {
        let (_, told) = app.get(&format!("/v2/models/{model}")).await;
        assert_eq!(told["inputs"], json!([{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}]), "{told}");
        let items = &answers()[model].lengths;
        let (status, answer) = infer(&app, model, &texts(items)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let output = &answer["outputs"][0];
        assert_eq!((&output["shape"][0], &output["shape"][1]), (&json!(64), &told["outputs"][0]["shape"][1]), "{told}");
        for (row, item) in rows(output).iter().zip(items) {
            assert_close(row, &item.prediction, &format!("{model}: {}", item.text));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn classifiers_give_what_their_graph_gives_before_it_becomes_probabilities() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    for model in ["bert", "distilbert", "other_names", "fixed"] {
        let items = &answers()[model].texts;
        let (status, answer) = infer(&app, model, &texts(items)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        for (logits, item) in rows(&answer["outputs"][0]).iter().zip(items) {
            let exponentials = logits.as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap().exp());
            let exponentials: Vec<f64> = exponentials.collect();
            let sum: f64 = exponentials.iter().sum();
            let probabilities: Vec<f64> = exponentials.iter().map(|value| value / sum).collect();
            let expected = &item.prediction["probabilities"];
            let expected = ["bad", "neutral", "good"].map(|label| expected[label].clone());
            assert_close(&json!(probabilities), &json!(expected), &format!("{model}: {}", item.text));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_tokens_are_given_for_texts_of_equal_length_and_refused_for_others() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    for model in ["every_token", "fixed_every_token"] {
        let items = &answers()[model].texts;
        let (status, answer) = infer(&app, model, &[&items[0].text]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let output = &answer["outputs"][0];
        let flat: Vec<Value> =
            items[0].prediction.as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap().clone()).collect();
        assert_close(&output["data"], &json!(flat), model);
        assert_eq!(output["shape"][0], 1);
        let (status, answer) = infer(&app, model, &[&items[0].text, &items[1].text]).await;
        assert_eq!((status.as_u16(), &answer["errors"][0]["code"]), (400, &json!("no_common_shape")), "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("one by one"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_tokens_sends_them_under_the_graph_s_own_names() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    let tensor = |name: &str, values: &[i64]| json!({"name": name, "shape": [1, values.len()], "datatype": "INT64", "data": values});
    let inputs = json!([tensor("input_ids", &[2, 5, 3]), tensor("attention_mask", &[1, 1, 1])]);
    let (status, answer) = app.post("/v2/models/distilbert/infer", json!({"inputs": inputs})).await;
    assert_eq!((status, &answer["outputs"][0]["shape"]), (StatusCode::OK, &json!([1, 3])), "{answer}");
    let (status, answer) = app.post("/v2/models/distilbert/infer", json!({"inputs": [inputs[0].clone()]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("attention_mask"), "{answer}");
}
