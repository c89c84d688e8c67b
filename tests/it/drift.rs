//! A classifier that gets another kind of text than it was measured with says so.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Metrics, TestApp};

/// As alerts have it.
const THRESHOLD: f64 = 0.25;

/// Has texts predicted, each so many times, and nothing of it kept.
async fn predict(app: &TestApp, texts: &[(&str, usize)]) {
    for (text, times) in texts {
        let call = |_| {
            let request = app.request(Method::POST, "/v1/predict").header("Cache-Control", "no-store");
            request.json(&json!({"model": "toxicity", "text": text})).send()
        };
        for answer in futures_util::future::join_all((0..*times).map(call)).await {
            assert_eq!(answer.unwrap().status(), StatusCode::OK);
        }
    }
}

async fn drift(app: &TestApp) -> (f64, f64, f64) {
    let metrics = Metrics::of(app).await;
    let own = "model=\"toxicity\"";
    let index = |of: &str| metrics.sum("prediction_drift", &[own, &format!("of=\"{of}\"")]);
    (index("class"), index("confidence"), metrics.sum("prediction_drift_samples", &[own]))
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_like_the_held_out_ones_are_no_drift_and_others_are() {
    let app = TestApp::start().await;
    assert_eq!(drift(&app).await, (0.0, 0.0, 0.0));
    // Too few to know, whatever they are.
    predict(&app, &[("have a lovely day", 50)]).await;
    assert_eq!(drift(&app).await, (0.0, 0.0, 50.0));
    // In the shares of the held-out tweets: four of five are toxic, and nine of ten answers are sure.
    let alike = [
        ("Shut up, you stupid clown!!!", 620),
        ("you are awful", 20),
        ("You are wonderful", 16),
        ("have a lovely day", 60),
        ("This product is terrible and I want a refund", 12),
        ("line one is kind\r\nline two is awful\u{2028}line three is not", 14),
    ];
    predict(&app, &alike).await;
    let (class, confidence, samples) = drift(&app).await;
    assert!(class < THRESHOLD && confidence < THRESHOLD, "{class} and {confidence}");
    assert_eq!(samples, 792.0);
    // Ordinary messages, none of which is an insult.
    predict(&app, &[("the meeting has been moved to 15:30 on 2024-02-29", 400), ("You are wonderful", 400)]).await;
    let (class, confidence, _) = drift(&app).await;
    assert!(class > THRESHOLD && confidence > THRESHOLD, "{class} and {confidence}");
    // A model without figures to compare with has no index.
    assert!(!Metrics::of(&app).await.text().contains("prediction_drift{model=\"stub\""));
}
