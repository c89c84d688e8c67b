//! Filters, pages, exports.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use sqlx::Connection;

use super::{Database, double, each, list, page, until_stored};
use crate::support::{TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_fits_and_nothing_else() {
    for database in Database::both().await {
        let app = database.app().await;
        for body in [
            json!({"text": "you are awful"}),
            json!({"text": "have a lovely day"}),
            json!({"text": "have a lovely day"}),
            json!({"model": "doubler", "input": [1]}),
        ] {
            assert_eq!(app.post("/v1/predict", body).await.0, StatusCode::OK);
            // Of another millisecond, which is what times are told apart by.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        until_stored(&app, 4).await;
        let all = list(&app, "").await;
        let times = each(&all, "time");
        let (sure, second) = (all[3]["confidence"].as_f64().unwrap(), times[2]);
        for (query, expected) in [
            ("", &[0, 1, 2, 3][..]),
            ("model=doubler", &[0]),
            ("model=toxicity", &[1, 2, 3]),
            ("model=toxicity&version=1", &[1, 2, 3]),
            ("model=toxicity&version=2", &[]),
            ("label=toxic", &[3]),
            ("label=non_toxic", &[1, 2]),
            ("label=non_toxic&cached=true", &[1]),
            ("cached=false", &[0, 2, 3]),
            ("key=nobody", &[]),
            ("batch_id=nobody", &[]),
            ("min_confidence=0", &[1, 2, 3]),
            (&format!("label=toxic&min_confidence={sure}&max_confidence={sure}"), &[3]),
            (&format!("label=toxic&max_confidence={}", sure - 0.001), &[]),
            (&format!("until={second}"), &[3]),
            (&format!("since={second}&limit=2"), &[0, 1]),
            (&format!("since={second}"), &[0, 1, 2]),
            (&format!("since={second}&until={}", times[0]), &[1, 2]),
        ] {
            let found = list(&app, query).await;
            let expected: Vec<&Value> = expected.iter().map(|index| &all[*index]).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_read_is_answered_with_its_fault() {
    let database = Database::sqlite();
    let app = database.app().await;
    eventually("the tables are there", async || app.get("/v1/predictions").await.0 == StatusCode::OK).await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "cursor=nonsense",
        "since=yesterday",
        "until=2030-01-31T00:00:00",
        "min_confidence=2",
        "max_confidence=NaN",
        "cached=perhaps",
        "colour=blue",
    ] {
        let (status, body) = app.get(&format!("/v1/predictions?{query}")).await;
        let told = (status, &body["code"], &body["errors"][0]["code"]);
        assert_eq!(told, (StatusCode::BAD_REQUEST, &json!("malformed_request"), &json!("invalid_query")), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_row_once_while_others_are_added() {
    const ROWS: usize = 60;
    for database in Database::both().await {
        let app = database.app().await;
        for number in 0..ROWS {
            double(&app, number, &format!("old-{number}")).await;
        }
        until_stored(&app, ROWS).await;
        let (mut seen, mut query, mut pages) = (Vec::new(), "limit=7".to_owned(), 0);
        loop {
            let (rows, next) = page(&app, &query).await;
            seen.extend(each(&rows, "request_id").into_iter().map(str::to_owned));
            pages += 1;
            let added = pages * 5;
            for number in 0..5 {
                double(&app, number, "new").await;
            }
            until_stored(&app, ROWS + added).await;
            match next {
                Some(next) => query = format!("limit=7&cursor={next}"),
                None => break,
            }
        }
        let expected: Vec<String> = (0..ROWS).rev().map(|number| format!("old-{number}")).collect();
        assert_eq!(seen, expected);
        assert!(pages >= ROWS / 7, "{pages} pages");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_hold_every_row_in_the_form_that_is_accepted() {
    const ROWS: usize = 1100;
    for database in Database::both().await {
        let app = database.app().await;
        let texts: Vec<String> = (0..550).map(|number| format!("text {number}")).collect();
        for _ in 0..2 {
            let (status, body) = app.post("/v1/predict_batch", json!({"texts": texts})).await;
            assert_eq!(status, StatusCode::OK, "{body}");
        }
        double(&app, 1, "=HYPERLINK(\"evil\")").await;
        until_stored(&app, ROWS + 1).await;

        let lines = export(&app, "application/x-ndjson", "").await;
        let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), ROWS + 1);
        assert!(rows.windows(2).all(|pair| pair[0]["id"].as_str() > pair[1]["id"].as_str()), "the latest come first");
        assert_eq!(list(&app, "limit=1000").await, rows[..1000]);

        let csv = export(&app, "text/csv", "").await;
        let lines: Vec<&str> = csv.split("\r\n").collect();
        assert!(lines[0].starts_with("id,time,request_id,"), "{}", lines[0]);
        assert_eq!(lines.len(), ROWS + 3, "a header, the rows, and an empty end");
        assert!(lines[1].contains(",\"'=HYPERLINK(\"\"evil\"\")\","), "{}", lines[1]);
        assert!(lines[2].contains(rows[1]["id"].as_str().unwrap()), "{}", lines[2]);
        assert_eq!(export(&app, "text/csv", "model=doubler").await.lines().count(), 2);
        assert_eq!(export(&app, "application/x-ndjson", "model=nobody").await, "");
    }
}

async fn export(app: &TestApp, accept: &str, query: &str) -> String {
    let request = app.request(Method::GET, &format!("/v1/predictions?{query}")).header(header::ACCEPT, accept);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with(accept));
    response.text().await.unwrap()
}

/// So many that a search through all of them would show.
const MANY: i64 = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_last_page_costs_what_the_first_costs() {
    for database in Database::both().await {
        let app = database.app_with(|config| {
            // The rows are as old as time.
            config.history.retain_for = None;
            config.history.retain_rows = 0;
        });
        let app = app.await;
        double(&app, 1, "first").await;
        until_stored(&app, 1).await;
        let newest = list(&app, "").await[0]["time"].as_str().unwrap().to_owned();
        fill(&database).await;
        for query in ["", "model=m&", "model=m&label=toxic&"] {
            // The oldest rows, by the cursor of a page close to the end.
            let (_, cursor) = page(&app, &format!("{query}limit=1000&until=1970-01-01T00:00:02Z")).await;
            let last = format!("{query}limit=50&cursor={}", cursor.unwrap());
            let first = format!("{query}limit=50&until={newest}");
            let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
            for _ in 0..15 {
                firsts.push(time(&app, &first).await);
                lasts.push(time(&app, &last).await);
            }
            // What other work adds is not in the shortest of them.
            let (first, last) = (firsts.into_iter().min().unwrap(), lasts.into_iter().min().unwrap());
            assert!(last < 3 * first + Duration::from_millis(10), "{query}: {first:?} at first, {last:?} at last");
        }
    }
}

async fn time(app: &TestApp, query: &str) -> Duration {
    let started = Instant::now();
    assert_eq!(list(app, query).await.len(), 50, "{query}");
    started.elapsed()
}

/// A row per millisecond since 1970.
async fn fill(database: &Database) {
    let columns = "id, request_id, model, version, provider, input_hash, label, latency_us, cached";
    match &database.postgres {
        Some(postgres) => {
            let ids = "(lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid";
            let values = format!("{ids}, n::text, 'm', '1', 'p', {ids}, 'toxic', 1, false");
            let numbers = format!("generate_series(1::bigint, {MANY}) AS n");
            postgres.run(&format!("INSERT INTO predictions ({columns}) SELECT {values} FROM {numbers}")).await;
        }
        None => {
            let url = format!("sqlite://{}", database.file().display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let ids = "unhex(printf('%012x70008000000000000000', n))";
            let values = format!("{ids}, n, 'm', '1', 'p', {ids}, 'toxic', 1, 0");
            let numbers =
                format!("WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY})");
            let sql = format!("{numbers} INSERT INTO predictions ({columns}) SELECT {values} FROM numbers");
            sqlx::raw_sql(&sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}
