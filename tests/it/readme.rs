//! The README promises answers: every request that it shows is sent, and must be answered as it says.

use serde_json::Value;

use crate::support::{TestApp, assert_close, project};

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_the_readme_are_answered_as_it_shows() {
    let app = TestApp::start().await;
    let examples = examples(&std::fs::read_to_string(project().join("README.md")).unwrap());
    assert!(examples.len() >= 5, "only {} requests were found", examples.len());
    for Example { path, body, expected } in examples {
        let (_, got) = app.post(&path, serde_json::from_str(&body).unwrap()).await;
        assert_close(&without_what_changes(got), &without_what_changes(expected), &body);
    }
}

struct Example {
    path: String,
    body: String,
    expected: Value,
}

/// The `curl` commands that are followed by an answer.
fn examples(readme: &str) -> Vec<Example> {
    let blocks: Vec<&str> = readme.split("```").collect();
    let pairs = blocks.windows(3).filter(|blocks| blocks[0].starts_with("sh\ncurl") && blocks[2].starts_with("json\n"));
    pairs
        .map(|blocks| {
            let path = blocks[0].split("127.0.0.1:8080").nth(1).unwrap().split_whitespace().next().unwrap();
            let body = blocks[0].split("-d '").nth(1).unwrap().split('\'').next().unwrap();
            let expected = serde_json::from_str(blocks[2].trim_start_matches("json")).unwrap();
            Example { path: path.to_owned(), body: body.to_owned(), expected }
        })
        .collect()
}

fn without_what_changes(mut answer: Value) -> Value {
    let members = answer.as_object_mut().unwrap();
    for name in ["id", "request_id", "latency_ms"] {
        members.remove(name);
    }
    answer
}
