//! Bodies that are no JSON, or JSON of the wrong form.

use serde_json::{Value, json};

use super::answer::{INVALID, MALFORMED, NO_MODEL, SECRET, post, refused, still_answers};
use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_malformed_with_a_pointer_to_the_place() {
    let app = TestApp::start().await;
    let number = |literal: &str| format!(r#"{{"model":"doubler","input":[{SECRET},{literal}]}}"#);
    let text = |literal: &[u8]| [br#"{"text":"a"#, literal, br#""}"#].concat();
    let utf16: Vec<u8> = "\u{feff}{\"text\":\"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"".into(), "", "empty_body"),
        (b" \t\r\n ".into(), "", "empty_body"),
        (SECRET.repeat(2).replace('7', "x").into(), "", "invalid_json"),
        (b"model=toxicity&text=hello".into(), "", "invalid_json"),
        (b"{'text': 'a'}".into(), "", "invalid_json"),
        (br#"{text: "a"}"#.into(), "", "invalid_json"),
        (br#"{"text":"a",}"#.into(), "", "invalid_json"),
        (br#"{"text" "a"}"#.into(), "", "invalid_json"),
        (br#"{"text":"a"} garbage"#.into(), "", "invalid_json"),
        (br#"{"text":"a"}{"text":"b"}"#.into(), "", "invalid_json"),
        (br#"{"text":"a"}/* comment */"#.into(), "", "invalid_json"),
        (br#"{"text":"a"#.into(), "/text", "invalid_json"),
        (br#"{"text":"a""#.into(), "", "invalid_json"),
        (text(b"\n"), "/text", "invalid_json"),
        (text(b"\0"), "/text", "invalid_json"),
        (text(br"\x41"), "/text", "invalid_json"),
        (text(br"\ud800"), "/text", "invalid_json"),
        (text(br"\udc00\ud800"), "/text", "invalid_json"),
        (text(b"\xff\xfe"), "/text", "invalid_json"),
        (text(b"\xed\xa0\x80"), "/text", "invalid_json"),
        (text(b"\xc0\xaf"), "/text", "invalid_json"),
        (b"\xef\xbb\xbf{\"text\":\"a\"}".into(), "", "invalid_json"),
        (utf16, "", "invalid_json"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00".into(), "", "invalid_json"),
        (number("2,").into(), "/input", "invalid_json"),
        (format!(r#"{{"model":"doubler","input":[[1],[{SECRET},NaN]]}}"#).into(), "/input/1/1", "invalid_json"),
        (br#"{"model":"doubler","input":NaN}"#.into(), "/input", "invalid_json"),
        (br#"{"model":"doubler","input":{"x":[Infinity]}}"#.into(), "/input/x/0", "invalid_json"),
    ];
    for literal in ["NaN", "Infinity", "-Infinity", "nan", "+1", ".5", "01", "-", "1.", "1e", "tru", "None", "'a'"] {
        cases.push((number(literal).into(), "/input/1", "invalid_json"));
    }
    refused(&app, "/v1/predict", MALFORMED, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_an_object_and_a_list_of_its_fields_is_not() {
    let app = TestApp::start().await;
    let list_of_fields = format!(r#"["doubler",null,null,[{SECRET}]]"#);
    for body in ["[]", " [1]", &list_of_fields, "[[[[", &format!("{SECRET:?}"), SECRET, "1e9", "null", "true"] {
        for path in ["/v1/predict", "/v1/predict_batch"] {
            refused(&app, path, MALFORMED, &[(body, "", "wrong_type")]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_without_end_is_refused_before_it_costs_anything() {
    const DEEP: usize = 10_000;
    let app = TestApp::start().await;
    let lists = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(DEEP), "}".repeat(DEEP));
    let cases = [
        (format!(r#"{{"model":"doubler","input":{lists}}}"#), "/input", "too_deep"),
        (format!(r#"{{"model":"doubler","input":{}"#, "[".repeat(DEEP)), "/input", "too_deep"),
        (format!(r#"{{"model":"doubler","input":{{"x":{lists}}}}}"#), "/input", "too_deep"),
        (format!(r#"{{"model":{lists}}}"#), "/model", "wrong_type"),
        (format!(r#"{{"what":{lists}}}"#), "/what", "unknown_field"),
        (lists.clone(), "", "wrong_type"),
        (objects.clone(), "/a", "unknown_field"),
    ];
    refused(&app, "/v1/predict", MALFORMED, &cases).await;
    let inputs = format!(r#"{{"model":"doubler","inputs":[[1],{lists}]}}"#);
    refused(&app, "/v1/predict_batch", MALFORMED, &[(inputs, "/inputs", "too_deep")]).await;

    // What the parser can take is refused by its rank, and objects inside of objects without counting them.
    let invalid = [
        (format!(r#"{{"model":"doubler","input":{}1{}}}"#, "[".repeat(100), "]".repeat(100)), "/input", "wrong_rank"),
        (format!(r#"{{"model":"doubler","input":{{"x":{objects}}}}}"#), "/input/x", "object"),
        (format!(r#"{{"model":"doubler","input":[1,{objects}]}}"#), "/input/1", "object"),
    ];
    refused(&app, "/v1/predict", INVALID, &invalid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_known_stand_once_and_have_their_type() {
    let app = TestApp::start().await;
    let mut cases = vec![
        (r#"{"text":"a","txt":"77317731"}"#.to_owned(), "/txt", "unknown_field"),
        (r#"{"text":"a","texts":["77317731"]}"#.to_owned(), "/texts", "unknown_field"),
        (r#"{"text":"a","Model":"77317731"}"#.to_owned(), "/Model", "unknown_field"),
        (r#"{"text":"a","":1}"#.to_owned(), "/", "unknown_field"),
        (r#"{"text":"a","a/b~c":1}"#.to_owned(), "/a~1b~0c", "unknown_field"),
        (r#"{"text":"a","x, expected one of `y`":1}"#.to_owned(), "/x, expected one of `y`", "unknown_field"),
        (r#"{"text":"77317731","text":"b"}"#.to_owned(), "/text", "duplicate_field"),
        (r#"{"text":"77317731","\u0074ext":"b"}"#.to_owned(), "/text", "duplicate_field"),
        (r#"{"model":"doubler","input":[1],"input":[77317731]}"#.to_owned(), "/input", "duplicate_field"),
    ];
    let not_strings = [SECRET, "-1", "1.5e3", "true", "[\"77317731\"]", "{\"a\":77317731}"];
    for value in not_strings {
        cases.push((format!(r#"{{"text":{value}}}"#), "/text", "wrong_type"));
        cases.push((format!(r#"{{"model":{value},"text":"a"}}"#), "/model", "wrong_type"));
        cases.push((format!(r#"{{"version":{value},"text":"a"}}"#), "/version", "wrong_type"));
    }
    refused(&app, "/v1/predict", MALFORMED, &cases).await;

    let mut cases = vec![
        (r#"{"texts":["a"],"text":"77317731"}"#.to_owned(), "/text", "unknown_field"),
        (r#"{"texts":["a"],"texts":["77317731"]}"#.to_owned(), "/texts", "duplicate_field"),
        (r#"{"texts":"77317731"}"#.to_owned(), "/texts", "wrong_type"),
        (r#"{"texts":{"0":"77317731"}}"#.to_owned(), "/texts", "wrong_type"),
        (r#"{"model":"doubler","inputs":77317731}"#.to_owned(), "/inputs", "wrong_type"),
        (r#"{"model":"doubler","inputs":{"x":[77317731]}}"#.to_owned(), "/inputs", "wrong_type"),
        (r#"{"texts":["a",null]}"#.to_owned(), "/texts/1", "wrong_type"),
    ];
    cases.extend(not_strings.map(|value| (format!(r#"{{"texts":["a",{value}]}}"#), "/texts/1", "wrong_type")));
    refused(&app, "/v1/predict_batch", MALFORMED, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_text_and_input_is_sent() {
    let app = TestApp::start().await;
    let cases = [
        ("{}", "", "not_exactly_one"),
        (r#"{"model":"doubler"}"#, "", "not_exactly_one"),
        (r#"{"text":null}"#, "", "not_exactly_one"),
        (r#"{"text":null,"input":null}"#, "", "not_exactly_one"),
        (r#"{"text":"77317731","input":[77317731]}"#, "/input", "not_exactly_one"),
        (r#"{"text":"","input":[]}"#, "/input", "not_exactly_one"),
    ];
    refused(&app, "/v1/predict", MALFORMED, &cases).await;
    let cases = [
        ("{}", "", "not_exactly_one"),
        (r#"{"texts":null}"#, "", "not_exactly_one"),
        (r#"{"texts":["77317731"],"inputs":[[77317731]]}"#, "/inputs", "not_exactly_one"),
        (r#"{"texts":[],"inputs":[]}"#, "/inputs", "not_exactly_one"),
    ];
    refused(&app, "/v1/predict_batch", MALFORMED, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_short_however_long_the_names_and_values_are() {
    let app = TestApp::start().await;
    let long = "x".repeat(1024 * 1024);
    for (body, refusal) in [
        (json!({"text": "a", &long: 1}).to_string(), MALFORMED),
        (json!({"model": {&long: long}}).to_string(), MALFORMED),
        (format!(r#"{{"model":"doubler","input":{{"{long}":[NaN]}}}}"#), MALFORMED),
        (format!("{long:?}"), MALFORMED),
        (long.clone(), MALFORMED),
        (json!({"text": "a", "model": long}).to_string(), NO_MODEL),
        (json!({"text": "a", "version": long}).to_string(), NO_MODEL),
        (json!({"text": long}).to_string(), INVALID),
        (json!({"model": "doubler", "input": {&long: [1]}}).to_string(), INVALID),
        (json!({"model": "doubler", "input": {"x": {&long: long}}}).to_string(), INVALID),
        (json!({"model": "doubler", "input": [1, long]}).to_string(), INVALID),
        (format!(r#"{{"model":"doubler","input":{{"{long}":[1e999]}}}}"#), INVALID),
    ] {
        let (answer, case) = (post(&app, "/v1/predict", &body).await, &body[..40]);
        answer.problem(refusal, case);
        assert!(answer.body.len() < 2048, "{case} is answered with {} bytes", answer.body.len());
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_detail_says_what_to_do_in_the_words_of_json() {
    let app = TestApp::start().await;
    for (body, expected) in [
        ("", "the body is empty; it must be a JSON object"),
        ("[]", "expected an object, got a list"),
        ("null", "expected an object, got null, at line 1, column 4"),
        (r#"{"text":1.5}"#, "expected a string, got a number, at line 1, column 11"),
        (r#"{"text":["a"]}"#, "expected a string, got a list, at line 1, column 8"),
        (
            r#"{"txt":"a"}"#,
            "there is no such field: expected one of 'model', 'version', 'text', 'input', at line 1, column 6",
        ),
        (r#"{"text":"a","text":"b"}"#, "the field 'text' stands twice"),
        ("{}", "send either 'text' or 'input'"),
        (
            r#"{"input":[1,NaN]}"#,
            "the body is not valid JSON: there is no NaN and no Infinity in JSON, at line 1, column 13",
        ),
        ("\u{feff}{}", "the body is not valid JSON: it starts with a byte order mark, at line 1, column 1"),
        (r#"{"model":"doubler","input":["1"]}"#, "expected a number for FP32, got a string"),
        (
            r#"{"model":"doubler","input":1}"#,
            "expected a list, got a single value: the model declares x FP32[batch,length]",
        ),
        (
            r#"{"model":"linear_regression","input":[1,2]}"#,
            "expected length 10, got 2: the model declares x FP32[batch,10]",
        ),
        (r#"{"model":"doubler","text":"a"}"#, "this model takes no text: send 'input' with x FP32[batch,length]"),
        (r#"{"text":" "}"#, "the text is empty or blank"),
        (r#"{"model":"nobody","text":"a"}"#, "no model 'nobody' is served here"),
        (r#"{"model":"stub","version":"2","text":"a"}"#, "no model 'stub' with version '2' is served here"),
    ] {
        let answer = post(&app, "/v1/predict", body).await.json();
        assert_eq!(answer["detail"], Value::from(expected), "{body}");
    }
}
