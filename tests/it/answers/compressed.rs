//! Pages travel compressed, and are compressed once.

use std::io::{Read, Write};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use hyper::Method;
use reqwest::StatusCode;

use crate::{
    support::TestApp,
    transport::client::{Answer, Client},
    v2::models,
};

const ACCEPTS: &[(&str, &str)] = &[("accept-encoding", "gzip")];

async fn ask(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    Client::http1(app.addr).await.send(method, path, headers, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_pages_are_sent_from_where_they_lie_compressed_or_not() {
    let app = TestApp::start().await;
    for path in ["/docs", "/redoc", "/openapi.json"] {
        let plain = ask(&app, Method::GET, path, &[]).await;
        assert_eq!((plain.status, plain.header("content-encoding")), (StatusCode::OK, None), "{path}");
        for _ in 0..2 {
            let small = ask(&app, Method::GET, path, ACCEPTS).await;
            assert_eq!(small.header("content-encoding"), Some("gzip"), "{path}");
            // A text that is compressed while it is sent has no length.
            assert_eq!(small.header("content-length"), Some(&*small.body.len().to_string()), "{path}");
            assert_eq!(small.header("vary"), Some("accept-encoding"), "{path}");
            let mut text = Vec::new();
            GzDecoder::new(&small.body[..]).read_to_end(&mut text).unwrap();
            assert!(text == plain.body, "{path}");
            let head = ask(&app, Method::HEAD, path, ACCEPTS).await;
            for name in ["content-encoding", "content-length", "content-type", "vary", "etag"] {
                assert_eq!(head.header(name), small.header(name), "{name} of {path}");
            }
        }
        let refused = ask(&app, Method::GET, path, &[("accept-encoding", "identity;q=0, br")]).await;
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE, "{path}");
    }
    let page = ask(&app, Method::GET, "/docs", ACCEPTS).await;
    let known = [("accept-encoding", "gzip"), ("if-none-match", page.header("etag").unwrap())];
    let again = ask(&app, Method::GET, "/docs", &known).await;
    assert_eq!((again.status, again.header("vary")), (StatusCode::NOT_MODIFIED, Some("accept-encoding")));
}

fn member(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

async fn infer(app: &TestApp, body: Vec<u8>) -> (StatusCode, serde_json::Value) {
    let request = app.request(Method::POST, "/v2/models/same_int64/infer").header("content-encoding", "gzip");
    TestApp::json(request.body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_empty_members_is_refused_and_one_of_many_full_ones_is_read() {
    let app = TestApp::with(|config| crate::support::serve_files(config, models())).await;
    let numbers: Vec<i64> = (0..100_000).collect();
    let input = serde_json::json!({"name": "x", "shape": [1, numbers.len()], "datatype": "INT64", "data": numbers});
    let text = serde_json::json!({"inputs": [input]}).to_string();
    let whole: Vec<u8> = text.as_bytes().chunks(4 * 1024).flat_map(member).collect();
    let (status, answer) = infer(&app, whole.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");

    let ends_with_empty = [whole, member(b"")].concat();
    assert_eq!(infer(&app, ends_with_empty).await.0, StatusCode::OK);

    for member in [member(b""), member(b"1")] {
        let (status, answer) = infer(&app, member.repeat(1000)).await;
        assert_eq!((status, &answer["errors"][0]["code"]), (StatusCode::BAD_REQUEST, &"broken_encoding".into()));
    }
}
