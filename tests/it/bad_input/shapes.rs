//! Lists of the wrong depth and length, and batches.

use serde_json::{Value, json};

use super::answer::{INVALID, post, refused, still_answers};
use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_the_declared_depth_and_lengths() {
    let app = TestApp::start().await;
    let regression = |input: &str| format!(r#"{{"model":"linear_regression","input":{input}}}"#);
    let ten = "[0,0,0,0,0,0,0,0,0,77317731]";
    let nine = "[0,0,0,0,0,0,0,0,77317731]";
    let cases = [
        (regression("77317731"), "/input", "wrong_rank"),
        (regression(&format!("[[{ten}]]")), "/input", "wrong_rank"),
        (regression("[[[]]]"), "/input", "wrong_rank"),
        (regression("[]"), "/input", "wrong_length"),
        (regression(nine), "/input", "wrong_length"),
        (regression("[[]]"), "/input/0", "wrong_length"),
        (regression(&format!("[{nine}]")), "/input/0", "wrong_length"),
        (regression(&format!("[{nine},{nine}]")), "/input/0", "wrong_length"),
        (regression(&format!("[{ten},{nine}]")), "/input/1", "ragged_list"),
        (regression(&format!("[{nine},{ten}]")), "/input/1", "ragged_list"),
        (regression(&format!("[{ten},[]]")), "/input/1", "ragged_list"),
        (regression("[[],77317731]"), "/input/1", "ragged_list"),
        (regression("[77317731,[77317731]]"), "/input/1", "ragged_list"),
        (regression("[[77317731],77317731]"), "/input/1", "ragged_list"),
        (regression("[[[1],[1]],[[1],77317731]]"), "/input/1/1", "ragged_list"),
        (r#"{"model":"toxicity","input":["a","77317731"]}"#.to_owned(), "/input", "wrong_length"),
        (r#"{"model":"toxicity","input":[["a"],["77317731"]]}"#.to_owned(), "/input", "wrong_length"),
        (r#"{"model":"toxicity","input":[]}"#.to_owned(), "/input", "wrong_length"),
        (r#"{"model":"toxicity","input":[[["77317731"]]]}"#.to_owned(), "/input", "wrong_rank"),
        (r#"{"model":"stub","input":[["a","77317731"]]}"#.to_owned(), "/input/0", "wrong_length"),
        (
            r#"{"model":"multi_io","input":{"amount":77317731,"category":[1]}}"#.to_owned(),
            "/input/amount",
            "wrong_rank",
        ),
        (
            r#"{"model":"multi_io","input":{"amount":[1,2,3],"category":[1]}}"#.to_owned(),
            "/input/amount",
            "wrong_length",
        ),
        (r#"{"model":"multi_io","input":{"amount":[[1,2]],"category":[1]}}"#.to_owned(), "/input", "wrong_rank"),
        (
            r#"{"model":"multi_io","input":{"amount":[[1,2],[3,4]],"category":[[1]]}}"#.to_owned(),
            "/input",
            "wrong_length",
        ),
        (
            r#"{"model":"multi_io","input":{"amount":[[1,2],[3]],"category":[[1],[2]]}}"#.to_owned(),
            "/input/amount/1",
            "ragged_list",
        ),
    ];
    refused(&app, "/v1/predict", INVALID, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_not_empty_and_not_larger_than_the_limit() {
    let app = TestApp::with(|config| config.predict.max_batch_items = 3).await;
    let many = format!(r#"{{"model":"doubler","inputs":[{}0]}}"#, "0,".repeat(1_000_000));
    let cases = [
        (r#"{"texts":[]}"#, "/texts", "empty_batch"),
        (r#"{"model":"doubler","inputs":[]}"#, "/inputs", "empty_batch"),
        (r#"{"texts":["a","b","c","77317731"]}"#, "/texts", "batch_too_large"),
        (r#"{"model":"doubler","inputs":[[1],[2],[3],[77317731]]}"#, "/inputs", "batch_too_large"),
        (&many, "/inputs", "batch_too_large"),
    ];
    refused(&app, "/v1/predict_batch", INVALID, &cases).await;
    let problem = post(&app, "/v1/predict_batch", &many).await.json();
    assert_eq!(problem["detail"], "the batch has 1000001 items; at most 3 are allowed");

    let answer = post(&app, "/v1/predict_batch", r#"{"model":"doubler","inputs":[[1],[2],[3]]}"#).await;
    assert_eq!((answer.status, &answer.json()["count"]), (200, &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_item_of_a_batch_is_named_and_none_is_run() {
    let app = TestApp::start().await;
    for (body, expected) in [
        (
            json!({"model": "doubler", "inputs": [[1], "77317731", [2], [[[3]]], [4, null], [5]]}),
            json!([["/inputs/1", "wrong_rank"], ["/inputs/3", "wrong_rank"], ["/inputs/4/1", "null"]]),
        ),
        (
            json!({"texts": ["fine", "", "77317731\u{0}", "fine", " "]}),
            json!([["/texts/1", "empty_text"], ["/texts/2", "nul_character"], ["/texts/4", "empty_text"]]),
        ),
        (
            json!({"model": "multi_io", "inputs": [{"amount": [1, 0], "category": [1]}, {"amount": [1], "category": [1.5]}, {}]}),
            json!([
                ["/inputs/1/amount", "wrong_length"],
                ["/inputs/1/category/0", "wrong_datatype"],
                ["/inputs/2", "missing_input"],
                ["/inputs/2", "missing_input"],
            ]),
        ),
    ] {
        let answer = post(&app, "/v1/predict_batch", body.to_string()).await;
        let problem = answer.problem(INVALID, &body.to_string());
        let named = |error: &Value| json!([error["pointer"], error["code"]]);
        let named: Vec<_> = problem["errors"].as_array().unwrap().iter().map(named).collect();
        assert_eq!(json!(named), expected, "{body}");
        assert_eq!(problem.get("predictions"), None);
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_that_is_all_wrong_the_first_faults_are_named() {
    let app = TestApp::start().await;
    let body = json!({"texts": vec![""; 1000]}).to_string();
    let problem = post(&app, "/v1/predict_batch", &body).await.problem(INVALID, "a thousand empty texts");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[31]["pointer"]), (32, &json!("/texts/31")));
    assert_eq!(problem["detail"], "the text is empty or blank (and at least 31 more)");
}
