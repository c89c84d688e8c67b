//! Who calls, and whether they may: keys in headers, scopes of routes, models of keys. Whoever is not let in gets the
//! same answer for every reason; only the metrics tell the reasons apart.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{context::Context, state::ApiState};
use crate::{
    error::Error,
    keys::{Principal, Rejected, Scope},
    model::ModelName,
    telemetry::{
        labels::{AuthRejection, Stage},
        record::Record,
    },
};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who sent a request that was let in.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// The owner of a key.
    Key(Arc<Principal>),
    /// Anyone: this server asks for no keys.
    Open,
}

impl Caller {
    /// Whether the caller may know of this model.
    pub(super) fn may_use(&self, model: &str) -> bool {
        match self {
            Self::Key(principal) => principal.may_use(model),
            Self::Open => true,
        }
    }

    /// Lets a request for a model pass; one that names none is a request for the default one.
    ///
    /// # Errors
    /// `permission_denied`, whether there is such a model or not.
    pub(super) fn check_model(&self, state: &ApiState, wanted: Option<&str>) -> Result<(), Error> {
        // What is no name cannot be a model's: who asks for it learns that, and nothing else.
        let default = || state.registry.default_model().map(ModelName::as_str);
        let model = wanted.map_or_else(default, |name| ModelName::is_name(name).then_some(name));
        if model.is_none_or(|name| self.may_use(name)) {
            return Ok(());
        }
        state.metrics.callers.rejected(AuthRejection::Model);
        Err(Error::PermissionDenied("this key may not use this model".to_owned()))
    }
}

/// Finds out who calls, and lets them in with a key that has `scope`.
///
/// # Errors
/// `unauthenticated`, `permission_denied`
pub(super) fn require(state: &ApiState, scope: Scope, headers: &HeaderMap, context: &Context) -> Result<(), Error> {
    let _watch = context.record.watch(Stage::Auth);
    let caller = identify(state, scope, headers, &context.record)?;
    context.caller.get_or_init(|| caller);
    Ok(())
}

fn identify(state: &ApiState, scope: Scope, headers: &HeaderMap, record: &Record) -> Result<Caller, Error> {
    let Some(keys) = &state.keys else { return Ok(Caller::Open) };
    let callers = &state.metrics.callers;
    let presented = presented(headers).map_err(Rejected::from);
    let principal = presented.and_then(|key| keys.authenticate(key)).map_err(|Rejected { reason, key_id }| {
        callers.rejected(reason);
        record.note(|facts| facts.key_id = key_id);
        Error::Unauthenticated
    })?;
    record.note(|facts| facts.key_id = Some(Arc::clone(&principal.key_id)));
    if !principal.has(scope) {
        callers.rejected(AuthRejection::Scope);
        return Err(Error::PermissionDenied(format!("this key lacks the scope '{}'", scope.as_str())));
    }
    callers.let_in(&principal.key_id);
    Ok(Caller::Key(principal))
}

/// The key that a request shows, in one header or the same one in both.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, AuthRejection> {
    let bearer = match (only(headers, &header::AUTHORIZATION)?.map(bearer), headers.contains_key(X_API_KEY)) {
        (None, _) => None,
        (Some(Some(key)), _) => Some(key),
        // Credentials of another scheme are for a proxy on the way, when a key comes beside them.
        (Some(None), true) => None,
        (Some(None), false) => return Err(AuthRejection::Malformed),
    };
    match (bearer, only(headers, &X_API_KEY)?) {
        (Some(one), Some(other)) if one != other => Err(AuthRejection::Malformed),
        (one, other) => Ok(one.or(other)),
    }
}

/// A header that must not stand twice, nor hold anything but visible ASCII.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, AuthRejection> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value.trim())),
        _ => Err(AuthRejection::Malformed),
    }
}

/// What follows the scheme `Bearer`, in whatever case that is written.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_in_one_header_or_the_same_in_both() {
        let (authorization, api_key) = ("authorization", "x-api-key");
        type Case<'a> = (&'a [(&'static str, &'a [u8])], Result<Option<&'a str>, AuthRejection>);
        let cases: [Case<'_>; 17] = [
            (&[], Ok(None)),
            (&[(authorization, b"Bearer a")], Ok(Some("a"))),
            (&[(authorization, b"bEARER   a ")], Ok(Some("a"))),
            (&[(authorization, b"Bearer")], Ok(Some(""))),
            (&[(authorization, b"Bearer a b")], Ok(Some("a b"))),
            (&[(api_key, b" a ")], Ok(Some("a"))),
            (&[(api_key, b"")], Ok(Some(""))),
            (&[(authorization, b"Bearer a"), (api_key, b"a")], Ok(Some("a"))),
            (&[(authorization, b"Bearer a"), (api_key, b"b")], Err(AuthRejection::Malformed)),
            (&[(authorization, b"Bearer"), (api_key, b"b")], Err(AuthRejection::Malformed)),
            (&[(authorization, b"Basic YTpi"), (api_key, b"b")], Ok(Some("b"))),
            (&[(authorization, b"Basic YTpi")], Err(AuthRejection::Malformed)),
            (&[(authorization, b"a")], Err(AuthRejection::Malformed)),
            (&[(authorization, b"Bearer a"), (authorization, b"Bearer a")], Err(AuthRejection::Malformed)),
            (&[(api_key, b"a"), (api_key, b"a")], Err(AuthRejection::Malformed)),
            (&[(authorization, b"Bearer \xfc")], Err(AuthRejection::Malformed)),
            (&[(api_key, "ключ".as_bytes())], Err(AuthRejection::Malformed)),
        ];
        for (sent, expected) in cases {
            let header = |(name, value): &(&'static str, &[u8])| {
                (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
            };
            let mut headers = HeaderMap::new();
            for (name, value) in sent.iter().map(header) {
                headers.append(name, value);
            }
            assert_eq!(presented(&headers), expected, "{sent:?}");
        }
    }
}
