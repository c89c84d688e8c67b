//! Accepts connections, serves HTTP on each in a task of its own, and lets them end in good order.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{SocketAddr, TcpStream as StdStream},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use futures_util::StreamExt;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    LAST_CALL,
    activity::{Activity, FAREWELL, Flight, Limits, Verdict},
    observed::{ObservedBody, ObservedStream},
    tls::Tls,
    workers::{Place, Workers},
};
use crate::{
    config::ServerConfig,
    lifecycle::{Lifecycle, when_woken},
    telemetry::metrics::Metrics,
};

/// What the head of a request may take; with HTTP/1, also what is read of a body at once.
const MOST_HEAD_BYTES: u32 = 64 * 1024;

/// What a caller of HTTP/2 may send of one body, and of all, before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Requests of one connection that its caller has taken back before they were looked at. Who makes more does nothing else.
const MOST_TAKEN_BACK: usize = 64;

/// Requests of one connection that HTTP/2 itself refused. A caller that does not know [`ServerConfig::max_streams`] yet may
/// begin with a hundred too many.
const MOST_REFUSED: usize = 1024;

/// Callers of HTTP/2 are asked this often whether they are still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Open connections of one listener, each in its own task.
pub(super) struct Connections {
    workers: Workers,
    tls: Option<Tls>,
    http: Builder<Streams>,
    limits: Limits,
    most: u32,
    permits: Arc<Semaphore>,
    closing: CancellationToken,
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
}

impl Connections {
    /// Holds connections on `workers`; the requests of one HTTP/2 connection go to all threads of the current runtime.
    pub(super) fn new(workers: Workers, config: &ServerConfig, lifecycle: Lifecycle, metrics: &Arc<Metrics>) -> Self {
        let mut http = Builder::new(Streams { lifecycle: lifecycle.clone(), runtime: Handle::current() });
        // The time for heads is the activity's: this one would count the silence before them too.
        http.http1().header_read_timeout(None).max_buf_size(MOST_HEAD_BYTES as usize);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.max_streams)
            .max_header_list_size(MOST_HEAD_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_pending_accept_reset_streams(MOST_TAKEN_BACK)
            .max_local_error_reset_streams(MOST_REFUSED)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let new = Self {
            workers,
            tls: None,
            http,
            limits: Limits::new(config),
            most: 0,
            permits: Arc::new(Semaphore::new(0)),
            closing: CancellationToken::new(),
            lifecycle,
            metrics: Arc::clone(metrics),
        };
        new.at_most(config.max_connections)
    }

    /// The same, with another limit of its own.
    pub(super) fn at_most(self, connections: usize) -> Self {
        let (most, permits) = (u32::try_from(connections).unwrap_or(u32::MAX), Arc::new(Semaphore::new(connections)));
        Self { most, permits, ..self }
    }

    /// The same, over TLS.
    pub(super) fn over(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Accepts for ever. Past the limit, callers wait in the system's backlog.
    pub(super) async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Ok(stream) = stream.into_std() {
                        self.take(stream, peer, permit);
                    }
                }
                // Out of file descriptors, for instance: callers that leave free some.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Takes in who has come and was not accepted yet, and then nobody: closing alone would turn them away after the system
    /// has let them in.
    pub(super) fn close(self: &Arc<Self>, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            let Ok((stream, peer)) = listener.accept() else { return };
            if stream.set_nonblocking(true).is_ok() {
                self.take(stream, peer, permit);
            }
        }
    }

    /// Serves a connection on the thread that has the fewest.
    fn take(self: &Arc<Self>, stream: StdStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let Some(place) = self.workers.place() else { return };
        let (this, runtime) = (Arc::clone(self), place.runtime.clone());
        self.lifecycle.spawn_on(&runtime, async move { this.serve(stream, peer, permit, place).await });
    }

    /// Lets every connection finish the requests it is at.
    pub(super) async fn shutdown(&self) {
        self.closing.cancel();
        let _all = self.permits.acquire_many(self.most).await;
    }

    async fn serve(&self, stream: StdStream, peer: SocketAddr, _permit: OwnedSemaphorePermit, place: Place) {
        let _open = Open::new(Arc::clone(&self.metrics));
        // Belongs to the thread that registers it.
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.speak(stream, peer, &place.router).await };
        // A caller that does not get through the handshake is no event of ours.
        if let Some(Ok(stream)) = self.in_time(tls.accept(stream)).await {
            self.speak(stream, peer, &place.router).await;
        }
    }

    /// Waits for a handshake, and not for long once the server is about to stop.
    async fn in_time<S>(&self, handshake: impl Future<Output = io::Result<S>>) -> Option<io::Result<S>> {
        let stopped = async {
            self.closing.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            done = tokio::time::timeout(self.limits.head, handshake) => done.ok(),
            () = stopped => None,
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        router: &Router,
    ) {
        let opened = Instant::now();
        let activity = Activity::new();
        let service = service_fn(|request| answer(router.clone(), request, peer, activity.begin()));
        let stream = TokioIo::new(ObservedStream::new(stream, Arc::clone(&activity)));
        let mut connection = pin!(self.http.serve_connection(stream, service));
        let mut tick = tokio::time::interval(self.limits.tick());
        let stopped = async {
            self.closing.cancelled().await;
            // What comes with the connection, or right behind its handshake, was sent before it could know.
            tokio::time::sleep_until(opened + LAST_CALL).await;
        };
        let mut stopped = when_woken(stopped);
        let mut leaving = false;
        loop {
            let ask_to_leave = tokio::select! {
                biased;
                // A caller that leaves or speaks no HTTP is no event of ours.
                _ = connection.as_mut() => return,
                _ = stopped.next(), if !leaving => true,
                _ = tick.tick() => match activity.verdict(&self.limits) {
                    Verdict::GoOn => false,
                    Verdict::SayGoodbye => !leaving,
                    Verdict::Cut => return,
                },
            };
            if ask_to_leave {
                leaving = true;
                activity.said_goodbye();
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    flight: Flight,
) -> Result<Response<ObservedBody>, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| ObservedBody::new(body, flight)))
}

/// Where the requests of an HTTP/2 connection run: on all threads, as one connection can carry a whole gateway's.
#[derive(Debug, Clone)]
struct Streams {
    lifecycle: Lifecycle,
    runtime: Handle,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, request: F) {
        self.lifecycle.spawn_on(&self.runtime, request);
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Metrics>);

impl Open {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.http.connected();
        Self(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.http.disconnected();
    }
}
