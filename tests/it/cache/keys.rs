//! Which inputs share an answer, and which never do.

use glassbox::config::{CacheMode, Config};
use serde_json::{Value, json};

use super::{Seen, doubler, keep_in, predict, predict_batch, predicted};
use crate::support::{Redis, Repository, TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_spelling_of_json_does_not_matter() {
    let app = TestApp::start().await;
    let send = async |body: &str| {
        let request = app.request(reqwest::Method::POST, "/v1/predict").header("Content-Type", "application/json");
        Seen::of(request.body(body.to_owned())).await
    };
    for (name, spellings) in [
        (
            "floats",
            &[
                r#"{"model":"doubler","input":[1,2.5]}"#,
                r#"{ "input" : [ 1.0 , 25e-1 ] , "model" : "doubler" }"#,
                r#"{"model":"doubler","version":"1","input":{"x":[1.00,2.50]}}"#,
            ][..],
        ),
        (
            "names",
            &[
                r#"{"model":"multi_io","input":{"amount":[5,1],"category":[1]}}"#,
                r#"{"model":"multi_io","input":{"category":[1.0],"amount":[5.0,1e0]}}"#,
            ],
        ),
        (
            "texts",
            &[
                r#"{"model":"toxicity","text":"You Are aw\u0066ul"}"#,
                r#"{"text":"you are awful","model":"toxicity"}"#,
                r#"{"text":"YOU ARE AWFUL"}"#,
            ],
        ),
    ] {
        let first = send(spellings[0]).await;
        assert!(first.says("fwd=miss"), "{name}: {first:?}");
        for spelling in &spellings[1..] {
            let seen = send(spelling).await;
            assert!(seen.says("hit"), "{spelling}: {seen:?}");
            assert_eq!(seen.body["prediction"], first.body["prediction"]);
        }
    }
    // Another form of the same numbers is another input.
    let whole = send(r#"{"model":"doubler","input":[[1,2.5]]}"#).await;
    assert!(whole.says("fwd=miss"));
    assert_eq!(whole.body["prediction"], json!([[2.0, 5.0]]));
}

/// Servers that share a Redis and differ in one thing: none may find what another has kept.
#[tokio::test(flavor = "multi_thread")]
async fn another_model_version_label_or_preprocessing_never_shares_an_answer() {
    let redis = Redis::start();
    let text = json!({"model": "judge", "version": "1", "text": "You are AWFUL"});
    let changes: [(&str, &str, &str); 6] = [
        ("nothing", "", ""),
        ("labels", r#"labels = ["non_toxic", "toxic"]"#, r#"labels = ["fine", "toxic"]"#),
        ("their order", r#"labels = ["non_toxic", "toxic"]"#, r#"labels = ["toxic", "non_toxic"]"#),
        ("preprocessing", "lowercase = true", "lowercase = false"),
        ("activation", r#"activation = "none""#, r#"activation = "softmax""#),
        ("batch size", "max_batch_size = 64", "max_batch_size = 8"),
    ];
    for (change, from, to) in changes {
        let repository = Repository::new();
        let folder = repository.copy("toxicity", "judge");
        let manifest = std::fs::read_to_string(folder.join("model.toml")).unwrap();
        let manifest = manifest.replace("name = \"toxicity\"", "name = \"judge\"");
        assert!(manifest.contains(from), "{from}");
        repository.write("judge/model.toml", manifest.replacen(from, to, 1));
        // The samples are those of the unchanged model.
        std::fs::remove_file(folder.join("1/golden.json")).unwrap();
        let app = TestApp::with(|config| serve(config, &repository, &redis)).await;
        let first = predict(&app, &text).await;
        assert!(first.says("fwd=miss"), "{change}: {first:?}");
        for (from, to) in [("nothing", "fine"), ("labels", "fine")] {
            let named = first.body["prediction"]["probabilities"].get(to).is_some();
            assert_eq!(named, change == "labels", "{from}");
        }
        until_kept(&app, &text).await;
    }

    // The same files under another name, and as another version.
    let repository = Repository::new();
    for name in ["judge", "jury"] {
        let folder = repository.copy("toxicity", name);
        let manifest = std::fs::read_to_string(folder.join("model.toml")).unwrap();
        repository.write(&format!("{name}/model.toml"), manifest.replace("\"toxicity\" ", &format!("\"{name}\" ")));
        for file in ["model.onnx", "golden.json"] {
            repository.write(&format!("{name}/2/{file}"), std::fs::read(folder.join("1").join(file)).unwrap());
        }
    }
    let app = TestApp::with(|config| serve(config, &repository, &redis)).await;
    let mut hits = Vec::new();
    for model in ["judge", "jury"] {
        for version in ["1", "2"] {
            let mut text = text.clone();
            text["model"] = json!(model);
            text["version"] = json!(version);
            hits.push(predict(&app, &text).await.says("hit"));
        }
    }
    // Only the first is what was asked before.
    assert_eq!(hits, [true, false, false, false]);
}

fn serve(config: &mut Config, repository: &Repository, redis: &Redis) {
    config.models.repository = Some(repository.path());
    config.models.default = None;
    keep_in(config, CacheMode::Redis, redis);
}

async fn until_kept(app: &TestApp, body: &Value) {
    eventually("the answer is kept", async || predict(app, body).await.says("glassbox-redis; hit")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_can_forbid_that_answers_are_shared() {
    let repository = Repository::new();
    let folder = repository.copy("doubler", "doubler");
    let manifest = std::fs::read_to_string(folder.join("model.toml")).unwrap();
    repository.write("doubler/model.toml", format!("{manifest}\n[cache]\nenabled = false\n"));
    let app = TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
    })
    .await;
    for _ in 0..2 {
        let seen = predict(&app, &doubler(json!([1]))).await;
        assert_eq!(seen.cache_status.as_deref(), Some("glassbox-memory; fwd=bypass"));
        assert_eq!((&seen.body["cached"], &seen.body["prediction"]), (&json!(false), &json!([2.0])));
    }
    let seen = predict_batch(&app, &json!({"model": "doubler", "inputs": [[1], [1], [2]]})).await;
    assert_eq!((seen.status, &seen.body["cached_count"]), (200, &json!(0)));
    assert_eq!(predicted(&app, "computed").await, 5.0);
}
