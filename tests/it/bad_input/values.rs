//! Numbers and other leaves that do not fit the datatype of an input, and inputs that do not fit by name.

use serde_json::json;

use super::answer::{INVALID, SECRET, post, refused, still_answers};
use crate::support::TestApp;

/// An item of `multi_io` with this as its only category, an INT64.
fn category(literal: &str) -> String {
    format!(r#"{{"model":"multi_io","input":{{"amount":[550,0],"category":[{literal}]}}}}"#)
}

/// An item of `doubler`, which takes FP32.
fn number(literal: &str) -> String {
    format!(r#"{{"model":"doubler","input":[1,{literal}]}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_its_datatype_cannot_hold_is_refused() {
    let app = TestApp::start().await;
    let digits = SECRET.repeat(100_000);
    let mut cases = Vec::new();
    for literal in ["1e400", "-1e400", "1e39", "-3.5e38", "3.4028236e38", "1e99999999999999999999", &digits] {
        cases.push((number(literal), "/input/1", "out_of_range"));
    }
    for literal in ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e30", "1e400", &digits] {
        cases.push((category(literal), "/input/category/0", "out_of_range"));
    }
    for literal in ["1.5", "-0.25", "1e-3", "77317731.5"] {
        cases.push((category(literal), "/input/category/0", "wrong_datatype"));
    }
    cases.push((
        r#"{"model":"linear_regression","input":[[0,0,0,0,0,0,0,0,0,1e39]]}"#.to_owned(),
        "/input/0/9",
        "out_of_range",
    ));
    refused(&app, "/v1/predict", INVALID, &cases).await;

    let cases = [
        (r#"{"model":"doubler","inputs":[[1],[2,1e39]]}"#, "/inputs/1/1", "out_of_range"),
        (r#"{"model":"doubler","inputs":[[1],[2,1e400]]}"#, "/inputs/1/1", "out_of_range"),
    ];
    refused(&app, "/v1/predict_batch", INVALID, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_and_smallest_numbers_of_a_datatype_are_answered() {
    let app = TestApp::start().await;
    let bodies = ["9223372036854775807", "-9223372036854775808", "-0", "2.0", "1e3", "9007199254740993"].map(category);
    let bodies = bodies.into_iter().chain(["3.4028235e38", "-3.4028235e38", "1e-400", "5e-324", "-0.0"].map(number));
    for body in bodies {
        let answer = post(&app, "/v1/predict", &body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }
    // Too large for FP32 once it is doubled, and JSON has no word for infinity.
    let answer = post(&app, "/v1/predict", number("3.4028235e38")).await.json();
    assert_eq!(answer["prediction"], json!([2.0, null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_converted_from_one_kind_of_value_to_another() {
    let app = TestApp::start().await;
    let doubler = |input: &str| format!(r#"{{"model":"doubler","input":{input}}}"#);
    let mut cases = vec![
        (doubler(r#"["77317731"]"#), "/input/0", "wrong_datatype"),
        (doubler(r#"[["1","77317731"]]"#), "/input/0/0", "wrong_datatype"),
        (doubler(r#"{"x":["77317731"]}"#), "/input/x/0", "wrong_datatype"),
        (doubler("[true,false]"), "/input/0", "wrong_datatype"),
        (doubler(r#"[77317731,"b"]"#), "/input/1", "mixed_types"),
        (doubler("[77317731,true]"), "/input/1", "mixed_types"),
        (doubler(r#"["77317731",1]"#), "/input/1", "mixed_types"),
        (doubler("[77317731,null]"), "/input/1", "null"),
        (doubler("[[1],[null]]"), "/input/1/0", "null"),
        (doubler("{\"x\":null}"), "/input/x", "null"),
        (doubler(r#"[77317731,{"a":77317731}]"#), "/input/1", "object"),
        (doubler(r#"{"x":{"x":[77317731]}}"#), "/input/x", "object"),
        (category(r#""1""#), "/input/category/0", "wrong_datatype"),
        (category("true"), "/input/category/0", "wrong_datatype"),
    ];
    for (input, pointer) in [
        (SECRET, "/input"),
        ("[77317731]", "/input/0"),
        ("[[1.5]]", "/input/0/0"),
        ("true", "/input"),
        ("[false]", "/input/0"),
    ] {
        cases.push((format!(r#"{{"model":"toxicity","input":{input}}}"#), pointer, "wrong_datatype"));
    }
    refused(&app, "/v1/predict", INVALID, &cases).await;

    let cases = [
        (r#"{"model":"doubler","inputs":[[1],null]}"#, "/inputs/1", "null"),
        (r#"{"model":"doubler","inputs":[[1],["77317731"]]}"#, "/inputs/1/0", "wrong_datatype"),
        (r#"{"model":"doubler","inputs":[[1],{"x":{"y":77317731}}]}"#, "/inputs/1/x", "object"),
    ];
    refused(&app, "/v1/predict_batch", INVALID, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_named_completely_and_once() {
    let app = TestApp::start().await;
    let cases = [
        (r#"{"model":"multi_io","input":[77317731,0]}"#, "/input", "inputs_not_named"),
        (r#"{"model":"multi_io","input":77317731}"#, "/input", "inputs_not_named"),
        (r#"{"model":"multi_io","input":"77317731"}"#, "/input", "inputs_not_named"),
        (r#"{"model":"multi_io","input":{}}"#, "/input", "missing_input"),
        (r#"{"model":"multi_io","input":{"amount":[77317731,0]}}"#, "/input", "missing_input"),
        (
            r#"{"model":"multi_io","input":{"amount":[1,0],"category":[1],"extra":[77317731]}}"#,
            "/input/extra",
            "unknown_input",
        ),
        (r#"{"model":"multi_io","input":{"amount":[1,0],"Category":[77317731]}}"#, "/input/Category", "unknown_input"),
        (
            r#"{"model":"multi_io","input":{"amount":[1,0],"category":[1],"amount":[77317731,0]}}"#,
            "/input/amount",
            "duplicate_input",
        ),
        (r#"{"model":"doubler","input":{"x":[77317731],"\u0078":[2]}}"#, "/input/x", "duplicate_input"),
        (r#"{"model":"doubler","input":{"a/b~c":[77317731]}}"#, "/input/a~1b~0c", "unknown_input"),
        (r#"{"model":"doubler","input":{"":[77317731]}}"#, "/input/", "unknown_input"),
        (r#"{"model":"toxicity","input":{"txt":"77317731"}}"#, "/input/txt", "unknown_input"),
    ];
    refused(&app, "/v1/predict", INVALID, &cases).await;

    let body = r#"{"model":"multi_io","input":{"a":1,"amount":["x",0],"b":2,"category":[1]}}"#;
    let problem = post(&app, "/v1/predict", body).await.problem(INVALID, body);
    let pointers: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/input/a", "/input/b"]);
    assert!(problem["detail"].as_str().unwrap().ends_with(" (and 1 more)"), "{problem}");

    let body = r#"{"model":"multi_io","input":{"amount":["x","y"],"category":[1.5]}}"#;
    let problem = post(&app, "/v1/predict", body).await.problem(INVALID, body);
    let pointers: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/input/amount/0", "/input/category/0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_names_cost_no_more_than_their_bytes() {
    let app = TestApp::start().await;
    // Comparing each name with all others would take longer than any deadline, which would be answered with 504.
    for name in ["", "x"] {
        let members: Vec<String> = (0..1_000_000 / 4).map(|n| format!(r#""{name}{n}":0"#)).collect();
        let body = format!(r#"{{"model":"doubler","input":{{{}}}}}"#, members.join(","));
        let answer = post(&app, "/v1/predict", &body).await;
        let problem = answer.problem(INVALID, "many names");
        assert_eq!(problem["errors"].as_array().unwrap().len(), 32);
        assert!(problem["detail"].as_str().unwrap().ends_with(" (and at least 31 more)"), "{problem}");
    }
    let same = vec![r#""x":[1]"#; 250_000].join(",");
    let body = format!(r#"{{"model":"doubler","input":{{{same}}}}}"#);
    post(&app, "/v1/predict", body).await.fault(INVALID, ("/input/x", "duplicate_input"), "one name many times");
    still_answers(&app).await;
}
