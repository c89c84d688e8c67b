//! Which predictions a caller asks for.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{error::Error, history::Filter};

/// As many as a page holds when nobody says otherwise.
pub(super) const USUAL: usize = 50;

/// The most that a page holds.
pub(super) const MOST: usize = 1000;

/// Begins every cursor, and names the form of what follows.
const CURSOR: u8 = 1;

/// Which predictions are meant: those that fit all that is said.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Wanted {
    /// Of this model.
    #[param(example = "toxicity")]
    model: Option<String>,
    /// Of this version.
    #[param(example = "1")]
    version: Option<String>,
    /// With this label.
    #[param(example = "toxic")]
    label: Option<String>,
    /// Of the key with this id.
    key: Option<String>,
    /// Of the batch with this id.
    batch_id: Option<String>,
    /// From this moment on (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// Before this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
    /// At least as sure.
    #[param(minimum = 0.0, maximum = 1.0)]
    min_confidence: Option<f64>,
    /// At most as sure.
    #[param(minimum = 0.0, maximum = 1.0)]
    max_confidence: Option<f64>,
    /// Whether they were known already.
    cached: Option<bool>,
    /// What the page before named as `next`.
    #[param(pattern = "^A[Q-Za-f][A-Za-z0-9_-]{20}[AEIMQUYcgkosw048]$")]
    cursor: Option<String>,
    /// The most of them. When absent, a page holds 50, and an export all.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Which predictions are to be forgotten; one of these at least.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Forgotten {
    /// Of the key with this id.
    key: Option<String>,
    /// From this moment on (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// Before this moment (RFC 3339); now when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
}

impl Wanted {
    /// The most rows, if the caller says so.
    pub(super) fn limit(&self) -> Result<Option<usize>, Error> {
        match self.limit {
            Some(limit) if limit == 0 || limit > MOST => Err(fault(&format!("'limit' is a number from 1 to {MOST}"))),
            limit => Ok(limit),
        }
    }

    /// What is looked for, among the rows of `own` where a caller may see no others.
    pub(super) fn filter(self, own: Option<String>) -> Result<Filter, Error> {
        if let (Some(own), Some(key)) = (&own, &self.key)
            && own != key
        {
            let detail = "this key sees its own predictions only; those of others want the scope 'admin'";
            return Err(Error::PermissionDenied(detail.to_owned()));
        }
        for confidence in [self.min_confidence, self.max_confidence].into_iter().flatten() {
            if !(0.0..=1.0).contains(&confidence) {
                return Err(fault("'min_confidence' and 'max_confidence' are numbers from 0 to 1"));
            }
        }
        Ok(Filter {
            model: self.model,
            version: self.version,
            label: self.label,
            key_id: own.or(self.key),
            batch: self.batch_id.is_some(),
            request_id: self.batch_id,
            since: moment("since", self.since.as_deref())?,
            until: moment("until", self.until.as_deref())?,
            min_confidence: self.min_confidence,
            max_confidence: self.max_confidence,
            cached: self.cached,
            before: self.cursor.as_deref().map(place).transpose()?,
            ..Filter::default()
        })
    }
}

impl Forgotten {
    /// What is to be deleted: nothing that is predicted from now on, so that there is an end to it.
    pub(super) fn filter(self) -> Result<Filter, Error> {
        if self.key.is_none() && self.since.is_none() && self.until.is_none() {
            return Err(fault("say what is to be forgotten: 'key', 'since', 'until', or several of them"));
        }
        let now = Timestamp::now().as_millisecond();
        Ok(Filter {
            key_id: self.key,
            since: moment("since", self.since.as_deref())?,
            // This millisecond is not over.
            until: Some(moment("until", self.until.as_deref())?.unwrap_or(now + 1)),
            ..Filter::default()
        })
    }
}

/// Where the next page begins, in a form that is nobody's business.
pub(super) fn cursor(id: Uuid) -> String {
    let mut bytes = vec![CURSOR];
    bytes.extend_from_slice(id.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn place(cursor: &str) -> Result<Uuid, Error> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
    let id = bytes.split_first().filter(|(form, _)| **form == CURSOR).and_then(|(_, id)| Uuid::from_slice(id).ok());
    id.ok_or_else(|| fault("'cursor' is not one that a page has named"))
}

/// Milliseconds since 1970.
fn moment(name: &str, text: Option<&str>) -> Result<Option<i64>, Error> {
    let parse = |text: &str| text.parse().map(Timestamp::as_millisecond);
    let wrong = |_| fault(&format!("'{name}' is a time with its offset, like 2030-01-31T00:00:00Z"));
    text.map(parse).transpose().map_err(wrong)
}

fn fault(detail: &str) -> Error {
    Error::malformed("", "invalid_query", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_names_its_place_and_nothing_else_does() {
        let id = Uuid::from_u128(0x0193_e2a4_6f6b_7cc2_8f55_0d7a_5b9c_1f11);
        assert_eq!(place(&cursor(id)).unwrap(), id);
        for other in ["", "x", "AQ", &id.to_string(), &BASE64_URL_SAFE_NO_PAD.encode([2; 17]), "%00"] {
            assert!(place(other).is_err(), "{other}");
        }
    }
}
