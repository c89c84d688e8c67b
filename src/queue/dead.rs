//! Entries that were given up: each was given to so many workers, and each of them fell silent.

use std::sync::Arc;

use anyhow::Context;
use redis::pipe;

use super::{
    Broker, Entry, Wanted,
    bounds::{MAX_BATCH_BYTES, MAX_MESSAGE_BYTES},
    broker::{Message, listed, millis},
    entry, scripts,
};

/// Entries that are read at once.
const AT_ONCE: usize = 100;

/// Looks at them.
#[derive(Debug)]
pub struct DeadLetters(Arc<Broker>);

/// One of them. What callers sent is not shown.
#[derive(Debug)]
pub struct Dead {
    /// Its id among the dead letters.
    pub id: String,
    /// The stream that it came from.
    pub stream: String,
    /// How often it was given to a worker.
    pub deliveries: u64,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its items, or texts.
    pub items: usize,
    entry: Vec<u8>,
}

impl DeadLetters {
    /// Those that lie in the Redis of `broker`.
    pub const fn new(broker: Arc<Broker>) -> Self {
        Self(broker)
    }

    /// The oldest ones, up to so many.
    ///
    /// # Errors
    /// When Redis does not tell.
    pub async fn list(&self, most: usize) -> anyhow::Result<Vec<Dead>> {
        let (mut found, mut last): (Vec<Dead>, _) = (Vec::new(), "0-0".to_owned());
        while found.len() < most {
            let count = AT_ONCE.min(most - found.len());
            let numbers = [count, MAX_BATCH_BYTES, MAX_MESSAGE_BYTES].map(|number| number.to_string());
            let arguments = [&[last.as_bytes()][..], &numbers.each_ref().map(|it| it.as_bytes()), &[b"0"]].concat();
            let answer = self.0.script(scripts::READ_ON, &[&self.0.names.dead()], &arguments).await;
            let page = listed(answer.map_err(|trouble| anyhow::anyhow!("Redis: {trouble}"))?);
            let Some((id, _)) = page.last() else { break };
            last.clone_from(id);
            found.extend(page.into_iter().map(Dead::of));
        }
        Ok(found)
    }

    /// Gives one to the workers once more, who have as long for it as `patience` says. Nobody waits for the answer: it shows
    /// whether a worker survives it.
    ///
    /// # Errors
    /// When it is not there, or Redis does not do it.
    pub async fn requeue(&self, dead: &Dead, patience: std::time::Duration) -> anyhow::Result<()> {
        let entry = Entry::decode(&dead.entry).context("the entry cannot be read: drop it")?;
        let entry = Entry { replica: entry::NOBODY.to_owned(), span: None, ..entry }.encode();
        let [left, most] = [millis(patience), u64::MAX / 2].map(|number| number.to_string());
        let arguments = [&entry[..], left.as_bytes(), most.as_bytes(), left.as_bytes()];
        let trouble = |trouble| anyhow::anyhow!("Redis: {trouble}");
        self.0.script(scripts::ENQUEUE, &[&dead.stream], &arguments).await.map_err(trouble)?;
        self.remove(dead).await
    }

    /// Forgets one.
    ///
    /// # Errors
    /// When Redis does not do it.
    pub async fn remove(&self, dead: &Dead) -> anyhow::Result<()> {
        let mut commands = pipe();
        commands.cmd("XDEL").arg(self.0.names.dead()).arg(&dead.id);
        self.0.ask(&commands).await.map(drop).map_err(|trouble| anyhow::anyhow!("Redis: {trouble}"))
    }
}

impl Dead {
    fn of((id, fields): Message) -> Self {
        let field =
            |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()).unwrap_or_default();
        let text = |name: &str| String::from_utf8(field(name)).unwrap_or_default();
        let entry = field("e");
        let items = Entry::decode(&entry).map_or(0, |entry| match entry.wanted {
            Wanted::Predictions(items) => items.len(),
            Wanted::Tokens(texts) => texts.len(),
        });
        let deliveries = text("n").parse().unwrap_or_default();
        Self { id, stream: text("s"), deliveries, bytes: entry.len(), items, entry }
    }
}
