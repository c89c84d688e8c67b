//! The node tests of ONNX: what every operator gives, asked for over this protocol. All of them are `make onnx-nodes`.

use serde::Deserialize;
use tempfile::TempDir;

use crate::support::{TestApp, python};

#[derive(Debug, Deserialize)]
struct Case {
    case: String,
    result: String,
    reason: String,
}

fn cases(args: &[&str]) -> Vec<Case> {
    python("python/node_cases.py", args, "").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_all_operators_gives_what_is_recorded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    cases(&["make", path, "3", "23"]);
    let app = TestApp::with(|config| {
        config.models.repository = Some(folder.path().to_owned());
        config.models.default = None;
    })
    .await;
    let answered = cases(&["ask", &app.addr.to_string(), path]);
    let of = |result: &str| answered.iter().filter(|case| case.result == result).collect::<Vec<_>>();
    let different: Vec<_> = of("different").into_iter().map(|case| (&case.case, &case.reason)).collect();
    assert_eq!(different, []);
    assert!(of("same").len() > 50, "{answered:?}");
}
