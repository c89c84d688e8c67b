//! A shape with a 0 in it takes no bytes, however large it is; as JSON it can be more lists than memory has room for.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Database, list, until_stored};
use crate::support::{TestApp, python, serve_files};

/// Lists of nothing: 6 GB of brackets and commas.
const ENDLESS: i64 = 1 << 31;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_lists_without_end_is_refused_as_json_and_left_out_of_its_row() {
    let database = Database::sqlite();
    let graph = database.folder.path().join("empty.onnx");
    python("python/empty_graph.py", &[graph.to_str().unwrap()], "");
    let app = database.app_with(|config| serve_files(config, vec![graph])).await;
    let (status, answer) = app.post("/v1/predict", json!({"model": "empty", "input": [3]})).await;
    assert_eq!((status, &answer["prediction"]), (StatusCode::OK, &json!([[], [], []])), "{answer}");
    let (status, answer) = app.post("/v1/predict", json!({"model": "empty", "input": [ENDLESS]})).await;
    assert_eq!((status, &answer["errors"][0]["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("too_many_lists")));
    assert_eq!(answer["errors"][0]["pointer"], "/input");
    let (status, answer) = app.post("/v1/predict_batch", json!({"model": "empty", "inputs": [[2], [ENDLESS]]})).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("/inputs/1")));

    // As a tensor it is a shape and nothing more.
    let tensor = json!({"inputs": [{"name": "n", "datatype": "INT64", "shape": [1], "data": [ENDLESS]}]});
    let request = app.request(Method::POST, "/v2/models/empty/infer").timeout(Duration::from_secs(30));
    let (status, answer) = TestApp::json(request.json(&tensor)).await;
    assert_eq!((status, &answer["outputs"][0]["shape"]), (StatusCode::OK, &json!([ENDLESS, 0])), "{answer}");
    until_stored(&app, 2).await;
    let rows = list(&app, "model=empty").await;
    let predictions: Vec<_> = rows.iter().map(|row| &row["prediction"]).collect();
    assert_eq!(predictions, [&json!(null), &json!([[], [], []])]);
}
