//! One connection to Redis: the only file that knows how it is spoken to.
//!
//! Nothing here waits for ever, and no error keeps the server's words: they can hold keys, addresses and names.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use futures_util::{FutureExt, future::BoxFuture};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError,
    ServerErrorKind, Value, aio::ConnectionLike, aio::MultiplexedConnection, cmd, pipe,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::{breaker::Trouble, guarded::Guarded};
use crate::config::RedisConfig;

/// Where Redis is, and how to speak to it.
#[derive(Debug)]
pub struct Redis {
    place: Place,
    settings: RedisConnectionInfo,
    connect_timeout: Duration,
    timeout: Duration,
    max_reply_bytes: usize,
}

#[derive(Debug)]
enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Redis {
    /// Reads the URL; connects to nothing. A server that sends a larger reply than `max_reply_bytes` is left alone.
    ///
    /// # Errors
    /// When the URL is none, without a word of it: it can hold a password.
    pub fn new(config: &RedisConfig, max_reply_bytes: usize) -> anyhow::Result<Self> {
        let info = config.url.as_str().into_connection_info();
        let info = info.ok().context("redis.url is no URL like redis://user:password@host:6379/0 or unix:///path")?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => anyhow::bail!("redis.url asks for TLS, which is not spoken to Redis"),
        };
        let settings = info.redis_settings().clone();
        Ok(Self { place, settings, connect_timeout: config.connect_timeout, timeout: config.timeout, max_reply_bytes })
    }

    /// Connects and logs in. The connection works for as long as the future beside it is polled; when that ends, the
    /// connection is lost.
    pub async fn connect(&self) -> Result<(Connection, BoxFuture<'static, ()>), Trouble> {
        tokio::time::timeout(self.connect_timeout, self.connect_at_last()).await.map_err(|_elapsed| Trouble::Slow)?
    }

    async fn connect_at_last(&self) -> Result<(Connection, BoxFuture<'static, ()>), Trouble> {
        let unreachable = |_: std::io::Error| Trouble::Unreachable;
        match &self.place {
            Place::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                self.speak_over(stream).await
            }
            Place::Unix(path) => self.speak_over(UnixStream::connect(path).await.map_err(unreachable)?).await,
        }
    }

    async fn speak_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(Connection, BoxFuture<'static, ()>), Trouble> {
        // Every call here has a limit of its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let broken = Arc::new(AtomicBool::new(false));
        let stream = Guarded::new(stream, self.max_reply_bytes, Arc::clone(&broken));
        match MultiplexedConnection::new_with_config(&self.settings, stream, config).await {
            Ok((connection, driver)) => Ok((Connection { connection, timeout: self.timeout, broken }, driver.boxed())),
            Err(_) if broken.load(Ordering::Relaxed) => Err(Trouble::Excessive),
            Err(error) => Err(trouble(&error)),
        }
    }
}

/// One connection, shared by all who ask at the same time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    connection: MultiplexedConnection,
    timeout: Duration,
    /// Set when the server has sent more than it was asked for.
    broken: Arc<AtomicBool>,
}

impl Connection {
    /// Whether it was given up because the server has sent more than it was asked for.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether anybody answers.
    pub async fn ping(&self) -> Result<(), Trouble> {
        self.within(self.timeout, async |mut connection| cmd("PING").query_async::<()>(&mut connection).await).await
    }

    /// Whether anything can be written.
    pub async fn try_write(&self, key: &str) -> Result<(), Trouble> {
        let write = async |mut connection: MultiplexedConnection| {
            cmd("SET").arg(key).arg(1).arg("PX").arg(1000).query_async::<()>(&mut connection).await
        };
        self.within(self.timeout, write).await
    }

    /// The values of `keys`, in order, each up to `most` bytes of it. What is empty or no string counts as absent.
    pub async fn get(&self, keys: &[String], most: usize) -> Result<Vec<Option<Vec<u8>>>, Trouble> {
        let mut pipeline = pipe();
        for key in keys {
            // Whatever lies there, no more is sent than an answer may be long.
            pipeline.cmd("GETRANGE").arg(key).arg(0).arg(most.saturating_sub(1));
        }
        let read = async |mut connection: MultiplexedConnection| {
            connection.req_packed_commands(&pipeline, 0, keys.len()).await
        };
        let value = |answer| match answer {
            Value::BulkString(bytes) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty())),
            Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(None),
            Value::ServerError(error) => Err(trouble(&error.into())),
            _ => Err(Trouble::Failing),
        };
        let values: Vec<_> =
            self.within(self.timeout, read).await?.into_iter().map(value).collect::<Result<_, Trouble>>()?;
        if values.len() == keys.len() { Ok(values) } else { Err(Trouble::Failing) }
    }

    /// Writes values, each with the time that it is kept for, and whatever lay under their keys before.
    pub async fn set(&self, entries: &[(String, Vec<u8>, Duration)], limit: Duration) -> Result<(), Trouble> {
        let mut pipeline = pipe();
        for (key, value, keep) in entries {
            let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX).max(1);
            pipeline.cmd("SET").arg(key).arg(value).arg("PX").arg(keep);
        }
        let write = async |mut connection: MultiplexedConnection| {
            connection.req_packed_commands(&pipeline, 0, entries.len()).await
        };
        let answers = self.within(limit, write).await?;
        let refused = answers.into_iter().find_map(|answer| match answer {
            Value::ServerError(error) => Some(trouble(&error.into())),
            _ => None,
        });
        refused.map_or(Ok(()), Err)
    }

    /// Sends commands together, and returns the answer to each: a failure of one of them is an answer, too.
    pub async fn ask(&self, commands: &Pipeline, limit: Duration) -> Result<Vec<Value>, Trouble> {
        let ask = async |mut connection: MultiplexedConnection| {
            connection.req_packed_commands(commands, 0, commands.len()).await
        };
        self.within(limit, ask).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        ask: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(limit, ask(self.connection.clone())).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if self.is_broken() => Err(Trouble::Excessive),
            Ok(Err(error)) => Err(trouble(&error)),
            Err(_elapsed) => Err(Trouble::Slow),
        }
    }
}

/// What kind of trouble an error of Redis is.
pub fn trouble(error: &RedisError) -> Trouble {
    match error.kind() {
        ErrorKind::Io => Trouble::Unreachable,
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => Trouble::Refused,
        ErrorKind::Server(ServerErrorKind::BusyLoading) => Trouble::Loading,
        ErrorKind::Extension => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => Trouble::Refused,
            Some("OOM") => Trouble::Full,
            _ => Trouble::Failing,
        },
        _ => Trouble::Failing,
    }
}
