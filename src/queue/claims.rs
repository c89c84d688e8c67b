//! The workers' end: takes entries of one version, keeps them, answers them, and takes over what a dead worker held.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use redis::{Value, pipe};

use super::{
    Answer, Broker, Entry,
    bounds::{MAX_BATCH_BYTES, MAX_MESSAGE_BYTES},
    broker::{accept, added_at, is_without_group, listed, messages, millis, text},
    names::GROUP,
    scripts,
};
use crate::{
    link::{Connection, Trouble},
    telemetry::labels::Entries,
};

/// How long one look for entries waits for the first.
const LOOK: Duration = Duration::from_millis(250);

/// How long answers are kept for an API server that does not take them, and how many.
const ANSWERS_KEPT: Duration = Duration::from_secs(60);
const MOST_ANSWERS: usize = 16_384;

/// Between two tries to hand an answer to a Redis that is away.
const RETRY: Duration = Duration::from_millis(100);

/// Takes the entries of one version for one worker.
#[derive(Debug)]
pub struct Claims {
    broker: Arc<Broker>,
    worker: String,
    model: String,
    stream: String,
}

/// An entry that this worker holds.
#[derive(Debug)]
pub struct Claimed {
    /// Its id in the stream.
    pub id: String,
    /// What is wanted.
    pub entry: Entry,
    /// When its caller stops waiting.
    pub deadline: Instant,
}

/// What became of the oldest entry of a silent worker.
#[derive(Debug)]
pub enum Taken {
    /// There is none.
    Nothing,
    /// Nobody waits for it any more.
    Gone,
    /// It is this worker's now.
    Entry(Box<Claimed>),
    /// It was given up: it had been given to too many. Its caller is to be told.
    Dead(Box<Claimed>),
}

impl Claims {
    /// Of the version of `model` that has this fingerprint, for a worker.
    pub fn new(broker: Arc<Broker>, worker: &str, model: &str, fingerprint: &str) -> Self {
        broker.metrics.queue.begin_worker(model);
        let stream = broker.names.entries(fingerprint);
        Self { broker, worker: worker.to_owned(), model: model.to_owned(), stream }
    }

    /// A connection of one's own, to wait on. It works for as long as the future beside it is polled.
    ///
    /// # Errors
    /// What is wrong with Redis.
    pub async fn connect(&self) -> Result<(Connection, BoxFuture<'static, ()>), Trouble> {
        self.broker.connect().await
    }

    /// Takes up to `most` new entries; waits a little for the first. What has expired or cannot be read is dropped.
    ///
    /// # Errors
    /// What is wrong with Redis.
    pub async fn take(&self, connection: &Connection, most: usize) -> Result<Vec<Claimed>, Trouble> {
        let mut commands = pipe();
        let read = commands.cmd("XREADGROUP").arg("GROUP").arg(GROUP).arg(&self.worker).arg("COUNT").arg(1);
        read.arg("BLOCK").arg(millis(LOOK)).arg("STREAMS").arg(&self.stream).arg(">");
        // Further ones, as far as they are there: entries of many megabytes are not taken by the hundred.
        let further =
            commands.cmd("EVAL").arg(scripts::TAKE_MORE).arg(1).arg(&self.stream).arg(GROUP).arg(&self.worker);
        further.arg(most.saturating_sub(1)).arg(MAX_BATCH_BYTES).arg(MAX_MESSAGE_BYTES);
        let answers = connection.ask(&commands, LOOK + self.broker.config.timeout).await?;
        let [first, further] = answers.try_into().map_err(|_| Trouble::Failing)?;
        let first = accept(first, &["NOGROUP", "UNBLOCKED"])?;
        if is_without_group(&first) {
            self.make_group().await?;
            return Ok(Vec::new());
        }
        let further = listed(accept(further, &[])?);
        let mut claimed = Vec::new();
        for (id, fields) in messages(first).into_iter().chain(further) {
            claimed.extend(self.claimed(id, fields, Entries::Claimed).await?);
        }
        Ok(claimed)
    }

    /// The group that takes entries: made by the first who comes, also after everything in Redis was lost.
    async fn make_group(&self) -> Result<(), Trouble> {
        let mut commands = pipe();
        // From the beginning: what was added before there was a group is waited for, too.
        commands.cmd("XGROUP").arg("CREATE").arg(&self.stream).arg(GROUP).arg("0").arg("MKSTREAM");
        // Another worker may have been faster, which is no failure.
        self.broker.ask(&commands).await.map(drop)
    }

    /// Makes an entry of what was read; nothing where there is nothing to run.
    async fn claimed(
        &self,
        id: String,
        fields: Vec<(String, Vec<u8>)>,
        how: Entries,
    ) -> Result<Option<Claimed>, Trouble> {
        let metrics = &self.broker.metrics.queue;
        let field = |name| fields.iter().find(|(own, _)| own == name).map(|(_, bytes)| &bytes[..]);
        let left: Option<u64> = field("d").and_then(|left| std::str::from_utf8(left).ok()?.parse().ok());
        let (Some(left), Some(entry)) = (left, field("e").and_then(Entry::decode)) else {
            metrics.entry(&self.model, Entries::Unreadable);
            self.drop_entry(&id).await?;
            return Ok(None);
        };
        metrics.entry(&self.model, how);
        let age = self.broker.now().zip(added_at(&id)).map_or(0, |(now, added)| now.saturating_sub(added));
        metrics.delay(&self.model, Duration::from_millis(age));
        if age >= left {
            metrics.entry(&self.model, Entries::Expired);
            self.drop_entry(&id).await?;
            return Ok(None);
        }
        let deadline = Instant::now() + Duration::from_millis((left - age).min(24 * 60 * 60 * 1000));
        Ok(Some(Claimed { id, entry, deadline }))
    }

    /// Takes over the oldest entry of a worker that has fallen silent.
    ///
    /// # Errors
    /// What is wrong with Redis.
    pub async fn take_over(&self) -> Result<Taken, Trouble> {
        let (config, names) = (&self.broker.config, &self.broker.names);
        let bytes = MAX_MESSAGE_BYTES as u64;
        let numbers = [millis(config.claim_after), config.max_deliveries, config.dead_letters as u64, bytes];
        let [silent, most, kept, bytes] = numbers.map(|number| number.to_string());
        let limits = [&silent, &most, &kept, &bytes].map(|limit| limit.as_bytes());
        let arguments = [&[GROUP.as_bytes(), self.worker.as_bytes()][..], &limits].concat();
        let answer = self.broker.script(scripts::TAKE_OVER, &[&self.stream, &names.dead()], &arguments).await?;
        let Value::Array(parts) = answer else { return Ok(Taken::Nothing) };
        let mut parts = parts.into_iter();
        let (id, became) = (parts.next().as_ref().and_then(text), parts.next().as_ref().and_then(text));
        let (Some(id), Some(became)) = (id, became) else { return Ok(Taken::Nothing) };
        let fields = ["e", "d"].into_iter().zip(parts).filter_map(|(name, value)| match value {
            Value::BulkString(bytes) => Some((name.to_owned(), bytes)),
            _ => None,
        });
        let how = if became == "dead" { Entries::Dead } else { Entries::Redelivered };
        let fields: Vec<_> = fields.collect();
        if became == "gone" {
            return Ok(Taken::Gone);
        }
        Ok(match self.claimed(id, fields, how).await? {
            None => Taken::Gone,
            Some(claimed) if became == "dead" => Taken::Dead(Box::new(claimed)),
            Some(claimed) => Taken::Entry(Box::new(claimed)),
        })
    }

    /// Says that this worker still works on these entries. Returns those that are there no more: their callers have left.
    ///
    /// # Errors
    /// What is wrong with Redis.
    pub async fn keep(&self, ids: &[String]) -> Result<Vec<String>, Trouble> {
        let mut commands = pipe();
        commands.cmd("XCLAIM").arg(&self.stream).arg(GROUP).arg(&self.worker).arg(0).arg(ids).arg("JUSTID");
        let answer = self.broker.ask(&commands).await?.pop();
        let Some(Value::Array(kept)) = answer else { return Ok(Vec::new()) };
        let kept: Vec<String> = kept.iter().filter_map(text).collect();
        Ok(ids.iter().filter(|id| !kept.contains(id)).cloned().collect())
    }

    /// Answers an entry; tries again until its deadline when Redis is away. An entry that was answered by another worker, or
    /// whose caller has left, is answered no more.
    pub async fn answer(&self, claimed: &Claimed, answer: &Answer) {
        let (mut bytes, names) = (answer.encode(claimed.entry.number), &self.broker.names);
        if bytes.len() > MAX_MESSAGE_BYTES {
            bytes = answer.too_large().encode(claimed.entry.number);
        }
        let answers = names.answers(&claimed.entry.replica);
        let [kept, most] = [millis(ANSWERS_KEPT), MOST_ANSWERS as u64].map(|number| number.to_string());
        let arguments = [GROUP.as_bytes(), claimed.id.as_bytes(), &bytes, kept.as_bytes(), most.as_bytes()];
        loop {
            match self.broker.script(scripts::ANSWER, &[&self.stream, &answers], &arguments).await {
                Ok(done) => {
                    let event = if done == Value::Int(1) { Entries::Answered } else { Entries::Late };
                    return self.broker.metrics.queue.entry(&self.model, event);
                }
                Err(_away) if Instant::now() < claimed.deadline => tokio::time::sleep(RETRY).await,
                Err(_away) => return,
            }
        }
    }

    /// Forgets an entry that nobody waits for.
    async fn drop_entry(&self, id: &str) -> Result<(), Trouble> {
        self.broker.script(scripts::DROP, &[&self.stream], &[GROUP.as_bytes(), id.as_bytes()]).await.map(drop)
    }

    /// Leaves the group, where this worker holds nothing.
    pub async fn leave(&self) {
        let arguments = [GROUP.as_bytes(), self.worker.as_bytes()];
        // Where that fails, others forget it after a while.
        let _ = self.broker.script(scripts::LEAVE, &[&self.stream], &arguments).await;
    }

    /// Forgets workers that left without a word long ago.
    pub async fn tidy(&self) {
        let _ = self.broker.script(scripts::TIDY, &[&self.stream], &[GROUP.as_bytes()]).await;
    }

    /// Between two renewals of what is held.
    pub fn renewal(&self) -> Duration {
        self.broker.config.heartbeat / 2
    }

    /// How long a silent worker is waited for.
    pub fn patience(&self) -> Duration {
        self.broker.config.claim_after
    }
}
