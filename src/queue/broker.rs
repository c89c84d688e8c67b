//! The Redis of the queue, as both ends of it use it: a connection that is kept up, and commands upon it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use redis::{Pipeline, Value, pipe};

use super::{bounds::MAX_REPLY_BYTES, names::Names};
use crate::{
    config::{QueueConfig, RedisConfig},
    error::Error,
    lifecycle::Lifecycle,
    link::{Connection, Link, Purpose, Redis, Trouble, trouble},
    telemetry::metrics::Metrics,
};

/// Keeps the connection of commands that are answered at once. Who waits for entries or answers has a connection of his own.
#[derive(Debug)]
pub struct Broker {
    redis: Arc<Redis>,
    link: Link,
    pub(super) names: Names,
    pub(super) config: QueueConfig,
    /// What Redis' clock showed, and when.
    clock: Mutex<Option<(Instant, u64)>>,
    pub(super) metrics: Arc<Metrics>,
}

impl Broker {
    /// Connects to nothing yet: see [`start`](Self::start).
    ///
    /// # Errors
    /// When Redis' URL is none.
    pub fn new(config: &QueueConfig, redis: &RedisConfig, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let names = Names::new(&redis.prefix);
        // An entry that is late by some milliseconds is worth more than one that is given up.
        let redis = Arc::new(Redis::new(&RedisConfig { timeout: config.timeout, ..redis.clone() }, MAX_REPLY_BYTES)?);
        let link = Link::new(Arc::clone(&redis), Purpose::Queue(names.probe()));
        Ok(Self { redis, link, names, config: config.clone(), clock: Mutex::new(None), metrics })
    }

    /// Connects, and stays connected. `changed` is called when Redis is left alone, and when it is used again.
    pub fn start(self: &Arc<Self>, lifecycle: &Lifecycle, changed: impl Fn() + Send + Sync + 'static) {
        let broker = Arc::clone(self);
        lifecycle.spawn(async move {
            let tell = || {
                broker.metrics.queue.away(broker.trouble().is_some());
                changed();
            };
            broker.link.keep(tell).await;
        });
    }

    /// Why Redis is left alone, if it is.
    pub fn trouble(&self) -> Option<Trouble> {
        self.link.trouble()
    }

    /// Waits until Redis can be asked.
    pub async fn connected(&self) {
        while self.link.connection().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends commands together; fails as soon as one of them does, but for groups that are there already, or not yet, and for
    /// keys of another kind: one of these says nothing about Redis.
    pub(super) async fn ask(&self, commands: &Pipeline) -> Result<Vec<Value>, Trouble> {
        let connection = self.link.connection().ok_or(Trouble::Unreachable)?;
        let answers = connection.ask(commands, self.config.timeout).await.and_then(|answers| {
            answers
                .into_iter()
                .map(|answer| accept(answer, &["NOGROUP", "BUSYGROUP", "WRONGTYPE"]))
                .collect::<Result<Vec<_>, _>>()
        });
        self.link.note(&answers);
        answers
    }

    /// Runs a script on `keys`.
    pub(super) async fn script(&self, text: &str, keys: &[&str], arguments: &[&[u8]]) -> Result<Value, Trouble> {
        let mut commands = pipe();
        let command = commands.cmd("EVAL").arg(text).arg(keys.len()).arg(keys);
        arguments.iter().for_each(|argument| {
            command.arg(*argument);
        });
        self.ask(&commands).await?.pop().ok_or(Trouble::Failing)
    }

    /// A connection of one's own, for commands that wait. It works for as long as the future beside it is polled.
    pub(super) async fn connect(&self) -> Result<(Connection, BoxFuture<'static, ()>), Trouble> {
        self.redis.connect().await
    }

    /// Reads Redis' clock, by which entries grow old: those of the machines need not agree.
    pub(super) async fn read_clock(&self) -> Result<(), Trouble> {
        let asked = Instant::now();
        let answers = self.ask(pipe().cmd("TIME")).await?;
        let at = asked + asked.elapsed() / 2;
        let Some(Value::Array(parts)) = answers.first() else { return Err(Trouble::Failing) };
        let mut parts = parts.iter().filter_map(text).filter_map(|part| part.parse::<u64>().ok());
        let (Some(seconds), Some(micros)) = (parts.next(), parts.next()) else { return Err(Trouble::Failing) };
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, seconds * 1000 + micros / 1000));
        Ok(())
    }

    /// Milliseconds since 1970 by Redis' clock, as far as it is known.
    pub(super) fn now(&self) -> Option<u64> {
        let (at, then) = (*self.clock.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(then + millis(at.elapsed()))
    }
}

/// What callers learn when Redis is away, or a worker that no other replaces.
pub const INTERRUPTED: &str = "the way to the model workers is interrupted; it is tried again all the time";

pub(super) fn away() -> Error {
    Error::DependencyUnavailable(INTERRUPTED.to_owned())
}

/// The answer, unless it is an error that is not one of those expected.
pub(super) fn accept(answer: Value, expected: &[&str]) -> Result<Value, Trouble> {
    match answer {
        Value::ServerError(error) if !expected.contains(&error.code()) => Err(trouble(&error.into())),
        answer => Ok(answer),
    }
}

/// Whether a stream, or its group, is not there.
pub(super) fn is_without_group(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "NOGROUP")
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => text(other)?.parse().ok(),
    }
}

/// One message of a stream: its id, and its fields by their names.
pub(super) type Message = (String, Vec<(String, Vec<u8>)>);

/// What one stream gave to XREAD or XREADGROUP: ids, each with its fields.
pub(super) fn messages(answer: Value) -> Vec<Message> {
    let Value::Array(streams) = answer else { return Vec::new() };
    let of_stream = |stream| match stream {
        Value::Array(mut parts) => parts.pop(),
        _ => None,
    };
    let messages = streams.into_iter().filter_map(of_stream).flat_map(|messages| match messages {
        Value::Array(messages) => messages,
        _ => Vec::new(),
    });
    messages.filter_map(message).collect()
}

/// A list of messages, as XRANGE and scripts give it.
pub(super) fn listed(answer: Value) -> Vec<Message> {
    let Value::Array(messages) = answer else { return Vec::new() };
    messages.into_iter().filter_map(message).collect()
}

pub(super) fn message(message: Value) -> Option<Message> {
    let Value::Array(parts) = message else { return None };
    let mut parts = parts.into_iter();
    let id = text(&parts.next()?)?;
    let Value::Array(fields) = parts.next()? else { return None };
    let mut fields = fields.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(Value::BulkString(value))) = (fields.next(), fields.next()) {
        pairs.push((text(&name)?, value));
    }
    Some((id, pairs))
}

/// The milliseconds since 1970 in which an entry with this id was added, by Redis' clock.
pub(super) fn added_at(id: &str) -> Option<u64> {
    id.split('-').next()?.parse().ok()
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
