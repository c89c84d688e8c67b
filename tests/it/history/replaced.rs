//! SQLite's file is deleted, replaced or moved away while the server runs.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Database, double, list, rows, until_stored};
use crate::support::{TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_to_the_file_that_is_there_when_another_was_deleted() {
    let database = Database::sqlite();
    let app = database.app().await;
    predict(&app, 0..20).await;
    until_stored(&app, 20).await;
    for ending in ["", "-wal", "-shm"] {
        fs::remove_file(with(&database.file(), ending)).unwrap();
    }
    predict(&app, 20..40).await;
    until_stored(&app, 40).await;
    assert_eq!(count(&database.file()).await, 20, "those that were stored later are in the new file");
    assert_eq!(list(&app, "limit=100").await.len(), 20, "readers use it too");
    assert_eq!((rows(&app, "dropped"), rows(&app, "rejected")), (0.0, 0.0));
    assert!(is_told(&app).await);
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_can_take_the_place_of_the_file() {
    let database = Database::sqlite();
    let app = database.app().await;
    predict(&app, 0..20).await;
    until_stored(&app, 20).await;
    let backup = database.folder.path().join("backup.db");
    let mut connection = connect(&database.file()).await;
    let vacuum = format!("VACUUM INTO '{}'", backup.display());
    sqlx::raw_sql(&vacuum).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    // Is in the old file only.
    predict(&app, 20..25).await;
    until_stored(&app, 25).await;
    fs::rename(&backup, database.file()).unwrap();
    predict(&app, 25..45).await;
    until_stored(&app, 45).await;
    assert_eq!(count(&database.file()).await, 40);
    assert_eq!(list(&app, "limit=100").await.len(), 40);
    assert!(is_told(&app).await);
    app.stopped().await.unwrap();
    assert_eq!(count(&database.file()).await, 40, "nothing of the old file's log came into the new one");
    let mut connection = connect(&database.file()).await;
    let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_away_has_all_that_was_stored_in_it() {
    let database = Database::sqlite();
    let app = database.app().await;
    predict(&app, 0..20).await;
    until_stored(&app, 20).await;
    let old = database.folder.path().join("old.db");
    fs::rename(database.file(), &old).unwrap();
    predict(&app, 20..30).await;
    until_stored(&app, 30).await;
    assert_eq!((count(&old).await, count(&database.file()).await), (20, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_away_while_it_takes_nothing_has_all_that_was_stored_in_it() {
    let database = Database::sqlite();
    let app = database.app().await;
    predict(&app, 0..20).await;
    until_stored(&app, 20).await;
    let mut other = connect(&database.file()).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    predict(&app, 20..25).await;
    eventually("they are in the spool", async || rows(&app, "spooled") >= 5.0).await;
    // For long enough that a write was refused, rather than given up.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rows(&app, "stored"), 20.0);
    let old = database.folder.path().join("old.db");
    fs::rename(database.file(), &old).unwrap();
    until_stored(&app, 25).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    assert_eq!((count(&old).await, count(&database.file()).await), (20, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_while_nobody_asks_is_noticed() {
    let database = Database::sqlite();
    let app = database.app().await;
    predict(&app, 0..1).await;
    until_stored(&app, 1).await;
    assert!(!is_told(&app).await);
    fs::remove_dir_all(database.file().parent().unwrap()).unwrap();
    eventually("it is told", async || is_told(&app).await).await;
    eventually("there is another one", async || {
        let (status, body) = app.get("/v1/predictions").await;
        status == 200 && body["predictions"] == Value::Array(vec![])
    })
    .await;
    assert_eq!(count(&database.file()).await, 0);
    eventually("the database is used", async || app.series("history_database_away") == Some(0.0)).await;
}

async fn predict(app: &TestApp, numbers: std::ops::Range<usize>) {
    for number in numbers {
        double(app, number, &format!("{number}")).await;
    }
}

/// Whether readiness says that the file is another one.
async fn is_told(app: &TestApp) -> bool {
    let (_, body) = app.get("/readyz").await;
    let told = |reason: &Value| reason["part"] == "history" && reason["state"] == "replaced";
    body["status"] == "degraded" && body["reasons"].as_array().unwrap().iter().any(told)
}

fn with(path: &Path, ending: &str) -> String {
    format!("{}{ending}", path.display())
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

/// The rows that another process finds in the file.
async fn count(path: &Path) -> i64 {
    let mut connection = connect(path).await;
    sqlx::query_scalar("SELECT count(*) FROM predictions").fetch_one(&mut connection).await.unwrap()
}
