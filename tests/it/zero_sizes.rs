//! Dimensions of 0, for which some kernels of ONNX Runtime end the process: no graph gets one that none of its samples had.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    grpc::{call, messages},
    split,
    support::{Answer, Caller, Redis, Server, TestApp, glassbox, python, variable},
};

fn repository() -> TempDir {
    let folder = TempDir::new().unwrap();
    python("python/zero_graphs.py", &[folder.path().to_str().unwrap()], "");
    folder
}

/// A server of its own: one of these graphs, fed with a 0, would take the tests with it.
fn serve(folder: &TempDir) -> Server {
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    command.env(variable("models.repository"), folder.path()).env(variable("models.default"), "");
    command.env(variable("cache.mode"), "off").env(variable("rate_limit.enabled"), "false");
    Server::start(&mut command)
}

fn tensor(shape: &Value) -> Value {
    json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": []}]})
}

fn infer(caller: &mut Caller, model: &str, shape: &Value) -> Answer {
    caller.post(&format!("/v2/models/{model}/infer"), &tensor(shape))
}

#[test]
fn a_size_of_zero_that_no_sample_had_is_refused_and_ends_nothing() {
    let folder = repository();
    let server = serve(&folder);
    let mut caller = Caller::connect(server.addr);
    for (model, shape) in [
        ("gru", json!([0, 1, 3])),
        ("gru", json!([2, 0, 3])),
        ("lstm", json!([0, 1, 3])),
        ("lstm", json!([3, 0, 3])),
        ("conv", json!([1, 3, 0, 8])),
        ("conv", json!([1, 3, 8, 0])),
        ("conv", json!([1, 3, 0, 0])),
        ("norm", json!([1, 3, 0, 8])),
        ("unique", json!([0, 4])),
        ("unique", json!([4, 0])),
        ("largest", json!([0, 2])),
        ("hidden", json!([1, 0, 2])),
    ] {
        let answer = infer(&mut caller, model, &shape);
        assert_eq!(answer.status, 400, "{model} {shape}: {}", answer.body);
        assert_eq!(answer.body["errors"][0]["pointer"], "/inputs/0", "{model} {shape}: {}", answer.body);
    }
    for (model, input, pointer) in [
        ("gru", json!([]), "/input"),
        ("gru", json!([[], []]), "/input/0"),
        ("lstm", json!([]), "/input"),
        ("conv", json!([[[]], [[]], [[]]]), "/input/0/0"),
        ("norm", json!([[[]], [[]], [[]]]), "/input/0/0"),
        ("unique", json!([]), "/input"),
        ("unique", json!([[], []]), "/input/0"),
        ("hidden", json!([]), "/input"),
    ] {
        let answer = caller.post("/v1/predict", &json!({"model": model, "input": input}));
        assert_eq!((answer.status, &answer.body["code"]), (422, &json!("invalid_input")), "{model} {input}");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{model} {input}: {}", answer.body);
    }
    let answer = caller.post("/v1/predict", &json!({"model": "gru", "input": [[1, 2, 3]]}));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn a_size_of_zero_that_a_golden_sample_had_reaches_the_graph() {
    let folder = repository();
    let server = serve(&folder);
    let mut caller = Caller::connect(server.addr);
    let answer = caller.post("/v1/predict", &json!({"model": "shown", "input": []}));
    assert_eq!((answer.status, &answer.body["prediction"]), (200, &json!([])), "{}", answer.body);
    let answer = caller.post("/v1/predict", &json!({"model": "shown", "input": [[], [], []]}));
    assert_eq!((answer.status, &answer.body["prediction"]), (200, &json!([[], [], []])), "{}", answer.body);
    let answer = infer(&mut caller, "shown", &json!([4, 0, 2]));
    assert_eq!((answer.status, &answer.body["outputs"][0]["shape"]), (200, &json!([4, 0, 2])), "{}", answer.body);
}

/// Also where rows depend on each other: the sum of none is 0.
#[test]
fn a_size_of_zero_reaches_graphs_of_operators_that_are_known_to_take_it() {
    let folder = repository();
    let server = serve(&folder);
    let mut caller = Caller::connect(server.addr);
    for (model, shape, output, data) in [
        ("images", json!([1, 3, 0, 8]), json!([1, 3, 0, 8]), json!([])),
        ("named", json!([2, 0]), json!([2, 0]), json!([])),
        ("columns", json!([0, 2]), json!([1, 2]), json!([0.0, 0.0])),
    ] {
        let answer = infer(&mut caller, model, &shape);
        let given = &answer.body["outputs"][0];
        assert_eq!((answer.status, &given["shape"], &given["data"]), (200, &output, &data), "{model}: {}", answer.body);
    }
}

#[test]
fn no_rows_are_answered_without_a_run_where_rows_are_independent() {
    let folder = repository();
    let server = serve(&folder);
    let mut caller = Caller::connect(server.addr);
    for (model, shape, output) in [
        ("named", json!([0, 7]), json!([0, 7])),
        ("images", json!([0, 3, 8, 9]), json!([0, 3, 8, 9])),
        ("shown", json!([0, 5, 2]), json!([0, 5, 2])),
        // What the graph makes of heights and widths is not known without a run.
        ("conv", json!([0, 3, 8, 8]), json!([0, 4, 0, 0])),
    ] {
        let answer = infer(&mut caller, model, &shape);
        assert_eq!(answer.status, 200, "{model} {shape}: {}", answer.body);
        let given = &answer.body["outputs"][0];
        assert_eq!((&given["name"], &given["shape"], &given["data"]), (&json!("y"), &output, &json!([])));
        let runs = caller.get(&format!("/v2/models/{model}/stats")).body["model_stats"][0]["execution_count"].clone();
        assert_eq!(runs, 0, "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_that_no_body_could_hold_are_refused_by_every_protocol() {
    let app = TestApp::start().await;
    let deep = json!(vec![1; 65]);
    for shape in [json!([1_u64 << 40, 0]), json!([0, 1_u64 << 40]), json!([0, 1_u64 << 62, 1_u64 << 62]), deep] {
        let (status, body) = app.post("/v2/models/doubler/infer", tensor(&shape)).await;
        assert_eq!((status.as_u16(), &body["errors"][0]["code"]), (400, &json!("wrong_shape")), "{shape}: {body}");
        assert_eq!(body["errors"][0]["pointer"], "/inputs/0", "{shape}: {body}");
    }
    let mut caller = call::Caller::connect(app.addr).await;
    for shape in [&[1, 3, 1 << 31, 0][..], &[0, 1 << 40], &[1; 65]] {
        let request = messages::of("doubler", "x", shape, &[]);
        let answer = caller.call(call::INFER, &[], &request).await;
        assert_eq!(answer.status(), 3, "{shape:?}: {answer:?}");
        assert_eq!(answer.header("error-code"), Some("invalid_input"), "{shape:?}: {answer:?}");
    }
    // Lists in lists, deeper than any tensor.
    let nested = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let body: Value = serde_json::from_str(&format!(r#"{{"model":"doubler","input":{nested}}}"#)).unwrap();
    let (status, answer) = app.post("/v1/predict", body).await;
    assert_eq!((status.as_u16(), &answer["errors"][0]["pointer"]), (422, &json!("/input")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_of_zero_is_refused_in_front_of_workers_too() {
    let redis = Redis::start();
    let folder = repository();
    let mut worker = split::worker_of_repository(&redis, folder.path());
    let api = split::api(&redis).await;
    split::until_served(&api, "gru").await;
    split::until_served(&api, "shown").await;
    let (status, body) = api.post("/v1/predict", json!({"model": "gru", "input": []})).await;
    assert_eq!((status.as_u16(), &body["code"]), (422, &json!("invalid_input")), "{body}");
    let (status, body) = api.post("/v2/models/gru/infer", tensor(&json!([0, 1, 3]))).await;
    assert_eq!(status, 400, "{body}");
    assert_eq!(api.predict(json!({"model": "shown", "input": []})).await, json!([]));
    let (status, body) = api.post("/v2/models/named/infer", tensor(&json!([0, 7]))).await;
    assert_eq!((status.as_u16(), &body["outputs"][0]["shape"]), (200, &json!([0, 7])), "{body}");
    assert_eq!(worker.wait(std::time::Duration::ZERO), None, "the worker goes on");
}
