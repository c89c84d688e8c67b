//! `POST /v1/embeddings`, as clients of OpenAI's interface ask.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{answers, folder, serve};
use crate::support::{TestApp, assert_close};

async fn ask(app: &TestApp, body: Value) -> (StatusCode, Value) {
    app.post("/v1/embeddings", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_texts_are_those_of_predict_with_their_tokens_counted() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    for model in ["roberta", "minilm", "fixed_mean"] {
        let items = &answers()[model].texts;
        let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
        // As the official client asks, which sends more than it needs.
        let body = json!({"model": model, "input": texts, "encoding_format": "float", "user": "a"});
        let (status, answer) = ask(&app, body).await;
        assert_eq!(
            (status, &answer["object"], &answer["model"]),
            (StatusCode::OK, &json!("list"), &json!(model)),
            "{answer}"
        );
        let data = answer["data"].as_array().unwrap();
        assert_eq!(data.len(), items.len());
        for (index, (embedding, item)) in data.iter().zip(items).enumerate() {
            assert_eq!((&embedding["object"], &embedding["index"]), (&json!("embedding"), &json!(index)));
            assert_close(&embedding["embedding"], &item.prediction, &format!("{model}: {}", item.text));
        }
        // Each text has its beginning and its end at least; the same text has the same tokens, known already or not.
        let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap();
        assert!(tokens >= 2 * items.len() as u64, "{answer}");
        assert_eq!(answer["usage"]["total_tokens"], tokens);
        let (_, again) = ask(&app, json!({"model": model, "input": texts})).await;
        assert_eq!(again["usage"], answer["usage"]);
    }
    let (_, one) = ask(&app, json!({"model": "minilm", "input": "the"})).await;
    assert_eq!(one["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_travel_in_base64_for_who_asks_so() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    let body = |format: &str| json!({"model": "minilm", "input": "have a lovely day", "encoding_format": format});
    let (_, plain) = ask(&app, body("float")).await;
    let (_, coded) = ask(&app, body("base64")).await;
    let bytes = from_base64(coded["data"][0]["embedding"].as_str().unwrap());
    let numbers: Vec<f32> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let expected: Vec<f32> = serde_json::from_value(plain["data"][0]["embedding"].clone()).unwrap();
    assert!(numbers == expected && numbers.len() > 2, "{coded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_for_vectors_is_refused_in_words() {
    let app = TestApp::with(|config| serve(config, folder())).await;
    let cases = [
        (json!({"model": "bert", "input": "the"}), 422, "no_embeddings", "/model"),
        (json!({"model": "every_token", "input": "the"}), 422, "no_embeddings", "/model"),
        (json!({"model": "minilm", "input": []}), 422, "empty_batch", "/input"),
        (json!({"model": "minilm", "input": ["the", " "]}), 422, "empty_text", "/input/1"),
        (json!({"model": "minilm", "input": vec!["the"; 1025]}), 422, "batch_too_large", "/input"),
        (json!({"model": "minilm", "input": "the", "dimensions": 3}), 422, "wrong_length", "/dimensions"),
        (json!({"model": "minilm", "input": [1, 2]}), 400, "wrong_type", "/input/0"),
        (json!({"model": "minilm", "input": {"a": 1}}), 400, "wrong_type", "/input"),
        (json!({"model": "minilm", "input": "the", "encoding_format": "hex"}), 400, "wrong_type", "/encoding_format"),
    ];
    for (body, status, code, pointer) in cases {
        let (answered, problem) = ask(&app, body).await;
        let fault = &problem["errors"][0];
        assert_eq!(
            (answered.as_u16(), &fault["code"], &fault["pointer"]),
            (status, &json!(code), &json!(pointer)),
            "{problem}"
        );
    }
    let (status, problem) = ask(&app, json!({"model": "nowhere", "input": "the"})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("model_not_found")));
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|digit| DIGITS.iter().position(|other| *other == digit));
    let bits: Vec<usize> = digits.flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1)).collect();
    bits.chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |value, bit| value << 1 | u8::try_from(*bit).unwrap()))
        .collect()
}
