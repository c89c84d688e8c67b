//! What a caller may ask of the cache, and what it is told.

use std::time::Duration;

use glassbox::config::CacheMode;
use serde_json::json;

use super::{Seen, doubler, predict, predict_batch, predict_with, predicted};
use crate::support::{TestApp, eventually, glassbox, run, variable};

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_stored_and_then_a_hit_with_its_age() {
    let app = TestApp::with(|config| config.cache.ttl = Duration::from_secs(100)).await;
    let input = doubler(json!([1, 2]));
    let miss = predict(&app, &input).await;
    assert_eq!(miss.cache_status.as_deref(), Some("glassbox-memory; fwd=miss; stored"));
    assert_eq!((&miss.body["cached"], miss.age), (&json!(false), None));
    let hit = predict(&app, &input).await;
    assert!(hit.says("glassbox-memory; hit; ttl="), "{hit:?}");
    let ttl: u64 = hit.cache_status.as_deref().unwrap().rsplit('=').next().unwrap().parse().unwrap();
    assert!((60..=100).contains(&ttl) && hit.age.is_some_and(|age| age + ttl <= 100), "{hit:?}");
    assert_eq!((&hit.body["cached"], &hit.body["prediction"]), (&json!(true), &miss.body["prediction"]));
    assert_ne!(hit.body["id"], miss.body["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_what_the_cache_may_do_for_it() {
    let app = TestApp::start().await;
    let input = doubler(json!([1]));
    for (cache_control, expected, computed) in [
        ("only-if-cached", None, 0.0),
        ("no-store", Some("fwd=bypass"), 1.0),
        ("only-if-cached", None, 1.0),
        ("no-cache", Some("fwd=bypass; stored"), 2.0),
        ("only-if-cached", Some("hit"), 2.0),
        ("no-store", Some("fwd=bypass"), 3.0),
        ("max-age=60", Some("hit"), 3.0),
        ("max-age=0", Some("fwd=bypass; stored"), 4.0),
        ("max-age=x, private, no-transform", Some("hit"), 4.0),
    ] {
        let seen = predict_with(&app, cache_control, &input).await;
        match expected {
            Some(words) => assert!(seen.status == 200 && seen.says(words), "{cache_control}: {seen:?}"),
            None => assert_eq!((seen.status, &seen.body["code"]), (504, &json!("not_cached")), "{cache_control}"),
        }
        assert_eq!(predicted(&app, "computed").await, computed, "{cache_control}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_too_old_for_who_says_so() {
    let app = TestApp::start().await;
    let input = doubler(json!([1]));
    predict(&app, &input).await;
    until_aged(&app, 2).await;
    let old = predict_with(&app, "max-age=1", &input).await;
    assert!(old.says("fwd=miss; stored"), "{old:?}");
    assert!(predict_with(&app, "max-age=60", &input).await.says("hit"));
    assert_eq!(predicted(&app, "computed").await, 2.0, "it was computed anew, and kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_for_its_time() {
    let app = TestApp::with(|config| config.cache.ttl = Duration::from_secs(6)).await;
    let input = doubler(json!([1]));
    predict(&app, &input).await;
    assert!(predict(&app, &input).await.says("hit"));
    eventually("the answer is gone", async || {
        let seen = predict_with(&app, "only-if-cached", &input).await;
        assert!(seen.status == 504 || seen.age.is_some_and(|age| age <= 6), "{seen:?}");
        seen.status == 504
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_tells_what_it_found() {
    let app = TestApp::start().await;
    let inputs = |inputs| json!({"model": "doubler", "inputs": inputs});
    assert!(predict_batch(&app, &inputs(json!([[1], [2]]))).await.says("glassbox-memory; fwd=miss; stored"));
    let partial = predict_batch(&app, &inputs(json!([[3], [2], [1], [3]]))).await;
    let status = "glassbox-memory; fwd=partial; stored; detail=\"2 of 4 items hit\"";
    assert_eq!(partial.cache_status.as_deref(), Some(status));
    assert_eq!(partial.body["cached_count"], 2);
    let cached: Vec<_> = partial.body["predictions"].as_array().unwrap().iter().map(|item| &item["cached"]).collect();
    assert_eq!(cached, [false, true, true, false]);
    let all = predict_batch(&app, &inputs(json!([[3], [2], [1]]))).await;
    assert!(all.says("glassbox-memory; hit; ttl=") && all.age.is_some(), "{all:?}");
    assert_eq!(all.body["cached_count"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cache_nothing_is_kept_and_nothing_said() {
    let app = TestApp::with(|config| config.cache.mode = CacheMode::Off).await;
    for _ in 0..2 {
        let Seen { status, cache_status, age, body } = predict(&app, &doubler(json!([1]))).await;
        assert_eq!((status, cache_status, age, &body["cached"]), (200, None, None, &json!(false)));
    }
    let batch = predict_batch(&app, &json!({"model": "doubler", "inputs": [[1], [1], [2]]})).await;
    assert_eq!(batch.body["cached_count"], 0);
    // Equal items of one batch are run once all the same.
    assert_eq!((predicted(&app, "computed").await, predicted(&app, "collapsed").await), (4.0, 1.0));
}

#[test]
fn a_memory_without_room_for_answers_is_refused_and_none_at_all_is_not() {
    for (mode, capacity, accepted) in [
        ("memory", "0", false),
        ("tiered", "1023KiB", false),
        ("memory", "1MiB", true),
        ("redis", "0", true),
        ("off", "0", true),
    ] {
        let settings = [("cache.mode", mode), ("cache.capacity", capacity)];
        let finished = run(glassbox(&["check-config"]).envs(settings.map(|(key, value)| (variable(key), value))));
        assert_eq!(finished.code == Some(0), accepted, "{mode}, {capacity}: {}", finished.stderr);
        assert_eq!(finished.stderr.contains("cache.capacity: must be at least 1MiB"), !accepted, "{}", finished.stderr);
    }
}

/// Waits until the answer to `[1]` is at least so old.
async fn until_aged(app: &TestApp, seconds: u64) {
    eventually("the answer grows old", async || {
        predict(app, &doubler(json!([1]))).await.age.is_some_and(|age| age >= seconds)
    })
    .await;
}
