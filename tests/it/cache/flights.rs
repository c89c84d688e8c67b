//! Equal inputs that come at the same time are computed once.

use std::{sync::Arc, time::Duration};

use glassbox::config::{CacheMode, Config};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Loop, Seen, keep_in, lookups, predict, predict_batch, predict_with, predicted, until_looked_up};
use crate::support::{Caller, Proxy, Redis, TestApp, Weather};

/// Counting so far takes a good part of a second.
const SLOW: u64 = 1_000_000;

/// Counting so far takes longer than any test waits.
const ENDLESS: u64 = 1_000_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_identical_misses_are_computed_once() {
    let model = Loop::new();
    for mode in [CacheMode::Memory, CacheMode::Tiered, CacheMode::Redis] {
        let redis = Redis::start();
        let app = Arc::new(model.serve(|config| keep_in(config, mode, &redis)).await);
        let mut callers = JoinSet::new();
        for _ in 0..1000 {
            let app = Arc::clone(&app);
            callers.spawn(async move { predict(&app, &json!({"input": SLOW})).await });
        }
        while let Some(seen) = callers.join_next().await {
            let seen = seen.unwrap();
            assert_eq!((seen.status, &seen.body["prediction"]), (200, &json!(SLOW)), "{mode:?}");
        }
        assert_eq!(predicted(&app, "computed").await, 1.0, "{mode:?}");
        let others = predicted(&app, "collapsed").await + predicted(&app, "memory").await;
        assert_eq!(others + predicted(&app, "redis").await, 999.0, "{mode:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_caller_may_leave_without_failing_the_others() {
    let app = Arc::new(Loop::new().serve(|_| {}).await);
    let addr = app.addr;
    let mut first = tokio::task::spawn_blocking(move || {
        let mut caller = Caller::connect(addr);
        let rest = caller.begin_post("/v1/predict", &json!({"input": 10 * SLOW}));
        caller.send(&rest);
        caller
    })
    .await
    .unwrap();
    until_looked_up(&app, "memory", "miss", 1.0).await;
    let mut others = JoinSet::new();
    for _ in 0..20 {
        let app = Arc::clone(&app);
        others.spawn(async move { predict(&app, &json!({"input": 10 * SLOW})).await });
    }
    until_looked_up(&app, "memory", "collapsed", 20.0).await;
    first.ended = true;
    drop(first);
    while let Some(seen) = others.join_next().await {
        let seen = seen.unwrap();
        assert_eq!((seen.status, &seen.body["prediction"]), (200, &json!(10 * SLOW)));
        assert_eq!(seen.body["cached"], false);
        assert_eq!(seen.cache_status.as_deref(), Some("glassbox-memory; fwd=miss; collapsed"));
    }
    // The run that the first one began was not thrown away.
    assert_eq!((predicted(&app, "computed").await, predicted(&app, "collapsed").await), (0.0, 20.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_is_the_first_callers_alone() {
    let model = Loop::new();
    let app = model.serve(|config| {
        config.runtime.threads = 1;
        config.runtime.max_queue_wait = Duration::from_secs(60);
    });
    let app = app.await;
    let within = |timeout: &str, turns: u64| {
        let request = app.request(Method::POST, "/v1/predict").header("X-Request-Timeout", timeout);
        Seen::of(request.json(&json!({"input": turns})))
    };
    // The only session is taken until the deadline of the second caller has passed, who waits in the queue.
    let mut callers = JoinSet::new();
    callers.spawn(within("14s", ENDLESS));
    until_looked_up(&app, "memory", "miss", 1.0).await;
    callers.spawn(within("7s", SLOW));
    until_looked_up(&app, "memory", "miss", 2.0).await;
    let patient = within("100s", SLOW).await;
    assert_eq!((patient.status, &patient.body["prediction"]), (200, &json!(SLOW)), "{patient:?}");
    assert_eq!(lookups(&app, "memory", "collapsed").await, 1.0);
    while let Some(hasty) = callers.join_next().await {
        assert_eq!(hasty.unwrap().status, 504);
    }
}

/// Both share a flight while Redis is asked; then the first one's time is too short for the line, the second one's is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_in_haste_is_refused_alone() {
    let (model, redis) = (Loop::new(), Redis::start());
    let proxy = Proxy::to(redis.addr);
    let app = model.serve(|config| {
        config.runtime.threads = 1;
        config.runtime.max_queue_wait = Duration::from_secs(60);
        config.cache.mode = CacheMode::Tiered;
        config.redis.url = format!("redis://{}", proxy.addr);
        config.redis.timeout = Duration::from_secs(30);
    });
    let app = app.await;
    let within = |timeout: &str, turns: u64| {
        let request = app.request(Method::POST, "/v1/predict").header("X-Request-Timeout", timeout);
        Seen::of(request.json(&json!({"input": turns})))
    };
    let mut callers = JoinSet::new();
    callers.spawn(within("16s", ENDLESS));
    until_looked_up(&app, "memory", "miss", 1.0).await;
    proxy.set(Weather::Delay(Duration::from_secs(3)));
    let hasty = JoinSet::from_iter([within("7s", SLOW)]);
    until_looked_up(&app, "memory", "miss", 2.0).await;
    let patient = within("100s", SLOW).await;
    assert_eq!((patient.status, &patient.body["prediction"]), (200, &json!(SLOW)), "{patient:?}");
    assert_eq!(lookups(&app, "memory", "collapsed").await, 1.0);
    for refused in hasty.join_all().await {
        assert!([503, 504].contains(&refused.status), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_callers_who_leave_one_after_the_other_fail_nobody() {
    let app = Arc::new(Loop::new().serve(|_| {}).await);
    let mut callers = JoinSet::new();
    for n in 0..400_u64 {
        let timeout = format!("{}ms", 500 + n * 5);
        let request = app.request(Method::POST, "/v1/predict").header("X-Request-Timeout", timeout);
        callers.spawn(Seen::of(request.json(&json!({"input": ENDLESS}))));
    }
    while let Some(seen) = callers.join_next().await {
        let seen = seen.unwrap();
        assert_eq!((seen.status, &seen.body["code"]), (504, &json!("deadline_exceeded")), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_not_kept() {
    let app = Loop::new().serve(|_| {}).await;
    let hasty = app.request(Method::POST, "/v1/predict").header("X-Request-Timeout", "20ms");
    assert_eq!(Seen::of(hasty.json(&json!({"input": SLOW}))).await.status, 504);
    let again = predict(&app, &json!({"input": SLOW})).await;
    assert_eq!((again.status, &again.body["prediction"]), (200, &json!(SLOW)));
    assert!(again.says("fwd=miss"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_wait_for_each_other_end_and_share_their_runs() {
    // All of them ask at once: who comes last waits for all the others.
    let patient = |config: &mut Config| config.runtime.max_queue_wait = Duration::from_secs(60);
    let app = Arc::new(Loop::new().serve(patient).await);
    let mut callers = JoinSet::new();
    for round in 0..10_u64 {
        let turns = |n: u64| SLOW / 4 + round * 10 + n;
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let (app, inputs) = (Arc::clone(&app), order.map(turns));
            callers.spawn(async move {
                let seen = predict_batch(&app, &json!({"inputs": inputs})).await;
                let items = seen.body["predictions"].as_array().unwrap_or_else(|| panic!("{seen:?}")).clone();
                let got: Vec<_> = items.iter().map(|item| item["prediction"].as_u64().unwrap()).collect();
                assert_eq!(got, inputs);
            });
        }
        let (app, input) = (Arc::clone(&app), turns(2));
        callers.spawn(async move {
            assert_eq!(predict(&app, &json!({"input": input})).await.body["prediction"], input);
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    assert_eq!(predicted(&app, "computed").await, 40.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_computed_in_a_batch_is_answered_before_the_batch_is() {
    let app = Arc::new(Loop::new().serve(|config| config.runtime.threads = 1).await);
    let mut batch = JoinSet::new();
    batch.spawn({
        let app = Arc::clone(&app);
        async move { predict_batch(&app, &json!({"inputs": [SLOW, ENDLESS, ENDLESS + 1]})).await }
    });
    until_looked_up(&app, "memory", "miss", 3.0).await;
    // Nobody has to wait for the rest, which takes as long as a request may.
    let alone = predict(&app, &json!({"input": SLOW})).await;
    assert_eq!((alone.status, &alone.body["prediction"]), (200, &json!(SLOW)));
    assert!(batch.try_join_next().is_none(), "the batch goes on");
    assert_eq!(predicted(&app, "computed").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_computed_before_its_deadline_is_kept() {
    for (first, cache_control) in [(10, "max-age=60"), (20, "no-cache")] {
        // A server for each: nobody is let in behind a run that has not ended yet.
        let app = Loop::new().serve(|config| config.runtime.threads = 1).await;
        let batch = app.request(Method::POST, "/v1/predict_batch").header("X-Request-Timeout", "15s");
        let batch = batch.header("Cache-Control", cache_control);
        let seen = Seen::of(batch.json(&json!({"inputs": [first, first + 1, ENDLESS, first + 2]}))).await;
        assert_eq!((seen.status, &seen.body["code"]), (504, &json!("deadline_exceeded")), "{cache_control}");
        for (turns, status) in [(first, 200), (first + 1, 200), (first + 2, 504)] {
            let seen = predict_with(&app, "only-if-cached", &json!({"input": turns})).await;
            assert_eq!(seen.status, status, "{cache_control}, {turns}: {seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_items_of_one_batch_are_computed_once() {
    let app = TestApp::start().await;
    let inputs = json!([[1], [2], [1], [1], [2], [3]]);
    let seen = predict_batch(&app, &json!({"model": "doubler", "inputs": inputs})).await;
    let items = seen.body["predictions"].as_array().unwrap();
    let got: Vec<_> = items.iter().map(|item| item["prediction"][0].as_f64().unwrap()).collect();
    assert_eq!(got, [2.0, 4.0, 2.0, 2.0, 4.0, 6.0]);
    assert_eq!((&seen.body["count"], &seen.body["cached_count"]), (&json!(6), &json!(0)));
    assert_eq!((predicted(&app, "computed").await, predicted(&app, "collapsed").await), (3.0, 3.0));
    assert_eq!(lookups(&app, "memory", "miss").await, 3.0);
}
