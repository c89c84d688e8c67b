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
use futures_util::{StreamExt, future::Either};
use hyper::{
    Request, Response, Version,
    body::Incoming,
    header::{self, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{
    LAST_CALL,
    activity::{FAREWELL, Flight, Limits, Verdict},
    bound::BACKLOG,
    observed::{ObservedBody, ObservedStream},
    seats::{Seat, Seats},
    tls::Tls,
    workers::{Place, Workers},
};
use crate::{
    api,
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

/// `ENFILE` and `EMFILE`: the system, or the process, can open no more files.
const OUT_OF_DESCRIPTORS: [i32; 2] = [23, 24];

/// How long a request that has no place waits for one: connections become idle within that, where any do.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a connection in the reserve may be without a request, its handshake included.
const RESERVE_SILENCE: Duration = Duration::from_secs(2);

/// Open connections of one listener, each in its own task.
pub(super) struct Connections {
    workers: Workers,
    /// Answers those that have no place.
    reserve: Router,
    tls: Option<Tls>,
    http: Builder<Streams>,
    limits: Limits,
    seats: Arc<Seats>,
    open: TaskTracker,
    closing: CancellationToken,
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
}

impl Connections {
    /// Holds connections on `workers`, and those without a place, whose requests `reserve` answers. The requests of one HTTP/2
    /// connection go to all threads of the current runtime.
    pub(super) fn new(
        workers: Workers,
        reserve: Router,
        seats: Seats,
        config: &ServerConfig,
        lifecycle: Lifecycle,
        metrics: &Arc<Metrics>,
    ) -> Self {
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
        Self {
            workers,
            reserve,
            tls: None,
            http,
            limits: Limits::new(config),
            seats: Arc::new(seats),
            open: TaskTracker::new(),
            closing: CancellationToken::new(),
            lifecycle,
            metrics: Arc::clone(metrics),
        }
    }

    /// The same, over TLS.
    pub(super) fn over(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Accepts for ever.
    pub(super) async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Ok(stream) = stream.into_std() {
                        self.take(stream, peer);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    if error.raw_os_error().is_some_and(|code| OUT_OF_DESCRIPTORS.contains(&code)) {
                        self.seats.make_room();
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Takes in who has come and was not accepted yet, and then nobody: closing alone would turn them away after the system
    /// has let them in.
    pub(super) fn close(self: &Arc<Self>, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        // No more than can have come: others come meanwhile.
        for _ in 0..BACKLOG {
            let Ok((stream, peer)) = listener.accept() else { return };
            if stream.set_nonblocking(true).is_ok() {
                self.take(stream, peer);
            }
        }
    }

    /// Serves a connection on the thread that has the fewest. One for which there is no place is closed.
    fn take(self: &Arc<Self>, stream: StdStream, peer: SocketAddr) {
        let Some(seat) = self.seats.admit(peer) else { return };
        let Some(place) = self.workers.place() else { return };
        let (this, runtime) = (Arc::clone(self), place.runtime.clone());
        self.lifecycle.spawn_on(&runtime, async move { this.serve(stream, peer, seat, place).await });
    }

    /// Lets every connection finish the requests it is at.
    pub(super) async fn shutdown(&self) {
        self.closing.cancel();
        self.open.close();
        self.open.wait().await;
    }

    async fn serve(&self, stream: StdStream, peer: SocketAddr, seat: Seat, place: Place) {
        let _open = (self.open.token(), Open::new(Arc::clone(&self.metrics)));
        // Belongs to the thread that registers it.
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let _ = stream.set_nodelay(true);
        let seat = Arc::new(seat);
        let Some(tls) = &self.tls else { return self.speak(stream, peer, seat, &place.router).await };
        // A caller that does not get through the handshake is no event of ours.
        if let Some(Ok(stream)) = self.in_time(tls.accept(stream), &seat).await {
            self.speak(stream, peer, seat, &place.router).await;
        }
    }

    /// Waits for a handshake, and not for long once the server is about to stop.
    async fn in_time<S>(&self, handshake: impl Future<Output = io::Result<S>>, seat: &Seat) -> Option<io::Result<S>> {
        let stopped = async {
            self.closing.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        let limit = if seat.is_in_reserve() { self.limits.head.min(RESERVE_SILENCE) } else { self.limits.head };
        tokio::select! {
            done = tokio::time::timeout(limit, handshake) => done.ok(),
            () = stopped => None,
            () = seat.has_to_end() => None,
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        seat: Arc<Seat>,
        router: &Router,
    ) {
        let opened = Instant::now();
        let activity = Arc::clone(seat.activity());
        let service = service_fn(|request| {
            let (router, flight) = (router.clone(), activity.begin());
            match seat.is_in_reserve() {
                false => Either::Left(answer(router, request, peer, flight)),
                true => {
                    let routers = (router, self.reserve.clone());
                    Either::Right(answer_in_reserve(Arc::clone(&seat), routers, request, peer, flight))
                }
            }
        });
        let stream = TokioIo::new(ObservedStream::new(stream, Arc::clone(&activity)));
        let mut connection = pin!(self.http.serve_connection(stream, service));
        let mut tick = tokio::time::interval(self.limits.tick());
        let stopped = async {
            self.closing.cancelled().await;
            // What comes with the connection, or right behind its handshake, was sent before it could know.
            tokio::time::sleep_until(opened + LAST_CALL).await;
        };
        let ended = async {
            tokio::select! {
                () = seat.has_to_end() => {}
                () = stopped => {}
            }
        };
        let mut ended = when_woken(ended);
        let mut leaving = false;
        loop {
            let ask_to_leave = tokio::select! {
                biased;
                // A caller that leaves or speaks no HTTP is no event of ours.
                _ = connection.as_mut() => return,
                _ = ended.next(), if !leaving => match seat.is_cut() && activity.is_silent() {
                    true => return,
                    false => true,
                },
                _ = tick.tick() => match verdict(&seat, opened, &self.limits) {
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

/// What is to be done with a connection now.
fn verdict(seat: &Seat, opened: Instant, limits: &Limits) -> Verdict {
    match seat.is_in_reserve() && seat.activity().is_silent() && opened.elapsed() > RESERVE_SILENCE {
        true => Verdict::Cut,
        false => seat.activity().verdict(limits),
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

/// Answers on a connection that has no place, by the first of the routers if it gets one now. Otherwise the connection ends with
/// this answer.
async fn answer_in_reserve(
    seat: Arc<Seat>,
    (usual, reserve): (Router, Router),
    request: Request<Incoming>,
    peer: SocketAddr,
    flight: Flight,
) -> Result<Response<ObservedBody>, Infallible> {
    let patience = if api::is_for_operators(request.uri().path()) { Duration::ZERO } else { PATIENCE };
    if seat.leaves_reserve(patience).await {
        return answer(usual, request, peer, flight).await;
    }
    let knows_header = request.version() <= Version::HTTP_11;
    let mut response = answer(reserve, request, peer, flight).await?;
    if knows_header {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    seat.end();
    Ok(response)
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
