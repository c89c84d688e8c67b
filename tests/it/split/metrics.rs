//! What both ends of the queue measure: names and labels that dashboards and scalers rely on.

use serde_json::json;

use super::{api, until_ready, worker};
use crate::support::{Metrics, Redis, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_tell_what_waits_what_is_held_and_what_became_of_it() {
    let redis = Redis::start();
    let worker = worker(&redis);
    let api = api(&redis).await;
    until_ready(&api).await;
    api.predict(json!({"model": "toxicity", "text": "hello"})).await;
    eventually("the answer is counted", async || {
        let metrics = Metrics::at(worker.addr).await;
        metrics.sum("worker_entries_total", &["model=\"toxicity\"", "event=\"answered\""]) == 1.0
    })
    .await;
    for series in ["queue_entries", "queue_oldest_entry_milliseconds"] {
        // It may have been looked at while it lay there.
        let series = format!("{series}{{model=\"toxicity\"}}");
        eventually("nothing waits any more", async || api.series(&series) == Some(0.0)).await;
    }
    let (asking, working) = (Metrics::of(&api).await, Metrics::at(worker.addr).await);
    for result in ["answered", "refused", "left", "lost"] {
        let expected = if result == "answered" { 1.0 } else { 0.0 };
        let labels = ["model=\"toxicity\"", &format!("result=\"{result}\"")];
        assert_eq!(asking.sum("queue_requests_total", &labels), expected, "{result}");
    }
    for event in ["claimed", "redelivered", "answered", "expired", "cancelled", "late", "dead", "unreadable"] {
        let expected = if ["claimed", "answered"].contains(&event) { 1.0 } else { 0.0 };
        let labels = ["model=\"toxicity\"", &format!("event=\"{event}\"")];
        assert_eq!(working.sum("worker_entries_total", &labels), expected, "{event}");
    }
    for (metrics, metric, labels, expected) in [
        (&asking, "queue_workers", &["model=\"toxicity\""][..], 1.0),
        (&asking, "queue_entries", &["model=\"toxicity\""], 0.0),
        (&asking, "queue_oldest_entry_milliseconds", &["model=\"toxicity\""], 0.0),
        (&asking, "queue_pending_requests", &[], 0.0),
        (&asking, "queue_late_answers_total", &[], 0.0),
        (&asking, "queue_dead_letters", &[], 0.0),
        (&asking, "queue_redis_away", &[], 0.0),
        (&asking, "predictions_total", &["model=\"toxicity\"", "outcome=\"ok\"", "source=\"computed\""], 1.0),
        (&asking, "predictions_total", &["model=\"toxicity\"", "outcome=\"dependency_unavailable\""], 0.0),
        (&working, "worker_held_entries", &["model=\"toxicity\""], 0.0),
        (&working, "worker_batch_replicas_count", &["model=\"toxicity\""], 1.0),
        (&working, "worker_entry_delay_seconds_count", &["model=\"toxicity\""], 1.0),
        (&working, "inference_batch_size_count", &["model=\"toxicity\""], 1.0),
    ] {
        assert_eq!(metrics.sum(metric, labels), expected, "{metric} {labels:?}");
    }
}
