//! Texts.

use serde_json::json;

use super::answer::{INVALID, post, refused, still_answers};
use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_text_says_something_and_goes_to_a_model_that_takes_one() {
    let app = TestApp::start().await;
    let cases = [
        (r#"{"text":""}"#, "/text", "empty_text"),
        (r#"{"text":"  \t\r\n "}"#, "/text", "empty_text"),
        (r#"{"text":"\u00a0\u3000\u2028"}"#, "/text", "empty_text"),
        (r#"{"model":"stub","text":""}"#, "/text", "empty_text"),
        (r#"{"model":"toxicity","input":""}"#, "/input", "empty_text"),
        (r#"{"model":"toxicity","input":[" "]}"#, "/input/0", "empty_text"),
        (r#"{"model":"toxicity","input":{"text":[[""]]}}"#, "/input/text/0/0", "empty_text"),
        (r#"{"text":"77317731\u0000"}"#, "/text", "nul_character"),
        (r#"{"text":"\u0000"}"#, "/text", "nul_character"),
        (r#"{"model":"toxicity","input":["a\u000077317731"]}"#, "/input/0", "nul_character"),
        (r#"{"model":"stub","text":"77317731\u0000"}"#, "/text", "nul_character"),
        (r#"{"model":"doubler","text":"77317731"}"#, "/text", "no_text_input"),
        (r#"{"model":"multi_io","text":"77317731"}"#, "/text", "no_text_input"),
    ];
    refused(&app, "/v1/predict", INVALID, &cases).await;

    let cases = [
        (r#"{"model":"doubler","texts":["77317731","b"]}"#, "/texts/0", "no_text_input"),
        (r#"{"model":"toxicity","inputs":["fine",{"text":" "}]}"#, "/inputs/1/text", "empty_text"),
    ];
    refused(&app, "/v1/predict_batch", INVALID, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_as_long_as_the_limit_and_no_longer_counted_in_characters() {
    let app = TestApp::with(|config| config.predict.max_text_chars = 1000).await;
    for letter in ["a", "é", "😀"] {
        let longest = letter.repeat(1000);
        let too_long = format!("{longest}{letter}");
        for model in ["toxicity", "stub"] {
            let body = json!({"model": model, "text": longest}).to_string();
            let answer = post(&app, "/v1/predict", body).await;
            assert_eq!(answer.status, 200, "{letter}: {}", answer.text());
            for (body, pointer) in [
                (json!({"model": model, "text": too_long}), "/text"),
                (json!({"model": model, "input": too_long}), "/input"),
                (json!({"model": model, "input": [too_long]}), "/input/0"),
            ] {
                refused(&app, "/v1/predict", INVALID, &[(body.to_string(), pointer, "too_long")]).await;
            }
        }
        let body = json!({"texts": ["fine", longest, too_long]}).to_string();
        refused(&app, "/v1/predict_batch", INVALID, &[(body, "/texts/2", "too_long")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_every_script_and_of_none_are_answered() {
    let app = TestApp::start().await;
    let texts = [
        "ÇA VA? straße İSTANBUL ΣΊΣΥΦΟΣ",
        "नमस्ते 你好 こんにちは 안녕",
        "\u{202e}desrever\u{202c} مرحبا שלום",
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\u{301}\u{301}\u{301}",
        "\u{200b}\u{feff}\u{200d}",
        "\u{1}\u{7f}\u{85}\u{fffd}\u{ffff}\u{10ffff}",
        "'; DROP TABLE predictions; -- ${jndi:ldap://x} {{7*7}} %s%n <script>",
        "../../../../etc/passwd",
        ".,;:!?",
        "a",
    ];
    for text in texts {
        for model in ["toxicity", "stub"] {
            let prediction = app.predict(json!({"model": model, "text": text})).await;
            let confidence = prediction["confidence"].as_f64().unwrap_or_else(|| panic!("{text}: {prediction}"));
            assert!((0.0..=1.0).contains(&confidence), "{text}: {prediction}");
        }
    }
    let escaped = post(&app, "/v1/predict", r#"{"text":"\ud83d\ude00 \u00e9"}"#).await.json();
    let plain = post(&app, "/v1/predict", r#"{"text":"😀 é"}"#).await.json();
    assert_eq!(escaped["prediction"], plain["prediction"]);
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_limit_for_callers_does_not_fail_a_model_with_longer_samples() {
    let app = TestApp::with(|config| config.predict.max_text_chars = 5).await;
    refused(&app, "/v1/predict", INVALID, &[(r#"{"text":"longer"}"#, "/text", "too_long")]).await;
    let (status, ready) = app.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
}
