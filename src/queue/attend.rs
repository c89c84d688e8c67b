//! What an API server does beside asking: it takes answers in, takes questions back, and looks who is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use redis::{Value, pipe};
use tokio::sync::mpsc::Receiver;

use super::{
    Answer, Fleet, Queue,
    bounds::{MAX_BATCH_BYTES, MAX_MESSAGE_BYTES, Remembered},
    broker::{accept, added_at, listed, messages, millis, number, text},
    census::Census,
    pending::Place,
    scripts,
};
use crate::{
    lifecycle::Lifecycle,
    link::{Connection, Trouble},
};

/// How long one look for answers waits for the first.
const LOOK: Duration = Duration::from_millis(500);

/// Answers that are taken at once.
const AT_ONCE: usize = 64;

/// Before another try to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// Questions that wait for longer are looked after: their entries may have been lost with Redis' memory.
const UNEASY: Duration = Duration::from_secs(2);

/// Entries that are looked after with one command.
const LOOKED_AFTER: usize = 512;

impl Queue {
    /// Begins what goes on in the background. `changed` is called when other workers live, or serve other versions.
    pub fn start(self: &Arc<Self>, lifecycle: &Lifecycle, changed: impl Fn(&Fleet) + Send + Sync + 'static) {
        let queue = Arc::clone(self);
        self.broker.start(lifecycle, move || {
            // What Redis does not tell in time, it tells nobody who waits.
            if queue.broker.trouble().is_some() {
                queue.pending.lose_all();
            }
        });
        let queue = Arc::clone(self);
        lifecycle.spawn(async move { queue.take_answers().await });
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(left) = left {
            let queue = Arc::clone(self);
            lifecycle.spawn(async move { queue.take_back(left).await });
        }
        let queue = Arc::clone(self);
        lifecycle.spawn(async move { queue.look(changed).await });
    }

    /// Takes answers for ever, over a connection of its own.
    async fn take_answers(&self) {
        let (name, mut last) = (self.broker.names.answers(&self.replica), "0-0".to_owned());
        loop {
            if let Ok((connection, driver)) = self.broker.connect().await {
                tokio::select! {
                    () = driver => {}
                    _trouble = self.take_over(&connection, &name, &mut last) => {}
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn take_over(&self, connection: &Connection, name: &str, last: &mut String) -> Result<(), Trouble> {
        loop {
            let numbers = [MAX_MESSAGE_BYTES, AT_ONCE, MAX_BATCH_BYTES].map(|number| number.to_string());
            let [most_bytes, most, batch] = &numbers;
            let mut commands = pipe();
            // What was taken is done with.
            commands.cmd("EVAL").arg(scripts::TRIM).arg(1).arg(name).arg(&**last).arg(most_bytes);
            let read = commands.cmd("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(millis(LOOK));
            read.arg("STREAMS").arg(name).arg(&**last);
            let further = commands.cmd("EVAL").arg(scripts::READ_ON).arg(1).arg(name).arg(&**last);
            further.arg(most).arg(batch).arg(most_bytes).arg(1);
            let answers = connection.ask(&commands, LOOK + self.broker.config.timeout).await?;
            let answers = answers.into_iter().map(|answer| accept(answer, &[])).collect::<Result<Vec<_>, _>>()?;
            let [_trimmed, first, further] = answers.try_into().map_err(|_| Trouble::Failing)?;
            let Some((id, fields)) = messages(first).pop() else { continue };
            let mut further = listed(further).into_iter();
            // The first one comes from both.
            let goes_on = further.next().is_some_and(|(same, _)| same == id);
            for (id, fields) in std::iter::once((id, fields)).chain(further.filter(|_| goes_on)) {
                *last = id;
                for (_, bytes) in fields.into_iter().filter(|(name, _)| name == "a") {
                    let waited = Answer::number_of(&bytes).is_some_and(|number| self.pending.answer(number, bytes));
                    if !waited {
                        self.broker.metrics.queue.late();
                    }
                }
            }
        }
    }

    /// Deletes the entries of callers who have left: what nobody took is never run, and who works on one notices.
    async fn take_back(&self, mut left: Receiver<Place>) {
        let mut places = Vec::new();
        while left.recv_many(&mut places, AT_ONCE).await > 0 {
            let mut commands = pipe();
            for Place { stream, id } in places.drain(..) {
                commands.cmd("XDEL").arg(&*stream).arg(id);
            }
            // Where that fails, they are run for nobody.
            let _ = self.broker.ask(&commands).await;
        }
    }

    /// Looks again and again who is there, what waits, and what was lost.
    async fn look(&self, changed: impl Fn(&Fleet)) {
        let (mut census, mut models, mut first) = (Census::default(), Remembered::default(), true);
        loop {
            if let Ok(seen) = self.who_lives(&mut census).await {
                self.measure(&seen, &mut models).await;
                if first || *self.fleet() != seen {
                    first = false;
                    let workers = seen.workers.len();
                    tracing::info!(workers, "the workers, or what they serve, have changed");
                    changed(&seen);
                    self.lose_unread(&seen);
                    *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
                }
                let _ = self.look_after().await;
            }
            tokio::time::sleep(self.broker.config.heartbeat / 2).await;
        }
    }

    /// Tells those who wait for a worker that is gone, when no other does its work, and takes their entries back.
    fn lose_unread(&self, fleet: &Fleet) {
        let streams: BTreeSet<String> = fleet.streams().keys().map(|it| self.broker.names.entries(it)).collect();
        for place in self.pending.lose_unread(|stream| streams.contains(stream)) {
            let _ = self.leaving.try_send(place);
        }
    }

    async fn measure(&self, fleet: &Fleet, models: &mut Remembered) {
        let (broker, metrics) = (&self.broker, &self.broker.metrics.queue);
        metrics.pending(self.pending.count());
        let workers = fleet.workers_by_model();
        let (new, forgotten) = models.see(workers.keys().copied(), Instant::now());
        metrics.forget(forgotten);
        new.iter().for_each(|model| metrics.begin(model));
        for model in models.models() {
            metrics.workers(model, workers.get(model).copied().unwrap_or_default());
        }
        let _ = broker.read_clock().await;
        let now = broker.now().unwrap_or_default();
        let mut sums: BTreeMap<&str, (u64, u64)> = models.models().map(|model| (model, (0, 0))).collect();
        for (fingerprint, model) in fleet.streams() {
            let stream = broker.names.entries(fingerprint);
            let Ok(Value::Array(parts)) = broker.script(scripts::LENGTH, &[&stream], &[]).await else { return };
            let length = parts.first().and_then(number).unwrap_or_default();
            let oldest = parts.get(1).and_then(text).and_then(|id| added_at(&id)).unwrap_or(now);
            let sum = sums.entry(model).or_default();
            *sum = (sum.0 + length, sum.1.max(now.saturating_sub(oldest)));
        }
        for (model, (length, age)) in sums {
            metrics.entries(model, length, Duration::from_millis(age));
        }
        if let Ok(dead) = broker.ask(pipe().cmd("XLEN").arg(broker.names.dead())).await {
            metrics.dead(dead.first().and_then(number).unwrap_or_default());
        }
    }

    /// Looks whether the entries are still there of questions that wait for long.
    async fn look_after(&self) -> Result<(), Trouble> {
        for (stream, questions) in self.pending.older_than(UNEASY) {
            for some in questions.chunks(LOOKED_AFTER) {
                let ids: Vec<&[u8]> = some.iter().map(|(_, id)| id.as_bytes()).collect();
                let Value::Array(there) = self.broker.script(scripts::ARE_THERE, &[&stream], &ids).await? else {
                    return Err(Trouble::Failing);
                };
                for ((question, _), there) in some.iter().zip(&there) {
                    self.pending.seen(*question, number(there) == Some(1));
                }
            }
        }
        Ok(())
    }
}
