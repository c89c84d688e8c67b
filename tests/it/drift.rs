//! A classifier that gets another kind of text than it was measured with says so, and so does any model that gets other
//! numbers than it was trained on.

use std::fmt::Write;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Metrics, Repository, TestApp, project};

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

/// The features of the regression's training rows, and a server that watches them and takes `null` for what is missing.
async fn regression() -> (Vec<Value>, TestApp) {
    let repository = Repository::new();
    let folder = repository.copy("linear_regression", "linear_regression");
    let manifest = std::fs::read_to_string(folder.join("model.toml")).unwrap();
    repository.write("linear_regression/model.toml", manifest + "[input]\nmissing = \"nan\"\n");
    let figures = std::fs::read(project().join("model/linear_regression/1/metrics.json")).unwrap();
    let figures: Value = serde_json::from_slice(&figures).unwrap();
    let app = TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
    })
    .await;
    (figures["features"]["x"].as_array().unwrap().clone(), app)
}

async fn send(app: &TestApp, rows: &[Vec<Value>]) {
    for rows in rows.chunks(100) {
        let (status, answer) = app.post("/v1/predict_batch", json!({"inputs": rows})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

/// Rows about the mean of each feature, moved by so many standard deviations.
fn rows(features: &[Value], moved: f64) -> Vec<Vec<Value>> {
    let number = |feature: &Value, name: &str| feature[name].as_f64().unwrap();
    let value = |row: usize, feature: &Value| {
        let (least, greatest) = (number(feature, "min"), number(feature, "max"));
        // Steps of their own, so that no row is like another one and none is found in the cache.
        let around = [-0.9, 0.9][row % 2] + 1e-3 * row as f64 - 0.1;
        let around = number(feature, "mean") + number(feature, "std") * (around + moved);
        if moved == 0.0 { around.clamp(least, greatest) } else { around }
    };
    (0..200).map(|row| features.iter().map(|feature| json!(value(row, feature))).collect()).collect()
}

/// Each feature as `/v1/stats` tells of it, and as the metrics do.
async fn watched(app: &TestApp, model: &str) -> Vec<Value> {
    let (_, stats) = app.get("/v1/stats").await;
    let models = stats["models"].as_array().unwrap().iter();
    let found = models.filter(|entry| entry["model"] == model).flat_map(|entry| entry["features"].as_array().unwrap());
    let (found, metrics): (Vec<Value>, _) = (found.cloned().collect(), Metrics::of(app).await);
    for feature in &found {
        let label = format!("feature=\"{}\"", feature["feature"].as_str().unwrap());
        for name in ["samples", "mean", "shift", "out_of_range_ratio", "missing_ratio"] {
            let told = feature[name].as_f64().unwrap_or(f64::NAN);
            let counted = metrics.sum(&format!("feature_{name}"), &[&format!("model=\"{model}\""), &label]);
            assert!(told == counted || (told.is_nan() && counted.is_nan()), "{name}: {told} and {counted}");
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_like_those_of_the_training_are_no_drift_and_moved_wild_and_missing_ones_are_told() {
    let (features, app) = regression().await;
    let before = watched(&app, "linear_regression").await;
    assert_eq!((before.len(), &before[0]["samples"], &before[0]["mean"]), (10, &json!(0), &Value::Null));
    send(&app, &rows(&features, 0.0)).await;
    let figure = |feature: &Value, name: &str| feature[name].as_f64().unwrap();
    let all = watched(&app, "linear_regression").await;
    for feature in &all {
        assert_eq!(feature["samples"], json!(200));
        assert!(figure(feature, "shift").abs() < 0.1, "{feature}");
        assert_eq!((figure(feature, "out_of_range_ratio"), figure(feature, "missing_ratio")), (0.0, 0.0), "{feature}");
        let trained = features.iter().find(|trained| trained["name"] == feature["feature"]).unwrap();
        assert!((figure(feature, "mean") - figure(trained, "mean")).abs() < 0.1 * figure(trained, "std"), "{feature}");
    }
    // A second time, they are found in the cache, and were counted when they were computed.
    send(&app, &rows(&features, 0.0)).await;
    assert_eq!(watched(&app, "linear_regression").await, all);

    // All a deviation higher, one far outside, and one missing in every fourth row.
    let mut moved = rows(&features, 1.0);
    for (number, row) in moved.iter_mut().enumerate() {
        row[3] = json!(1e6);
        if number % 4 == 0 {
            row[5] = Value::Null;
        }
    }
    send(&app, &moved).await;
    let all = watched(&app, "linear_regression").await;
    let named = |place: usize| all.iter().find(|feature| feature["feature"] == features[place]["name"]).unwrap();
    // Half of the rows are moved.
    assert!((figure(named(0), "shift") - 0.5).abs() < 0.1, "{}", named(0));
    assert!(figure(named(3), "shift") > 1e6 && figure(named(3), "out_of_range_ratio") == 0.5, "{}", named(3));
    assert_eq!((figure(named(5), "missing_ratio"), figure(named(0), "missing_ratio")), (0.125, 0.0));
    assert_eq!(named(5)["samples"], json!(400));
    // What was refused was not predicted.
    let (status, problem) = app.post("/v1/predict", json!({"input": [1, 2, null]})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_input")));
    assert_eq!(watched(&app, "linear_regression").await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_ten_thousand_numbers_has_fifty_series_of_each_kind_and_one_with_bad_figures_has_none() {
    const WIDTH: usize = 10_000;
    let repository = Repository::new();
    let column = |name: usize| json!({"name": format!("n{name:05}"), "mean": 0.5, "std": 0.1, "min": 0, "max": 1});
    let columns: Vec<Value> = (0..WIDTH).map(column).collect();
    for (model, features) in [("wide", json!({"x": columns})), ("wrong", json!({"y": columns}))] {
        let mut manifest =
            "provider = \"stub\"\noutputs = [{ name = \"y\", datatype = \"FP32\", shape = [-1, 1] }]\n".to_owned();
        writeln!(manifest, "inputs = [{{ name = \"x\", datatype = \"FP64\", shape = [-1, {WIDTH}] }}]").unwrap();
        repository.write(&format!("{model}/model.toml"), manifest);
        repository.write(&format!("{model}/1/metrics.json"), json!({"features": features}).to_string());
    }
    let app = TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
    })
    .await;
    for model in ["wide", "wrong"] {
        let row = |seed: usize| (0..WIDTH).map(|number| ((number * seed) % 10) as f64 / 10.0).collect::<Vec<_>>();
        app.predict(json!({"model": model, "input": [row(1), row(3)]})).await;
    }
    let (wide, wrong) = (watched(&app, "wide").await, watched(&app, "wrong").await);
    assert_eq!((wide.len(), wrong.len()), (50, 0));
    assert_eq!((&wide[0]["feature"], &wide[49]["feature"]), (&json!("n00000"), &json!("n00049")));
    assert!(wide.iter().all(|feature| feature["samples"] == json!(2) && feature["out_of_range_ratio"] == json!(0.0)));
    let metrics = Metrics::of(&app).await;
    assert_eq!(metrics.series().iter().filter(|series| series.starts_with("feature_")).count(), 6 * 50);
}
