//! Inference threads: each owns one session, all of them share the lines of waiting runs and the model's weights.
//!
//! A thread that is free takes what has waited longest, and along with it what may share its run.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{sync::oneshot, time::timeout};

use super::{
    batch::{Lot, Sharing},
    callers::{Caller, Callers},
    clock::Clock,
    features,
    queue::{Batch, Full, Limits, Overdue, Queue, Ticket},
    sessions::Sessions,
    together::{Outputs, together},
};
use crate::telemetry::{
    labels::Release,
    metrics::{ModelMetrics, WaitingRun},
    traces::Run,
};

/// The inference threads of one model. They end when it is dropped and nobody waits.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Arc<Queue<Job>>,
    metrics: Arc<OnceLock<ModelMetrics>>,
}

/// Why nothing was run.
#[derive(Debug, Clone, Copy)]
pub(super) enum PoolError {
    /// The deadline passed while the run waited.
    Expired,
    /// It waited for longer than was foreseen, and is not about to begin.
    Overdue {
        /// When it would be its turn, as is foreseen now.
        retry_after: Duration,
    },
    /// The thread is gone.
    Lost,
}

/// Looks at a request that has waited for as long as it may: so many in that time.
const LOOKS: u32 = 8;

/// A request that was let in, and what its runs have in common.
#[derive(Debug)]
pub(super) struct Admitted {
    ticket: Ticket<Job>,
    deadline: Instant,
    clock: Arc<Clock>,
}

struct Job {
    lot: Lot,
    deadline: Instant,
    waits_since: Instant,
    /// Counts this one among those that wait.
    waits: Option<WaitingRun>,
    clock: Arc<Clock>,
    caller: Arc<Caller>,
    /// Closed when the caller has left.
    reply: oneshot::Sender<Result<Vec<Outputs>, PoolError>>,
}

impl fmt::Debug for Job {
    /// Without the inputs: they are the caller's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("load", &self.lot.load).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts one thread per session. `name` shows in the list of threads. `sharing` says which requests may share a run;
    /// `run_time` is what a run took so far, if any was tried: the first callers have to be told something.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        name: &str,
        sessions: &Arc<Sessions>,
        sharing: &Sharing,
        limits: Limits,
        run_time: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let instances = sessions.len();
        // Made first: the threads that were started end with it should a later one fail to.
        let pool = Self { queue: Queue::new(instances, limits), metrics: Arc::default() };
        if let Some(run_time) = run_time {
            pool.queue.learn(run_time);
        }
        for number in 0..instances {
            let (queue, metrics) = (Arc::clone(&pool.queue), Arc::clone(&pool.metrics));
            let worker = Worker { number, sessions: Arc::clone(sessions), sharing: sharing.clone(), queue, metrics };
            std::thread::Builder::new()
                .name(format!("infer-{name}"))
                .spawn(move || worker.work())
                .context("cannot start an inference thread")?;
        }
        Ok(pool)
    }

    /// Measures all runs from here on.
    pub(super) fn measure(&self, metrics: ModelMetrics) {
        let _ = self.metrics.set(metrics);
    }

    /// Lets a request of so many `runs` in, or refuses it at once. `clock` learns how long they wait and run.
    pub(super) fn admit(&self, runs: usize, deadline: Instant, clock: &Arc<Clock>) -> Result<Admitted, Full> {
        let ticket = self.queue.admit(runs, deadline)?;
        Ok(Admitted { ticket, deadline, clock: Arc::clone(clock) })
    }

    /// Runs a lot on the next free thread; what comes out is in the order of its items. Dropping the future frees its place:
    /// what waits is taken out of the line then, and a run for which nobody waits any more is ended.
    pub(super) async fn run(&self, admitted: &Admitted, lot: Lot) -> Result<Vec<Outputs>, PoolError> {
        let (reply, answer) = oneshot::channel();
        let caller = Arc::<Caller>::default();
        let _waits = caller.wait();
        let waits = self.metrics.get().map(ModelMetrics::waits);
        let Admitted { ticket, deadline, clock } = admitted;
        let (deadline, clock) = (*deadline, Arc::clone(clock));
        let job = Job { lot, deadline, waits_since: Instant::now(), waits, clock, caller, reply };
        let place = ticket.push(job);
        let outputs = self.answered(ticket, answer).await;
        place.served();
        outputs
    }

    /// Waits for an answer, but in the line no longer than a request may: the run in front of it may be one that does not end.
    async fn answered(
        &self,
        ticket: &Ticket<Job>,
        mut answer: oneshot::Receiver<Result<Vec<Outputs>, PoolError>>,
    ) -> Result<Vec<Outputs>, PoolError> {
        let given_up = || ticket.given_up().map_or(PoolError::Lost, |retry_after| PoolError::Overdue { retry_after });
        let mut patience = self.queue.patience();
        loop {
            if let Ok(outputs) = timeout(patience, &mut answer).await {
                return outputs.unwrap_or_else(|_| Err(given_up()));
            }
            match ticket.give_up() {
                Overdue::Soon => patience = self.queue.patience() / LOOKS,
                Overdue::Begun => return answer.await.unwrap_or_else(|_| Err(given_up())),
                Overdue::GivenUp { retry_after } => return Err(PoolError::Overdue { retry_after }),
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct Worker {
    number: usize,
    sessions: Arc<Sessions>,
    sharing: Sharing,
    queue: Arc<Queue<Job>>,
    metrics: Arc<OnceLock<ModelMetrics>>,
}

impl Worker {
    fn work(&self) {
        let companions = |first: &Job, others: &[&Job]| {
            let others: Vec<&Lot> = others.iter().map(|job| &job.lot).collect();
            self.sharing.companions(&first.lot, &others)
        };
        while let Some(Batch { items, reason }) = self.queue.pop(self.number, &companions) {
            let started = Instant::now();
            let jobs: Vec<Job> = items.into_iter().filter_map(|job| wanted(job, started)).collect();
            if jobs.is_empty() {
                self.queue.finished(self.number, None);
                continue;
            }
            if let Some(metrics) = self.metrics.get() {
                jobs.iter().for_each(|job| metrics.waited(started - job.waits_since));
                let oldest = jobs.iter().map(|job| started - job.waits_since).max();
                metrics.released(reason, oldest.unwrap_or_default());
            }
            let outputs = self.run(&jobs);
            let ran = started.elapsed();
            self.queue.finished(self.number, Some((ran, jobs.len())));
            trace(&jobs, ran, reason);
            answer(jobs, outputs, ran);
        }
    }

    /// One result per item of all jobs, in their order.
    fn run(&self, jobs: &[Job]) -> Vec<Outputs> {
        let items: Vec<_> = jobs.iter().flat_map(|job| &job.lot.items).collect();
        let callers = match Callers::gather(jobs.iter().map(|job| &job.caller)) {
            Ok(callers) => callers,
            Err(error) => return items.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut session = self.sessions.own(self.number);
        together(&items, &self.sharing, &mut |inputs, rows| {
            let started = Instant::now();
            let outputs = session.run(inputs, callers.cancel());
            if let Some(metrics) = self.metrics.get() {
                metrics.ran(started.elapsed(), rows);
                if outputs.is_ok() {
                    features::count(metrics, inputs, rows);
                }
            }
            outputs
        })
    }
}

/// Whether somebody waits for a job and has time; who has none is told so.
fn wanted(mut job: Job, now: Instant) -> Option<Job> {
    drop(job.waits.take());
    if job.reply.is_closed() {
        return None;
    }
    if now >= job.deadline {
        let _ = job.reply.send(Err(PoolError::Expired));
        return None;
    }
    job.clock.started(now - job.waits_since);
    Some(job)
}

/// Tells traced requests which run theirs was.
fn trace(jobs: &[Job], ran: Duration, reason: Release) {
    let spans: Vec<_> = jobs.iter().filter_map(|job| job.clock.span).collect();
    if spans.is_empty() {
        return;
    }
    let rows = jobs.iter().map(|job| job.lot.load.rows).sum();
    let run = Arc::new(Run::ended(ran, (rows, jobs.len()), reason, spans));
    jobs.iter().filter(|job| job.clock.span.is_some()).for_each(|job| job.clock.traced(&run));
}

fn answer(jobs: Vec<Job>, outputs: Vec<Outputs>, ran: Duration) {
    let mut outputs = outputs.into_iter();
    for job in jobs {
        job.clock.ran(ran);
        let own = outputs.by_ref().take(job.lot.items.len()).collect();
        let _ = job.reply.send(Ok(own));
    }
}
