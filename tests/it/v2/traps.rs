//! What the protocol's form brings along: compressed bodies, quotas, the cache, broken bodies.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::models;
use crate::support::{TestApp, assert_close, project, serve_files};

async fn app() -> TestApp {
    TestApp::with(|config| serve_files(config, models())).await
}

/// A request with one FP32 input, as binary; `y` comes back as binary too.
fn binary(values: &[f32]) -> (usize, Vec<u8>) {
    let size = values.len() * 4;
    let input =
        json!({"name": "x", "shape": [1, values.len()], "datatype": "FP32", "parameters": {"binary_data_size": size}});
    let json = json!({"parameters": {"binary_data_output": true}, "inputs": [input]}).to_string();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    (json.len(), [json.into_bytes(), bytes].concat())
}

async fn send(app: &TestApp, json: usize, body: Vec<u8>) -> Response {
    let request = app.request(Method::POST, "/v2/models/same_fp32/infer");
    request.header("Inference-Header-Content-Length", json).body(body).send().await.unwrap()
}

/// The words that a client of this protocol shows its user.
async fn words(response: Response) -> String {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let body: Value = response.json().await.unwrap();
    body["error"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_comes_back_bit_for_bit() {
    let app = app().await;
    let values: Vec<f32> = (0..262_144_u32).map(|number| f32::from_bits(number * 0x3fff)).collect();
    let (json, body) = binary(&values);
    let sent = body[json..].to_vec();
    let response = send(&app, json, body).await;
    let divided: usize = response.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    assert!(response.bytes().await.unwrap()[divided..] == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_small_outputs_come_in_the_order_in_which_they_are_wanted() {
    let rows = 65_536;
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.predict.max_batch_items = rows;
    });
    let app = app.await;
    let numbers: Vec<u8> = (0..2 * rows).flat_map(|number| (number as f32).to_le_bytes()).collect();
    let twice: Vec<u8> = (0..2 * rows).flat_map(|number| (2.0 * number as f32).to_le_bytes()).collect();
    let flags: Vec<u8> = (0..rows).map(|row| u8::from(row % 3 == 0)).collect();
    let opposite: Vec<u8> = flags.iter().map(|flag| 1 - flag).collect();
    let words: Vec<u8> = (0..rows).flat_map(|_| *b"\x02\0\0\0ab").collect();
    let input = |name: &str, datatype: &str, columns: usize, bytes: &[u8]| json!({"name": name, "datatype": datatype, "shape": [rows, columns], "parameters": {"binary_data_size": bytes.len()}});
    let inputs = [input("b", "FP32", 2, &numbers), input("a", "BOOL", 1, &flags), input("c", "BYTES", 1, &words)];
    for wanted in [["twice", "opposite", "words"], ["words", "twice", "opposite"], ["twice", "words", "opposite"]] {
        let outputs = wanted.map(|name| json!({"name": name, "parameters": {"binary_data": true}}));
        let json = json!({"inputs": inputs, "outputs": outputs}).to_string();
        let length = json.len();
        let body = [json.as_bytes(), &numbers, &flags, &words].concat();
        let request = app.request(Method::POST, "/v2/models/several/infer");
        let response = request.header("Inference-Header-Content-Length", length).body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let announced = response.content_length();
        let divided: usize = response.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
        let answer = response.bytes().await.unwrap();
        assert_eq!(announced, Some(answer.len() as u64));
        let expected = wanted.map(|name| match name {
            "twice" => &twice[..],
            "opposite" => &opposite,
            _ => &words,
        });
        assert!(answer[divided..] == expected.concat(), "{wanted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_that_stands_for_a_large_one_is_refused_at_the_limit() {
    let app = app().await;
    let zeros = vec![0_u8; 64 * 1024 * 1024];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&zeros).unwrap();
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(&zeros).unwrap();
    for (coding, body) in [("gzip", gzip.finish().unwrap()), ("deflate", deflate.finish().unwrap())] {
        assert!(body.len() < 1024 * 1024);
        let request = app.request(Method::POST, "/v2/models/same_fp32/infer").header("Content-Encoding", coding);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(words(response).await.contains("larger than 8388608 bytes"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_layers_refuse_is_told_in_words_too() {
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.rate_limit.enabled = true;
        config.rate_limit.address_rate = 1;
        config.rate_limit.address_burst = 8;
    })
    .await;
    // One for the request and one for each further row.
    let rows = |count: usize| json!({"inputs": [{"name": "x", "shape": [count, 1], "datatype": "FP32", "data": vec![1; count]}]});
    let infer =
        async |body: &Value| app.request(Method::POST, "/v2/models/same_fp32/infer").json(body).send().await.unwrap();
    assert_eq!(infer(&rows(6)).await.status(), StatusCode::OK);
    // All at once: not even a machine that stands still for a while adds as many items as they cost.
    let body = rows(6);
    let answers = futures_util::future::join_all((0..20).map(|_| infer(&body))).await;
    let refused = answers.into_iter().find(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS).unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    assert!(words(refused).await.contains("quota"));

    // A little too large: who sends much more finds a closed connection, and not always an answer before it.
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.server.body_limit = bytesize::ByteSize::kib(32);
    })
    .await;
    let large = app.request(Method::POST, "/v2/models/same_fp32/infer").body(vec![b' '; 33 * 1024]);
    let large = large.send().await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(words(large).await.contains("larger than"));
    let many = infer_rows(&app, 1025).await;
    assert_eq!(many.status(), StatusCode::BAD_REQUEST);
    assert!(words(many).await.contains("1025 rows; at most 1024"));
}

async fn infer_rows(app: &TestApp, rows: usize) -> Response {
    let input = json!({"name": "x", "shape": [rows, 1], "datatype": "FP32", "data": vec![1; rows]});
    app.request(Method::POST, "/v2/models/same_fp32/infer").json(&json!({"inputs": [input]})).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_share_a_cache_and_none_gets_the_other_s_form() {
    let app = TestApp::start().await;
    let predict = async || {
        let body = json!({"model": "toxicity", "text": "you are kind"});
        let response = app.request(Method::POST, "/v1/predict").json(&body).send().await.unwrap();
        let cached = response.headers()["cache-status"].to_str().unwrap().contains("hit");
        (cached, response.json::<Value>().await.unwrap()["prediction"]["probabilities"].clone())
    };
    let infer = async |texts: &[&str]| {
        let input = json!({"name": "text", "shape": [texts.len(), 1], "datatype": "BYTES", "data": texts});
        let body = json!({"inputs": [input]});
        let response = app.request(Method::POST, "/v2/models/toxicity/infer").json(&body).send().await.unwrap();
        let status = response.headers()["cache-status"].to_str().unwrap().to_owned();
        (status, response.json::<Value>().await.unwrap()["outputs"][0].clone())
    };
    let (cached, probabilities) = predict().await;
    let (status, output) = infer(&["you are kind"]).await;
    assert!(!cached && status.contains("fwd=miss"), "{status}");
    assert_eq!(output["shape"], json!([1, 2]));
    assert_close(&output["data"][1], &probabilities["toxic"], "one text");
    assert!(predict().await.0 && infer(&["you are kind"]).await.0.contains("hit"));
    // Each text is found by itself.
    let (status, output) = infer(&["you are new", "you are kind"]).await;
    assert!(status.contains("1 of 2 items hit"), "{status}");
    assert_eq!(output["shape"], json!([2, 2]));
    assert_close(&output["data"][3], &probabilities["toxic"], "the second text");
    let computed = |source: &str| {
        let labels = format!("model=\"toxicity\",outcome=\"ok\",source=\"{source}\",version=\"1\"");
        app.series(&format!("predictions_total{{{labels}}}")).unwrap()
    };
    assert_eq!((computed("computed"), computed("memory")), (3.0, 3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_cut_or_changed_anywhere_are_answered_and_nothing_breaks() {
    let app = app().await;
    let (json, whole) = binary(&[1.0, 2.0, 3.0]);
    let mut bodies: Vec<(usize, Vec<u8>)> = (0..whole.len()).map(|length| (json, whole[..length].to_vec())).collect();
    // A generator of its own: the same bodies in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..3000 {
        let mut body = whole.clone();
        for _ in 0..=random(3) {
            let place = random(body.len());
            match random(3) {
                0 => body[place] = u8::try_from(random(256)).unwrap(),
                1 => drop(body.remove(place)),
                _ => body.insert(place, b"0123456789-[]{},:\""[random(18)]),
            }
        }
        bodies.push((if random(8) == 0 { random(2 * whole.len()) } else { json }, body));
    }
    let mut seen = std::collections::BTreeMap::new();
    for (json, body) in bodies {
        let response = send(&app, json, body.clone()).await;
        let status = response.status().as_u16();
        *seen.entry(status).or_insert(0) += 1;
        if status != 200 {
            assert!(matches!(status, 400 | 504), "{status} {json} {}", String::from_utf8_lossy(&body));
            words(response).await;
        }
    }
    assert!(seen[&200] > 20 && seen[&400] > 1000, "{seen:?}");
    assert_eq!(infer_rows(&app, 1).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_logged_with_its_model_and_counted_like_any_other() {
    let app = TestApp::with(|config| serve_files(config, vec![project().join("model/doubler/1/model.onnx")])).await;
    let input = json!({"name": "x", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]});
    let request = app.request(Method::POST, "/v2/models/doubler/infer").header("X-Request-Id", "seen-again");
    let response = request.json(&json!({"inputs": [input]})).send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "seen-again");
    let stages = response.headers()["server-timing"].to_str().unwrap();
    for stage in ["decode", "preprocess", "inference", "encode", "total"] {
        assert!(stages.contains(stage), "{stages}");
    }
    let (_, debug) = app.get("/v1/debug/requests?request_id=seen-again").await;
    let seen = &debug["slowest"][0];
    assert_eq!((&seen["route"], &seen["model"]), (&json!("/v2/models/{model}/infer"), &json!("doubler")), "{debug}");
    assert_eq!(seen["shapes"], json!([[2, 1]]));
    let route = "http_requests_total{method=\"POST\",route=\"/v2/models/{model}/infer\",status=\"200\"}";
    assert_eq!(app.series(route), Some(1.0));
    let asked =
        |protocol: &str| app.series(&format!("model_requests_total{{model=\"doubler\",protocol=\"{protocol}\"}}"));
    assert_eq!((asked("open_inference"), asked("v1"), asked("grpc")), (Some(1.0), Some(0.0), Some(0.0)));
    assert_eq!(app.series("inference_batch_size_sum{model=\"doubler\"}"), Some(2.0));
}
