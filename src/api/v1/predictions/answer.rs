//! What is told of a stored prediction.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{api::openapi::schemas, history::Row};

/// One prediction that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoredPrediction)]
pub(in crate::api) struct StoredPrediction {
    /// Its own id: no two have the same, and they are in the order of time. Where a request was for one item and its caller
    /// named it not, it is the request's.
    #[schema(example = "0193e2a4-6f6b-7000-8000-4d7a5b9c1f11")]
    pub id: String,
    /// When the request came (RFC 3339).
    #[schema(format = DateTime)]
    pub time: String,
    /// The id of its request.
    pub request_id: String,
    /// The same, if the request was for several items.
    pub batch_id: Option<String>,
    /// Its position among them.
    #[schema(minimum = 0)]
    pub item: Option<i32>,
    /// The id of the key that let it in.
    pub key_id: Option<String>,
    pub trace_id: String,
    pub model: String,
    pub model_version: String,
    /// What computed it.
    #[schema(example = "onnxruntime-cpu")]
    pub provider: String,
    /// The same for equal inputs of one version.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub input_hash: String,
    /// `null` when it was longer than `history.value_limit`.
    #[schema(value_type = Option<schemas::Prediction>)]
    pub prediction: Option<Box<RawValue>>,
    /// The class that was named.
    pub label: Option<String>,
    /// How probable that is.
    pub confidence: Option<f64>,
    /// From the request to the prediction.
    pub latency_ms: f64,
    /// Whether it was known already.
    pub cached: bool,
    /// What was sent; only where `history.store_inputs` is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::Input>, required = false)]
    pub input: Option<Box<RawValue>>,
}

impl StoredPrediction {
    /// What a caller reads of a row.
    pub(super) fn of(row: Row) -> Self {
        let raw = |json: Option<String>| json.and_then(|json| RawValue::from_string(json).ok());
        let time = Timestamp::from_millisecond(row.time()).unwrap_or_default();
        Self {
            id: row.id.to_string(),
            time: format!("{time:.3}"),
            batch_id: row.item.map(|_| row.request_id()),
            request_id: row.request_id(),
            item: row.item,
            key_id: row.key_id.as_deref().map(str::to_owned),
            trace_id: row.trace_id(),
            model: row.model.to_string(),
            model_version: row.version.to_string(),
            provider: row.provider.to_string(),
            input_hash: row.input_hash.simple().to_string(),
            prediction: raw(row.prediction),
            label: row.label,
            confidence: row.confidence,
            latency_ms: latency_ms(row.latency_us),
            cached: row.cached,
            input: raw(row.input),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are centuries")]
fn latency_ms(micros: i64) -> f64 {
    micros as f64 / 1e3
}
