//! An open load, which comes on time whatever becomes of it, of three times what the model can do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Loop, Metrics, Server, glassbox, variable};

/// `runtime.max_queue_wait`
const BOUND: Duration = Duration::from_millis(500);

/// Who is not let in must know it within this time.
const AT_ONCE: Duration = Duration::from_millis(50);

/// What one run should take.
const RUN: Duration = Duration::from_millis(30);

/// How long the capacity is measured, before the load and after it, and how long the load goes on.
const MEASURED: Duration = Duration::from_secs(2);
const LOADED: Duration = Duration::from_secs(5);

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_three_times_the_capacity_some_are_served_in_time_and_all_others_refused_at_once() {
    let model = Loop::new();
    let mut overload = Overload::start(&model).await;
    // Other work has the same processor: what it does in between can spoil a measurement, though not all of them.
    let mut spoilt = Vec::new();
    for _ in 0..6 {
        let measured = overload.measure().await;
        println!("{measured:?}");
        let broken = measured.broken();
        assert!(broken.is_empty(), "{broken:?} in {measured:?}");
        // Times tell of the server only where the machine is the same before, meanwhile, and after.
        match measured.faults() {
            _ if !measured.is_steady() => {}
            faults if faults.is_empty() => return,
            faults => spoilt.push(format!("{faults:?} in {measured:?}")),
        }
    }
    assert!(spoilt.is_empty(), "{}", spoilt.join("\n"));
}

/// A server with one slow model and one session.
struct Overload {
    server: Server,
    caller: Caller,
    /// Marks the last line of the log that belongs to a measurement.
    rounds: u32,
}

/// What one measurement gave.
#[derive(Debug)]
struct Measured {
    /// Answers per second when callers wait for each other, before the load and after it.
    capacity: [f64; 2],
    /// Answers per second under the load.
    goodput: f64,
    /// Runs per second that the session could have made meanwhile, had it never waited for one.
    possible: f64,
    runs: usize,
    served: usize,
    refused: usize,
    /// Refused without being told when to come back.
    untold: usize,
    /// Neither served nor refused for the load.
    otherwise: usize,
    served_p99: Duration,
    refused_p95: Duration,
    refused_p99: Duration,
    /// What the server's log says of both.
    logged_served_p99: Duration,
    logged_refused_p99: Duration,
    /// How late somebody was woken who had nothing to do: what the machine kept from everybody.
    held_up: Duration,
    grown: u64,
}

impl Measured {
    /// What holds on any machine, and does not.
    fn broken(&self) -> Vec<&'static str> {
        let promises = [
            (self.otherwise == 0, "an answer was neither 200 nor 503 overloaded"),
            (self.runs == self.served, "something was run for nobody"),
            (self.grown < 16 * MIB, "memory grew"),
        ];
        promises.into_iter().filter(|(kept, _)| !kept).map(|(_, fault)| fault).collect()
    }

    /// Whether the processor was as fast all the time, and there for whoever wanted it.
    fn is_steady(&self) -> bool {
        let speeds = [self.capacity[0], self.capacity[1], self.possible];
        let (least, most) = speeds.into_iter().fold((f64::MAX, 0.0_f64), |(a, b), speed| (a.min(speed), b.max(speed)));
        least >= 0.7 * most && self.held_up <= AT_ONCE / 2
    }

    /// What holds where the machine has little else to do, and does not.
    fn faults(&self) -> Vec<&'static str> {
        let slowest = self.capacity[0].min(self.capacity[1]);
        // A request is handed from thread to thread a few times, here and in the server.
        let held_up = 4 * self.held_up;
        let at_once = AT_ONCE + held_up;
        let promises = [
            (self.untold == 0, "a refusal has no Retry-After"),
            // Two of three have to be refused, but for those who still wait when the load ends.
            (self.refused > self.served, "too few were refused"),
            // A request that was let in by a wrong forecast is given up after twice the bound; one that begins just before runs.
            (self.served_p99.max(self.logged_served_p99) <= 3 * BOUND + held_up, "who was let in waited too long"),
            (self.logged_refused_p99.max(self.refused_p99) <= 3 * BOUND + held_up, "a refusal took too long"),
            (self.refused_p95 <= at_once, "callers learned too late that they are refused"),
            // Where the processor slows down meanwhile, so does the capacity: what counts is what the session could do.
            (self.goodput >= 0.9 * slowest.min(self.possible), "fewer were served than can be"),
            (self.goodput >= 0.6 * slowest, "refusing takes what serving needs"),
        ];
        promises.into_iter().filter(|(kept, _)| !kept).map(|(_, fault)| fault).collect()
    }
}

impl Overload {
    async fn start(model: &Loop) -> Self {
        let mut command = glassbox(&["serve"]);
        for (key, value) in [
            ("server.listen", "127.0.0.1:0"),
            ("models.repository", ""),
            ("models.files", model.path().to_str().unwrap()),
            ("runtime.threads", "1"),
            ("runtime.max_queue_wait", "500ms"),
            ("cache.mode", "off"),
            ("rate_limit.enabled", "false"),
        ] {
            command.env(variable(key), value);
        }
        let server = Server::start(&mut command);
        let caller = Caller::new(&server);
        Self { server, caller, rounds: 0 }
    }

    async fn measure(&mut self) -> Measured {
        self.calibrate().await;
        let before = self.closed_loop(MEASURED).await;
        self.lines().await;
        let (runs_before, time_before) = self.runs().await;
        let resident = self.server.resident();
        let (started, end) = (Instant::now(), Instant::now() + LOADED);
        let (answers, held_up) = tokio::join!(self.load(3.0 * before, end), lateness(end));
        let grown = self.server.resident().saturating_sub(resident);
        let (runs, time) = self.runs().await;
        let lines = self.lines().await;
        let after = self.closed_loop(MEASURED).await;

        let served = answers.iter().filter(|answer| answer.status == 200);
        let refused = answers.iter().filter(|answer| answer.overloaded());
        // The first of them find an empty line, the last ones are answered after the load.
        let steady = started + BOUND..end;
        let within = served.clone().filter(|answer| steady.contains(&answer.at)).count();
        let logged = |status| lines.iter().filter(move |line| line.0 == status).map(|line| line.1);
        Measured {
            capacity: [before, after],
            goodput: within as f64 / (steady.end - steady.start).as_secs_f64(),
            possible: (runs - runs_before) / (time - time_before),
            runs: (runs - runs_before) as usize,
            served: served.clone().count(),
            refused: refused.clone().count(),
            untold: refused.clone().filter(|answer| !answer.told).count(),
            otherwise: answers.iter().filter(|answer| answer.status != 200 && !answer.overloaded()).count(),
            served_p99: percentile(served.map(|answer| answer.took), 0.99),
            refused_p95: percentile(refused.clone().map(|answer| answer.took), 0.95),
            refused_p99: percentile(refused.map(|answer| answer.took), 0.99),
            logged_served_p99: percentile(logged(200), 0.99),
            logged_refused_p99: percentile(logged(503), 0.99),
            held_up,
            grown,
        }
    }

    /// Finds the input that takes as long as it should, with the session as busy as it is going to be.
    async fn calibrate(&self) {
        for _ in 0..3 {
            let per_second = self.closed_loop(Duration::from_millis(300)).await;
            let turns = self.caller.turns.load(Ordering::Relaxed) as f64 * RUN.as_secs_f64() * per_second;
            self.caller.turns.store(turns as u64, Ordering::Relaxed);
        }
    }

    /// Answers per second to a few callers who wait for their answers.
    async fn closed_loop(&self, time: Duration) -> f64 {
        let end = Instant::now() + time;
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let caller = self.caller.clone();
            callers.spawn(async move {
                let mut ended = Vec::new();
                while Instant::now() < end || ended.len() < 2 {
                    let answer = caller.ask(Instant::now()).await;
                    // Where the machine stands still, the line looks longer than the bound.
                    assert!(answer.status == 200 || answer.overloaded(), "{answer:?}");
                    if answer.status == 200 {
                        ended.push(answer.at);
                    }
                }
                ended
            });
        }
        let ended: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
        let (first, last) = (ended.iter().min().unwrap(), ended.iter().max().unwrap());
        (ended.len() - 1) as f64 / (*last - *first).as_secs_f64()
    }

    /// Sends `rate` requests per second until `end`, each at its time.
    async fn load(&self, rate: f64, end: Instant) -> Vec<Answer> {
        let mut sent = JoinSet::new();
        let started = Instant::now();
        for n in 0_u32.. {
            let due = started + Duration::from_secs_f64(f64::from(n) / rate);
            if due >= end {
                break;
            }
            tokio::time::sleep_until(due.into()).await;
            let caller = self.caller.clone();
            sent.spawn(async move { caller.ask(due).await });
        }
        sent.join_all().await
    }

    /// How many runs there were, and the seconds that they took.
    async fn runs(&self) -> (f64, f64) {
        let metrics = Metrics::at(self.server.addr).await;
        let sum = |name| metrics.sum(name, &[]);
        (sum("inference_latency_seconds_count"), sum("inference_latency_seconds_sum"))
    }

    /// Status and duration of what was logged since the last call.
    async fn lines(&mut self) -> Vec<(u64, Duration)> {
        self.rounds += 1;
        let mark = format!("round-{}", self.rounds);
        self.caller.mark(&mark).await;
        self.server.until(|line| line["request_id"] == mark.as_str());
        let milliseconds = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        let lines = self.server.log.drain(..).filter(|line| line["route"] == "/v1/predict");
        let figures = |line: serde_json::Value| Some((line["status_code"].as_u64()?, line["latency_ms"].as_f64()?));
        lines.map(|line| figures(line).unwrap()).map(|(status, ms)| (status, milliseconds(ms))).collect()
    }
}

/// Asks for something else each time, which takes as long as the last time.
#[derive(Clone)]
struct Caller {
    client: Client,
    url: String,
    turns: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    code: Option<String>,
    /// Whether `Retry-After` came, and says what it should: the bound is half of a second.
    told: bool,
    took: Duration,
    at: Instant,
}

impl Answer {
    fn overloaded(&self) -> bool {
        self.status == 503 && self.code.as_deref() == Some("overloaded")
    }
}

impl Caller {
    fn new(server: &Server) -> Self {
        let url = format!("http://{}", server.addr);
        let turns = Arc::new(AtomicU64::new(20_000));
        Self { client: Client::new(), url, turns, asked: Arc::default() }
    }

    /// Asks now, for something that should have been asked for at `due`.
    async fn ask(&self, due: Instant) -> Answer {
        let input = self.turns.load(Ordering::Relaxed) + self.asked.fetch_add(1, Ordering::Relaxed) % 100;
        let request = self.client.post(format!("{}/v1/predict", self.url)).json(&json!({"input": input}));
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let told = response.headers().get("retry-after").is_some_and(|seconds| seconds == "1");
        let body: serde_json::Value = response.json().await.unwrap();
        let at = Instant::now();
        if status == 200 {
            assert_eq!(body["prediction"], input);
        }
        Answer { status, code: body["code"].as_str().map(str::to_owned), told, took: at - due, at }
    }

    /// Leaves a line in the log.
    async fn mark(&self, id: &str) {
        self.client.get(&self.url).header("X-Request-Id", id).send().await.unwrap();
    }
}

/// How late it gets who wants to be woken every few milliseconds until `end`, for all but the latest of a hundred times.
async fn lateness(end: Instant) -> Duration {
    const PAUSE: Duration = Duration::from_millis(5);
    let waking = tokio::task::spawn_blocking(move || {
        let mut late = Vec::new();
        while Instant::now() < end {
            let asleep = Instant::now();
            std::thread::sleep(PAUSE);
            late.push(asleep.elapsed() - PAUSE);
        }
        late
    });
    percentile(waking.await.unwrap().into_iter(), 0.99)
}

fn percentile(durations: impl Iterator<Item = Duration>, share: f64) -> Duration {
    let mut sorted: Vec<_> = durations.collect();
    sorted.sort();
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or_default()
}
