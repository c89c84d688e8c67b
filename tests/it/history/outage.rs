//! The database is killed, frozen, read-only, full, locked or away, while callers come and go: none of them notices, and
//! every row is there once afterwards.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use glassbox::config::Config;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::task::JoinSet;

use super::{Database, double, list, rows, until_stored};
use crate::support::{TestApp, eventually};

const CALLERS: usize = 4;

/// How long this side waits for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_costs_nobody_anything_and_gets_every_row_once() {
    let mut database = Database::postgres().await;
    let load = Load::begin(&database).await;
    database.server().kill();
    load.until_away("cannot be reached").await;
    database.server().restart().await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_frozen_costs_nobody_anything_and_gets_every_row_once() {
    let mut database = Database::postgres().await;
    let load = Load::begin(&database).await;
    database.server().freeze();
    load.until_away("the database").await;
    database.server().thaw();
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_or_full_costs_nobody_anything_and_gets_every_row_once() {
    let mut database = Database::postgres().await;
    let load = Load::begin(&database).await;
    let kick = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'glassbox'";
    let postgres = database.server();
    postgres.run("ALTER DATABASE postgres SET default_transaction_read_only = on").await;
    postgres.run(kick).await;
    load.until_away("read-only").await;
    let mut connection = postgres.connect().await;
    for statement in
        ["SET default_transaction_read_only = off", "ALTER DATABASE postgres RESET default_transaction_read_only"]
    {
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }
    postgres.run(kick).await;
    load.until_back().await;

    // As it answers when its disk is full.
    postgres.run(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$; \
         CREATE TRIGGER full_disk BEFORE INSERT ON predictions FOR EACH ROW EXECUTE FUNCTION full_disk()",
    )
    .await;
    load.until_away("is full").await;
    postgres.run("DROP TRIGGER full_disk ON predictions").await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_holds_costs_nobody_anything_and_gets_every_row_once() {
    let database = Database::sqlite();
    let load = Load::begin(&database).await;
    let url = format!("sqlite://{}", database.file().display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    load.until_away("the database").await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_without_its_database_and_finds_it_later() {
    let mut database = Database::postgres().await;
    database.server().kill();
    let load = Load::begin_without(&database).await;
    load.until_away("cannot be reached").await;
    let (status, body) = load.app.get("/v1/predictions").await;
    assert_eq!((status, &body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("dependency_unavailable")));
    database.server().restart().await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_not_even_the_spool_takes_are_counted() {
    let mut database = Database::postgres().await;
    database.server().kill();
    let app = database.app_with(|config| config.history.spool_limit = bytesize::ByteSize::mib(1)).await;
    let texts: Vec<String> = (0..1000).map(|number| format!("text {number}")).collect();
    let mut told = 0.0;
    while rows(&app, "dropped") == 0.0 {
        assert_eq!(app.post("/v1/predict_batch", json!({"texts": texts})).await.0, StatusCode::OK);
        told += 1000.0;
    }
    let waiting = || rows(&app, "spooled") + rows(&app, "dropped");
    eventually("all rows are accounted for", async || waiting() == told).await;
    assert!(rows(&app, "spooled") > 1000.0);
    database.server().restart().await;
    eventually("the spool is written", async || rows(&app, "stored") == rows(&app, "spooled")).await;
    assert_eq!(rows(&app, "stored") + rows(&app, "dropped"), told);
    // And there is room again.
    double(&app, 1, "later").await;
    eventually("the next one is stored", async || !list(&app, "model=doubler").await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_too_slow_for_a_batch_gets_its_rows_in_smaller_ones() {
    let database = Database::postgres().await;
    let app = database.app_with(Load::impatient).await;
    double(&app, 1, "first").await;
    until_stored(&app, 1).await;
    // Where the first connection takes its time, the first row has gone this way too.
    let before = rows(&app, "spooled");
    let postgres = database.postgres.as_ref().unwrap();
    postgres
        .run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$; \
             CREATE TRIGGER slow BEFORE INSERT ON predictions FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    // More than 2 s of work, for a statement that may take 1 s.
    let texts: Vec<String> = (0..1000).map(|number| format!("text {number}")).collect();
    assert_eq!(app.post("/v1/predict_batch", json!({"texts": texts})).await.0, StatusCode::OK);
    until_stored(&app, 1001).await;
    assert_eq!((rows(&app, "stored"), rows(&app, "spooled") - before), (1001.0, 1000.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_database_never_takes_does_not_hold_up_the_others() {
    for database in Database::both().await {
        let app = database.app().await;
        double(&app, 1, "good").await;
        until_stored(&app, 1).await;
        match &database.postgres {
            Some(postgres) => postgres.run("ALTER TABLE predictions ADD CHECK (request_id <> 'evil')").await,
            None => {
                let url = format!("sqlite://{}", database.file().display());
                let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
                let check = "CREATE TRIGGER evil BEFORE INSERT ON predictions WHEN NEW.request_id = 'evil' \
                             BEGIN SELECT RAISE(ABORT, 'evil'); END";
                sqlx::raw_sql(check).execute(&mut other).await.unwrap();
            }
        }
        for request_id in ["good", "evil", "good"] {
            double(&app, 1, request_id).await;
        }
        until_stored(&app, 3).await;
        eventually("the row is given up", async || rows(&app, "rejected") == 1.0).await;
        assert_eq!(list(&app, "").await.len(), 3);
        assert_eq!(app.get("/readyz").await.1["status"], "ready");
    }
}

/// Callers who ask all the time, and the ids of what they were answered.
struct Load {
    app: Arc<TestApp>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: JoinSet<Vec<(String, Duration)>>,
}

impl Load {
    async fn begin(database: &Database) -> Self {
        let load = Self::begin_without(database).await;
        until_stored(&load.app, 100).await;
        load
    }

    async fn begin_without(database: &Database) -> Self {
        let app = Arc::new(database.app_with(Self::impatient).await);
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (app, stop, answered) = (Arc::clone(&app), Arc::clone(&stop), Arc::clone(&answered));
            callers.spawn(async move {
                let mut told = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let id = format!("{caller}-{}", told.len());
                    let began = Instant::now();
                    double(&app, told.len(), &id).await;
                    told.push((id, began.elapsed()));
                    answered.fetch_add(1, Ordering::Relaxed);
                    // As fast as a browser's console would; the point is not to be fast.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                told
            });
        }
        Self { app, stop, answered, callers }
    }

    fn impatient(config: &mut Config) {
        config.history.connect_timeout = PATIENCE;
        config.history.statement_timeout = PATIENCE;
    }

    /// Waits until rows go to the spool, and sees that readiness says why without turning off.
    async fn until_away(&self, reason: &str) {
        eventually(&format!("readiness says '{reason}'"), async || {
            let (status, body) = self.app.get("/readyz").await;
            assert_eq!(status, StatusCode::OK, "{body}");
            let told = &body["reasons"].as_array().unwrap().iter().find(|told| told["part"] == "history").cloned();
            let told = told.as_ref().and_then(|told| told["reason"].as_str());
            told.is_some_and(|told| told.contains(reason)) && body["status"] == "degraded"
        })
        .await;
        let (seen, spooled) = (self.answered.load(Ordering::Relaxed), rows(&self.app, "spooled"));
        eventually("requests go on, and rows with them", async || {
            self.answered.load(Ordering::Relaxed) > seen + 200 && rows(&self.app, "spooled") > spooled + 100.0
        })
        .await;
        assert_eq!(self.app.series("history_database_away"), Some(1.0));
    }

    async fn until_back(&self) {
        eventually("the database is used again", async || self.app.series("history_database_away") == Some(0.0)).await;
    }

    /// Nobody was failed or waited, and every answer has one row.
    async fn end(mut self) {
        self.until_back().await;
        self.stop.store(true, Ordering::Relaxed);
        let (mut acknowledged, mut latencies) = (HashSet::new(), Vec::new());
        while let Some(caller) = self.callers.join_next().await {
            let (ids, times): (Vec<_>, Vec<_>) = caller.expect("no request failed").into_iter().unzip();
            acknowledged.extend(ids);
            latencies.extend(times);
        }
        // A busy machine stands still for a moment now and then. Who waited for the database would be one of many.
        latencies.sort_unstable();
        let slow = latencies[latencies.len() * 98 / 100];
        assert!(slow < PATIENCE / 2, "one in fifty of {} took {slow:?}", latencies.len());
        let written = || rows(&self.app, "stored") as usize >= acknowledged.len();
        eventually("all rows are written", async || written() && self.pending().await == 0.0).await;
        let request = self.app.request(Method::GET, "/v1/predictions").header(header::ACCEPT, "application/x-ndjson");
        let text = request.send().await.unwrap().text().await.unwrap();
        let ids = text.lines().map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            row["request_id"].as_str().unwrap().to_owned()
        });
        let ids: Vec<String> = ids.collect();
        assert_eq!(ids.len(), acknowledged.len(), "each has one row");
        assert_eq!(ids.into_iter().collect::<HashSet<_>>(), acknowledged);
        assert_eq!((rows(&self.app, "dropped"), rows(&self.app, "rejected")), (0.0, 0.0));
    }

    async fn pending(&self) -> f64 {
        crate::support::Metrics::of(&self.app).await.sum("history_pending_rows", &[])
    }
}
