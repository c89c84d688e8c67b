//! An OpenTelemetry collector, as far as a test wants one: it takes traces over gRPC or HTTP and keeps them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::header, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value,
    trace::v1::Span,
};
use prost::Message;

use super::eventually;

/// What came.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

/// A collector on a port of its own, until the test's runtime ends.
pub struct Collector {
    pub addr: SocketAddr,
    kept: Kept,
}

impl Collector {
    pub async fn grpc() -> Self {
        let (listener, collector) = Self::bind().await;
        let service = TraceServiceServer::new(collector.kept.clone());
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        background(async {
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap()
        });
        collector
    }

    pub async fn http() -> Self {
        let (listener, collector) = Self::bind().await;
        let routes = Router::new().route("/v1/traces", post(take)).with_state(collector.kept.clone());
        background(async { axum::serve(listener, routes).await.unwrap() });
        collector
    }

    async fn bind() -> (tokio::net::TcpListener, Self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, Self { addr, kept: Kept::default() })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every span that came so far.
    pub fn spans(&self) -> Vec<Span> {
        let kept = self.kept.0.lock().unwrap();
        let resources = kept.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The attributes of who sent the first spans.
    pub fn resource(&self) -> Vec<(String, String)> {
        let kept = self.kept.0.lock().unwrap();
        let resource = kept[0].resource_spans[0].resource.as_ref().unwrap();
        resource.attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
    }

    /// Waits until spans that `are` there have come, and returns all.
    pub async fn until(&self, what: &str, are: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        eventually(what, async || are(&self.spans())).await;
        self.spans()
    }
}

/// An attribute as text; empty when it is not there.
pub fn attribute(span: &Span, name: &str) -> String {
    let pair = span.attributes.iter().find(|pair| pair.key == name);
    pair.map(|pair| text(pair.value.as_ref())).unwrap_or_default()
}

fn text(value: Option<&opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn take(State(kept): State<Kept>, body: Bytes) -> impl axum::response::IntoResponse {
    kept.0.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
    ([(header::CONTENT_TYPE, "application/x-protobuf")], ExportTraceServiceResponse::default().encode_to_vec())
}

fn background(work: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "the collector stands outside of the app's lifecycle")]
    tokio::spawn(work);
}
