//! Requests and the answers to them as files: `tests/open_inference/`. The ambiguous spots of the protocol are among them,
//! each with the way in which it is read here.

use std::{collections::BTreeMap, fs};

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::models;
use crate::support::{TestApp, project};

#[derive(Deserialize)]
struct Pair {
    /// What is to be seen, for people.
    about: String,
    request: Request,
    answer: Answer,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    /// The first part of the body, as it is written.
    #[serde(default)]
    json: String,
    /// The rest of it, in hexadecimal.
    #[serde(default)]
    binary: String,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    /// Only the members that do not differ from request to request, and from machine to machine.
    json: Value,
    #[serde(default)]
    binary: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_golden_request_is_answered_as_written() {
    let app = TestApp::with(|config| {
        config.models.default = None;
        config.models.files = models();
    })
    .await;
    let mut files: Vec<_> =
        fs::read_dir(project().join("tests/open_inference")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 60, "only {} pairs", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let pair: Pair = serde_json::from_slice(&fs::read(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if let Err(difference) = answered_as_written(&app, &pair).await {
            wrong.push(format!("{} ({}): {difference}", file.display(), pair.about));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn answered_as_written(app: &TestApp, Pair { request, answer, .. }: &Pair) -> Result<(), String> {
    let method: Method = request.method.parse().unwrap();
    let mut sent = app.request(method, &request.path);
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    if !request.json.is_empty() || !request.binary.is_empty() {
        sent = sent.body([request.json.as_bytes(), &bytes(&request.binary)].concat());
    }
    let got = sent.send().await.unwrap();
    let status = got.status().as_u16();
    let header = |name: &String| Some((name.clone(), got.headers().get(name)?.to_str().unwrap().to_owned()));
    let headers: BTreeMap<_, _> = answer.headers.keys().filter_map(header).collect();
    let divided = headers.get("inference-header-content-length").map(|length| length.parse::<usize>().unwrap());
    let body = got.bytes().await.unwrap();
    let (json, binary) = body.split_at(divided.unwrap_or(body.len()));
    let mut json: Value = serde_json::from_slice(json).unwrap();
    if let (Some(members), Some(expected)) = (json.as_object_mut(), answer.json.as_object()) {
        members.retain(|name, _| expected.contains_key(name));
    }
    let seen = (status, &headers, &json, binary.to_vec());
    let expected = (answer.status, &answer.headers, &answer.json, bytes(&answer.binary));
    if seen == expected { Ok(()) } else { Err(format!("\n   seen {seen:?}\n   expected {expected:?}")) }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2);
    digits.map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 16).unwrap()).collect()
}
