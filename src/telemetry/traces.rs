//! Traces: which requests get one, and how they leave without anybody waiting for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    labels::{Release, SpanEnd},
    metrics::Metrics,
    otlp::{self, Exporter},
    recorder::Seen,
};
use crate::config::TelemetryConfig;

/// Requests that wait to be told to the collector; further ones are counted and dropped.
const QUEUE: usize = 2048;

/// Requests in one message to the collector, of about ten spans each.
const BATCH: usize = 128;

/// How long the first request of a batch waits for others.
const GATHERING: Duration = Duration::from_secs(1);

/// Where a request stands in its trace (W3C Trace Context).
#[derive(Debug, Clone)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub id: Arc<str>,
    /// The caller's span, if the caller is part of the trace.
    pub parent: Option<Parent>,
}

/// The caller's span.
#[derive(Debug, Clone, Copy)]
pub struct Parent {
    /// Its id.
    pub span: u64,
    /// Whether the caller records it.
    pub sampled: bool,
}

/// A request that is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Of the trace.
    pub trace: u128,
    /// Of the request's span.
    pub id: u64,
    /// Of the caller's.
    pub parent: Option<u64>,
}

impl Span {
    /// What the caller, or whoever is called, writes into `traceparent`.
    pub fn context(&self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace, self.id)
    }
}

/// A run on an inference thread, of one traced request at least.
#[derive(Debug)]
pub struct Run {
    /// Of its own span.
    pub id: u64,
    /// When it ended.
    pub ended: SystemTime,
    /// How long it took.
    pub time: Duration,
    /// Rows of all of its requests.
    pub rows: usize,
    /// Its requests, traced or not.
    pub requests: usize,
    /// Why it did not wait for more.
    pub reason: Release,
    /// The traced ones. The first one's trace is the run's.
    pub spans: Vec<Span>,
}

impl Run {
    /// One that ends now.
    pub fn ended(time: Duration, (rows, requests): (usize, usize), reason: Release, spans: Vec<Span>) -> Self {
        Self { id: span_id(), ended: SystemTime::now(), time, rows, requests, reason, spans }
    }
}

/// A traced request that was answered.
#[derive(Debug)]
pub struct Finished {
    /// Its place in the trace.
    pub span: Span,
    /// What is known of it.
    pub seen: Arc<Seen>,
}

/// Takes finished requests, and has them told to the collector.
#[derive(Debug)]
pub struct Tracer {
    /// A trace is taken when the last 56 bits of its id are below.
    below: AtomicU64,
    queue: mpsc::Sender<Work>,
    metrics: Arc<Metrics>,
}

enum Work {
    Tell(Finished),
    /// Tell all that came before, and then say so.
    Flush(oneshot::Sender<()>),
}

/// The bits of a trace's id that are random by the standard.
const RANDOM: u128 = (1 << 56) - 1;

impl Tracer {
    /// A tracer for the configured collector, and the work of telling it, which is to go on in the background; nothing where
    /// there is no collector. Call it where a runtime is entered.
    ///
    /// # Errors
    /// When the endpoint is none that can be spoken to.
    pub fn new(
        config: &TelemetryConfig,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Option<(Self, impl Future<Output = ()> + Send + use<>)>> {
        let Some(exporter) = otlp::exporter(config)? else { return Ok(None) };
        let (queue, work) = mpsc::channel(QUEUE);
        let counts = Arc::clone(metrics);
        let telling = async move { tell(exporter, work, &counts).await };
        Ok(Some((
            Self { below: AtomicU64::new(below(config.sample_ratio)), queue, metrics: Arc::clone(metrics) },
            telling,
        )))
    }

    /// Whether a request is traced: as its caller is, and otherwise by the random part of its trace's id.
    pub fn sample(&self, trace: &Trace) -> Option<Span> {
        let id = u128::from_str_radix(&trace.id, 16).ok()?;
        let by_chance = || u64::try_from(id & RANDOM).is_ok_and(|random| random < self.below.load(Ordering::Relaxed));
        let sampled = trace.parent.map_or_else(by_chance, |parent| parent.sampled);
        sampled.then(|| Span { trace: id, id: span_id(), parent: trace.parent.map(|parent| parent.span) })
    }

    /// The share of requests that are traced unless their callers say otherwise, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn ratio(&self) -> f64 {
        self.below.load(Ordering::Relaxed) as f64 / (RANDOM + 1) as f64
    }

    /// Changes that share.
    pub fn set_ratio(&self, ratio: f64) {
        self.below.store(below(ratio.clamp(0.0, 1.0)), Ordering::Relaxed);
    }

    /// Has a request told, some time later. Never waits.
    pub fn finish(&self, finished: Finished) {
        if self.queue.try_send(Work::Tell(finished)).is_err() {
            self.metrics.server.spans(SpanEnd::Dropped, 1);
        }
    }

    /// Waits until all that came before was told, or could not be.
    pub async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.queue.send(Work::Flush(done)).await.is_ok() {
            let _ = told.await;
        }
    }
}

/// The bound below which so large a share of all random parts is; all of them for 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of 2^56"
)]
fn below(ratio: f64) -> u64 {
    (ratio * (RANDOM + 1) as f64) as u64
}

/// Random, and not zero.
pub fn span_id() -> u64 {
    getrandom::u64().unwrap_or_default().max(1)
}

/// Gathers requests, and tells the collector of many at a time.
async fn tell(exporter: Exporter, mut work: mpsc::Receiver<Work>, metrics: &Metrics) {
    let mut troubled = false;
    while let Some(first) = work.recv().await {
        let (mut requests, mut flushed) = (Vec::new(), None);
        let until = tokio::time::Instant::now() + GATHERING;
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Work::Tell(finished) => requests.push(finished),
                Work::Flush(done) => {
                    flushed = Some(done);
                    break;
                }
            }
            next = match requests.len() < BATCH {
                true => tokio::time::timeout_at(until, work.recv()).await.ok().flatten(),
                false => None,
            };
        }
        if !requests.is_empty() {
            let count = requests.len();
            match exporter.export(&requests).await {
                Ok(()) => {
                    metrics.server.spans(SpanEnd::Exported, count);
                    troubled = false;
                }
                Err(error) => {
                    metrics.server.spans(SpanEnd::Failed, count);
                    // Once, not every second while the collector is away.
                    if !std::mem::replace(&mut troubled, true) {
                        tracing::warn!(error, "the collector takes no traces");
                    }
                }
            }
        }
        if let Some(done) = flushed {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(ratio: f64) -> Tracer {
        Tracer { below: below(ratio).into(), queue: mpsc::channel(1).0, metrics: Arc::new(Metrics::new().unwrap()) }
    }

    fn trace(id: u128, parent: Option<bool>) -> Trace {
        Trace { id: format!("{id:032x}").into(), parent: parent.map(|sampled| Parent { span: 7, sampled }) }
    }

    #[test]
    fn the_callers_decision_counts_and_otherwise_the_share() {
        let (none, all) = (tracer(0.0), tracer(1.0));
        assert!(none.sample(&trace(1, Some(true))).is_some());
        assert!(all.sample(&trace(1, Some(false))).is_none());
        let span = all.sample(&trace(1, Some(true))).unwrap();
        assert_eq!((span.trace, span.parent), (1, Some(7)));
        assert!(span.context().starts_with("00-00000000000000000000000000000001-") && span.context().len() == 55);
        // Ids as a request without a trace gets them: only the last bits are random.
        let tenth = tracer(0.1);
        let random = |n: u64| u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) & RANDOM;
        let id = |n: u64| 0x0197_0000_0000_7000_8000_0000_0000_0000_u128 | random(n);
        let sampled = (0..10_000).filter(|n| tenth.sample(&trace(id(*n), None)).is_some()).count();
        assert!((900..1100).contains(&sampled), "{sampled}");
        assert_eq!((0..1000).filter(|n| none.sample(&trace(id(*n), None)).is_some()).count(), 0);
    }
}
