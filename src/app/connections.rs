//! Accepts connections, serves HTTP on each in a task of its own, and lets them end in good order.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::util::MapRequest;

use super::impatient::Impatient;
use crate::{config::ServerConfig, lifecycle::Lifecycle};

/// Open connections, each in its own task.
pub(super) struct Connections {
    router: Router,
    http: http1::Builder,
    graceful: GracefulShutdown,
    permits: Arc<Semaphore>,
    /// How long an answer may wait for its caller to take any of it.
    patience: Duration,
    lifecycle: Lifecycle,
}

impl Connections {
    pub(super) fn new(router: Router, config: &ServerConfig, lifecycle: Lifecycle) -> Self {
        let mut http = http1::Builder::new();
        // Also ends kept-alive connections that stay silent.
        http.timer(TokioTimer::new()).header_read_timeout(config.header_timeout);
        let permits = Arc::new(Semaphore::new(config.max_connections));
        let patience = config.request_timeout;
        Self { router, http, graceful: GracefulShutdown::new(), permits, patience, lifecycle }
    }

    /// Accepts for ever. Past `max_connections`, callers wait in the system's backlog.
    pub(super) async fn accept(&self, listener: &TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let known = MapRequest::new(self.router.clone(), move |mut request: Request<Incoming>| {
                        request.extensions_mut().insert(ConnectInfo(peer));
                        request
                    });
                    let service = TowerToHyperService::new(known);
                    let stream = TokioIo::new(Impatient::new(stream, self.patience));
                    let connection = self.graceful.watch(self.http.serve_connection(stream, service));
                    self.lifecycle.spawn(async move {
                        // A caller that leaves or speaks no HTTP is no event of ours.
                        let _ = connection.await;
                        drop(permit);
                    });
                }
                // Out of file descriptors, for instance: callers that leave free some.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Lets every connection finish the request it is at.
    pub(super) async fn shutdown(self) {
        self.graceful.shutdown().await;
    }
}
