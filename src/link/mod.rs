//! A connection to Redis that is kept up in the background: made, watched, given up and made again, while callers never wait for it.

mod breaker;
mod guarded;
mod redis;
mod scanner;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use self::breaker::Breaker;
pub use self::{
    breaker::Trouble,
    redis::{Connection, Redis, trouble},
};

/// How often it is looked whether anybody is there, without a caller having complained.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Between two tries to connect. Redis is to be used again within seconds of its return.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What a link is used for. Each has a connection of its own: a full Redis refuses writes while it answers reads, and a
/// large write must not hold up the reads behind it.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// Answers PING.
    Reads,
    /// Takes a small value under this key.
    Writes(String),
    /// The same, for the queue between processes.
    Queue(String),
}

impl Purpose {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes(_) => "writes",
            Self::Queue(_) => "queue",
        }
    }
}

/// A connection with a breaker in front of it.
#[derive(Debug)]
pub struct Link {
    redis: Arc<Redis>,
    purpose: Purpose,
    breaker: Breaker,
    connection: ArcSwapOption<Connection>,
}

impl Link {
    /// A link that connects to nothing yet: see [`keep`](Self::keep).
    pub fn new(redis: Arc<Redis>, purpose: Purpose) -> Self {
        Self { redis, purpose, breaker: Breaker::new(), connection: ArcSwapOption::empty() }
    }

    /// The connection, unless it is known to be of no use.
    pub fn connection(&self) -> Option<Arc<Connection>> {
        if self.breaker.lets_through() { self.connection.load_full() } else { None }
    }

    /// Tells how a call on the connection went.
    pub fn note<T>(&self, result: &Result<T, Trouble>) {
        match result {
            Ok(_) => self.breaker.succeeded(),
            Err(trouble) => self.breaker.failed(*trouble),
        }
    }

    /// Why it is left alone, if it is.
    pub fn trouble(&self) -> Option<Trouble> {
        self.breaker.trouble()
    }

    /// Keeps the connection up until the server stops. `changed` is called when it is left alone, and when it is used again.
    pub async fn keep(&self, changed: impl Fn()) {
        let mut pause = FIRST_PAUSE;
        loop {
            let trouble = match self.redis.connect().await {
                Ok((connection, driver)) => {
                    let own = connection.clone();
                    tokio::select! {
                        () = driver => if own.is_broken() { Trouble::Excessive } else { Trouble::Unreachable },
                        trouble = self.watch(connection, &changed) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            let was_used = self.connection.swap(None).is_some();
            pause = match trouble {
                // It answers probes, and would break the next connection as soon as it is made.
                Trouble::Excessive => MAX_PAUSE,
                _ if was_used => FIRST_PAUSE,
                _ => (pause * 2).min(MAX_PAUSE),
            };
            if self.breaker.open(trouble) {
                tracing::warn!(purpose = self.purpose.as_str(), reason = %trouble, "redis is left alone until it is back");
                changed();
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Lets callers use `connection` once a probe was answered. Returns why it is to be given up.
    async fn watch(&self, connection: Connection, changed: &impl Fn()) -> Trouble {
        if let Err(trouble) = self.probe(&connection).await {
            return trouble;
        }
        self.connection.store(Some(Arc::new(connection.clone())));
        loop {
            if self.breaker.close() {
                tracing::info!(purpose = self.purpose.as_str(), "redis is used again");
                changed();
            }
            match tokio::time::timeout(HEARTBEAT, self.breaker.tripped()).await {
                Ok(Some(trouble)) => return trouble,
                Ok(None) => {
                    if let Err(trouble) = self.probe(&connection).await {
                        return trouble;
                    }
                }
                // One late answer is no news, but a second one right after it is.
                Err(_elapsed) => {
                    if let Err(trouble) = connection.ping().await {
                        self.breaker.failed(trouble);
                        if let Err(trouble) = self.probe(&connection).await {
                            return trouble;
                        }
                    }
                }
            }
        }
    }

    async fn probe(&self, connection: &Connection) -> Result<(), Trouble> {
        match &self.purpose {
            Purpose::Reads => connection.ping().await,
            Purpose::Writes(key) | Purpose::Queue(key) => connection.try_write(key).await,
        }
    }
}
