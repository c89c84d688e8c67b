//! Which failures each route can be answered with, told with the very documents that callers would read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::headers;
use crate::{
    api::{Route, reject, v2},
    error::{Error, Violation},
    history::Trouble,
    queue::INTERRUPTED,
};

/// Everything that has been described so far.
#[derive(Default)]
pub(super) struct Failures {
    components: BTreeMap<String, Value>,
    codes: BTreeSet<&'static str>,
}

impl Failures {
    /// The failed answers of a route: status and reference.
    pub(super) fn of(
        &mut self,
        route: &Route,
        guarded: bool,
        takes_body: bool,
        takes_parameters: bool,
    ) -> Vec<(String, Value)> {
        // In its path or in its body.
        let names_a_model = takes_body && !v2::is_own(route.path);
        let mut errors = vec![malformed(takes_body), Error::MisdirectedRequest, internal(), Error::DeadlineExceeded];
        if guarded {
            errors.extend([Error::Unauthenticated, denied(), limited()]);
        }
        if takes_body {
            errors.extend(of_bodies());
        }
        if names_a_model || route.path.contains("{model}") {
            errors.push(Error::ModelNotFound { model: "unknown".to_owned(), version: None });
        } else if route.path == "/v1/predictions/{id}" {
            errors.push(Error::PredictionNotFound);
        } else if takes_parameters && route.path.contains('{') {
            errors.push(Error::NotFound);
        }
        if route.path.starts_with("/v1/predictions") {
            errors.push(Error::DependencyUnavailable(Trouble::Unreachable.to_string()));
        }
        if ["/readyz", "/v2/health/ready"].contains(&route.path) {
            errors.extend([not_ready(), Error::Draining, interrupted()]);
        }
        let protocol = Protocol::of(route);
        let mut by_status: BTreeMap<StatusCode, Vec<Error>> = BTreeMap::new();
        for error in errors {
            by_status.entry(protocol.status(&error)).or_default().push(error);
        }
        let answers = by_status.into_iter();
        answers
            .map(|(status, errors)| (status.as_str().to_owned(), self.reference(protocol, status, &errors)))
            .collect()
    }

    fn reference(&mut self, protocol: Protocol, status: StatusCode, errors: &[Error]) -> Value {
        let codes: Vec<&str> = errors.iter().map(|error| error.code().as_str()).collect();
        self.codes.extend(&codes);
        let name = format!("{}{}", protocol.prefix(), codes.join("-or-"));
        self.components.entry(name.clone()).or_insert_with(|| response(protocol, status, errors));
        json!({"$ref": format!("#/components/responses/{name}")})
    }

    /// Every answer that was referred to.
    pub(super) fn components(self) -> Value {
        self.components.into_iter().collect::<Map<_, _>>().into()
    }

    /// The code of every failure.
    pub(super) fn codes(&self) -> Vec<&'static str> {
        self.codes.iter().copied().collect()
    }
}

/// The protocols of the routes, which tell failures differently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Own,
    OpenInference,
}

impl Protocol {
    fn of(route: &Route) -> Self {
        if v2::is_own(route.path) { Self::OpenInference } else { Self::Own }
    }

    fn status(self, error: &Error) -> StatusCode {
        match self {
            Self::OpenInference => v2::status(error.code()),
            Self::Own => reject::status(error.code()),
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::OpenInference => "v2-",
        }
    }

    /// The first is what callers get who ask for none.
    const fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Own => &[reject::PROBLEM],
            Self::OpenInference => &["application/json", reject::PROBLEM],
        }
    }
}

/// One answer with an example for each of its failures.
fn response(protocol: Protocol, status: StatusCode, errors: &[Error]) -> Value {
    let names: &[&str] = match status.as_u16() {
        // How long a key was looked at would tell why it was refused.
        401 => &["X-Request-Id", "WWW-Authenticate"],
        429 | 503 => &["X-Request-Id", "Server-Timing", "Retry-After"],
        _ => &["X-Request-Id", "Server-Timing"],
    };
    let example = |error: &Error| (error.code().as_str().to_owned(), json!({"value": reject::example(error, status)}));
    let examples: Map<_, _> = errors.iter().map(example).collect();
    let body = json!({"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples});
    let content: Map<_, _> = protocol.media_types().iter().map(|kind| ((*kind).to_owned(), body.clone())).collect();
    let titles: Vec<&str> = errors.iter().map(|error| reject::title(error.code())).collect();
    json!({
        "description": titles.join(", or: "),
        "headers": headers::references(names),
        "content": content,
    })
}

/// Failures of those who send bodies, and of what becomes of them.
fn of_bodies() -> Vec<Error> {
    vec![
        Error::RequestTimeout { limit: Duration::from_secs(10) },
        Error::PayloadTooLarge { limit: 4_194_304 },
        Error::UnsupportedMediaType("send the body as 'Content-Type: application/json', in UTF-8"),
        Error::Invalid(vec![Violation::new("/text", "empty_text", "the text is empty")]),
        Error::Overloaded { what: "the queue of model 'toxicity'".to_owned(), retry_after: None },
        not_ready(),
        Error::NotCached,
        interrupted(),
    ]
}

/// Of a server that has models run by workers.
fn interrupted() -> Error {
    Error::DependencyUnavailable(INTERRUPTED.to_owned())
}

fn malformed(takes_body: bool) -> Error {
    if takes_body {
        return Error::malformed("", "not_exactly_one", "send either 'text' or 'input'");
    }
    Error::malformed("", "invalid_header", "the header 'X-Request-Timeout' is a duration like '250ms' or '2s'")
}

fn denied() -> Error {
    Error::PermissionDenied("this key has no scope 'admin'".to_owned())
}

fn limited() -> Error {
    Error::RateLimited {
        detail: "plan 'default' allows 10 requests per second".to_owned(),
        retry_after: Duration::from_secs(1),
    }
}

fn not_ready() -> Error {
    Error::ModelNotReady { model: "toxicity".to_owned(), reason: "it is loading".to_owned() }
}

fn internal() -> Error {
    Error::internal(anyhow::anyhow!("an example"))
}
