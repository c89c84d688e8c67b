//! What a refused request must be answered with.

use reqwest::{
    Method, RequestBuilder,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::{Value, json};

pub use crate::support::patiently;
use crate::support::{TestApp, project};

/// Stands wherever a case puts a value of its own. No answer and no log line may hold it.
pub const SECRET: &str = "77317731";

/// Status and code.
pub type Refusal = (u16, &'static str);
pub const MALFORMED: Refusal = (400, "malformed_request");
pub const INVALID: Refusal = (422, "invalid_input");
pub const NO_MODEL: Refusal = (404, "model_not_found");

/// One answer, from whatever client.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        let response = patiently(request.send()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: patiently(response.bytes()).await.unwrap().to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks all that problem documents have in common, and returns this one.
    pub fn problem(&self, (status, code): Refusal, case: &str) -> Value {
        assert_eq!(self.status, status, "{case}: {}", self.text());
        let problem = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{case}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{case}");
        assert_eq!(problem["status"], status, "{case}");
        assert_eq!(problem["code"], code, "{case}: {problem}");
        assert_eq!(problem["type"], format!("urn:glassbox:problem:{code}"), "{case}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{case}");
        assert_eq!(problem["error"], problem["detail"], "{case}");
        for member in ["title", "detail", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{case}: {member} in {problem}");
        }
        assert_eq!(self.header("retry-after").is_some(), status == 503, "{case}: Retry-After tells when to come back");
        assert_keeps_secrets(&self.text(), case);
        problem
    }

    /// A problem document whose first fault is `fault` at `pointer`.
    pub fn fault(&self, refusal: Refusal, (pointer, fault): (&str, &str), case: &str) {
        let problem = self.problem(refusal, case);
        let first = &problem["errors"][0];
        assert_eq!((&first["pointer"], &first["code"]), (&json!(pointer), &json!(fault)), "{case}: {problem}");
        assert!(first["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{case}: {problem}");
    }
}

/// Neither the input, nor a path of the machine, nor a name from the code.
pub fn assert_keeps_secrets(text: &str, case: &str) {
    let project = project().display().to_string();
    for secret in [SECRET, &project, "/root/", "/home/", "/tmp/", "/usr/", ".rs", "struct ", "::", "panicked"] {
        assert!(!text.contains(secret), "{case}: {secret:?} is in {text}");
    }
}

/// Posts each body as JSON and expects it to be refused with the pointer and the code that stand beside it.
pub async fn refused<B: AsRef<[u8]>>(app: &TestApp, path: &str, refusal: Refusal, cases: &[(B, &str, &str)]) {
    for (body, pointer, fault) in cases {
        let case = String::from_utf8_lossy(body.as_ref()).chars().take(120).collect::<String>();
        post(app, path, body).await.fault(refusal, (pointer, fault), &case);
    }
    still_answers(app).await;
}

/// Posts a body as JSON, whatever it is.
pub async fn post(app: &TestApp, path: &str, body: impl AsRef<[u8]>) -> Answer {
    let request = app.request(Method::POST, path).header(CONTENT_TYPE, "application/json");
    Answer::of(request.body(body.as_ref().to_vec())).await
}

/// The server is none the worse for what happened.
pub async fn still_answers(app: &TestApp) {
    let prediction = patiently(app.predict(json!({"model": "doubler", "input": [1.5]}))).await;
    assert_eq!(prediction, json!([3.0]));
}
