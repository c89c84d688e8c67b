//! What the log says about bad input.

use reqwest::header::CONTENT_TYPE;

use super::answer::{SECRET, assert_keeps_secrets};
use crate::support::{Server, glassbox};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_logged_once_with_its_code_and_without_its_input() {
    let mut server = Server::start(
        glassbox(&["serve", "--config", "config/development.toml"])
            .env("GLASSBOX__SERVER__LISTEN", "127.0.0.1:0")
            .env("GLASSBOX__TELEMETRY__LOG_FORMAT", "json")
            .env("GLASSBOX__TELEMETRY__LOG_FILTER", "debug"),
    );
    let client = reqwest::Client::new();
    for (n, (path, body, code)) in [
        ("/v1/predict", SECRET.to_owned(), "malformed_request"),
        ("/v1/predict", format!(r#"{{"text":{SECRET}}}"#), "malformed_request"),
        ("/v1/predict", format!(r#"{{"text":"{SECRET}"#), "malformed_request"),
        ("/v1/predict", format!(r#"{{"{SECRET}":1}}"#), "malformed_request"),
        ("/v1/predict", format!(r#"{{"text":"{SECRET}","input":[{SECRET}]}}"#), "malformed_request"),
        ("/v1/predict", format!(r#"{{"text":"{SECRET}\u0000"}}"#), "invalid_input"),
        ("/v1/predict", format!(r#"{{"text":"{}"}}"#, SECRET.repeat(5000)), "invalid_input"),
        ("/v1/predict", format!(r#"{{"model":"doubler","text":"{SECRET}"}}"#), "invalid_input"),
        ("/v1/predict", format!(r#"{{"model":"doubler","input":["{SECRET}"]}}"#), "invalid_input"),
        ("/v1/predict", format!(r#"{{"model":"doubler","input":[{SECRET}e400]}}"#), "invalid_input"),
        ("/v1/predict", format!(r#"{{"model":"doubler","input":{{"{SECRET}":[1]}}}}"#), "invalid_input"),
        ("/v1/predict", r#"{"model":"a\n{\"level\":\"ERROR\"}\u001b[2J","text":"a"}"#.to_owned(), "model_not_found"),
        ("/v1/predict_batch", format!(r#"{{"texts":["fine",{SECRET}]}}"#), "malformed_request"),
        ("/v1/predict_batch", format!(r#"{{"texts":["{SECRET}",""]}}"#), "invalid_input"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("case-{n}");
        let request = client.post(format!("http://{}{path}", server.addr)).header(CONTENT_TYPE, "application/json");
        request.header("x-request-id", &id).body(body).send().await.unwrap();
        let before = server.log.len();
        let line = server.until(|line| line["request_id"] == *id);
        assert_eq!((&line["error_code"], &line["route"]), (&code.into(), &path.into()), "{line}");
        for line in &server.log[before..] {
            assert!(!line.to_string().contains(SECRET), "{line}");
            assert_ne!(line["level"], "ERROR", "{line}");
        }
        assert_keeps_secrets(line["error"].as_str().unwrap(), &id);
    }
}
