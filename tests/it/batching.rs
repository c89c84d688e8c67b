//! Requests that wait at the same time share a run, and none of them is worse off for it; and how a model's runs get a
//! thread is decided, told, and can be chosen.

use std::{sync::Arc, time::Duration};

use glassbox::config::{CacheMode, Config};
use opentelemetry_proto::tonic::trace::v1::Span;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::{AbortHandle, JoinSet};

use crate::support::{Collector, Metrics, Repository, TestApp, assert_close, attribute, eventually, python};

/// Counting so far takes longer than any test waits.
const ENDLESS: u64 = 1_000_000_000_000;

/// One session of a model that reads a table, and takes as long as its callers want.
async fn serve(manifest: &str) -> Arc<TestApp> {
    serve_with(manifest, |_| {}).await
}

async fn serve_with(manifest: &str, change: impl FnOnce(&mut Config)) -> Arc<TestApp> {
    let repository = Repository::new();
    let graph = repository.write("table/1/model.onnx", "");
    python("python/batch_graph.py", &[graph.to_str().unwrap()], "");
    repository.write("table/model.toml", format!("execution.instances = 1\n{manifest}"));
    let app = TestApp::with(|config: &mut Config| {
        config.models.repository = Some(repository.path());
        config.models.default = Some("table".to_owned());
        config.runtime.max_queue_wait = Duration::from_secs(600);
        config.cache.mode = CacheMode::Off;
        change(config);
    });
    Arc::new(app.await)
}

/// Callers that go on while the test does something else.
struct Callers {
    app: Arc<TestApp>,
    client: Client,
    tasks: JoinSet<(Value, u16, Value)>,
}

impl Callers {
    fn of(app: &Arc<TestApp>) -> Self {
        Self { app: Arc::clone(app), client: Client::new(), tasks: JoinSet::new() }
    }

    /// Aborting it is leaving.
    fn ask(&mut self, input: Value) -> AbortHandle {
        let request = self.client.post(self.app.url("/v1/predict")).json(&json!({"input": input}));
        self.tasks.spawn(async move {
            let (status, body) = TestApp::json(request.header("X-Request-Timeout", "25s")).await;
            (input, status.as_u16(), body)
        })
    }

    /// Keeps the only session busy until its caller leaves.
    async fn occupy(&mut self) -> AbortHandle {
        let caller = self.ask(json!({"index": [0], "count": [ENDLESS]}));
        let app = Arc::clone(&self.app);
        eventually("the run has begun", async || {
            let metrics = Metrics::of(&app).await;
            metrics.sum("http_requests_in_flight", &[]) >= 1.0 && metrics.sum("inference_batches_total", &[]) >= 1.0
        })
        .await;
        caller
    }

    /// Has all of these wait for the session, then gives it to them.
    async fn ask_at_once(&mut self, inputs: &[Value]) {
        let occupier = self.occupy().await;
        for input in inputs {
            self.ask(input.clone());
        }
        self.until_waiting(inputs.len()).await;
        occupier.abort();
    }

    async fn until_waiting(&self, count: usize) {
        let what = format!("{count} wait");
        eventually(&what, async || Metrics::of(&self.app).await.sum("inference_queue_depth", &[]) == count as f64)
            .await;
    }

    /// What all but those who left were told.
    async fn answers(&mut self) -> Vec<(Value, u16, Value)> {
        let mut answers = Vec::new();
        while let Some(answer) = self.tasks.join_next().await {
            answers.extend(answer.ok());
        }
        answers
    }
}

/// How many runs have been released, for which reason, and the rows in those that ended.
async fn runs(app: &TestApp) -> (f64, f64, f64, f64) {
    let metrics = Metrics::of(app).await;
    let released = |reason: &str| metrics.sum("inference_batches_total", &[&format!("reason=\"{reason}\"")]);
    (released("full"), released("delay"), released("idle"), metrics.sum("inference_batch_size_sum", &[]))
}

fn row(index: i64) -> Value {
    json!({"index": [index], "count": [1]})
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_share_runs_and_each_gets_its_own_answer() {
    let app = serve("batching.max_batch_size = 8\nexecution.strategy = \"batched\"").await;
    let mut callers = Callers::of(&app);
    let (_, _, idle, rows) = runs(&app).await;
    callers.ask_at_once(&(0..20).map(|index| row(index % 10)).collect::<Vec<_>>()).await;
    let answers = callers.answers().await;
    assert_eq!(answers.len(), 20);
    for (input, status, body) in answers {
        assert_eq!(
            (status, &body["prediction"][0]),
            (200, &json!(input["index"][0].as_f64().unwrap() / 2.0)),
            "{body}"
        );
    }
    // 20 rows in runs of 8, 8 and 4, after the one that was ended.
    let (full, delay, idle_then, rows_then) = runs(&app).await;
    assert_eq!((full, delay, idle_then - idle, rows_then - rows), (2.0, 0.0, 2.0, 21.0));
    let metrics = Metrics::of(&app).await;
    assert_eq!(metrics.sum("inference_batch_wait_seconds_count", &[]), 4.0);
    assert!(metrics.sum("inference_batch_wait_seconds_sum", &[]) > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_a_run_are_linked_with_its_span() {
    let collector = Collector::grpc().await;
    let app = serve_with("batching.max_batch_size = 8\nexecution.strategy = \"batched\"", |config| {
        config.telemetry.otlp_endpoint = collector.url();
        config.telemetry.sample_ratio = 1.0;
    });
    let mut callers = Callers::of(&app.await);
    callers.ask_at_once(&[1, 2, 3].map(row)).await;
    assert_eq!(callers.answers().await.len(), 3);
    let is_shared = |span: &Span| span.name == "batch" && span.links.len() == 3;
    let is_request = |span: &Span| span.name == "POST /v1/predict";
    // With the one who kept the session busy.
    let all = |spans: &[Span]| spans.iter().any(is_shared) && spans.iter().filter(|span| is_request(span)).count() == 4;
    let spans = collector.until("all traces have come", all).await;
    let run = spans.iter().find(|span| is_shared(span)).unwrap();
    assert_eq!(
        (attribute(run, "glassbox.batch.requests"), attribute(run, "glassbox.batch.rows")),
        ("3".into(), "3".into())
    );
    for link in &run.links {
        let linked =
            |span: &&Span| is_request(span) && (&span.span_id, &span.trace_id) == (&link.span_id, &link.trace_id);
        let request = spans.iter().find(linked).expect("the linked request was told");
        let inference = spans.iter().find(|span| span.name == "inference" && span.parent_span_id == request.span_id);
        assert!(inference.unwrap().links.iter().any(|link| link.span_id == run.span_id), "the way back is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_item_never_fails_the_neighbours_with_whom_it_shares_a_run() {
    let app = serve("batching.max_batch_size = 16\nexecution.strategy = \"batched\"").await;
    let mut callers = Callers::of(&app);
    let indices = [3, 99, 4, 5, -70, 6, 7, 8];
    callers.ask_at_once(&indices.map(row)).await;
    let answers = callers.answers().await;
    assert_eq!(answers.len(), indices.len());
    for (input, status, body) in answers {
        let index = input["index"][0].as_i64().unwrap();
        match index {
            0..10 => assert_eq!((status, &body["prediction"][0]), (200, &json!(index as f64 / 2.0)), "{body}"),
            _ => assert_eq!((status, &body["errors"][0]["code"]), (422, &json!("rejected_by_model")), "{body}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_is_in_no_run_and_a_run_ends_when_all_have_left() {
    let app = serve("batching.max_batch_size = 16\nexecution.strategy = \"batched\"").await;
    let mut callers = Callers::of(&app);
    let occupier = callers.occupy().await;
    let leaving: Vec<_> = (0..5).map(|index| callers.ask(row(index))).collect();
    callers.ask(row(9));
    callers.until_waiting(6).await;
    leaving.iter().for_each(AbortHandle::abort);
    callers.until_waiting(1).await;
    let (.., rows) = runs(&app).await;
    occupier.abort();
    assert_eq!(callers.answers().await.len(), 1);
    assert_eq!(runs(&app).await.3 - rows, 2.0);

    // Two who wait for one endless run: it goes on when the first leaves, and ends when both have.
    let occupier = callers.occupy().await;
    let [one, other] = [0, 1].map(|index| callers.ask(json!({"index": [index], "count": [ENDLESS]})));
    callers.until_waiting(2).await;
    occupier.abort();
    callers.until_waiting(0).await;
    one.abort();
    callers.ask(row(2));
    callers.until_waiting(1).await;
    other.abort();
    let answers = callers.answers().await;
    assert_eq!(answers.iter().map(|(_, status, _)| *status).collect::<Vec<_>>(), [200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_batching_requests_run_alone() {
    let app = serve("batching.max_batch_size = 8\nexecution.strategy = \"pool\"").await;
    let mut callers = Callers::of(&app);
    callers.ask_at_once(&(0..6).map(row).collect::<Vec<_>>()).await;
    assert!(callers.answers().await.iter().all(|(_, status, _)| *status == 200));
    let metrics = Metrics::of(&app).await;
    let (runs, rows) = ("inference_batch_size_count", "inference_batch_size_sum");
    assert_eq!((metrics.sum(runs, &[]), metrics.sum(rows, &[])), (7.0, 7.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn batched_and_single_answers_agree_for_every_batch_size() {
    let app = TestApp::with(|config| config.cache.mode = CacheMode::Off).await;
    let texts: Vec<String> =
        (0..64).map(|number| format!("you are {} number {number}", ["awful", "kind"][number % 2])).collect();
    let rows: Vec<Vec<f64>> =
        (0..64).map(|row| (0..10).map(|column| f64::from(row * column) / 1000.0).collect()).collect();
    for (model, field, many, items) in
        [("toxicity", "text", "texts", json!(texts)), ("linear_regression", "input", "inputs", json!(rows))]
    {
        let items = items.as_array().unwrap();
        let mut singles = Vec::new();
        for item in items {
            singles.push(app.predict(json!({"model": model, field: item})).await);
        }
        for size in 1..=items.len() {
            let (status, body) = app.post("/v1/predict_batch", json!({"model": model, many: items[..size]})).await;
            assert_eq!(status, 200, "{body}");
            for (position, single) in singles[..size].iter().enumerate() {
                let batched = &body["predictions"][position]["prediction"];
                assert_close(batched, single, &format!("{model}, item {position} of {size}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strategy_is_told_with_its_reason() {
    let app = TestApp::start().await;
    for (model, strategy) in [("linear_regression", "inline"), ("doubler", "inline"), ("stub", "inline")] {
        let (_, told) = app.get(&format!("/v1/models/{model}")).await;
        let execution = &told["execution"];
        assert_eq!(execution["strategy"], strategy, "{told}");
        assert!(execution["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{told}");
    }
    // Counting in a loop is quick as long as nobody asks for more.
    let app = serve("batching.max_batch_size = 8").await;
    let (_, told) = app.get("/v1/models/table").await;
    assert_eq!(told["execution"]["strategy"], "pool", "{told}");
    assert!(told["execution"]["reason"].as_str().is_some_and(|reason| reason.contains("Loop")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_that_a_graph_does_not_allow_is_refused_with_the_reason() {
    for (manifest, word) in [
        ("execution.strategy = \"inline\"", "Loop"),
        ("execution.strategy = \"batched\"\nbatching.max_batch_size = 1", "batching.max_batch_size"),
    ] {
        let app = serve(manifest).await;
        let (status, body) = app.post("/v1/predict", json!({"input": row(1)})).await;
        assert_eq!(status, 503, "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{body}");
    }
}
