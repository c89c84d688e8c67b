//! `glassbox migrate` and `glassbox history`, and what nobody is to read anywhere.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::{Value, json};

use super::{Database, double, until_stored};
use crate::support::{Caller, Finished, Server, glassbox, run, until, variable};

fn command(database: &Database, args: &[&str]) -> Finished {
    run(glassbox(args).envs(database.variables()))
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_makes_the_tables_as_often_as_it_is_called() {
    for database in Database::both().await {
        let finished = command(&database, &["history", "tail"]);
        assert_eq!((finished.code, &*finished.stdout), (Some(69), ""), "{}", finished.stderr);
        for _ in 0..2 {
            let finished = command(&database, &["migrate"]);
            assert_eq!(finished.code, Some(0), "{}", finished.stderr);
            assert_eq!(finished.stdout, "the tables of the history are up to date\n");
        }
        assert_eq!(command(&database, &["history", "tail"]).code, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_must_not_migrate_says_what_is_missing_and_goes_on_when_it_is_done() {
    for database in Database::both().await {
        let mut serve = glassbox(&["serve", "--model", "model/doubler/1/model.onnx", "--listen", "127.0.0.1:0"]);
        serve.envs(database.variables()).env(variable("history.migrate"), "false");
        let server = Server::start(&mut serve);
        let mut caller = Caller::connect(server.addr);
        assert_eq!(caller.post("/v1/predict", &json!({"input": [1]})).status, 200);
        until("readiness tells", || {
            caller.get("/readyz").body["reasons"][0]["reason"]
                .as_str()
                .is_some_and(|told| told.contains("glassbox migrate"))
        });
        assert_eq!(command(&database, &["migrate"]).code, Some(0));
        until("it is ready", || caller.get("/readyz").body["status"] == "ready");
        until("the row is there", || command(&database, &["history", "tail"]).stdout.lines().count() == 1);
    }
}

#[test]
fn commands_that_have_no_database_say_why() {
    let off = run(&mut glassbox(&["migrate"]));
    assert_eq!(off.code, Some(64));
    assert!(off.stderr.contains("history.mode: is \"off\""), "{}", off.stderr);
    let mut nowhere = glassbox(&["migrate"]);
    nowhere.env(variable("history.mode"), "postgres");
    nowhere.env(variable("history.postgres_url"), "postgres://someone:hunter2@127.0.0.1:1/db");
    let nowhere = run(&mut nowhere);
    assert_eq!((nowhere.code, &*nowhere.stderr), (Some(69), "glassbox: the database cannot be reached\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_and_export_show_what_was_predicted() {
    for database in Database::both().await {
        let app = database.app().await;
        for number in 0..5 {
            double(&app, number, &format!("{number}")).await;
        }
        until_stored(&app, 5).await;
        let ids = |finished: Finished| -> Vec<String> {
            let row =
                |line: &str| serde_json::from_str::<Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned();
            assert_eq!(finished.code, Some(0), "{}", finished.stderr);
            finished.stdout.lines().map(row).collect()
        };
        assert_eq!(ids(command(&database, &["history", "tail", "-n", "2"])), ["3", "4"]);
        assert_eq!(ids(command(&database, &["history", "export"])), ["4", "3", "2", "1", "0"]);
        assert_eq!(ids(command(&database, &["history", "export", "--model", "nobody"])), [""; 0]);
        let csv = command(&database, &["history", "export", "--format", "csv"]).stdout;
        assert_eq!((csv.lines().count(), csv.starts_with("id,time,")), (6, true), "{csv}");

        let mut follow = glassbox(&["history", "tail", "-n", "0", "--follow"]);
        let mut follow = follow.envs(database.variables()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
        let (sender, seen) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.by_ref().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        // Whatever is predicted before it looks for the first time is not shown.
        let mut shown = None;
        for number in 5.. {
            double(&app, number, &format!("{number}")).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            shown = shown.or_else(|| seen.try_recv().ok());
            if shown.is_some() {
                break;
            }
            assert!(number < 1200, "nothing is shown");
        }
        follow.kill().unwrap();
        follow.wait().unwrap();
        assert!(shown.unwrap().contains("doubler"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_inputs_are_told_nowhere() {
    let database = Database::postgres().await;
    let shown = command(&database, &["check-config"]);
    assert!(shown.stdout.contains("postgres_url = \"postgres://***@127.0.0.1"), "{}", shown.stdout);
    let mut serve = glassbox(&["serve", "--listen", "127.0.0.1:0", "--config", "config/development.toml"]);
    serve.envs(database.variables()).env(variable("history.store_inputs"), "true");
    serve.env(variable("telemetry.log_filter"), "trace").env(variable("telemetry.log_format"), "json");
    let mut server = Server::start(&mut serve);
    let mut caller = Caller::connect(server.addr);
    assert_eq!(caller.post("/v1/predict", &json!({"text": "a secret of mine"})).status, 200);
    // Refused by the database, whose own words quote the row.
    let stored = || command(&database, &["history", "tail"]).stdout.lines().count();
    until("the row is there", || stored() == 1);
    let postgres = database.postgres.as_ref().unwrap();
    postgres.run("DELETE FROM predictions; ALTER TABLE predictions ADD CHECK (label <> 'non_toxic')").await;
    assert_eq!(caller.post("/v1/predict", &json!({"text": "a secret of mine"})).status, 200);
    server.until(|line| line["message"] == "the database does not take this row");
    for word in ["hunter2", "a secret of mine"] {
        let told = [&shown.stdout, &shown.stderr].into_iter().any(|text| text.contains(word));
        let line = server.log.iter().find(|line| line.to_string().contains(word));
        assert!(!told && line.is_none(), "{word}: {line:?}");
    }
}
