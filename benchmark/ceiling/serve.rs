//! `ceiling serve`: axum with one handler per model and nothing around it. The body is parsed into a struct, the session
//! runs where the request is, the answer is written: what no server in front of the same session can beat.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::available_parallelism,
    time::{Instant, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
    serve::ListenerExt,
};
use clap::Args;
use ort::value::{Tensor, TensorRef};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::session::{Graphs, load_library};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// The folder that holds one folder per model.
    #[arg(long, default_value = "model")]
    models: PathBuf,
}

/// What a body may hold; what it does hold depends on the model. Strings are borrowed from the body where they can be.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Body<'a, T> {
    #[expect(dead_code, reason = "parsed as the server parses it; the path says which model is meant")]
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(alias = "text")]
    input: T,
}

/// A text that is borrowed where no escape stands in it.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Serialize)]
struct Answer<'a, P> {
    id: &'a str,
    model: &'static str,
    model_version: &'static str,
    provider: &'static str,
    prediction: P,
    cached: bool,
    latency_ms: f64,
}

#[derive(Serialize)]
struct Classes {
    label: &'static str,
    confidence: f32,
    probabilities: Probabilities,
}

#[derive(Serialize)]
struct Probabilities {
    non_toxic: f32,
    toxic: f32,
}

struct Models {
    linear_regression: Graphs,
    toxicity: Graphs,
    doubler: Graphs,
}

pub(crate) fn run(library: &Path, ServeArgs { listen, models }: ServeArgs) -> anyhow::Result<()> {
    let library = load_library(library)?;
    let graphs = |name: &str, output| {
        Graphs::open(&library, &models.join(name).join("1/model.onnx"), output, available_parallelism()?.get())
    };
    let models = Models {
        linear_regression: graphs("linear_regression", "y")?,
        toxicity: graphs("toxicity", "probabilities")?,
        doubler: graphs("doubler", "y")?,
    };
    let app = Router::new()
        .route("/linear_regression", post(linear_regression))
        .route("/toxicity", post(toxicity))
        .route("/constant", post(constant))
        .route("/doubler", post(doubler))
        // As large as the server's.
        .layer(DefaultBodyLimit::max(8 * 1024 * 1024))
        .with_state(Arc::new(models));
    // As many workers as cores, which is tokio's own choice and the server's.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(&listen).await?;
        println!("{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, app).await?)
    })
}

async fn linear_regression(State(models): State<Arc<Models>>, body: Bytes) -> Response {
    let started = Instant::now();
    let Ok(body) = serde_json::from_slice::<Body<'_, [f32; 10]>>(&body) else { return refused() };
    let predict = || -> ort::Result<[f32; 1]> {
        let mut graph = models.linear_regression.free();
        let outputs = graph.run([TensorRef::from_array_view(([1_usize, 10], &body.input[..]))?.into()])?;
        let (_, values) = outputs[0].try_extract_tensor::<f32>()?;
        Ok([values[0]])
    };
    answer("linear_regression", predict(), started)
}

async fn toxicity(State(models): State<Arc<Models>>, body: Bytes) -> Response {
    let started = Instant::now();
    let Ok(body) = serde_json::from_slice::<Body<'_, Text<'_>>>(&body) else { return refused() };
    let text = body.input.0.to_lowercase();
    let predict = || -> ort::Result<Classes> {
        let mut graph = models.toxicity.free();
        let outputs = graph.run([Tensor::from_string_array(([1_usize, 1], &[text][..]))?.into()])?;
        let (_, values) = outputs[0].try_extract_tensor::<f32>()?;
        Ok(classes(values[0], values[1]))
    };
    answer("toxicity", predict(), started)
}

/// Binary tensors of the Open Inference Protocol: the bytes behind the JSON are the numbers, of which nothing is read but
/// their count.
async fn doubler(State(models): State<Arc<Models>>, headers: HeaderMap, body: Bytes) -> Response {
    const JSON_LENGTH: &str = "inference-header-content-length";
    let length = headers.get(JSON_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let Some((_, bytes)) = length.and_then(|length| body.split_at_checked(length)) else { return refused() };
    let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let double = || -> ort::Result<Vec<u8>> {
        let mut graph = models.doubler.free();
        let outputs = graph.run([TensorRef::from_array_view(([1_usize, numbers.len()], &numbers[..]))?.into()])?;
        let (_, values) = outputs[0].try_extract_tensor::<f32>()?;
        let mut answer = br#"{"model_name":"doubler","model_version":"1","outputs":[]}"#.to_vec();
        let json = answer.len();
        answer.resize(json + 4 * values.len(), 0);
        for (place, value) in answer[json..].as_chunks_mut().0.iter_mut().zip(values) {
            *place = value.to_le_bytes();
        }
        Ok(answer)
    };
    match double() {
        Ok(answer) => ([(JSON_LENGTH, "57")], answer).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// No session: what is left of a request when its answer is known.
async fn constant(body: Bytes) -> Response {
    let started = Instant::now();
    let Ok(body) = serde_json::from_slice::<Body<'_, Text<'_>>>(&body) else { return refused() };
    std::hint::black_box(&body.input.0);
    answer("toxicity", Ok(classes(0.176_946_4, 0.823_053_6)), started)
}

fn classes(non_toxic: f32, toxic: f32) -> Classes {
    let (label, confidence) = if toxic > non_toxic { ("toxic", toxic) } else { ("non_toxic", non_toxic) };
    Classes { label, confidence, probabilities: Probabilities { non_toxic, toxic } }
}

fn answer<P: Serialize>(model: &'static str, prediction: ort::Result<P>, started: Instant) -> Response {
    let Ok(prediction) = prediction else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut id = Uuid::encode_buffer();
    let answer = Answer {
        id: new_id().hyphenated().encode_lower(&mut id),
        model,
        model_version: "1",
        provider: "onnxruntime-cpu",
        prediction,
        cached: false,
        latency_ms: started.elapsed().as_micros() as f64 / 1000.0,
    };
    let mut body = Vec::with_capacity(320);
    match serde_json::to_writer(&mut body, &answer) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Time and a count: no randomness, which costs something.
fn new_id() -> Uuid {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    Builder::from_unix_timestamp_millis(u64::try_from(now).unwrap_or_default(), &bytes).into_uuid()
}

fn refused() -> Response {
    StatusCode::BAD_REQUEST.into_response()
}
