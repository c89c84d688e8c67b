//! Who waits, and who does not wait any more: deadlines, callers that leave, and what those are told who find no place.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use glassbox::config::{CacheMode, Config};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::task::{AbortHandle, JoinSet};

use crate::support::{Loop, Metrics, TestApp, eventually};

/// Counting so far takes longer than any test waits.
const ENDLESS: u64 = 1_000_000_000_000;

/// A model with one session, no cache, and a line in which one may wait for ever.
async fn serve(change: impl FnOnce(&mut Config)) -> Arc<TestApp> {
    let model = Loop::new();
    let app = model.serve(|config| {
        config.runtime.threads = 1;
        config.runtime.max_queue_wait = Duration::from_secs(600);
        config.cache.mode = CacheMode::Off;
        change(config);
    });
    Arc::new(app.await)
}

/// Callers that go on while the test does something else.
struct Callers {
    client: Client,
    app: Arc<TestApp>,
    tasks: JoinSet<(u64, u16, Value)>,
}

impl Callers {
    fn of(app: &Arc<TestApp>) -> Self {
        Self { client: Client::new(), app: Arc::clone(app), tasks: JoinSet::new() }
    }

    /// All of them on one connection of HTTP/2.
    fn on_one_connection(app: &Arc<TestApp>) -> Self {
        let client = Client::builder().http2_prior_knowledge().build().unwrap();
        Self { client, ..Self::of(app) }
    }

    /// Asks for something within a time; aborting it is leaving.
    fn ask(&mut self, input: u64, within: &str) -> AbortHandle {
        let request = self.client.post(self.app.url("/v1/predict")).json(&json!({"input": input}));
        let request = request.header("X-Request-Timeout", within);
        self.tasks.spawn(async move {
            let (status, body) = TestApp::json(request).await;
            (input, status.as_u16(), body)
        })
    }

    /// Asks for something that keeps the session busy until its caller leaves.
    async fn occupy(&mut self) -> AbortHandle {
        let app = Arc::clone(&self.app);
        let begun = async || Metrics::of(&app).await.sum("inference_queue_seconds_count", &[]);
        let before = begun().await;
        let caller = self.ask(ENDLESS, "100s");
        // Nothing else is asked for: short runs would change what the server expects of this one.
        eventually("the run has begun", async || begun().await > before).await;
        caller
    }

    /// Waits until so many are in line.
    async fn until_waiting(&self, count: u32) {
        let what = format!("{count} wait");
        eventually(&what, async || waiting(&self.app).await == f64::from(count)).await;
    }

    async fn next(&mut self) -> (u64, u16, Value) {
        self.tasks.join_next().await.unwrap().unwrap()
    }
}

fn predict(app: &TestApp, input: u64) -> reqwest::RequestBuilder {
    app.request(Method::POST, "/v1/predict").json(&json!({"input": input}))
}

async fn waiting(app: &TestApp) -> f64 {
    Metrics::of(app).await.sum("inference_queue_depth", &[])
}

/// Runs that have ended.
async fn runs(app: &TestApp) -> f64 {
    Metrics::of(app).await.sum("inference_batch_size_count", &[])
}

/// A refusal's `Retry-After`.
fn retry_after(response: &Response) -> u64 {
    assert_eq!(response.status(), 503);
    response.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn work_whose_deadline_passed_while_it_waited_is_never_run() {
    let app = serve(|_| {}).await;
    let mut callers = Callers::of(&app);
    let occupier = callers.occupy().await;
    for input in 1..=5 {
        callers.ask(input, "5s");
    }
    callers.until_waiting(5).await;
    let runs_before = runs(&app).await;
    for _ in 1..=5 {
        let (_, status, body) = callers.next().await;
        assert_eq!((status, &body["code"]), (504, &json!("deadline_exceeded")));
    }
    // They have left the line, though the session is as busy as it was.
    callers.until_waiting(0).await;
    assert_eq!(runs(&app).await - runs_before, 0.0);
    occupier.abort();
    assert_eq!(app.predict(json!({"input": 7})).await, 7);
    assert_eq!(runs(&app).await - runs_before, 2.0, "the endless one and the last one");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_frees_a_place_and_is_not_worked_for() {
    let app = serve(|config| config.runtime.queue_capacity = 1).await;
    for mut callers in [Callers::of(&app), Callers::on_one_connection(&app)] {
        let occupier = callers.occupy().await;
        let runs_before = runs(&app).await;
        let leaving = callers.ask(1, "100s");
        callers.until_waiting(1).await;
        callers.ask(2, "100s");
        let (input, status, body) = callers.next().await;
        assert_eq!((input, status, &body["code"]), (2, 503, &json!("overloaded")), "there is one place only");

        leaving.abort();
        assert!(callers.tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        callers.until_waiting(0).await;
        callers.ask(3, "100s");
        callers.until_waiting(1).await;
        // So does he whose run goes on, and it ends with him.
        occupier.abort();
        assert!(callers.tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        let (input, status, body) = callers.next().await;
        assert_eq!((input, status, &body["prediction"]), (3, 200, &json!(3)));
        assert_eq!(runs(&app).await - runs_before, 2.0, "the one that was ended, and the one that was answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_before_its_deadline_is_refused_at_once() {
    let app = serve(|_| {}).await;
    let slow = Slow::find(&app, Duration::from_millis(700)).await;
    let mut callers = Callers::of(&app);
    // Time enough for a run, but not for what is left of the one before it as well.
    let within = format!("{}ms", slow.mean.as_millis() * 11 / 10);
    let mut tries = 0;
    let response = loop {
        let occupier = callers.occupy().await;
        let response = predict(&app, slow.turns).header("X-Request-Timeout", &within).send().await.unwrap();
        // Who waits in vain is answered with 504: where the machine stood still, that run seemed to be all but over.
        if response.status() != 504 {
            break response;
        }
        tries += 1;
        assert!(tries < 6, "it has waited each time");
        occupier.abort();
        assert!(callers.tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert_eq!(app.predict(json!({"input": slow.turns})).await, slow.turns);
    };
    assert!(retry_after(&response) >= 1);
    assert_eq!(response.json::<Value>().await.unwrap()["code"], "overloaded");
    // Who has more time may wait.
    callers.ask(1, "100s");
    callers.until_waiting(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_what_the_line_takes() {
    for length in [3, 12] {
        // A server for each: a run that was ended counts in what is expected of the next.
        let app = serve(|config| config.runtime.queue_capacity = 12).await;
        let slow = Slow::find(&app, Duration::from_millis(300)).await;
        let mut callers = Callers::of(&app);
        let began = Instant::now();
        callers.occupy().await;
        for n in 0..length {
            callers.ask(slow.turns + n, "100s");
        }
        callers.until_waiting(length as u32).await;
        // Refused for the deadline, or for the length of the line: what is told is the same.
        let within = if length < 12 { slow.mean } else { Duration::from_secs(100) };
        let request = predict(&app, 1).header("X-Request-Timeout", format!("{}ms", within.as_millis()));
        let told = retry_after(&request.send().await.unwrap());
        let expected = slow.mean.as_secs_f64() * length as f64;
        // Up to a run for the one that goes on, or as long as it has gone on already, and to a second for the rounding.
        let current = began.elapsed().as_secs_f64().max(slow.mean.as_secs_f64() * 1.5);
        let range = expected * 0.75..=expected * 1.25 + current + 1.0;
        assert!(range.contains(&(told as f64)), "{told} s for {length} runs of {:?}", slow.mean);
        callers.tasks.shutdown().await;
        callers.until_waiting(0).await;
        eventually("the session is free", async || predict(&app, 1).send().await.unwrap().status() == 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_behind_a_run_that_does_not_end() {
    let app = serve(|config| config.runtime.max_queue_wait = Duration::from_millis(500)).await;
    // So far, runs were quick: a line of hundreds would be gone in no time.
    for input in 1..50 {
        assert_eq!(app.predict(json!({"input": input})).await, input);
    }
    let mut callers = Callers::of(&app);
    let occupier = callers.occupy().await;
    eventually("callers are refused", async || {
        // Who waits until then is answered with 504.
        let response = predict(&app, 1).header("X-Request-Timeout", "2s").send().await.unwrap();
        let refused = response.status() == 503;
        assert!(!refused || retry_after(&response) >= 1);
        refused
    })
    .await;
    occupier.abort();
    eventually("the session is free", async || predict(&app, 1).send().await.unwrap().status() == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_let_in_is_done_however_many_come_meanwhile_and_they_do_not_wait_for_all_of_it() {
    let app = serve(|config| config.runtime.queue_capacity = 3).await;
    let slow = Slow::find(&app, Duration::from_millis(50)).await;
    let inputs: Vec<_> = (0..20).map(|n| slow.turns + n).collect();
    let batch = app.request(Method::POST, "/v1/predict_batch").json(&json!({"inputs": inputs}));
    let runs_before = runs(&app).await;
    let mut asking = JoinSet::new();
    asking.spawn(TestApp::json(batch));
    eventually("the batch has begun", async || runs(&app).await > runs_before).await;
    // Many who ask again and again: the line in front of the batch's next run is always full.
    let mut callers = Callers::of(&app);
    (0..6).for_each(|n| drop(callers.ask(slow.turns + 100 + n, "100s")));
    let (mut served, mut refused) = (0, 0);
    let (status, answer) = loop {
        tokio::select! {
            done = asking.join_next() => break done.unwrap().unwrap(),
            (input, status, _) = callers.next() => {
                match status {
                    200 => served += 1,
                    503 => refused += 1,
                    other => panic!("{other}"),
                }
                // No flood: who was refused waits a moment.
                tokio::time::sleep(Duration::from_millis(2)).await;
                callers.ask(input, "100s");
            }
        }
    };
    assert_eq!(status, 200, "{answer}");
    let counted: Vec<_> = answer["predictions"].as_array().unwrap().iter().map(|item| &item["prediction"]).collect();
    assert_eq!(json!(counted), json!(inputs));
    assert!(served >= 5, "only {served} were served beside 20 runs");
    assert!(refused > 0, "the line was never full: this test shows nothing");
}

/// How far to count for a run of a certain time.
struct Slow {
    turns: u64,
    /// As the metrics tell.
    mean: Duration,
}

impl Slow {
    async fn find(app: &TestApp, wanted: Duration) -> Self {
        let run = async |turns: u64| {
            let sum = async || Metrics::of(app).await.sum("inference_latency_seconds_sum", &[]);
            let before = sum().await;
            assert_eq!(app.predict(json!({"input": turns})).await, turns);
            Duration::from_secs_f64(sum().await - before)
        };
        let tried = 100_000;
        let turns = (tried as f64 * wanted.as_secs_f64() / run(tried).await.as_secs_f64()) as u64;
        // The server's mean moves with the last ten.
        let mut times = Vec::new();
        while times.len() < 10 {
            times.push(run(turns).await);
        }
        Self { turns, mean: times.iter().sum::<Duration>() / 10 }
    }
}
