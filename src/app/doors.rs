//! The listeners that callers come through. They open and close together.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::net::TcpListener;

use super::connections::Connections;

/// All of them.
#[derive(Default)]
pub(super) struct Doors(Vec<Door>);

struct Door {
    /// None once it is closed.
    listener: Option<TcpListener>,
    connections: Arc<Connections>,
}

impl Doors {
    /// One more; nobody comes through it yet.
    pub(super) fn add(&mut self, listener: TcpListener, connections: Connections) {
        self.0.push(Door { listener: Some(listener), connections: Arc::new(connections) });
    }

    /// Accepts for ever.
    pub(super) async fn accept(&self) {
        join_all(self.0.iter().map(|door| async {
            if let Some(listener) = &door.listener {
                door.connections.accept(listener).await;
            }
        }))
        .await;
    }

    /// Takes in who has come and was not accepted yet, and then nobody.
    pub(super) fn close(&mut self) {
        for Door { listener, connections } in &mut self.0 {
            if let Some(listener) = listener.take() {
                connections.close(listener);
            }
        }
    }

    /// Lets every connection finish the requests it is at.
    pub(super) async fn shutdown(&self) {
        join_all(self.0.iter().map(|door| door.connections.shutdown())).await;
    }
}
