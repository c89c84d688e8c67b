//! Rows that neither the database nor the spool takes: it is told as long as it lasts.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Database, double, rows, until_stored};
use crate::support::{Metrics, TestApp, eventually};

const FLUSH_INTERVAL: Duration = Duration::from_secs(2);

/// For how long readiness is looked at: several writes fail.
const TIME: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_lost_are_told_as_long_as_it_lasts_and_for_a_time_after() {
    let database = Database::postgres().await;
    // Where there is a file, no folder can be made.
    fs::write(database.spool(), "no folder").unwrap();
    // A write has time enough on a busy machine.
    let app = database.app_with(|config| config.history.flush_interval = FLUSH_INTERVAL).await;
    double(&app, 0, "first").await;
    until_stored(&app, 1).await;
    assert_eq!(states(&app).await, [""; 0]);
    // As PostgreSQL answers when its disk is full. To write nothing succeeds all the same.
    let postgres = database.postgres.as_ref().unwrap();
    postgres
        .run(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$; \
             CREATE TRIGGER full_disk BEFORE INSERT ON predictions FOR EACH ROW EXECUTE FUNCTION full_disk()",
        )
        .await;
    double(&app, 1, "lost").await;
    eventually("a row is lost", async || rows(&app, "dropped") > 0.0).await;
    let (began, mut looks, mut number) = (Instant::now(), 0, 2);
    while began.elapsed() < TIME || looks < 100 {
        assert_eq!(states(&app).await, ["lost", "losing_rows"], "look {looks}, after {:?}", began.elapsed());
        assert_eq!(app.series("history_database_away"), Some(1.0), "look {looks}");
        assert_eq!(app.series("history_losing_rows"), Some(1.0), "look {looks}");
        double(&app, number, "lost").await;
        (looks, number) = (looks + 1, number + 1);
    }
    assert_eq!((rows(&app, "stored"), rows(&app, "spooled")), (1.0, 0.0));
    postgres.run("DROP TRIGGER full_disk ON predictions").await;
    eventually("the database is used again", async || {
        double(&app, number, "later").await;
        rows(&app, "stored") > 1.0 && app.series("history_database_away") == Some(0.0)
    })
    .await;
    assert_eq!(states(&app).await, ["losing_rows"], "an operator who looks a moment later is told");
    assert_eq!(Metrics::of(&app).await.sum("history_losing_rows", &[]), 1.0);
}

/// What readiness says of the history.
async fn states(app: &TestApp) -> Vec<String> {
    let (status, body) = app.get("/readyz").await;
    assert_eq!(status, 200, "{body}");
    let told = body["reasons"].as_array().unwrap().iter().filter(|reason| reason["part"] == "history");
    let states: Vec<String> = told.map(|reason: &Value| reason["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(body["status"] == "degraded", !states.is_empty(), "{body}");
    states
}
